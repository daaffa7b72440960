"""`python -m rewards.check --log`: the log of another trainer is graded here, and every difference is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewards.check.__main__ import main

OPTIONS = ["Effusion", "Nodule", "Fracture"]


def said(answer: str) -> str:
    return f"<think>I look.</think>\n<answer>{answer}</answer>"


# Seven completions of a made-up trainer that pays any letter it finds, unless a box stands around it.
ROWS: list[dict[str, Any]] = [
    {"question": "Which?", "options": OPTIONS, "answer": "B", "completion": said("B"), "reward": 1.0},
    {"question": "Which?", "options": OPTIONS, "answer": "B", "completion": said("C. Fracture"), "reward": 0.0},
    # Paid there for a letter that is denied, and for one in thoughts that never end.
    {"question": "Which?", "options": OPTIONS, "answer": "B", "completion": said("not B"), "reward": 1},
    {"question": "Which?", "options": OPTIONS, "answer": "B", "completion": "<think>It is B", "reward": 1.0},
    # Refused there for its form.
    {"question": "Which?", "options": OPTIONS, "answer": "B", "completion": said("\\boxed{B}"), "reward": 0.0},
    {"prompt": [{"role": "user", "content": "Which?"}], "choices": OPTIONS, "solution": "Nodule",
     "completion": [{"role": "assistant", "reasoning_content": "hm", "content": "<answer>B</answer>"}], "score": 1.0},
    {"prompt": "Which?", "options": OPTIONS, "gold": "A", "response": said("A"), "rewards": {"accuracy": 1.0}},
]  # fmt: skip


def log_of(folder: Path, rows: list[Any]) -> str:
    path = folder / "log.jsonl"
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_each_completion_that_is_paid_differently_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = log_of(tmp_path, ROWS)
    found = compared(capsys, "option_match", "--log", log)
    assert (found["num_rows"], found["num_same"], found["unread"]) == (7, 4, [])
    assert [(one["line"], one["there"], one["here"]) for one in found["differences"]] == [
        (3, 1.0, 0.0),
        (4, 1.0, 0.0),
        (5, 0.0, 1.0),
    ]
    assert sorted(found["pairs"]) == [[0.0, 0.0, 1], [0.0, 1.0, 1], [1.0, 0.0, 2], [1.0, 1.0, 3]]
    assert main(["option_match", "--log", log, "--show", "1"]) == 0
    shown = capsys.readouterr().out
    assert "7 rows graded by option_match, 4 paid the same, 3 differently" in shown
    assert "line 3: paid 1 there, 0 here" in shown
    assert "and 2 more" in shown
    assert "line 5" not in shown


def test_the_reward_of_the_log_is_named_where_there_are_several(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"question": "Which?", "options": OPTIONS, "answer": "B", "completion": said("B")}
    rows = [{**base, "rewards": {"acc": 1.0, "form": 0.0}}, {**base, "acc": 0.0}, {**base, "reward": 1.0}]
    log = log_of(tmp_path, rows)
    found = compared(capsys, "option_match", "--log", log, "--paid", "acc")
    assert (found["num_rows"], found["num_same"]) == (2, 1)
    assert "line 3: there is no field 'acc'" in found["unread"][0]
    found = compared(capsys, "option_match", "--log", log)
    assert [line.split(":")[0] for line in found["unread"]] == ["line 1", "line 2"]
    assert "--paid NAME" in found["unread"][0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "not JSON"), ("[1]", "expected one JSON object"), ('{"reward": 1}', "the question is missing"),
        ('{"question": "Q", "completion": "x", "reward": 1}', "the right answer is missing"),
        ('{"question": "Q", "answer": "yes", "reward": 1}', "the completion is missing"),
        ('{"question": "Q", "answer": "yes", "completion": "x"}', "what was paid is missing"),
        ('{"question": "Q", "answer": "yes", "completion": "x", "reward": "1"}', "expected a number"),
        ('{"question": "Q", "answer": "yes", "completion": "x", "reward": true}', "expected a number"),
        ('{"question": "Q", "answer": "yes", "completion": 5, "reward": 1}', "expected a text, or messages"),
        ('{"question": "Q", "answer": "D", "options": ["a", "b"], "completion": "x", "reward": 1}', "line 2: "),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_graded_costs_itself_only(
    line: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = log_of(tmp_path, [ROWS[0], line])
    found = compared(capsys, "option_match", "--log", log)
    assert found["num_rows"] == 1
    assert len(found["unread"]) == 1
    assert words in found["unread"][0]
    assert main(["option_match", "--log", log]) == 0
    assert "1 line could not be graded" in capsys.readouterr().out
    assert main(["option_match", "--log", log_of(tmp_path, [line])]) == 2
    assert "holds no row that can be graded: line 1" in capsys.readouterr().err


def test_a_file_that_is_no_log_and_a_reward_of_groups_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["option_match", "--log", str(tmp_path / "absent.jsonl")]) == 2
    assert "absent.jsonl" in capsys.readouterr().err
    assert main(["majority_vote", "--log", log_of(tmp_path, ROWS)]) == 2
    assert "compares the completions of a group" in capsys.readouterr().err


def test_a_cut_completion_is_graded_as_cut_and_hostile_text_is_shown_harmless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"question": "Which?", "options": OPTIONS, "answer": "B", "reward": 1.0}
    rows = [
        {**base, "completion": "It may be A or rather B", "finish_reason": "length"},
        {**base, "completion": said("\x1b[2J[bold]C[/bold]")},
    ]
    log = log_of(tmp_path, rows)
    assert [one["here"] for one in compared(capsys, "option_match", "--log", log)["differences"]] == [0.0, 0.0]
    assert main(["option_match", "--log", log]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out


def test_what_has_no_value_here_is_a_difference_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"question": "How much?", "answer": "a lot", "answer_type": "numeric", "completion": said("3"), "reward": 0.0}
    [one] = compared(capsys, "numeric", "--log", log_of(tmp_path, [row]))["differences"]
    assert one["here"] is None
    assert "holds no number that can be compared" in one["reason"]


def test_the_dumps_of_trl_and_verl_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The columns are those that TRL 1.16 (`log_completions`, with the data's columns as extra) and verl 0.9
    (`trainer.rollout_data_dir`) write."""
    asked = [[{"role": "user", "content": [{"type": "text", "text": "Which?"}]}]] * 2
    replies = [[{"role": "assistant", "content": said(letter)}] for letter in "BC"]
    columns = {
        "step": [5, 5], "prompt": asked, "completion": replies, "accuracy_reward": [1.0, 1.0],
        "format_reward": [1.0, 1.0], "options": [OPTIONS] * 2, "solution": ["B", "B"], "advantage": [0.5, -0.5],
    }  # fmt: skip
    trl = tmp_path / "completions_00005.parquet"
    pq.write_table(pa.table(columns), trl)
    found = compared(capsys, "option_match", "--log", str(trl), "--paid", "accuracy_reward")
    assert [(one["line"], one["there"], one["here"]) for one in found["differences"]] == [(2, 1.0, 0.0)]
    lines = [
        {"input": "user\nIs it there?\nassistant\n", "output": said(word), "gts": "yes", "score": 1.0, "step": 1}
        for word in ("yes", "no")
    ]
    found = compared(capsys, "yes_no", "--log", log_of(tmp_path, lines))
    assert [(one["line"], one["there"], one["here"]) for one in found["differences"]] == [(2, 1.0, 0.0)]


def test_a_log_that_lacks_something_is_told_with_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "completions.parquet"
    pq.write_table(pa.table({"prompt": ["Which?"], "completion": [said("B")], "accuracy_reward": [1.0]}), path)
    assert main(["option_match", "--log", str(path), "--paid", "accuracy_reward"]) == 2
    assert "the right answer is missing" in capsys.readouterr().err
    path.write_bytes(b"PAR1 and no more")
    assert main(["option_match", "--log", str(path)]) == 2
    assert "expected a file of JSON lines, or FILE.parquet" in " ".join(capsys.readouterr().err.split())
