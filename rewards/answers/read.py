"""The one parser (rule 15): a completion becomes thoughts, answer, letters and yes/no, once, for everybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rewards.answers import polarity, span, statement, text
from rewards.answers.form import grade_format
from rewards.answers.mentions import LETTERS, options_of
from rewards.answers.statement import NOTHING, UNCLEAR, Reading
from rewards.answers.wrappers import MAX_ANSWER_CHARS, NoCommitment, boxes, unwrap
from rollouts.records import Parsed

MAX_TAIL_CHARS = 600  # of a long free text, in which a statement is looked for behind the last anchor or at the end
Options = Sequence[str] | Mapping[str, str]
_LETTER_LIST = re.compile(r"[a-z](?:(?:[\s,;/&+、.()]|and){1,5}[a-z])+[.\s]*")
_ANCHORS = ("answer:", "answer is", "answer：", "answer**", "答案", "故选", "\\boxed")


def parse(completion: str, options: Options | None = None, *, prefill: str = "", finish_reason: str = "stop") -> Parsed:
    """Read a completion. Never raises on any completion.

    `options`: texts in order A, B, C.. or a map letter -> text; None = the question has none. `prefill`: what the
    template already wrote of the answer. `finish_reason` "length": only an answer that is stated counts (rule 20).
    Raises ValueError for a map whose letters are not A, B, C..: that is an error of the data, not of the completion.
    """
    texts = as_texts(options) if options else ()
    completion = span.with_prefill(completion, prefill)
    parts = span.cut(completion)
    words = _of_bodies(parts, ())
    reading = _of_bodies(parts, texts) if texts else words
    cut = finish_reason == "length" and (parts.unclosed or not parts.tagged)
    more = parts.unclosed and reading.reason == "commitment" and not re.fullmatch(r"\W*\w\W*", parts.bodies[-1])
    if cut and not (reading.anchored or more or "\\boxed{" in parts.tail):
        reading = words = NOTHING._replace(reason="cut at the length limit before an answer is stated")
    if texts and len(reading.letters) == 1 and not words.letters:
        words = polarity.read(texts[LETTERS.index(reading.letters[0])])
    lost = (cut and parts.unclosed and reading.verdict != "stated") or (not texts and reading.reason == polarity.DIFFER)
    answer = None if lost or not parts.bodies else parts.bodies[-1].strip() or None
    yes_no = next((word for word in polarity.WORDS if answer and words.letters == (word,)), None)
    letters = reading.letters if texts else ()
    return Parsed(parts.think, answer, letters, yes_no, grade_format(completion), reading.reason, reading.verdict)


def grade_option(completion: str, options: Options, gold: str | Iterable[str]) -> bool:
    """True if the completion commits to exactly the gold letter or letters, of any case; twins are one."""
    texts = as_texts(options)
    twins = options_of(texts).twins
    wanted = {twins.get(letter.upper(), letter) for letter in ([gold] if isinstance(gold, str) else gold)}
    return bool(wanted) and {twins[x] for x in _of_bodies(span.cut(completion), texts).letters} == wanted


def as_texts(options: Options) -> tuple[str, ...]:
    """The option texts in the order A, B, C.. Raises ValueError for a map whose letters are not exactly those."""
    if not isinstance(options, Mapping):
        return tuple(options)
    if sorted(options) != (letters := list(LETTERS[: len(options)])):
        raise ValueError(f"option letters are {sorted(options)}, expected {letters}: fix the row of the data set")
    return tuple(options[letter] for letter in letters)


def _of_bodies(parts: span.Span, texts: Sequence[str]) -> Reading:
    """What all bodies say of the options, or of yes and no where there are none: the same, or nothing (rule 2)."""
    if not parts.bodies:
        return NOTHING._replace(reason=parts.reason)
    if not texts:
        return polarity.read_all(parts.bodies)
    boxed = {text.key(text.strip_markup(text.normalise(content))) for _, _, content in boxes(parts.tail[-4_000:])}
    if len(boxed) > 1:
        return UNCLEAR._replace(reason="the boxes disagree")
    readings = [read_options(body, texts, parts.tagged) for body in parts.bodies]
    agree = len({reading.letters for reading in readings}) == 1
    return readings[-1] if agree else UNCLEAR._replace(reason=polarity.DIFFER)


def read_options(answer: str, options: Sequence[str], tagged: bool = True) -> Reading:
    """The letters that an answer body commits to; free text (not `tagged`) is read from its last anchor or its end."""
    if len(answer) > MAX_ANSWER_CHARS and tagged:
        return UNCLEAR._replace(reason=f"the answer is longer than {MAX_ANSWER_CHARS} characters")
    try:
        plain = unwrap(answer if len(answer) <= MAX_ANSWER_CHARS else _end_of(answer))
    except NoCommitment as none:
        return UNCLEAR._replace(reason=str(none))
    if _LETTER_LIST.fullmatch(plain.strip()):
        plain = plain.upper().replace("AND", "and")
    polar = polarity.words_of(options)
    reading = polarity.labelled(plain, polar) or statement.read(plain, options_of(options, [*polar]))
    return polarity.spoken(plain, polar) if reading == NOTHING else reading


def _end_of(answer: str) -> str:
    """The part of a long free text that may state an answer."""
    answer = answer[-20_000:]
    place = max(map(answer.lower().rfind, _ANCHORS))
    start = max(answer.rfind("\n", 0, max(place, 0)) + 1, place - 100)
    return answer[start : place + MAX_TAIL_CHARS] if place >= 0 else answer[-MAX_TAIL_CHARS:]
