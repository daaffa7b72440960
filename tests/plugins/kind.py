"""Rewards as people write them: a decorated one, bare ones, one that asks the judge, one that opens the image."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Literal

from PIL import Image

from judges import Criteria, Judge, JudgeMedia, Question
from rewards import Member, Outcome, Parsed, Sample, reward


@reward("polite")
def says_please(
    completion: str, words: Sequence[str] = ("please",), scale: float = 1.0, case: Literal["any", "same"] = "any"
) -> float:
    """Pays for polite words."""
    text = completion.lower() if case == "any" else completion
    return scale * sum(text.count(word) for word in words)


def chars(completion: str) -> int:
    """Pays a character."""
    print("counting", len(completion))
    return len(completion)


def needless(completion: str) -> float:
    """Pays everybody the same: what is left is the price of a call."""
    return 1.0


def tokens_and_end(num_tokens: int, finish_reason: str) -> float:
    """Pays tokens, negative where the completion was cut."""
    return float(-num_tokens if finish_reason == "length" else num_tokens)


def needs(completion: str, threshold: float) -> float:
    """An argument without a default."""
    return threshold


def width(parsed: Parsed, sample: Sample) -> int:
    """Opens the image."""
    (media,) = sample.media
    return Image.open(io.BytesIO(media.data or b"")).width


def environment(completion: str) -> Outcome:
    """Shows what it can see."""
    return Outcome(float(completion in os.environ), evidence={"names": sorted(os.environ)})


async def judged(parsed: Parsed, sample: Sample, judge: Judge, group_key: str) -> Outcome:
    """Asks the judge both ways."""
    image = JudgeMedia("00", b"png")
    question = Question(
        sample.question, sample.gold_text, parsed.answer or "", sample.aliases, media=(image,), group_key=group_key
    )
    verdict = await judge.judge(question)
    assessed = await judge.assess(Criteria("rubric", sample.question, parsed.answer or "", ("pneumonia", "left")))
    value = 1.0 if verdict.decision == "correct" else 0.0
    return Outcome(
        value,
        parts={"met": float(sum(met is True for met in assessed.met or ()))},
        evidence={"layer": verdict.layer, "judge": judge.name, "shows_images": judge.shows_images},
    )


async def curious(parsed: Parsed, sample: Sample, judge: Judge) -> float:
    """Asks for ever."""
    for number in range(10_000):
        await judge.judge(Question(sample.question, sample.gold_text, f"answer {number}"))
    return 1.0


async def asks_in_the_old_way(completion: str, sample: Sample, judge: Judge) -> float:
    """Hands the judge the parts of a question instead of the question."""
    parts = {"question": sample.question, "reference": sample.gold_text, "answer": completion}
    if completion == "by name":
        await judge.judge(**parts)  # type: ignore[call-arg]
    elif completion == "with a text":
        await judge.judge(completion)  # type: ignore[arg-type]
    else:
        await judge.judge(sample.question, sample.gold_text, (), completion)  # type: ignore[call-arg,arg-type]
    return 1.0


def rank(group: Sequence[Member]) -> list[float]:
    """Pays the share of the group that is longer."""
    return [sum(len(other.completion) > len(one.completion) for other in group) / len(group) for one in group]


async def first_comes(group: Sequence[Member]) -> list[Outcome]:
    """Depends on the order it is shown, as a group-level reward must not."""
    return [Outcome(float(place), reason=member.completion) for place, member in enumerate(group)]


def one_fails(group: Sequence[Member]) -> list[object]:
    """Not a number for the member that says so."""
    return [float("nan") if member.completion == "bad" else 1.0 for member in group]
