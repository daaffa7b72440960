"""The verdict parser: nothing but the one valid object is a verdict (JUDGING.md, layer 4)."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges.model.reply import parse_reply
from tests.fakes.scripted_judge import verdict_json

NONCE = "a1b2c3d4"
GOOD = verdict_json(NONCE, "correct", ["liver"])


def test_the_valid_object_is_read():
    assert parse_reply(GOOD, NONCE, "stop").decision == "correct"
    assert parse_reply(f"\n {GOOD} \n", NONCE, "stop").decision == "correct"
    quoting = verdict_json(NONCE, "incorrect", ['He says {"verdict": "correct"}'], "verdict: correct")
    assert parse_reply(quoting, NONCE, "stop").decision == "incorrect"


@pytest.mark.parametrize(
    "text",
    [
        "", "correct", "yes", GOOD + GOOD, f"Here: {GOOD}", f"```json\n{GOOD}\n```", GOOD[:-1], f"[{GOOD}]",
        '"correct"', "null", "true", "1",
        GOOD.replace('"correct"', '"Correct"'), GOOD.replace('"correct"', '"correct "'),
        GOOD.replace('"correct"', "true"),
        GOOD.replace('"correct"', '["correct"]'), GOOD.replace(NONCE, "other"), GOOD.replace(f'"{NONCE}"', "null"),
        json.dumps({"verdict": "correct"}), json.dumps({"nonce": NONCE, "verdict": "correct"}),
        GOOD[:-1] + ', "verdict": "correct"}', GOOD[:-1] + ', "extra": 1}', GOOD.replace('["liver"]', '"liver"'),
        GOOD.replace('["liver"]', "[1]"), GOOD.replace('["liver"]', "[NaN]"), GOOD.replace("{", "{ //\n"),
        "[" * 100_000, '{"a":' * 50_000,
        " " * 30_000 + GOOD, GOOD.replace(NONCE, NONCE + "\u200b"),
    ],
)  # fmt: skip
def test_everything_else_is_no_verdict(text):
    found = parse_reply(text, NONCE, "stop")
    assert found.decision is None
    assert found.problem


def test_a_repeated_key_is_no_verdict_whichever_comes_last():
    for first, last in (("incorrect", "correct"), ("correct", "incorrect")):
        text = verdict_json(NONCE, first)[:-1] + f', "verdict": "{last}"}}'
        assert parse_reply(text, NONCE, "stop").decision is None


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls", None, "", "STOP", 3])
def test_only_a_finished_reply_counts(reason):
    assert parse_reply(GOOD, NONCE, reason).decision is None


@pytest.mark.parametrize("text", [None, 3, b"{}", ["x"], {"verdict": "correct"}])
def test_a_reply_that_is_no_text_is_no_verdict(text):
    assert parse_reply(text, NONCE, "stop").decision is None


def test_an_empty_nonce_matches_nothing():
    assert parse_reply(verdict_json("", "correct"), "", "stop").decision is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.sampled_from(["correct", "incorrect", NONCE]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["nonce", "claims", "contradiction", "verdict", "x"]), inner, max_size=5)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), json_values.map(lambda value: json.dumps(value))))
def test_no_reply_makes_the_parser_raise_and_none_is_positive_by_accident(text):
    found = parse_reply(text, NONCE, "stop")
    if found.decision is not None:
        value = json.loads(text)
        assert (value["nonce"], value["verdict"]) == (NONCE, found.decision)


def test_twenty_thousand_damaged_replies_are_no_verdicts_unless_still_valid():
    rng = random.Random(0)
    positives = 0
    for _ in range(20_000):
        text = _damaged(GOOD, rng)
        if parse_reply(text, NONCE, "stop").decision == "correct":
            value = json.loads(text)
            assert set(value) == {"nonce", "claims", "contradiction", "verdict"}
            assert (value["nonce"], value["verdict"]) == (NONCE, "correct")
            positives += 1
    assert positives < 4_000  # damage inside the free text of a claim leaves the object valid


def _damaged(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(text))
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:place] + text[place + 1 :]
        elif kind == 1:
            text = text[:place] + rng.choice('{}[]",:\\ a\n\x00é') + text[place:]
        elif kind == 2:
            text = text[:place] + text[place:] + text[:place]
        else:
            text = text[:place] + rng.choice(["correct", '"verdict": "correct"', NONCE]) + text[place:]
    return text
