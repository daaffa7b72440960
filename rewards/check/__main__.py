"""Tries a reward before it trains anything: `python -m rewards.check NAME_OR_PATH [--run RUN | --log FILE]
[--set arg=value] [--judge rules]`."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from judges import Judge, RulesJudge
from rewards.adapters.one_reward import OneReward
from rewards.check.faults import Report, declared_range, report
from rewards.check.inputs import case_groups, hostile_groups, run_groups
from rewards.check.log import compare, read_log
from rewards.check.measure import measure
from rewards.check.table import show, show_comparison
from rewards.contract import RewardError
from rewards.rubric import Rubric
from rollouts.store.layout import StoreError
from rollouts.terminal import DONE, FAILED, Ending, accept_any_stdout

DESCRIPTION = """\
Scores the shipped cases (every answer type, English and Chinese), hostile texts and, with --run, the stored rollouts of
a run; tells what the reward pays, how often it fails, how long it takes, and what would break training: a constant, a
value out of range, one that does not depend on the completion or changes from call to call or with the
order of calls, a failure, slowness.

With --log FILE it grades the log of another trainer instead, and tells where the two pay differently. A log is a
file of JSON lines or .parquet, such as the dumps of verl (rollout_data_dir) and TRL (log_completions), whose rows hold
question (or prompt, input), completion (or output), options, answer (or solution, ground_truth, gold, gts) and what was
paid: a number as reward or score, an object of them as rewards, or a field of its own that --paid names."""
EPILOG = """\
examples:
  python -m rewards.check option_match
  python -m rewards.check examples/my_reward/my_reward.py:brevity --set most_words=20
  python -m rewards.check length --set max_length=512 --set cache=128 --run runs/med_grpo
  python -m rewards.check trl:path/to/file.py:function --json
  python -m rewards.check option_match --log completions.jsonl --paid accuracy_reward

exit code: 0 nothing would break training, or the log was graded; 1 something would break it (it is told last); 2 the
reward, the run or the log cannot be used."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`): FAILED where something would break training."""
    arguments = _parser().parse_args(argv)
    with Ending("rewards.check", RewardError, StoreError) as ending:
        return _checked(arguments)
    return ending.code


def _checked(arguments: argparse.Namespace) -> int:
    judge = RulesJudge() if arguments.judge == "rules" else None
    given = {name: value for name, _, value in (_setting(text) for text in arguments.set)}
    if arguments.log:
        return _grade_log(arguments, given, judge)
    rubric = Rubric({arguments.reward: 1.0}, judge=judge, arguments={arguments.reward: given} if given else None)
    result, asks_judge = _check(rubric, arguments)
    if arguments.json:
        faults = [fault._asdict() for fault in result.faults]
        print(
            json.dumps({**dataclasses.asdict(result), "arguments": given, "faults": faults}, indent=2)
        )  # ASCII: a model may write half a surrogate pair
    else:
        show(result, given, judge.describe() if judge and asks_judge else "")
    return FAILED if result.faults else DONE


def _grade_log(arguments: argparse.Namespace, given: Mapping[str, Any], judge: Judge | None) -> int:
    """Grade the log of another trainer and tell the differences. Raises RewardError."""
    one = OneReward(arguments.reward, given, judge, max_warnings=0)  # each failure is among the differences
    try:
        rows, unread = read_log(arguments.log, one, arguments.paid)
        comparison = compare(one, rows, unread)
    finally:
        one.close()
    if arguments.json:
        print(json.dumps(comparison.as_dict(), indent=2))
    else:
        show_comparison(arguments.log, comparison, arguments.show)
    return DONE


def _check(rubric: Rubric, arguments: argparse.Namespace) -> tuple[Report, bool]:
    cases = case_groups(rubric)
    stored = run_groups(arguments.run, arguments.step, arguments.groups) if arguments.run else []
    groups = [*cases, *stored, *hostile_groups(rubric, cases)]
    measured = asyncio.run(measure(rubric, groups, arguments.budget_seconds))
    declared = tuple(arguments.range) if arguments.range else declared_range(measured.bound.reward)
    if declared is not None and declared[0] >= declared[1]:
        raise RewardError(f"the range {declared} is empty; give the least value first")
    return report(measured, declared, arguments.slow_seconds), "judge" in measured.bound.reward.supplied


def _setting(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise RewardError(f"--set {text!r}: expected NAME=VALUE, such as --set tolerance=0.05")
    try:
        return name, equals, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RewardError(f"--set {text!r}: the value is not YAML: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rewards.check",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "reward",
        metavar="NAME_OR_PATH",
        help="a shipped reward, path/to/file.py:function, trl:path/to/file.py:function or entry point",
    )
    parser.add_argument(
        "--run", metavar="RUN", help="score the stored rollouts of this run folder as well (nothing in it is changed)"
    )
    parser.add_argument("--log", metavar="FILE", help="grade this log of another trainer, and nothing else")
    parser.add_argument("--paid", metavar="NAME", help="what the log calls the reward that is compared")
    parser.add_argument("--show", type=int, default=10, metavar="N", help="at most so many differences of the log (10)")
    parser.add_argument("--step", type=int, help="only this step of the run")
    parser.add_argument("--groups", type=int, default=200, metavar="N", help="at most so many groups of the run (200)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ARG=VALUE",
        help="an argument of the reward, its value as in YAML; may be repeated",
    )
    parser.add_argument(
        "--judge",
        choices=("rules", "none"),
        default="rules",
        help="who is asked by rewards that ask a judge (rules: no model)",
    )
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values it may pay; else what its docstring says, as in Range [0, 1]; else -1 to 1",
    )
    parser.add_argument(
        "--slow-seconds", type=float, default=0.25, metavar="S", help="most seconds for 95 of 100 completions (0.25)"
    )
    parser.add_argument(
        "--budget-seconds", type=float, default=60.0, metavar="S", help="stop scoring more groups after so long (60)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
