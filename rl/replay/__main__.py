"""`python -m rl.replay RUN [overrides]`: scores stored completions again with other rewards or another judge. It never
calls the policy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from rl.algo.estimator import ADVANTAGE_SETTINGS
from rollouts.terminal import Ending, accept_any_stdout, require

COMMAND = "python -m rl.replay"
_EPILOG = f"""what may be given: reward=NAME, judge=NAME (files of conf/), any setting under reward. and judge., and
{", ".join(f"grpo.{name}" for name in ADVANTAGE_SETTINGS)}. Everything else of the run stays as it was.

examples:
  python -m rl.replay runs/med_grpo                  nothing changed: every value comes back, no judge is called
  python -m rl.replay runs/med_grpo reward.weights.format=0.3
  python -m rl.replay runs/med_grpo reward=my_reward                 the example of a reward of your own
  python -m rl.replay runs/med_grpo judge=openai judge.base_url=http://127.0.0.1:8000/v1 judge.model=NAME \\
      --only type:open
  python -m rl.replay runs/med_grpo judge.timeout_seconds=120 --only status:error,timeout      ask again what had failed
  python -m rl.replay runs/med_grpo --only "type:open step:30..40" --times 5
      how much the judge differs from itself

The new folder reads like a run: python -m rollouts.view RUN NEW, python -m rollouts.diff RUN NEW. It holds
replay_report.json (all numbers and every flip), diff.parquet (one row a completion and reward) and the rollouts as they
would have been stored. The same command goes on with a replay that was stopped. A judgement
that failed in the run stays failed while neither its reward nor the judge changes."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        usage=f"{COMMAND} RUN [SETTING=VALUE ...] [--only SEARCH] [--times N] [--out DIR]",
        description=(
            "Score the stored completions of a run again and tell what changes. The run itself is never changed."
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run (its out_dir)")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SETTING=VALUE",
        help="rewards, judge and advantages, over the run's own config.yaml",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SEARCH",
        help=(
            'what the search box of the page finds: "step:10..20 modality:CT,MR type:open", status:error, reward:<0.5,'
            " is:disagree, -is:truncated; commas mean or, several terms mean and. The whole groups of what is found are"
            " scored, because an advantage is relative to its group"
        ),
    )
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        metavar="N",
        help="judge everything N times, to measure the judge's own variance",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to (default: a folder beside the run, the same for the same command)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`); one that was interrupted goes on."""
    arguments = _parser().parse_intermixed_args(argv)
    require(COMMAND, "train")
    # Here, because nobody should wait for Hydra and pyarrow to read --help.
    from judges import JudgeError
    from rewards.registry import RewardError
    from rl.config.door import ConfigError
    from rl.replay.filters import ReplayError
    from rl.replay.run import replay
    from rl.replay.table import print_report
    from rl.run.folder import RunFolderError
    from rl.run.progress import Display
    from rollouts.store.disk import DiskFull
    from rollouts.store.layout import StoreError

    expected = (ReplayError, ConfigError, StoreError, RewardError, JudgeError, RunFolderError, DiskFull)
    with Ending(COMMAND, *expected, stopped="interrupted; the same command goes on from the last whole step") as ending:
        with Display() as display:
            out, report = replay(
                arguments.run, arguments.overrides, arguments.only, arguments.times, arguments.out, display
            )
        print_report(report)
        display.say(f"report: {out / 'replay_report.json'}, differences: {out / 'diff.parquet'}")
        display.say(f"look:   python -m rollouts.view {quote(str(arguments.run))} {quote(str(out))}")
    return ending.code


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
