"""Whether what a model wrote rests on what it was given: spans word for word, numbers, sides, negations and units."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rl.curate.text import words

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_NUMBER_WORDS = {
    name: str(value) for value, name in enumerate("two three four five six seven eight nine ten".split(), 2)
}
_CHINESE_NUMBER = re.compile(r"([二两三四五六七八九十])(?=[个枚处条块根支叶段节颗])")
_CHINESE_DIGITS = dict(zip("二两三四五六七八九十", "2 2 3 4 5 6 7 8 9 10".split(), strict=True))
_SIDES = {
    "left": re.compile(r"\bleft|左", re.IGNORECASE),
    "right": re.compile(r"\bright(?!\s+(?:after|before|away|now|angle))|右", re.IGNORECASE),
    "both": re.compile(
        r"\bbilateral|\bboth (?:sides|lungs|kidneys|eyes|breasts|lobes)|双[侧肺肾眼乳]|两侧|双边", re.IGNORECASE
    ),
}
_NEGATION = re.compile(
    r"\b(?:no|not|without|absen[ct]\w*|negative|none|never|neither|nor|free of|cannot|\w+n't|non-?\w+)\b"
    r"|没有|[无未非]|阴性|不",
    re.IGNORECASE,
)
# Chinese words with "not" in them whose English has none.
_NO_NEGATION = re.compile(r"不[规均张全清明等同良锈典对齐]|未来|无[名菌]|非常")
_UNITS = {
    "mm": r"毫米|mm\b|millimet",
    "cm": r"厘米|cm\b|centimet",
    "ml": r"毫升|ml\b|millilit",
    "%": r"%|％|percent",
    "HU": r"\bHU\b|亨氏",
    "mg": r"毫克|mg\b",
    "kg": r"公斤|千克|kg\b",
    "degrees": r"°|degree|度角",
}
_UNIT = {
    name: re.compile(rf"(?<=[\d\s])(?:{pattern})|^(?:{pattern})", re.IGNORECASE) for name, pattern in _UNITS.items()
}
_MARKUP = re.compile(r"<\s*[|/!a-zA-Z]|\[/?(?:INST|SYS|IMG)|\{\{|```")
# What a model says when it speaks of its input and not of the picture.
_OF_THE_INPUT = re.compile(
    r"\bcaptions?\b|\breports?\b|\bmeta-?data\b|\baccording to\b|\bfile ?names?\b|\bannotations?\b|\bfacts?\b"
    r"|\b(?:the|this) (?:label|description|text|information)s?\b|\bprovided\b|\bgiven (?:information|text|facts?|data)"
    r"|\bas (?:stated|described|mentioned)\b|\.(?:png|jpe?g|dcm|mp4|nii)\b"
    r"|标题|报告|元数据|根据(?:提供|所给|描述)|文件名|标注|所提供",
    re.IGNORECASE,
)
_ALL_OR_NONE = re.compile(
    r"\b(?:all|none|both|neither|either|any) of (?:the )?(?:above|these|them|other)|\ball answers\b"
    r"|以上(?:都|均|皆)|都[对是]|均[正不]",
    re.IGNORECASE,
)


def spans_occur(spans: Iterable[str], facts: Sequence[str]) -> bool:
    """Whether each span stands word for word in one of the facts; blanks may differ."""
    flat = [" ".join(fact.split()) for fact in facts]
    wanted = [" ".join(span.split()) for span in spans]
    return bool(wanted) and all(len(span) >= 2 and any(span in fact for fact in flat) for span in wanted)


def numbers(text: str) -> Counter[str]:
    """Numbers of a text, in digits or as words for two to ten, with how often each stands there."""
    counts = Counter(
        number.replace(",", ".").rstrip("0").rstrip(".") if "." in number.replace(",", ".") else number
        for number in _NUMBER.findall(text)
    )
    counts.update(_NUMBER_WORDS[word] for word in words(text) if word in _NUMBER_WORDS)
    counts.update(_CHINESE_DIGITS[digit] for digit in _CHINESE_NUMBER.findall(text))
    return counts


def sides(text: str) -> frozenset[str]:
    """Sides that a text names: left, right, both."""
    return frozenset(side for side, pattern in _SIDES.items() if pattern.search(text))


def units(text: str) -> frozenset[str]:
    """Units that stand behind numbers."""
    return frozenset(name for name, pattern in _UNIT.items() if pattern.search(text))


def negates(text: str) -> bool:
    """Whether a text says that something is not so."""
    return _NEGATION.search(_NO_NEGATION.sub(" ", text)) is not None


def unsupported(text: str, evidence: str) -> str:
    """Which number or side of a text does not stand in the evidence; "" = all do."""
    if missing := sorted(set(numbers(text)) - set(numbers(evidence))):
        return f"the number {missing[0]} does not stand in the evidence"
    known = sides(evidence)
    if missing := sorted(sides(text) - known - (frozenset({"left", "right"}) if "both" in known else frozenset())):
        return f"the side {missing[0]} does not stand in the evidence"
    return ""


def differs(text: str, translation: str) -> str:
    """What a translation changed of what may not change; "" = nothing that can be told."""
    if numbers(text) != numbers(translation):
        return "the translation has other numbers"
    if sides(text) != sides(translation):
        return "the translation has other sides"
    if units(text) != units(translation):
        return "the translation has other units"
    if negates(text) != negates(translation):
        return "the translation negates what is not negated, or the reverse"
    return ""


def speaks_of_input(*texts: str) -> bool:
    """Whether a text speaks of captions, reports, files or what was given, instead of the picture."""
    return any(_OF_THE_INPUT.search(text) for text in texts)


def holds_markup(*texts: str) -> bool:
    """Whether a text holds tags, template tokens or fences, which no question does."""
    return any(_MARKUP.search(text) for text in texts)


def all_or_none(*texts: str) -> bool:
    """Whether an option is "all of the above" or its like."""
    return any(_ALL_OR_NONE.search(text) for text in texts)


def overlap(text: str, other: str) -> float:
    """F1 of the words of two texts, 0 to 1: how much a translation back has kept."""
    first, second = Counter(words(text)), Counter(words(other))
    shared = (first & second).total()
    return 2 * shared / (first.total() + second.total()) if shared else 0.0
