"""`python -m rl.train +experiment=med_grpo`: SFT where it is needed, GRPO, and the comparison of both models on
held-out items."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rl.config.door import from_command_line
from rollouts.terminal import accept_any_stdout, require

COMMAND = "python -m rl.train"
PURPOSE = "Supervised fine-tuning, then GRPO with vLLM rollouts, then the comparison of both models on held-out items."


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    config = from_command_line(list(sys.argv[1:] if argv is None else argv), COMMAND, PURPOSE)
    require(COMMAND, "train", "cpu")
    # Here, because torch, Ray and TRL take seconds that nobody should wait for to read --help or to learn of a typing
    # error.
    from rl.recipe import run_recipe
    from rl.run import failures
    from rl.run.progress import Display

    with failures.exit_on_failure(COMMAND), Display() as display:
        run_recipe(config, display)
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
