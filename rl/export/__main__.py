"""`python -m rl.export RUN --to inspect|wandb|model --out DIR`: the rollouts of a run for the viewers of others, and
its checkpoints as models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from rl.export.inspect import parts_of, write_inspect_log
from rl.export.wandb import write_wandb
from rl.run.progress import Display
from rl.run.tracking import TrackingError
from rollouts.records import Rollout
from rollouts.store.layout import NotARun, StepFiles, StoreError
from rollouts.store.reader import readable
from rollouts.terminal import Ending, accept_any_stdout, require

COMMAND = "python -m rl.export"
_EPILOG = f"""examples:
  {COMMAND} runs/med_grpo --to inspect --out logs && inspect view --log-dir logs
  {COMMAND} runs/med_grpo --to wandb --out exported --steps 30..40 && wandb sync exported/wandb/offline-run-*

  {COMMAND} runs/med_grpo --to model --out models && ls models/step_000040

inspect: one log a step, readable by inspect_ai (pip install inspect-ai); a prompt is a sample, each completion an
epoch of it. Of an evaluation on benchmarks one log for the greedy answers, one for the sampled, one for each probe.
wandb:   one table with images a step, in W&B's offline format; --online sends it at once.
model:   each checkpoint that is kept in Hugging Face format, for rl.evaluate models=[..], transformers and vLLM."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=(
            "Write the stored completions of a run, with images, rewards and judge transcripts, for another viewer, or"
            " its checkpoints as models. The run is only read."
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run (its out_dir), or of a replay")
    parser.add_argument("--to", required=True, choices=("inspect", "wandb", "model"), help="whose format")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder to write into; made where it is not there"
    )
    parser.add_argument(
        "--steps", metavar="A..B", help="only these steps, both ends included; a number alone is one step"
    )
    parser.add_argument(
        "--no-images", action="store_true", help="inspect: leave the images out, which are most of a log"
    )
    parser.add_argument("--online", action="store_true", help="wandb: send to the server, which needs WANDB_API_KEY")
    parser.add_argument("--project", default="rounds", help="wandb: the project (default: %(default)s)")
    return parser


def _steps_of(text: str | None) -> range:
    """The steps of `A..B` or `A`. Raises ValueError for anything else."""
    if text is None:
        return range(sys.maxsize)
    first, dots, last = text.partition("..")
    return range(int(first), int(last if dots else first) + 1)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.to != "wandb" and (arguments.online or arguments.project != "rounds"):
        parser.error(f"--online and --project have no effect with --to {arguments.to}")
    if arguments.to != "inspect" and arguments.no_images:
        parser.error(f"--no-images has no effect with --to {arguments.to}")
    try:
        wanted = _steps_of(arguments.steps)
    except ValueError:
        parser.error(f"--steps {arguments.steps}: expected a number or a range such as 3..8")
    if arguments.out.resolve().is_relative_to(arguments.run.resolve() / "rollouts"):
        parser.error(f"--out {arguments.out}: lies among the stored rollouts of the run, which are never changed")
    display = Display()
    if arguments.to == "model":
        return _models(arguments, wanted, display)
    num = 0
    with Ending(COMMAND, StoreError, TrackingError, OSError) as ending:
        num = _export(arguments, wanted, display)
        if not num:
            raise NotARun(f"no step of {arguments.run} was exported (--steps {arguments.steps or 'all'})")
    if ending.code:
        return ending.code
    look = (
        f"inspect view --log-dir {quote(str(arguments.out))}"
        if arguments.to == "inspect"
        else f"wandb sync {quote(str(arguments.out))}/wandb/offline-run-*"
    )
    display.say(f"{num} steps in {arguments.out}" + ("" if arguments.online else f"; look: {look}"))
    return 0


def _models(arguments: argparse.Namespace, wanted: range, display: Display) -> int:
    """Checkpoints as models: the model libraries take seconds that the other formats need not wait for."""
    require(COMMAND, "train")
    from rl.config.door import ConfigError
    from rl.export.model import steps_with_checkpoints, write_model
    from rl.policy.checkpoints import CheckpointError

    with Ending(COMMAND, CheckpointError, ConfigError, OSError) as ending:
        steps = steps_with_checkpoints(arguments.run)
        if not (chosen := [step for step in steps if step in wanted]):
            kept = ", ".join(map(str, steps)) or "none"
            raise CheckpointError(f"no checkpoint of {arguments.run} was exported; steps that are kept: {kept}")
        for step in chosen:
            display.say(str(write_model(arguments.run, step, arguments.out)))
    return ending.code


def _export(arguments: argparse.Namespace, wanted: range, display: Display) -> int:
    def steps() -> Iterator[tuple[StepFiles, list[Rollout]]]:
        for stored, rollouts in readable(
            arguments.run, lambda problem: display.warn(f"step {problem.step} is left out: {problem.text}")
        ):
            if stored.step in wanted and rollouts:
                yield stored, rollouts

    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.to == "wandb":
        require(COMMAND, "train")
        tables = ((stored.step, rollouts) for stored, rollouts in steps())
        return write_wandb(
            arguments.out, tables, mode="online" if arguments.online else "offline", project=arguments.project
        )
    num = 0
    for stored, rollouts in steps():
        for task, part in parts_of(rollouts).items():
            write_inspect_log(arguments.out, stored, part, task=task, images=not arguments.no_images)
        num += 1
    return num


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
