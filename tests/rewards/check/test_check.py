"""`python -m rewards.check`: every shipped reward passes, every way to break training is found and named, and nothing
hostile is obeyed."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewards import registry
from rewards.check import __main__ as check
from rewards.check.faults import declared_range
from rewards.check.inputs import case_groups, hostile_texts
from rewards.registry import Reward, names
from rewards.rubric import Rubric
from tests.fakes import fake_rollouts

ARGUMENTS = {"length": ["--set", "max_length=512", "--set", "cache=128"]}
COUNT = itertools.count()


def constant(completion):
    return 0.5


def from_the_sample(sample, completion):
    return (len(sample.id) % 7) / 10


def huge(completion):
    return 1000.0 + len(completion)


def declared(completion):
    """Pays characters. Range [0, 200000]."""
    return len(completion)


def nan(completion):
    return math.nan if "A" in completion else 0.5


def random_number(completion):
    return random.random()


def counts(completion):
    return 1.0 / (1 + next(COUNT))


def first_in_group(group):
    return [float(place == 0) for place, _ in enumerate(group)]


def raises(completion, sample):
    return len(completion) / len(completion.split("<answer>")[1])


def slow(completion):
    time.sleep(0.02)
    return len(completion) % 2


def raises_on_reports(parsed, sample):
    if sample.answer_type == "report":
        raise KeyError("no report")
    return float(bool(parsed.answer)) * 0.5


FAULTS = [
    (constant, "constant", "paid 0.5"),
    (from_the_sample, "ignores_completion", "from the sample alone"),
    (huge, "out_of_range", "outside [-1, 1]"),
    (nan, "fails", "expected a finite number"),
    (random_number, "not_deterministic", "for the same completion"),
    (counts, "not_deterministic", "in the same order"),
    (first_in_group, "order_dependent", "in another order"),
    (raises, "fails", "IndexError"),
    (slow, "slow", "limit 0.01 s"),
]
QUICK = ["--budget-seconds", "1", "--slow-seconds", "9"]
HOSTILE_PLUGIN = '''
def coloured(completion):
    """Fails with what the model wrote."""
    raise ValueError("\\x1b[31m[bold]red[/bold] " + completion[:30])
'''


@pytest.fixture
def _own(monkeypatch):
    """The rewards above, in this process: what they do wrong is no matter of where they run."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    for function in (*(fault[0] for fault in FAULTS), declared, raises_on_reports):
        registry.reward(function.__name__, isolate=False)(function)


def checked(capsys, *arguments: str) -> tuple[int, dict]:
    code = check.main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", [name for name in names() if name != "radcliq"])
def test_nothing_shipped_would_break_training(capsys, name):
    # The limit on seconds is for a quiet machine; here several processes may share one core.
    code, found = checked(capsys, name, *ARGUMENTS.get(name, []), *QUICK)
    assert (code, found["faults"]) == (0, [])
    assert found["values"]["count"] > 5
    if name not in ("length", "format", "coin"):
        assert found["paid"]["right"] > found["paid"]["wrong"]
        assert found["signal"]["cases"] > 0
    low, high = found["range"]
    assert low <= found["values"]["least"] <= found["values"]["greatest"] <= high


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(("function", "kind", "message"), FAULTS)
def test_what_would_break_training_is_named(capsys, function, kind, message):
    limit = "0.01" if kind == "slow" else "9"
    code, found = checked(capsys, function.__name__, "--budget-seconds", "1", "--slow-seconds", limit)
    told = {fault["kind"]: fault["message"] for fault in found["faults"]}
    assert code == 1
    assert message in told[kind]
    assert Path(__file__).name in found["home"]


@pytest.mark.usefixtures("_own")
def test_a_stated_range_is_believed_and_another_can_be_given(capsys):
    code, found = checked(capsys, "declared", *QUICK)
    assert (code, found["range"]) == (0, [0.0, 200000.0])
    code, found = checked(capsys, "declared", "--range", "0", "50", *QUICK)
    assert (code, [fault["kind"] for fault in found["faults"]]) == (1, ["out_of_range"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Range [0, 1]. Source", (0, 1)),
        ("Range {0, 1}", (0, 1)),
        ("Range: [-1.5, 2]", (-1.5, 2)),
        ("Range: unbounded.", None),
        ("", (-1, 1)),
    ],
)
def test_a_docstring_says_the_range(text, expected):
    def function(completion):
        return 0.0

    function.__doc__ = text
    assert declared_range(Reward("r", function, {}, frozenset())) == expected


