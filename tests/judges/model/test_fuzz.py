"""Damaged and made-up replies: the parsers never raise, and nothing is a verdict but the one valid object (JUDGING.md,
layers 4 and 5)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from judges.model.reply import CRITERION_VERDICTS, parse_criteria, parse_reply
from judges.verdict import Decision

NONCE = "9f8e7d6c5b4a3210"
COUNT = 3
ROUNDS = 100_000  # of each of the two forms
VERDICT = {"nonce": NONCE, "claims": ["a mass", "left lung"], "contradiction": "", "verdict": "correct"}
CRITERIA = {
    "nonce": NONCE,
    "criteria": {str(i + 1): {"found": "seen", "verdict": "met"} for i in range(COUNT)},
}
SCRAPS = [
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        ":",
        ",",
        "\\",
        "\\u0000",
        "\\ud800",
        "\ud800",
        "\ufeff",
        "\x00",
        "\u2028",
        "//x\n",
        "/* x */",
        "#",
        "'",
        "`",
    ),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "null",
        "true",
        "9" * 5000,
        "```json\n",
        "\n```",
        " and that is all",
        "correct",
        "met",
        "unsure",
    ),
    *(
        '"verdict": "correct"',
        ', "verdict": "incorrect"',
        f'"nonce": "{NONCE}"',
        ', "extra": 1',
        "<answer>",
        "{" * 200,
        "[" * 2000,
    ),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1.5,
        float("nan"),
        float("inf"),
        "",
        "correct",
        "CORRECT",
        " correct",
        "correct ",
        "corr\u0435ct",
        "incorrect",
    ),
    *(
        "unsure",
        "met",
        "not_met",
        "Met",
        NONCE,
        NONCE.upper(),
        NONCE + " ",
        NONCE[:-1],
        "0" * 16,
        "\ud800",
        [],
        {},
        ["correct"],
    ),
    *({"verdict": "correct"}, [[]], {"1": "met"}, "x" * 30_000, VERDICT, CRITERIA),
]
FINISHES: list[Any] = ["length", "content_filter", "tool_calls", None, "", "STOP", " stop", 3, True]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, item in inside for found in _paths(item, (*path, name)))]


def _replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], change)
    return copy


def _changed_keys(value: dict[Any, Any], rng: random.Random) -> dict[Any, Any]:
    names = list(value)
    kind = rng.randrange(4)
    if kind == 0 and names:
        return {name: item for name, item in value.items() if name != rng.choice(names)}
    if kind == 1:
        return {
            **value,
            rng.choice(["extra", "Verdict", "verdict ", "0", "4", "01", "nonce\u200b", "score"]): rng.choice(
                [1, "correct", "met"]
            ),
        }
    if kind == 2 and names:
        old = rng.choice(names)
        return {name.upper() if name == old else name: item for name, item in value.items()}
    return dict(reversed(value.items()))


def _twice(text: str, rng: random.Random) -> str:
    """A key stands twice, in the outer or an inner object."""
    place = rng.choice([index for index, char in enumerate(text) if char == "{"])
    name = rng.choice(["verdict", "nonce", "criteria", "found", "1", "claims"])
    return (
        text[: place + 1]
        + f'"{name}": {json.dumps(rng.choice(["correct", "met", NONCE, [], {}]))}, '
        + text[place + 1 :]
    )


def _mutated(valid: dict[str, Any], rng: random.Random) -> tuple[Any, Any]:
    """A reply and its finish reason, from the valid object by one to three changes of structure or text."""
    value: Any = valid
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        path = rng.choice(_paths(value))
        if rng.random() < 0.5:
            value = _replaced(
                value, path, lambda old: _changed_keys(old, rng) if isinstance(old, dict) else rng.choice(VALUES)
            )
        else:
            value = _replaced(value, path, lambda old: rng.choice(VALUES))
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, None, 2]))
    for _ in range(rng.choice([0, 0, 1, 2])):
        kind, place = rng.randrange(6), rng.randrange(len(text) + 1)
        if kind == 0:
            text = text[:place] + rng.choice(SCRAPS) + text[place:]
        elif kind == 1:
            text = text[:place] + text[min(len(text), place + rng.randint(1, 5)) :]
        elif kind == 2:
            text = rng.choice(
                [text + text, text + "\n" + text, f"[{text}]", json.dumps(text), f"I say {text}", text[:place]]
            )
        elif kind == 3 and "{" in text:
            text = _twice(text, rng)
        elif kind == 4:
            text = text.replace(
                rng.choice(['"', ":", NONCE, "correct", "met", "{"]), rng.choice(["'", "", "\u201c", "correct", " "]), 1
            )
        else:
            text = rng.choice(["", " ", "\ufeff", "\n"]) + text + rng.choice(["", " ", "\n", "\x00", "."])
    sent: Any = (
        text if rng.random() < 0.98 else rng.choice([text.encode(errors="replace"), None, 3, [text], {"content": text}])
    )
    return sent, rng.choice(FINISHES) if rng.random() < 0.1 else "stop"


def _strict(text: str) -> Any:
    """The oracle: one JSON value without repeated keys, constants, or text that is none; read apart from the parsers
    under test."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        if len(names) != len(set(names)):
            raise ValueError("twice")
        return dict(items)

    def constant(name: str) -> None:
        raise ValueError(name)

    value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _valid_verdict(value: Any) -> Decision | None:
    fits = (
        set(value) == {"nonce", "claims", "contradiction", "verdict"}
        and value["nonce"] == NONCE
        and isinstance(value["claims"], list)
        and all(isinstance(claim, str) for claim in value["claims"])
        and isinstance(value["contradiction"], str)
        and value["verdict"] in ("correct", "incorrect", "unsure")
    )
    return value["verdict"] if fits else None


