"""`python -m rl.sft [overrides]` trains the SFT model of a configuration, or finds it, and prints its folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rl.config.door import from_command_line, leave
from rl.config.stage_rules import DOCUMENT_STAGES
from rollouts.terminal import accept_any_stdout, require

COMMAND = "python -m rl.sft"
PURPOSE = "Trains the SFT model of a configuration, or finds it, and prints its folder."


def main(argv: Sequence[str]) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    config = from_command_line(argv, COMMAND, PURPOSE)
    if before := [name for name in DOCUMENT_STAGES if name not in config.stages.skip]:
        leave(
            f"{COMMAND}: this configuration has stages before SFT ({', '.join(before)}), and SFT begins with the last"
            " of them: python -m rl.train runs them all, and stages.skip=[interleaved,captions] leaves them out"
        )
    require(COMMAND, "train")
    from rl.data.encodable import check_rows
    from rl.data.load import load_for
    from rl.data.sets import DataSplits, refuse_bad_rows
    from rl.data.sizes import images_of
    from rl.run.failures import exit_on_failure
    from rl.run.progress import Display
    from rl.sft.cache import ensure_sft
    from rollouts.prompt.processing import load_processor

    # The folder is the only line on standard output.
    with exit_on_failure(COMMAND), Display(sys.stderr) as display:
        rows = load_for(config, display.late_bar).sft
        if config.sft.checkpoint is None:
            # The same rows as in a whole run: those that the processor takes.
            processor = load_processor(config.model.path, images_of(config.model))
            checked = check_rows(processor, DataSplits(sft=rows, rl=[], eval=[]), config)
            refuse_bad_rows(config.data, checked.bad_rows)
            rows = checked.splits.sft
        folder = ensure_sft(config, rows, display)
    print(folder)
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main(sys.argv[1:]))
