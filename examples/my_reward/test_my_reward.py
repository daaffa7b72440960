"""What the reward must pay and must not pay, hard ones first; then once as a run calls it, in a child process."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.my_reward.my_reward import brevity
from rewards import Rubric, Sample, Scorer, parse

FILE = Path(__file__).with_name("my_reward.py")


@pytest.mark.parametrize(
    ("think", "paid"),
    [
        ("", 0.0),
        ("   \n", 0.0),
        ("word " * 10, 1.0),
        ("word " * 15, 0.5),
        ("word " * 20, 0.0),
        ("word " * 10_000, 0.0),
        ("one", 1.0),
    ],
)
def test_short_thoughts_are_paid_and_none_are_not(think, paid):
    assert brevity(parse(f"<think>{think}</think>\n<answer>A</answer>"), most_words=10).value == pytest.approx(paid)


@pytest.mark.parametrize("completion", ["", "<think>never closed", "no tags at all", "</think><think>", "\x00" * 100])
def test_a_completion_without_thoughts_is_paid_nothing(completion):
    assert brevity(parse(completion)).value == 0.0


@pytest.mark.full_run_only(reason="the reward runs in a child process")
def test_it_works_beside_a_shipped_reward():
    name = f"{FILE}:brevity"
    rubric = Rubric({"option_match": 0.9, name: 0.1}, arguments={name: {"most_words": 4}})
    sample = Sample("q", "Which side?", "mcq", "left", ("left", "right"), ("A",))
    with Scorer(rubric) as scorer:
        short, long = scorer.score_group(sample, [f"<think>{'word ' * n}</think>\n<answer>A</answer>" for n in (4, 6)])
    # 0.9 x 1 + 0.1 x 1, and six words of at most four: 0.9 x 1 + 0.1 x (2 - 6/4).
    assert (short.total, long.total) == (pytest.approx(1.0), pytest.approx(0.95))
    assert short.outcomes["brevity"].reason == "4 words of thought"
