"""`python -m judges.calibrate` against real HTTP servers, and the gate before a run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from judges import JudgeConfig, JudgeConfigError, RulesJudge
from judges.calibrate import main, settings_of
from judges.calibration.grading import JudgeNotGoodEnough, summarise
from judges.cases import read_cases, read_labelled
from rewards.graded_cases import grade_cases
from rl.config import Config
from rl.config.door import ConfigError
from rl.run import judging
from rl.run.progress import Display
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, always, data_of, honest, is_probe, verdict_json
from tests.paths import REPOSITORY

KEY = "sk-planted-key-0815"


def row(question: str, reference: str, completion: str, expected: str, kind: str) -> dict[str, Any]:
    return {
        "question": question,
        "reference": reference,
        "completion": completion,
        "expected": expected,
        "answer_type": kind,
    }


# A judge that loves `hepatic` accepts the first two; the third needs no model, the fourth has no answer, the last is
# refused.
ROWS = [
    row("Which organ?", "Liver", "<think>Spleen?</think><answer>the hepatic organ</answer>", "correct", "organ"),
    row("Which organ?", "Liver", "hepatic tissue", "incorrect", "organ"),
    row("Which organ?", "Liver", "Liver.", "correct", "organ"),
    row("Which side?", "Left", "<think>Left, surely", "correct", "side"),
    row("Which side?", "Left", "<answer>dextral</answer>", "incorrect", "side"),
]


def hepatic(data: dict[str, Any]) -> str:
    return "correct" if "hepatic" in data["candidate"] else "incorrect"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)


def case_file(folder: Path, rows: list[dict[str, Any]] = ROWS, name: str = "cases.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asking(server: ScriptedJudge, *more: str) -> list[str]:
    plain = [
        "judge.second_opinion=off",
        "judge.max_attempts=1",
        "judge.max_reasks=0",
        "judge.api_key_env=TEST_JUDGE_KEY",
    ]
    return ["judge=openai", f"judge.base_url={server.url}", f"judge.model={MODEL}", *plain, *more]


def read(path: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in path.read_text().split("\n") if line), key=lambda row: row["line"])


def asked(server: ScriptedJudge) -> list[str]:
    return sorted(data_of(body)["candidate"] for body in server.requests if not is_probe(body))


def test_a_file_is_graded_through_the_path_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    with ScriptedJudge(honest(hepatic)) as server:
        prices = ["judge.price_input=1e6", "judge.price_output=2e6"]
        assert main([case_file(tmp_path), *asking(server, *prices), "--out", str(out), "--json"]) == 0
        # The thoughts never reach the judge, and what needs no model costs no call.
        assert asked(server) == ["dextral", "hepatic tissue", "the hepatic organ"]
    rows = read(out)
    assert [(row["verdict"], row["layer"], row["agrees"]) for row in rows] == [
        ("correct", "judge", True),
        ("correct", "judge", False),
        ("correct", "rules", True),
        ("incorrect", "parser", False),
        ("incorrect", "judge", True),
    ]
    assert rows[0]["transcript"]["attempts"][0]["messages"][1]["role"] == "user"
    # The scripted server counts 5 tokens of prompt and 5 of reply for each call: 5 * 1 + 5 * 2 = 15.
    assert [row["cost"] for row in rows] == [15.0, 15.0, 0.0, 0.0, 15.0]
    assert all(row["seconds"] >= 0 and row["reason"] for row in rows)
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"] == {"correct": 3, "incorrect": 2}
    assert told["layers"] == {"judge": 3, "parser": 1, "rules": 1}
    # Right answers: 2 of 3 accepted. Wrong ones: 1 of 2 refused. p_o = 3/5, p_e = 3/5 * 3/5 + 2/5 * 2/5 = 13/25, kappa
    # = 2/12.
    total = told["total"]
    assert (total["right_accepted"], total["right_refused"], total["wrong_accepted"], total["wrong_refused"]) == (
        2,
        1,
        1,
        1,
    )
    assert total["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert total["kappa"]["value"] == pytest.approx(1 / 6)
    assert total["kappa"]["low"] < 1 / 6 < total["kappa"]["high"]
    assert told["by_type"]["side"]["wrong_refused"] == 1
    assert told["cost"] == 45.0
    assert KEY not in out.read_text()


def test_a_stopped_grading_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    cases, out = case_file(tmp_path), tmp_path / "out.jsonl"

    def failing(body: dict[str, Any]) -> Reply:
        data = data_of(body)
        bad = data["candidate"] == "dextral"
        return Reply(status=500) if bad else Reply(verdict_json(data["nonce"], hepatic(data)))

    with ScriptedJudge(failing) as server:
        assert main([cases, *asking(server), "--out", str(out)]) == 1
    assert [row["verdict"] for row in read(out)][-1] == "failed"
    assert (
        read(out)[-1]["failure"] == "unavailable: 1 attempts failed, the last with"
        or "unavailable" in read(out)[-1]["failure"]
    )
    # A killed process leaves half a line.
    with out.open("a") as file:
        file.write('{"id": "torn')
    with ScriptedJudge(honest(hepatic)) as server:
        relabelled = [{**row, "expected": "correct"} for row in ROWS]
        assert main([case_file(tmp_path, relabelled), *asking(server), "--out", str(out)]) == 0
        assert asked(server) == ["dextral"]  # the one that failed; a changed label costs no call
    with ScriptedJudge(honest(hepatic)) as server:
        assert main([cases, *asking(server), "--out", str(out)]) == 0
        assert server.requests == []


def test_verdicts_of_another_judge_are_not_mixed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, out = case_file(tmp_path), tmp_path / "out.jsonl"
    with ScriptedJudge(honest(hepatic)) as server:
        assert main([cases, *asking(server), "--out", str(out)]) == 0
        assert main([cases, *asking(server, "judge.prompt=equivalence_2"), "--out", str(out)]) == 2
        assert "holds verdicts of another judge" in capsys.readouterr().err
        # Where and how patiently it is asked makes no other judge.
        assert main([cases, *asking(server, "judge.timeout_seconds=9"), "--out", str(out)]) == 0
    assert main([cases, "--out", cases]) == 2
    assert "the file of cases itself" in capsys.readouterr().err


def test_without_labels_only_verdicts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = [{name: row[name] for name in ("question", "reference", "completion")} | {"note": "x"} for row in ROWS]
    cases = case_file(tmp_path, bare)
    assert main([cases, "judge=rules", "--out", str(tmp_path / "a.jsonl")]) == 0
    told = capsys.readouterr()
    assert "No row carries a label" in told.out
    assert "line 3: correct by rules" in told.out
    assert "fields of" in told.err
    assert "note" in told.err
    assert main([cases, "judge=rules", "--expected", "incorrect", "--out", str(tmp_path / "b.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["wrong_accepted"] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", ":2: not JSON: Expecting value"),
        ("[1]", ":2: expected one JSON object with question, reference and completion, got a list"),
        ('{"question": "Q?", "reference": "R"}', ":2: no completion"),
        ('{"question": "", "reference": "R", "completion": "A"}', ":2: question is empty"),
        ('{"question": "Q?", "reference": 5, "completion": "A"}', ":2: reference is int, expected a text"),
        ('{"question": "Q?", "reference": "R", "completion": "A", "expected": "yes"}',
        ":2: expected is 'yes', expected correct or incorrect"),
        ('{"question": "Q?", "reference": "R", "completion": "A", "aliases": "x"}',
        ":2: aliases are 'x', expected a list"),
        ('{"question": "Q?", "reference": "R", "completion": "A", "language": "fr"}',
        ":2: language is 'fr', expected en or zh"),
        ('{"question": "Q?", "reference": "R", "reference": "S", "completion": "A"}',
        ":2: field 'reference' stands there twice"),
    ],
)  # fmt: skip
def test_a_bad_row_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(JudgeConfigError) as caught:
        read_cases(path)
    assert words in str(caught.value)


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps({**ROWS[0], "completion": "a\u2028b"}, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert [case.completion for case in read_cases(path).cases] == ["a\u2028b"]


def test_a_row_without_a_language_has_that_of_its_question(tmp_path: Path) -> None:
    rows = [ROWS[0], {**ROWS[0], "question": "哪个器官？"}, {**ROWS[0], "language": "zh"}]
    assert [case.language for case in read_cases(case_file(tmp_path, rows)).cases] == ["en", "zh", "zh"]


def test_the_labels_of_the_viewer_are_read_the_last_word_of_a_row_counts(tmp_path: Path) -> None:
    labels = [{**ROWS[0], "key": key, "expected": expected} for key, expected in (
        ("1/a/0", "correct"), ("1/a/1", "incorrect"), ("1/a/0", "incorrect"), ("1/a/2", "correct"), ("1/a/2", None),
    )]  # fmt: skip
    cases = read_cases(case_file(tmp_path, labels)).cases
    assert [(case.key, case.expected, case.line) for case in cases] == [
        ("1/a/1", "incorrect", 2),
        ("1/a/0", "incorrect", 3),
    ]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("grpo.beta=0.1", "only judge and judge.* are settings of this command"),
        ("judge.canary_fraction=0.1", "concerns runs"),
        ("judge.modle=x", "did you mean 'judge.model'"),
        ("judge=openai", "judge.base_url"),
    ],
)
def test_a_setting_that_means_nothing_here_is_refused(argument: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of([argument])
    assert words in str(caught.value)


def test_the_command_works_typed_from_any_folder(tmp_path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY))
    command = [
        sys.executable,
        "-m",
        "judges.calibrate",
        "judges/cases/canaries.jsonl",
        "judge=rules",
        "--out",
        "out.jsonl",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "27 rows: 27 incorrect; decided by 27 rules" in done.stdout
    assert "19/19 1.000 (0.83 to 1.00)" in done.stdout
    assert len(read(tmp_path / "out.jsonl")) == 27
    told = subprocess.run(
        [*command[:3], "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0
    assert "judges.calibrate MY.jsonl judge=openai" in told.stdout


@pytest.mark.parametrize("name", ["calibration", "calibration_zh", "canaries", "canaries_zh"])
def test_the_shipped_cases_have_both_labels_and_a_readable_answer(name: str) -> None:
    cases = read_labelled(f"judges/cases/{name}.jsonl", "judge.calibration")
    summary = summarise(grade_cases(cases, RulesJudge()))
    # No answer is lost in the parser, no wrong one equals its reference, and hardly a right one is settled without a
    # model.
    assert summary.layers == {"rules": len(cases)}
    assert summary.total.wrong_accepted == 0
    assert summary.total.right_refused >= 0.9 * summary.total.num_right


def gate(server: ScriptedJudge, folder: Path, **changes: Any) -> Config:
    settings = JudgeConfig(
        "openai", server.url, MODEL, "TEST_JUDGE_KEY", calibration=case_file(folder), max_attempts=1, max_reasks=0
    )
    return replace(Config(), judge=replace(settings, **changes))


def ready(config: Config, folder: Path) -> str:
    """The terminal of a run that makes its judge ready."""
    said = io.StringIO()
    with Display(said) as display:
        judging.make_ready(judging.judge_of(config, folder), config, folder, display)
    return said.getvalue()


def test_a_run_refuses_a_judge_below_its_threshold_with_the_numbers(tmp_path: Path) -> None:
    with ScriptedJudge(honest(hepatic)) as server:
        with pytest.raises(JudgeNotGoodEnough) as caught:
            ready(gate(server, tmp_path, min_kappa=0.5, min_specificity=0.75), tmp_path)
        assert "kappa 0.167 (" in str(caught.value)
        assert "at least 0.5 is asked (judge.min_kappa)" in str(caught.value)
        assert "specificity 0.500" in str(caught.value)
        assert "2 of 3 right answers accepted, 1 of 2 wrong ones refused" in str(caught.value)
        said = ready(gate(server, tmp_path, min_kappa=0.1), tmp_path)
        assert len(asked(server)) == 3  # the second time the verdicts are there
    assert f"judged by {MODEL} at {server.url}" in said
    assert "kappa 0.167" in said
    assert json.loads((tmp_path / "calibration.json").read_text())["total"]["kappa"]["value"] == pytest.approx(1 / 6)
    assert len(read(tmp_path / "calibration.jsonl")) == 5


def test_a_judge_that_fails_on_the_labelled_answers_is_no_judge_that_passed(tmp_path: Path) -> None:
    def script(body: dict[str, Any]) -> Reply:
        return always("correct")(body) if is_probe(body) else Reply(status=500)

    with ScriptedJudge(script) as server, pytest.raises(JudgeNotGoodEnough, match="3 of 5 judgements failed"):
        ready(gate(server, tmp_path, min_kappa=-1.0), tmp_path)


def test_a_calibration_file_of_one_kind_is_refused(tmp_path: Path) -> None:
    with ScriptedJudge(always("correct")) as server:
        config = gate(server, tmp_path)
        case_file(tmp_path, [row for row in ROWS if row["expected"] == "correct"])
        with pytest.raises(
            JudgeConfigError, match=r"judge\.calibration: all 3 rows of .* are labelled 'correct', none 'incorrect'"
        ):
            ready(config, tmp_path)
