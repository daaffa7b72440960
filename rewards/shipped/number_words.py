"""Numbers written in words, English and Chinese, as digits: "twenty-one", "one hundred and five", "three point five",
十二, 两, 一百零五, 三点五, 百分之二十. A small grammar; nothing is evaluated."""

from __future__ import annotations

import re

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_UNITS = {word: value for value, word in enumerate(_SMALL)}
_UNITS |= {word: 10 * value for value, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = "|".join(sorted([*_UNITS, *_SCALES, "dozen"], key=len, reverse=True))
_ENGLISH = re.compile(
    rf"\b(?:(?:an?|half a)\s+(?=hundred|thousand|million|dozen))?(?:{_WORD})\b"
    rf"(?:(?:\s*-\s*|\s+(?:and\s+)?)(?:{_WORD})\b)*(?:\s+point(?:\s+(?:{'|'.join(_SMALL[:10])})\b)+)?",
    re.IGNORECASE,
)
_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_PLACES = {"十": 10, "百": 100, "千": 1000}
_NUMERAL = "零〇一二两兩三四五六七八九十百千万"
# What stands behind a Chinese number that counts or measures. Without it 二尖瓣 (mitral valve), 十二指肠 (duodenum) and
# 一般 (in general) would hold numbers; 第 makes an ordinal, and 统一, 唯一 and their like are words.
_MEASURES = (
    "厘米|毫米|微米|米|公分|毫克|微克|千克|公斤|克|毫升|升|小时|分钟|分|秒|天|日|周|个月|月|年|岁|次|度|个|枚|处|只|根|条|例"
    "|块|片|颗|节|对|张|支|名|人|位|层|倍|成|种|段|组|级|期"
)
_CHINESE = re.compile(
    rf"(?:(?P<percent>百分之)|(?<![第统唯之单同{_NUMERAL}]))(?P<whole>[{_NUMERAL}]+)"
    r"(?:点(?P<part>[零〇一二三四五六七八九]+))?"
    rf"(?![{_NUMERAL}])(?=\s*(?:{_MEASURES}|%|[a-zA-Z°]|[^\w]|$))"
)


def in_digits(text: str) -> str:
    """Return the text with its number words as digits; a word that is no number, or part of another word, stays."""
    return _CHINESE.sub(_chinese, _ENGLISH.sub(_english, text))


def _english(match: re.Match[str]) -> str:
    whole, _, part = re.sub(r"\s+", " ", match.group().casefold()).partition(" point ")
    words = re.findall(r"[a-z]+", whole)
    value = _english_value(words)
    if value is None:
        return match.group()
    return f"{value}.{''.join(str(_UNITS[word]) for word in part.split())}" if part else str(value)


def _english_value(words: list[str]) -> int | None:
    """The number that words say; None where they are no single number, such as "three four"."""
    if words[-1] == "dozen":
        before = [word for word in words[:-1] if word not in ("a", "an")]
        if before == ["half"]:
            return 6
        count = _english_value(before) if before else 1
        return None if count is None else 12 * count
    total, current, room, ceiling = 0, 0, 1 << 60, 1 << 60
    for word in words:
        if word in ("and", "a", "an"):
            continue
        if word in _SCALES:
            scale = _SCALES[word]
            if scale >= ceiling or (scale == 100 and current >= 100):
                return None
            current, room = max(current, 1) * scale, scale
            if scale > 100:
                total, current, ceiling = total + current, 0, scale
        elif word in _UNITS:
            value = _UNITS[word]
            # A word adds only where those before leave room for it: "twenty-one", not "twenty thirty" or "one two".
            if value >= room or (value == 0 and len(words) > 1):
                return None
            current, room = current + value, 10 if value >= 20 else 1
        else:
            return None
    return total + current


def _chinese(match: re.Match[str]) -> str:
    value = _chinese_value(match["whole"])
    if value is None:
        return match.group()
    part = "".join(str(_DIGITS[char]) for char in match["part"] or "")
    return f"{value}{'.' + part if part else ''}{'%' if match['percent'] else ''}"


def _chinese_value(numeral: str) -> int | None:
    """The number of a numeral: by places (一百零五), or digit by digit (一二〇); None where it is neither."""
    if "万" in numeral:
        above, _, below = numeral.partition("万")
        high = _chinese_value(above) if above else None
        low = (_chinese_value(below) if "万" not in below else None) if below else 0
        return None if high is None or low is None else high * 10_000 + low
    if not any(char in _PLACES for char in numeral):
        return int("".join(str(_DIGITS[char]) for char in numeral))
    total, digit, last = 0, None, 10_000
    for char in numeral:
        if char in _PLACES:
            place = _PLACES[char]
            if place >= last or (digit is None and place > 10):
                return None
            total, digit, last = total + (1 if digit is None else digit) * place, None, place
        elif digit not in (None, 0):
            return None
        else:
            digit = _DIGITS[char]
    return total + (digit or 0)
