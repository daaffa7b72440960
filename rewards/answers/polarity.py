"""Yes and no by whole word, in English and Chinese (ANSWERS.md, rule 16)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

from rewards.answers import statement, words
from rewards.answers.mentions import LETTERS, options_of
from rewards.answers.statement import MISMATCH, NOTHING, UNCLEAR, Reading
from rewards.answers.text import key, normalise
from rewards.answers.wrappers import MAX_ANSWER_CHARS, NoCommitment, unwrap

YesNo = Literal["yes", "no"]
WORDS: tuple[YesNo, YesNo] = ("yes", "no")
DIFFER = "several answer tags that differ"
NEITHER = NOTHING._replace(reason="neither yes nor no")
# An answer without any of these is neither; cheaper than reading it.
_ANY = re.compile(
    r"yes|no|true|false|^\W*[yn]\W*$|[是否有没无不对存正未错包可能会\uff21-\uff5a]|[^\x00-\xff\u4e00-\u9fff]",
    re.IGNORECASE,
)
_ANCHOR = re.compile(
    r"^(?:(?:最终|正确)?(?:答案|结论|回答|诊断)(?:是|为)?\s*[::]?|图像?(?:中|上|里)|我?(?:认为|觉得)|应该|应当|当然|肯定|结果)\s*"
)
# "B. 否", "B (否)" and "否 (B)".
_LABELLED = re.compile(r"[(\[]?(?:选项?)?([A-Z])\s?[.:、()\[\]]\s?(\w+)[)\].]*|(\w+)\s?[(\[]([A-Z])[)\]]\.*")
# Neither: "有没有", "能否"; "无异常", "不正常", whose polarity belongs to the question; "是和否", "是或否".
_NEITHER = re.compile(
    r"(.)(?:没|不)\1|.{0,4}(?:是否|能否|可否|有无)|(?:不|无|没有|未见)(?:明显|见|太)?(?:正常|异常|健康)"
    r"|[是有对能会]\W+[否无错不没]\W*|(?s:.)*?(?:或|还是|又是|也是|既是| or )"
)
_SPOKEN: dict[str, YesNo] = {"true": "yes", "y": "yes", "false": "no", "n": "no"}


@cache
def _begins(groups: str, behind: str) -> re.Pattern[str]:
    """The words of groups of words.yaml at the beginning of an answer, longest first, with a pattern behind them."""
    forms = sorted((form for group in groups.split() for form in words.source()["zh"][group]), key=len, reverse=True)
    return re.compile(f"(?:{'|'.join(map(re.escape, forms))}){behind}")


def read_all(answers: Sequence[str]) -> Reading:
    """What the answers to an open question say of yes and no: the same, or nothing (rule 2)."""
    several = len({answer.strip() for answer in answers}) > 1
    if several and (sum(map(len, answers)) > 4_000 or len({key(answer) for answer in answers}) > 1):
        return UNCLEAR._replace(reason=DIFFER)
    readings = [read(answer) for answer in answers]
    return readings[-1] if len({reading.letters for reading in readings}) == 1 else UNCLEAR._replace(reason=DIFFER)


def read(answer: str) -> Reading:
    """The word an answer says, as the letters ("yes",) or ("no",) of a reading (rule 16)."""
    if len(answer) > MAX_ANSWER_CHARS or not _ANY.search(answer):
        return NEITHER
    try:
        plain = unwrap(answer)
    except NoCommitment as none:
        return UNCLEAR._replace(reason=str(none))
    reading = statement.read(plain, options_of(WORDS)._replace(letters=()))
    if reading == NOTHING:
        return Reading((yes_no,), "stated", "yes/no by word") if (yes_no := word(plain)) else NEITHER
    return reading._replace(letters=tuple(WORDS[LETTERS.index(letter)] for letter in reading.letters))


def word(plain: str) -> YesNo | None:
    """ "yes" or "no" where an answer is "true", "y", "false" or "n", or opens with a Chinese word for one of them;
    "不确定", "是否" and "不正常" are neither."""
    body = _ANCHOR.sub("", plain.strip().strip("\"'()[]").strip()).strip()
    if spoken := _SPOKEN.get(body.strip(" .!").casefold()):
        return spoken
    if _begins("unsure", "").match(body) or _NEITHER.match(body):
        return None
    if _begins("says_no", "(?!则)").match(body):
        return "no"
    alone, before_more = r"(?=$|[\s,.!;、吧啊])", "(?![无没否可待关时些限效害量谱力诊议])"
    says = _begins("says_yes begins_yes", alone).match(body) or _begins("begins_yes", before_more).match(body)
    return "yes" if says else None


def word_of(option: str) -> YesNo | None:
    """Which of the two an option text is, where it is a Chinese word for one of them and nothing else."""
    text, forms = normalise(option).strip(" ."), words.source()["zh"]
    return "yes" if text in forms["says_yes"] + forms["begins_yes"] else "no" if text in forms["says_no"] else None


def words_of(options: Sequence[str]) -> dict[str, YesNo]:
    """Letter -> word of the options that are one of the two."""
    return {LETTERS[i]: yes_no for i, option in enumerate(options) if (yes_no := word_of(option))}


def labelled(plain: str, polar: Mapping[str, YesNo]) -> Reading | None:
    """What "B. 否" and "否 (B)" say of such options; None where an answer has another form."""
    match = _LABELLED.fullmatch(_ANCHOR.sub("", plain.strip())) if polar else None
    yes_no = word_of(match[2] or match[3]) if match else None
    if not match or not yes_no:
        return None
    letter = match[1] or match[4]
    agreed = polar.get(letter) == yes_no
    return Reading((letter,), "stated", "commitment") if agreed else UNCLEAR._replace(reason=MISMATCH)


def spoken(plain: str, polar: Mapping[str, YesNo]) -> Reading:
    """What an answer that names none of the options says of them by yes or no."""
    yes_no = word(plain) if polar else None
    letters = tuple(letter for letter, option in polar.items() if option == yes_no)
    return Reading(letters, "stated", "yes/no by word") if len(letters) == 1 else NOTHING
