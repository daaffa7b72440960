"""Completions as TRL and servers hand them over, with the thoughts parsed out of the text, in parts, or missing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rewards.adapters.trl import as_trl_reward
from rewards.registry import RewardError
from rollouts.records import BadSample
from tests.paths import REPOSITORY

pytestmark = pytest.mark.hunt

HUNT = REPOSITORY / "../shared/cases/hunt/adapters.jsonl"
ROW = {"answer": "B", "options": ["x", "y"]}
ANSWER = "<answer>B</answer>"


def paid(spec: str, completion: Any, row: dict[str, Any] = ROW, **more: Any) -> list[float | None]:
    completions = completion if isinstance(completion, list) else [completion]
    columns = {name: [value] * len(completions) for name, value in row.items()}
    reward = as_trl_reward(spec, **more)
    try:
        return reward(prompts=["Which?"] * len(completions), completions=completions, **columns)
    finally:
        reward.one.close()


def message(**fields: Any) -> list[list[dict[str, Any]]]:
    return [[{"role": "assistant", **fields}]]


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "blunted angle", "content": ANSWER},
        {"thinking": "blunted angle", "content": ANSWER},
        {"reasoning": "blunted angle", "content": f"\n\n{ANSWER}"},
        {"content": [{"type": "thinking", "thinking": "blunted angle"}, {"type": "text", "text": ANSWER}]},
        {"content": [{"type": "reasoning", "text": "blunted angle"}, {"type": "text", "text": ANSWER}]},
        {"reasoning_content": "blunted angle", "content": f"<think>blunted angle</think>{ANSWER}"},
        {"reasoning_content": None, "content": f"<think>blunted angle</think>{ANSWER}"},
    ],
)
def test_parsed_thoughts_are_put_back(fields: dict[str, Any]) -> None:
    assert paid("format", message(**fields)) == [1.0]
    # A template that opens the thoughts itself changes nothing: they are opened once.
    assert paid("format", message(**fields), prefill="<think>\n") == [1.0]
    assert paid("option_match", message(**fields)) == [1.0]


@pytest.mark.parametrize(
    "fields",
    [
        {"content": ANSWER},
        {"reasoning_content": " ", "content": ANSWER},
        {"reasoning_content": "It is B", "content": ""},
        {"reasoning_content": f"It is {ANSWER}", "content": None},
        {"reasoning_content": "a", "content": "B"},
    ],
)
def test_what_was_not_written_is_not_made_up(fields: dict[str, Any]) -> None:
    assert paid("format", message(**fields)) == [0.0]


def test_thoughts_are_never_the_answer() -> None:
    # They name A and B; only the text decides, and a text that is missing answers nothing.
    assert paid("option_match", message(reasoning_content="<answer>A</answer>?", content=ANSWER)) == [1.0]
    assert paid("option_match", message(reasoning_content=f"Surely {ANSWER}", content="")) == [0.0]


def test_the_last_message_of_the_assistant_counts_with_its_own_thoughts() -> None:
    turns = [
        {"role": "assistant", "reasoning_content": "I look it up", "content": "", "tool_calls": []},
        {"role": "tool", "content": "y"},
        {"role": "assistant", "content": ANSWER},
    ]
    assert paid("format", [turns]) == [0.0]
    assert paid("option_match", [turns]) == [1.0]
    turns[-1]["thinking"] = "seen"
    assert paid("format", [turns]) == [1.0]
    assert paid("option_match", [{"role": "assistant", "content": ANSWER}]) == [1.0]


@pytest.mark.parametrize("completion", [None, 5, ["text"], [None], [[5]]])
def test_a_completion_that_is_neither_text_nor_messages_is_an_error_in_words(completion: Any) -> None:
    with pytest.raises(RewardError, match="expected a text, or messages as TRL hands them over"):
        paid("option_match", [completion])


@pytest.mark.skipif(not HUNT.is_file(), reason=f"{HUNT} is not there: these inputs are not part of the project")
def test_the_given_messages_are_paid_as_expected() -> None:
    rows = [json.loads(line) for line in HUNT.read_text(encoding="utf-8").splitlines()] if HUNT.is_file() else []
    count = 0
    for row in rows:
        if "row" not in row:
            continue
        spec = row["call"].split("'")[1]
        count += 1
        if "None (no completion)" in row.get("completions", []):
            with pytest.raises(RewardError):
                paid(spec, [None], row["row"])
            continue
        completions = row.get("completions") or [[row["message"]]]
        try:
            values = paid(spec, completions, row["row"])
        except (BadSample, RewardError):
            assert "BadSample" in str(row.get("or_else", row["expected"])), row
        else:
            expected = row["expected"] if isinstance(row["expected"], list) else [1.0]
            assert values == expected, row
    assert count == 4