def test_stored_rollouts_are_scored_with_their_tokens(capsys, tmp_path):
    fake_rollouts.written(tmp_path / "run", 2, prompts_per_step=4)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    code, found = checked(capsys, "option_match", "--run", str(tmp_path / "run"), "--groups", "6", *QUICK)
    assert found["num_groups"] == {"cases": 12, "run": 6, "hostile": 7}
    assert found["signal"]["run"] is not None
    # The made-up run also asks open and yes/no questions, which have no options.
    assert (code, [fault["kind"] for fault in found["faults"]]) == (1, ["fails_in_run"])
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    tokens = checked(
        capsys, "length", "--set", "max_length=20", "--set", "cache=10", "--run", str(tmp_path / "run"), "--step", "2"
    )[1]
    assert tokens["num_groups"]["run"] == 4
    assert tokens["signal"]["run"] == 1.0


@pytest.mark.usefixtures("_own")
def test_a_type_that_always_fails_is_no_fault_but_a_note(capsys):
    code, found = checked(capsys, "raises_on_reports", *QUICK)
    assert (code, found["not_for"]) == (0, ["report"])
    assert "no report" in found["not_for_reasons"]["report"]
    assert "route only the others" in found["notes"][0]


def test_a_plugin_is_tried_in_its_child_process_and_what_it_prints_is_not_obeyed(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(HOSTILE_PLUGIN)
    code, found = checked(capsys, f"{tmp_path}/mine.py:coloured", *QUICK)
    assert (code, found["faults"][0]["kind"], found["range"]) == (1, "applies_to_nothing", [-1.0, 1.0])
    assert found["home"].startswith(f"{tmp_path}/mine.py")
    assert check.main([f"{tmp_path}/mine.py:coloured", *QUICK]) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "[bold]red[/bold]" in printed
    assert "would break training" in printed
    assert "Traceback" in printed


def test_the_tables_say_it(capsys):
    assert check.main(["option_match", *QUICK]) == 0
    printed = capsys.readouterr().out
    for said in (
        "nothing found that would break training",
        "█",
        "groups with a signal, cases",
        "for 1,000 completions",
        "not for it",
    ):
        assert said in printed
    assert check.main(["judge", *QUICK]) == 0
    assert "judge=rules: open answers are compared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["option_mach"], "did you mean 'option_match'"),
        (["option_match", "--set", "partial=2"], "argument 'partial': got 2 (int), expected bool"),
        (["option_match", "--set", "partial"], "expected NAME=VALUE"),
        (["option_match", "--set", "partial=["], "is not YAML"),
        (["option_match", "--run", "nowhere"], "is not a run"),
        (["judge", "--judge", "none"], "asks a judge and none is configured"),
        (["no/such/file.py:f"], "there is no file"), (["format", "--range", "1", "0"], "is empty"),
        (["length"], "needs the argument 'max_length'"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_says_why(capsys, arguments, message):
    assert check.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_the_command_runs_and_helps():
    done = subprocess.run([sys.executable, "-m", "rewards.check", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for said in ("--run", "--set", "--judge", "--json", "examples/my_reward/my_reward.py:brevity", "exit code"):
        assert said in done.stdout


def test_the_shipped_cases_hold_every_answer_type_in_both_languages_and_both_verdicts():
    groups = case_groups(Rubric({"format": 1.0}))
    assert {group.sample.answer_type for group in groups} == {
        "mcq",
        "multi",
        "yes_no",
        "open",
        "numeric",
        "report",
        "box",
    }
    assert {group.sample.language for group in groups} == {"en", "zh"}
    assert all(set(group.right) == {True, False} for group in groups)
    assert len(hostile_texts()) > 30