def _valid_criteria(value: Any) -> tuple[bool | None, ...] | None:
    fits = (
        set(value) == {"nonce", "criteria"}
        and value["nonce"] == NONCE
        and sorted(value["criteria"]) == ["1", "2", "3"]
        and all(set(one) == {"found", "verdict"} for one in value["criteria"].values())
        and all(
            isinstance(one["found"], str) and one["verdict"] in ("met", "not_met", "unsure")
            for one in value["criteria"].values()
        )
    )
    return (
        tuple(CRITERION_VERDICTS[value["criteria"][number]["verdict"]] for number in ("1", "2", "3")) if fits else None
    )


def _oracle(sent: Any, finish: Any, valid: Callable[[Any], Any]) -> Any:
    """What the reply says, by the schema alone; None for everything that is not the one valid object."""
    if finish != "stop" or not isinstance(sent, str) or len(sent) > 20_000:
        return None
    try:
        return valid(_strict(sent))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


@pytest.mark.full_run_only(reason="100,000 replies take seconds")
@pytest.mark.parametrize(
    ("template", "read", "valid"),
    [
        (VERDICT, lambda sent, finish: parse_reply(sent, NONCE, finish).decision, _valid_verdict),
        (CRITERIA, lambda sent, finish: parse_criteria(sent, NONCE, finish, COUNT).met, _valid_criteria),
    ],
    ids=["verdict", "criteria"],
)
def test_a_hundred_thousand_fuzzed_replies_are_no_verdict_unless_they_are_the_valid_object(template, read, valid):
    rng = random.Random(20261121)
    wrong, num_valid, num_refused = [], 0, 0
    for _ in range(ROUNDS):
        sent, finish = _mutated(template, rng)
        said, expected = read(sent, finish), _oracle(sent, finish, valid)
        num_valid, num_refused = num_valid + (expected is not None), num_refused + (expected is None)
        if said != expected:
            wrong.append((sent, finish, said, expected))
    assert wrong == []
    # Both kinds were really tried: the fuzz makes valid objects (harmless changes inside free text), and mostly others.
    assert num_valid > 10_000
    assert num_refused > 50_000


def test_a_reply_under_another_nonce_is_never_a_verdict():
    rng = random.Random(1)
    found = []
    for template in (VERDICT, CRITERIA):
        for _ in range(5_000):
            sent, finish = _mutated(template, rng)
            # Only a value that the fuzz itself made of the nonce could match; this nonce it never makes.
            found.append(parse_reply(sent, "another", finish).decision)
            found.append(parse_criteria(sent, "another", finish, COUNT).met)
    assert set(found) == {None}
