"""`python -m rl.evaluate [overrides] model.path=FOLDER` measures one model alone, with an engine in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from judges import make_judge
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import door
from rollouts.terminal import accept_any_stdout, leave, require

COMMAND = "python -m rl.evaluate"


def main(argv: Sequence[str] | None = None) -> int:
    """The command: `python -m rl.evaluate [overrides] model.path=FOLDER` measures one model alone, with an engine in
    this process."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    config = door.from_command_line(arguments, COMMAND, "Measures one model on the held-out items, without training.")
    require(COMMAND, "train", "cpu")
    # Here, because the engine takes seconds that nobody should wait for to learn of a typing error.
    from rl.data.load import load_for
    from rl.data.sizes import images_of
    from rl.evaluate.asking import evaluate, prepare
    from rl.evaluate.comparison import majority_baseline
    from rl.evaluate.table import print_one
    from rl.refusals import MOST_SHOWN
    from rl.run import failures, progress
    from rl.workers.rollout_worker import engine_settings
    from rollouts.engine.vllm import VllmEngine
    from rollouts.prompt.processing import load_processor
    from rollouts.texts.reading import shorten

    with failures.exit_on_failure(COMMAND), progress.Display() as display:
        splits = load_for(config, display.late_bar)
        processor = load_processor(config.model.path, images_of(config.model))
        held_out = prepare(splits.eval, processor, blank=config.eval.blank_images)
        judge = make_judge(config.judge)
        judge.check_now()
        display.say(judge.describe())
        engine = VllmEngine(config.model.path, engine_settings(config), disk_version=0)
        total = (1 + config.eval.num_samples + held_out.blank) * len(held_out.samples)
        with Scorer(make_rubric(config.reward, judge)) as scorer, display.bar("evaluate", total) as bar:
            result = evaluate(
                engine, scorer, held_out, config,
                name=config.model.path, policy_version=0, progress=lambda mode, done, total: bar.advance(),
            )  # fmt: skip
            for refusal in result.refused:
                reason = shorten(refusal.reason, MOST_SHOWN)
                bar.warn(f"item {shorten(refusal.prompt_id)} was refused and has no verdict: {reason}")
        print_one(result, majority_baseline([row.sample for row in splits.sft], splits.eval))
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    leave(main())
