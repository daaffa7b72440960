"""The one parser (ANSWERS.md, rule 15): a completion becomes thoughts, answer, letters and yes/no, once; everything else reads the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rewards.answers import polarity, span, statement, text, wrappers
from rewards.answers.mentions import LETTERS, Mention, find, options_of
from rewards.answers.polarity import YesNo
from rewards.answers.statement import Reading, nothing, unclear
from rewards.answers.words import lexicon
from rollouts.records import Parsed

# An answer longer than this is no answer. Without tags the statement is looked for from the last anchor on, or at the end of the text.
MAX_ANSWER_CHARS = 1500
MAX_TAIL_CHARS = 600
MAX_MENTIONS = 64
Options = Sequence[str] | Mapping[str, str]
_LETTER_LIST = re.compile(r"[a-z](?:(?:[\s,;/&+、.()]|and){1,5}[a-z])+[.\s]*")
_STATED = ("answer:", "answer is", "answer：", "answer**", "答案", "故选", "\\boxed")
_ONE_LETTER = re.compile(r"\W*\w\W*")
_DIFFER = "several answer tags that differ"
_CUT = "cut at the length limit before an answer is stated"
_YES_NO = ("yes", "no")
# After "no" one of these begins something new; any other word makes it a determiner: "Yes, there is no fracture".
_GOES_ON = frozenset("and or but because since as it there no otherwise if unless when".split())


def parse(completion: str, options: Options | None = None, *, prefill: str = "", finish_reason: str = "stop") -> Parsed:
    """Read a completion. Never raises on any completion.

    `options`: texts in order A, B, C.. or a map letter -> text; None = the question has none. `prefill`: what the chat template already wrote of
    the answer. `finish_reason` "length": only an answer that is stated counts (rule 20). A map whose letters are not A, B, C.. raises
    ValueError: that is an error of the data, not of the completion.
    """
    texts = as_texts(options) if options else ()
    completion = span.with_prefill(completion, prefill)
    parts = span.cut(completion)
    well_formed = span.grade_format(completion)
    was_cut = finish_reason == "length" and (parts.unclosed or not parts.tagged)
    reading = _of_options(parts, texts) if texts else _of_words(parts)
    if was_cut and reading.verdict == "stated" and not _stands(reading, parts):
        reading = nothing(_CUT)
    if (
        not parts.bodies
        or reading.reason == _DIFFER
        and not texts
        or (parts.unclosed and was_cut and reading.verdict != "stated")
    ):
        return Parsed(parts.think, None, (), None, well_formed, reading.reason, reading.verdict)
    answer = parts.bodies[-1].strip() or None
    said = reading if not texts else _of_words(parts)
    yes_no = _word(said) if not was_cut or reading.verdict == "stated" else None
    if not texts:
        reading = reading._replace(letters=())
    elif len(reading.letters) == 1 and yes_no is None:
        yes_no = _word(read_yes_no(texts[LETTERS.index(reading.letters[0])]))
    return Parsed(parts.think, answer, reading.letters, yes_no, well_formed, reading.reason, reading.verdict)


def grade_option(completion: str, options: Options, gold: str | Iterable[str]) -> bool:
    """True if the completion commits to exactly the gold letter, or to exactly the set of gold letters where `gold` is a list (rules 1 to 12).

    Letters may be small. Where two options have the same text, either counts as the other.
    """
    texts = as_texts(options)
    twins = options_of(texts).twins
    wanted = {twins.get(letter.upper(), letter.upper()) for letter in ([gold] if isinstance(gold, str) else gold)}
    letters = [twins.get(letter, letter) for letter in _of_options(span.cut(completion), texts).letters]
    return bool(wanted) and sorted(set(letters)) == sorted(wanted)


def as_texts(options: Options) -> tuple[str, ...]:
    """The option texts in the order A, B, C.. Raises ValueError for a map whose letters are not exactly those."""
    if not isinstance(options, Mapping):
        return tuple(options)
    letters = LETTERS[: len(options)]
    if sorted(options) != list(letters):
        raise ValueError(f"option letters are {sorted(options)}, expected {list(letters)}: fix the row of the data set")
    return tuple(options[letter] for letter in letters)


def read_yes_no(answer: str) -> Reading:
    """The word an answer says, as the letters ("yes",) or ("no",) of a reading (rule 16)."""
    if len(answer) > MAX_ANSWER_CHARS or not polarity.may_say(answer):
        return nothing("neither yes nor no")
    try:
        plain = plain_text(answer)
    except wrappers.NoCommitment as none:
        return unclear(str(none))
    if word := polarity.spoken(plain):
        return Reading((word,), "stated", "yes/no by word", False)
    reading = _read(plain, _YES_NO, labels=False)
    if reading.reason == statement.NOTHING_NAMED:
        word = polarity.chinese(plain)
        return Reading((word,), "stated", "yes/no by word", False) if word else nothing("neither yes nor no")
    return reading._replace(letters=tuple(_YES_NO[LETTERS.index(letter)] for letter in reading.letters))


def _word(reading: Reading) -> YesNo | None:
    return reading.letters[0] if len(reading.letters) == 1 else None  # type: ignore[return-value]  # read_yes_no gives the two words


def _of_words(parts: span.Span) -> Reading:
    """What all bodies say of yes and no."""
    if not parts.bodies:
        return nothing(parts.reason)
    if _differ(parts.bodies):
        return unclear(_DIFFER)
    return _agreed([read_yes_no(body) for body in parts.bodies])


def _of_options(parts: span.Span, texts: Sequence[str]) -> Reading:
    """What all bodies say of the options."""
    if not parts.bodies:
        return nothing(parts.reason)
    if "\\boxed" in parts.tail and len(parts.tail) <= 4_000:
        boxes = {text.key(text.strip_markup(text.normalise(content))) for _, _, content in wrappers.boxes(parts.tail)}
        if len(boxes) > 1:
            return unclear("the boxes disagree")
    return _agreed([read_options(body, texts, tagged=parts.tagged) for body in parts.bodies])


def _agreed(readings: list[Reading]) -> Reading:
    """Several answer tags: the same resolved answer counts, different ones do not (rule 2)."""
    return readings[-1] if len({reading.letters for reading in readings}) == 1 else unclear(_DIFFER)


def _differ(bodies: tuple[str, ...]) -> bool:
    """Whether answer tags say different things; long ones are not cut into words only to be told apart."""
    if len({body.strip() for body in bodies}) < 2:
        return False
    return sum(map(len, bodies)) > 4_000 or len({text.key(body) for body in bodies}) > 1


def _stands(reading: Reading, parts: span.Span) -> bool:
    """Whether a statement of a completion that was cut is one (rule 20): by an anchor, in a box, or more than a letter in an open answer tag."""
    whole = parts.unclosed and reading.bare and not _ONE_LETTER.fullmatch(parts.bodies[-1])
    return reading.anchored or whole or "\\boxed{" in parts.tail


def read_options(answer: str, options: Sequence[str], *, tagged: bool = True) -> Reading:
    """The letters that one answer body commits to. `tagged`: it stood in an answer tag; free text is read from its last anchor or its end."""
    if len(answer) > MAX_ANSWER_CHARS:
        if tagged:
            return unclear(f"the answer is longer than {MAX_ANSWER_CHARS} characters")
        answer = _tail(answer)
    try:
        plain = plain_text(answer)
    except wrappers.NoCommitment as none:
        return unclear(str(none))
    words = {LETTERS[i]: word for i, option in enumerate(options) if (word := polarity.word_of(option))}
    if words and (labelled := polarity.labelled(plain)):
        letter, word = labelled
        return (
            Reading((letter,), "stated", "commitment", True)
            if words.get(letter) == word
            else unclear(statement.MISMATCH)
        )
    reading = _read(plain, options, [*words])
    if not words or reading.reason != statement.NOTHING_NAMED:
        return reading
    said = polarity.chinese(plain)
    letters = tuple(letter for letter, word in words.items() if word == said)
    return Reading(letters, "stated", "yes/no by word", False) if len(letters) == 1 else reading


def _tail(answer: str) -> str:
    """The part of a long free text that may state an answer."""
    lowered = answer.lower()
    place = max(lowered.rfind(anchor) for anchor in _STATED)
    start = lowered.rfind("\n", 0, max(place, 0)) + 1
    return answer[max(start, place - 100) : place + MAX_TAIL_CHARS] if place >= 0 else answer[-MAX_TAIL_CHARS:]


def _read(plain: str, options: Sequence[str], skip: Sequence[str] = (), labels: bool = True) -> Reading:
    if _LETTER_LIST.fullmatch(plain.strip()):
        plain = plain.upper().replace("AND", "and")
    stream = text.tokens(plain)
    index = options_of(options, skip)
    mentions = _without_determiners(stream, find(stream, index if labels else index._replace(letters=()), lexicon()))
    if len(mentions) > MAX_MENTIONS:
        return unclear(f"more than {MAX_MENTIONS} options are named")
    reading = statement.read(stream, mentions)
    outside = any(letter not in index.letters for letter in reading.letters)
    return unclear("a letter outside the options") if outside else reading


def _without_determiners(stream: list[text.Token], mentions: list[Mention]) -> list[Mention]:
    """ "no" before a noun is a determiner: "Yes, there is no fracture" says yes. It counts only where nothing else was said before it."""
    kept: list[Mention] = []
    idioms = {words[1] for words, mark in lexicon().phrases["no"] if not mark}  # "no idea", "no matter"
    for mention in mentions:
        after = stream[mention.last + 1] if mention.last + 1 < len(stream) else None
        word = mention.by == "text" and mention.first == mention.last and stream[mention.first].key == "no"
        noun = word and after is not None and after.kind == "w" and after.key not in _GOES_ON
        if not noun or (not kept and after is not None and after.key not in idioms):
            kept.append(mention)
    return kept


def plain_text(answer: str) -> str:
    r"""The body without its wrappers: boxes agree and stand bare, JSON becomes its main field, markup goes. Raises NoCommitment."""
    normal = text.normalise(answer)
    boxes = wrappers.boxes(normal)
    for start, end, content in reversed(boxes):
        stop = "" if len(boxes) == 1 else "."
        normal = f"{normal[:start]} {stop} {content} {stop} {normal[end:]}"
    if boxes and (
        len({text.key(text.strip_markup(content)) for _, _, content in boxes}) > 1 or not boxes[-1][2].strip()
    ):
        raise wrappers.NoCommitment("the boxes disagree or are empty")
    if "{" in normal or "[" in normal:
        normal = wrappers.unwrap_json(re.sub(r"```(?:json)?", " ", normal) if "```" in normal else normal)
    return text.strip_markup(normal)
