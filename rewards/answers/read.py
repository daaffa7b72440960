"""The one parser (ANSWERS.md, rule 15): a completion becomes thoughts, answer, letters and yes/no, once; everything
else reads the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rewards.answers import span as tags
from rewards.answers import wrappers
from rewards.answers.clauses import Reading
from rewards.answers.options import Options, as_texts, read_options, read_yes_no
from rewards.answers.text import key, normalise, strip_markup
from rollouts.records import Parsed


def parse(completion: str, options: Options | None = None, *, prefill: str = "", finish_reason: str = "stop") -> Parsed:
    """Read a completion. Never raises on any completion.

    `options`: texts in order A, B, C.. or a map letter -> text; None = the question has none. `prefill`: what the chat
    template already wrote of the answer. `finish_reason` "length" with an answer tag still open is a truncated answer:
    there is none. A map whose letters are not A, B, C..
    raises ValueError: that is an error of the data, not of the completion.
    """
    return _parse(completion, options, prefill, finish_reason, words=True)


def _parse(completion: str, options: Options | None, prefill: str, finish_reason: str, *, words: bool) -> Parsed:
    """`words`: whether yes and no are looked for as well; that is a second reading of the answer."""
    texts = as_texts(options) if options else ()
    completion = tags.with_prefill(completion, prefill)
    span = tags.cut(completion)
    well_formed = tags.grade_format(completion)
    if (
        finish_reason == "length"
        and span.bodies
        and "<think>" in completion
        and not well_formed
        and span.tagged
        and "</answer>" not in span.tail.lower()
    ):
        span = span._replace(bodies=(), reason="cut at the length limit inside the answer")
    if not span.bodies:
        return Parsed(span.think, None, (), None, well_formed, span.reason)
    answer = span.bodies[-1].strip()
    if not texts and _differ(span.bodies):
        return Parsed(span.think, None, (), None, well_formed, "several answer tags that differ")
    reading = (
        _agreed([read_options(body, texts, tagged=span.tagged) for body in span.bodies])
        if texts
        else Reading((), "no options were shown")
    )
    if texts and _boxes_disagree(span.tail):
        reading = Reading((), "the boxes disagree")
    said = {read_yes_no(body) for body in span.bodies} if words else set()
    yes_no = said.pop() if len(said) == 1 else None
    if len(reading.letters) == 1 and yes_no is None and texts:
        yes_no = _yes_no_of(texts[ord(reading.letters[0]) - ord("A")])
    return Parsed(span.think, answer or None, reading.letters, yes_no, well_formed, reading.reason)


def grade_option(completion: str, options: Options, gold: str | Iterable[str]) -> bool:
    """True if the completion commits to exactly the gold letter, or to exactly the set of gold letters where `gold` is
    a list (rules 1 to 12)."""
    wanted = (gold,) if isinstance(gold, str) else tuple(sorted(set(gold)))
    return bool(wanted) and _parse(completion, options, "", "stop", words=False).letters == wanted


def _agreed(readings: list[Reading]) -> Reading:
    """Several answer tags: the same resolved answer counts, different ones do not (rule 2)."""
    if len({reading.letters for reading in readings}) > 1:
        return Reading((), "several answer tags that differ")
    return readings[-1]


def _differ(bodies: tuple[str, ...]) -> bool:
    """Whether answer tags say different things; long ones are not cut into words only to be told apart."""
    if len({body.strip() for body in bodies}) < 2:
        return False
    return sum(map(len, bodies)) > 4_000 or len({key(body) for body in bodies}) > 1


def _boxes_disagree(tail: str) -> bool:
    if "\\boxed" not in tail or len(tail) > 4_000:
        return False
    return len({key(strip_markup(normalise(content))) for _, _, content in wrappers.boxes(tail)}) > 1


def _yes_no_of(option: str) -> Literal["yes", "no"] | None:
    return read_yes_no(option)
