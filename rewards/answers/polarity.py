"""Yes and no by whole word, in English and Chinese (ANSWERS.md, rule 16)."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from rewards.answers.text import normalise
from rewards.answers.words import source

YesNo = Literal["yes", "no"]
# An answer without any of these is neither; cheaper than reading it.
_ANY = re.compile(
    r"yes|no|true|false|^\W*[yn]\W*$|[是否有没无不对存正未错包可能会\uff21-\uff5a]|[^\x00-\xff\u4e00-\u9fff]",
    re.IGNORECASE,
)
_ANCHOR = re.compile(
    r"^(?:(?:最终|正确)?(?:答案|结论|回答|诊断)(?:是|为)?\s*[::]?|我?(?:认为|觉得)|应该|应当|当然|肯定|结果)\s*"
)
# "B. 否", "B (否)" and "否 (B)".
LABELLED = re.compile(r"[(\[]?(?:选项?)?([A-Z])\s?[.:、()\[\]]\s?(\w+)[)\].]*|(\w+)\s?[(\[]([A-Z])[)\]]\.*")
# "有没有", "能不能": a question. "无异常", "不正常": whose polarity belongs to the question.
_ASKS = re.compile(
    r"^(.)(?:没|不)\1|^.{0,4}(?:是否|能否|可否|有无)|^(?:不|无|没有|未见)(?:明显|见|太)?(?:正常|异常|健康)"
)
_BOTH = re.compile(r"[是有对能会]\W+[否无错不没]\W*|.*(?:或|还是|又是|也是|既是| or )", re.DOTALL)
_SPOKEN = {"true": "yes", "y": "yes", "false": "no", "n": "no"}


def may_say(answer: str) -> bool:
    """Whether a reading can find yes or no at all."""
    return bool(_ANY.search(answer))


def spoken(plain: str) -> YesNo | None:
    """ "yes" or "no" for an answer that is nothing but "true", "y", "false" or "n"."""
    return _SPOKEN.get(plain.strip(" .!\"'()[]\n").casefold())  # type: ignore[return-value]  # the values are the two words


@cache
def _groups() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """unsure, no, yes alone, and yes before more, each as the beginning of an answer."""
    words = source()["zh"]
    unsure, no, yes, begins = (
        "|".join(sorted(map(re.escape, words[name]), key=len, reverse=True))
        for name in ("unsure", "says_no", "says_yes", "begins_yes")
    )
    return (
        re.compile(rf"(?:{unsure})"),
        re.compile(rf"(?:{no})(?!则)"),
        re.compile(rf"(?:{yes}|{begins})(?=$|[\s,.!;、吧啊])"),
        re.compile(rf"(?:{begins})(?![无没否可待关时些限效害量谱力诊议])"),
    )


def chinese(plain: str) -> YesNo | None:
    """ "yes" or "no" by the opening word of a Chinese answer; "不确定", "是否" and "不正常" are neither."""
    body = _ANCHOR.sub("", plain.strip().strip("\"'()[]").strip()).strip()
    unsure, no, yes, begins = _groups()
    if unsure.match(body) or _ASKS.match(body) or _BOTH.match(body):
        return None
    if no.match(body):
        return "no"
    return "yes" if yes.match(body) or begins.match(body) else None


def word_of(option: str) -> YesNo | None:
    """Which of the two an option text is, where it is a Chinese word for one of them and nothing else."""
    text = normalise(option).strip().strip(".").strip()
    words = source()["zh"]
    return "yes" if text in words["says_yes"] + words["begins_yes"] else "no" if text in words["says_no"] else None


def labelled(plain: str) -> tuple[str, YesNo] | None:
    """Letter and word of "B. 否" and "否 (B)"."""
    match = LABELLED.fullmatch(_ANCHOR.sub("", plain.strip()))
    word = word_of(match[2] or match[3]) if match else None
    return (match[1] or match[4], word) if match and word else None
