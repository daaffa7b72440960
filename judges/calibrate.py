"""`python -m judges.calibrate CASES.jsonl [judge=...] --out FILE`: measures how well a judge grades a file, on the same
path as training.

A command, and the only file here that imports packages to the right of `judges`: it reads its settings at the door of
the configuration (`rl.config.door`), so that it measures what a run with the same settings would use, and grades
through the scorer (`rewards.graded_cases`). Nothing imports it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from judges.build import make_judge
from judges.calibration.grading import Grade, summarise, summary_as_dict
from judges.calibration.results import Results, identity
from judges.calibration.table import print_rows, print_summary
from judges.cases import LABELS, Case, read_cases
from judges.settings import JudgeConfig
from judges.verdict import JudgeConfigError, JudgeError, JudgeProbeFailed
from rollouts.terminal import DONE, FAILED, Ending, accept_any_stdout, complain, open_console

COMMAND = "python -m judges.calibrate"
ABOUT = """\
Grades each completion of a file against its reference exactly as a training run would: the one parser cuts out the
answer, the configured judge compares it with the reference, every layer of judges/JUDGING.md in between. Where rows
carry a label, it says how far the judge can be trusted."""
EXAMPLES = """\
CASES.jsonl has one JSON object a line:
  question, reference, completion    required; the completion may hold <think> and <answer> tags, or be a bare answer
  expected                           "correct" or "incorrect"; without it only verdicts are told
  aliases, language (en, zh)         as in training data
  answer_type (or question_type, category)   results are also told by it

judge and judge.* are the settings of rl.train (python -m rl.train --help): judge=openai, judge.model=...,
judge.second_opinion=both, ...

  python -m judges.calibrate judges/cases/calibration.jsonl judge=rules --out rules.jsonl
  python -m judges.calibrate MY.jsonl judge=openai judge.base_url=http://localhost:8000/v1 judge.model=NAME \\
      --out mine.jsonl
  python -m judges.calibrate labels.jsonl judge=panel judge.base_url=URL judge.model=NAME \\
      judge.panel.second.model=OTHER --out panel.jsonl

Each verdict is written to FILE when it comes (verdict, layer, failure, reason, whole transcript, seconds, cost). The
same command goes on where it was stopped, and asks again what failed. Exit code 0 = every row has a verdict, 1 = some
have none, 2 = nothing could be graded."""
# Settings of a run that mean nothing for a single grading.
_OF_RUNS = (
    "canary_fraction",
    "canaries",
    "on_canary",
    "calibration",
    "min_kappa",
    "min_sensitivity",
    "min_specificity",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code (`rollouts.terminal`): FAILED where rows have no verdict."""
    arguments = _arguments(list(sys.argv[1:] if argv is None else argv))
    # Here, because the door of the configuration and the rewards take a second that --help need not wait for.
    from rl.config.door import ConfigError

    stopped = f"interrupted; every verdict so far is in {arguments.out}, the same command goes on"
    with Ending(COMMAND, ConfigError, JudgeError, OSError, stopped=stopped) as ending:
        return _run(arguments, settings_of(arguments.settings))
    return ending.code


def settings_of(overrides: Sequence[str]) -> JudgeConfig:
    """Return the judge that `judge=..` and `judge.*=..` describe, as a run would have it, without what only concerns
    runs.

    Raises ConfigError as rl.train does, and for a setting of anything but the judge.
    """
    from rl.config.door import ConfigError, compose

    names = [override.lstrip("+~").split("=")[0] for override in overrides]
    faults = [
        f"{name}: only judge and judge.* are settings of this command"
        for name in names
        if name.split(".")[0] != "judge"
    ]
    faults += [
        f"{name}: concerns runs; a grading asks the judge itself"
        for name in names
        if name.removeprefix("judge.") in _OF_RUNS
    ]
    if faults:
        raise ConfigError(faults)
    return dataclasses.replace(compose(list(overrides)).judge, canary_fraction=0.0, calibration=None)


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=ABOUT, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", help="JSON lines with question, reference and completion")
    parser.add_argument(
        "settings", nargs="*", metavar="judge=...", help="the judge, as for rl.train; default judge=rules"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="JSON lines of verdicts; grading goes on where the file ends"
    )
    parser.add_argument(
        "--expected", choices=LABELS, help="the label of rows that carry none, such as incorrect for a file of attacks"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the summary as JSON on standard output, and nothing else there"
    )
    return parser.parse_intermixed_args(argv)


def _run(arguments: argparse.Namespace, settings: JudgeConfig) -> int:
    file = read_cases(arguments.cases, arguments.expected)
    if file.unread:
        complain(f"fields of {arguments.cases} that are not read: {', '.join(file.unread)}")
    if Path(arguments.out).resolve() == Path(arguments.cases).resolve():
        raise JudgeConfigError("--out names the file of cases itself; the verdicts need a file of their own")
    started = time.monotonic()
    with Results(arguments.out, identity(settings), file.cases) as results:
        grades = _grade(file.cases, results, settings)
    summary = summarise(grades)
    if arguments.json:
        numbers = {**summary_as_dict(summary), "wall_seconds": time.monotonic() - started, "out": str(arguments.out)}
        print(json.dumps(numbers, indent=2, allow_nan=False))
    else:
        console = open_console()
        print_rows(grades, console)
        print_summary(summary, time.monotonic() - started, console)
        console.print(f"verdicts: {arguments.out}", soft_wrap=True)
    return FAILED if summary.verdicts.get("failed") else DONE


def _grade(cases: Sequence[Case], results: Results, settings: JudgeConfig) -> list[Grade]:
    """Return every case with its grade, in the order of the file: grades of earlier calls, and new ones."""
    from rewards.graded_cases import grade_into
    from rl.run.progress import Display

    num_left = len(results.missing(cases))
    with Display(sys.stderr) as display:
        judge = make_judge(settings)
        display.say(judge.describe())
        if num_left < len(cases):
            display.say(
                f"{len(cases) - num_left} of {len(cases)} rows have their verdict already, or say the same as"
                " another row"
            )
        if num_left:
            try:
                judge.check_now()
            except JudgeProbeFailed as error:  # a run would not start; here it is measured what such a judge is worth
                display.say(f"a run would not start with this judge: {error}")
        with display.bar("grading", len(cases), len(cases) - num_left) as bar:
            return grade_into(results, cases, judge, bar.advance, max(64, 2 * settings.max_concurrency))


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
