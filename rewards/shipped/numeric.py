"""The accuracy reward of numeric answers: one quantity with its unit, read by a small grammar of its own.

An answer that is arithmetic ("3/4", "2π", "1.2 × 10^9/l") is read by a second grammar (rewards/maths/expressions.py)
and compared by sympy in a child process. Nothing a model writes is ever evaluated.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rewards.answers.text import normalise, strip_markup
from rewards.maths import expressions, sympy_parent
from rewards.registry import RewardError, reward
from rewards.shipped.number_words import in_digits
from rollouts.records import Outcome, Parsed, Sample

# Unit -> (dimension, factor to the base unit of that dimension).
UNITS: dict[str, tuple[str, float]] = {
    **{name: ("length", factor) for name,
    factor in (("nm", 1e-9), ("µm", 1e-6), ("um", 1e-6), ("mm", 1e-3), ("cm", 1e-2), ("m", 1.0), ("km", 1e3))},
    **{name: ("mass", factor) for name,
    factor in (("ng", 1e-9), ("µg", 1e-6), ("ug", 1e-6), ("mcg", 1e-6), ("mg", 1e-3), ("g", 1.0), ("kg", 1e3))},
    **{name: ("volume", factor) for name,
    factor in (("µl", 1e-6), ("ul", 1e-6), ("ml", 1e-3), ("cc", 1e-3), ("cl", 1e-2), ("dl", 1e-1), ("l", 1.0))},
    **{name: ("time", factor) for name,
    factor in (("ms", 1e-3), ("s", 1.0), ("sec", 1.0), ("min", 60.0), ("h", 3600.0))},
    **{name: ("time", factor) for name, factor in (("hour", 3600.0), ("day", 86400.0), ("week", 604800.0))},
    **{name: ("age", factor) for name, factor in (("month", 1.0), ("year", 12.0))},
    **{name: ("pressure", factor) for name, factor in (("mmhg", 133.322), ("cmwater", 98.0665), ("kpa", 1000.0),
    ("pa", 1.0))},
    **{name: ("dose", factor) for name, factor in (("mgy", 1e-3), ("gy", 1.0))},
    **{name: ("radiation", factor) for name, factor in (("msv", 1e-3), ("sv", 1.0))},
    **{name: (name, 1.0) for name in ("%", "hu", "bpm", "mmol", "iu", "°", "°c", "°f")},
}  # fmt: skip
_ALIASES = dict(
    pair.split("=")
    for pair in (
        "percent=% degree=° second=s minute=min hr=h yr=year millimetre=mm millimeter=mm centimetre=cm centimeter=cm"
        " metre=m meter=m milligram=mg gram=g kilogram=kg millilitre=ml milliliter=ml litre=l liter=l μm=µm μg=µg μl=µl"
        " deg=° 厘米=cm 公分=cm 毫米=mm 微米=um 米=m 毫克=mg 微克=ug 千克=kg 公斤=kg 克=g 毫升=ml 升=l 岁=year"
        " 毫米汞柱=mmhg 摄氏度=°c"
    ).split()
)
_CHINESE_UNITS = "|".join(sorted((name for name in _ALIASES if not name.isascii() and name[0] > "一"), key=len)[::-1])
# Units in several words, as one. The degree alone may be an angle, so a scale is read only where it is named.
_SPELLINGS = (
    (re.compile(r"\b(?:mm|millimet(?:er|re)s?)\s+(?:hg|of\s+(?:hg|mercury))\b", re.IGNORECASE), "mmHg"),
    (re.compile(r"\bcm\s*(?:of\s+)?(?:h\s*\^?2\s*o|water)\b", re.IGNORECASE), "cmwater"),
    (re.compile(r"\bbeats?\s*(?:/|per)\s*min(?:ute)?\b|次\s*(?:/|每)\s*分钟?", re.IGNORECASE), "bpm"),
    (re.compile(r"\bper\s+cent\b", re.IGNORECASE), "percent"),
    (re.compile(r"(?<=[a-zµμ])\s+per\s+(?=[a-zµμ])", re.IGNORECASE), "/"),
    (re.compile(r"(?:°|\bdeg(?:rees?)?)\s*(?:celsius|centigrade|c)\b|\bcelsius\b", re.IGNORECASE), "°c"),
    (re.compile(r"(?:°|\bdeg(?:rees?)?)\s*(?:fahrenheit|f)\b|\bfahrenheit\b", re.IGNORECASE), "°f"),
    (re.compile(r"(?<=\d)\s*C(?![\w/-])"), "°c"),
    (re.compile(r"(?<=\d)\s+over\s+(?=\d)"), "/"),
)
# Chinese has no blank before a number: 约3厘米.
_NUMBER = re.compile(
    r"(?<![^\W一-鿿])(?<![.第])[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?(?!\d)"
)
_UNIT = re.compile(rf"\s*(%|°[cf]?|{_CHINESE_UNITS}|[^\W\d_]+(?:\s*/\s*[^\W\d_]+)?(?:\^[23])?)")
_ALTERNATIVE = re.compile(r"\b(?:or|either)\b|或")
_VAGUE = re.compile(r"\b(?:between|at least|at most|more than|less than|over|under|up to)\b|[<>≤≥±]|至少|大于|小于")
MAX_CHARS = 500
# Relative difference by which a quantity said again may be rounded: 3.5 cm (1.4 in), 98.6 °F (37 °C).
_ROUNDING = 0.01


class Quantity(NamedTuple):
    """A number with its unit: `factor` takes it to the base unit of its dimension; dimension "" = no unit."""

    number: float
    factor: float
    dimension: str
    is_count: bool
    # As it is written, in small letters.
    unit: str = ""

    @property
    def value(self) -> float:
        return self.number * self.factor


def quantities(text: str) -> list[Quantity] | None:
    """The quantities a text states, in order, one said again in another unit counted once ("3.5 cm (35 mm)"); None
    where it compares, offers alternatives, or is too long to be a numeric answer. Number words count where no number
    stands in digits."""
    if len(text) > MAX_CHARS:
        return None
    plain = strip_markup(normalise(text))
    if not _NUMBER.search(plain):
        plain = in_digits(plain)
    for pattern, unit in _SPELLINGS:
        plain = pattern.sub(unit, plain)
    if _VAGUE.search(plain.casefold()):
        return None
    numbers: list[Quantity] = []
    for match in _NUMBER.finditer(plain):
        number = float(match.group().replace(",", ""))
        numbers.append(_quantity(number, "." not in match.group(), plain[match.end() : match.end() + 30]))
    stated = _without_repetition(numbers)
    return None if _ALTERNATIVE.search(plain.casefold()) and len(stated) == len(numbers) else stated


def _without_repetition(numbers: list[Quantity]) -> list[Quantity]:
    """The first half where the second says the same quantities in other units. Two numbers in one unit are two: "3 x 3
    cm" is a size."""
    half = len(numbers) // 2
    first, again = _ranged(numbers[:half]), _ranged(numbers[half:])
    if len(numbers) not in (2, 4) or not all(one.dimension for one in (*first, *again)):
        return numbers
    pairs = list(zip(first, again, strict=True))
    same = all(_equal(two, one, _ROUNDING) and two.unit != one.unit for one, two in pairs)
    return numbers[:half] if same else numbers


def _quantity(value: float, whole: bool, rest: str) -> Quantity:
    match = _UNIT.match(rest)
    word = re.sub(r"\s", "", match.group(1)).casefold() if match else ""
    dimension, factor = _unit(word)
    return Quantity(value, factor, dimension, whole and not dimension, word)


def _unit(word: str) -> tuple[str, float]:
    """Dimension and factor of a case-folded unit: "cm^2", "mg/dl", "/l"; ("", 1) for any other word."""
    power = int(word[-1]) if word[-2:-1] == "^" else 1
    if (known := _unit_of(word[:-2] if power > 1 else word)) is not None:
        return (known[0], known[1]) if power == 1 else (f"{known[0]}^{power}", known[1] ** power)
    above, slash, below = word.partition("/")
    over, under = _unit_of(above), _unit_of(below)
    if slash and under and (over or not above):
        dimension, factor = over or ("", 1.0)
        return f"{dimension}/{under[0]}", factor / under[1]
    return "", 1.0


def _unit_of(word: str) -> tuple[str, float] | None:
    for form in (word, word.removesuffix("s") if len(word) > 2 else word):
        if (unit := UNITS.get(_ALIASES.get(form, form))) is not None:
            return unit
    return None


@reward("numeric")
def numeric(parsed: Parsed, sample: Sample, tolerance: float = 0.01) -> Outcome:
    """1 if the answer states the gold quantities in any equal unit, or arithmetic that comes to them, else 0. Range {0,
    1}. Source: ours.

    `tolerance`: relative; a whole number without unit must be exact. A missing unit is a wrong answer where the gold
    has one. Two numbers make a range ("0.3 to 0.5 mg"), in order. A gold text without a number raises RewardError,
    which becomes an error, never a 0, as does a sympy process that fails; one that does not answer in time is a
    timeout.
    """
    if parsed.answer and (settled := _as_expressions(parsed.answer, sample.gold_text, tolerance)) is not None:
        return settled
    gold = _ranged(quantities(sample.gold_text) or [])
    if not gold:
        raise RewardError(f"sample {sample.id!r}: the gold {sample.gold_text!r} holds no number that can be compared")
    values = quantities(parsed.answer) if parsed.answer else None
    if not values or len(values) != len(gold):
        return Outcome(
            0.0, reason="no single quantity" if not values else f"{len(values)} numbers, expected {len(gold)}"
        )
    right = all(_equal(a, b, tolerance) for a, b in zip(_ranged(values), gold, strict=True))
    return Outcome(1.0 if right else 0.0, reason="equal quantity" if right else "another quantity or unit")


def _as_expressions(answer: str, gold_text: str, tolerance: float) -> Outcome | None:
    """What arithmetic says, or None where neither text holds any, or the gold only looks like it ("120/80", "3-5")."""
    gold, expression = expressions.read(gold_text), expressions.read(answer)
    if gold is None or gold.is_notation:
        return None
    if expression is None:
        unread = not gold.is_number or expressions.MATHS.search(answer)
        return Outcome(0.0, reason="not one expression that can be read") if unread else None
    if (gold.is_number and expression.is_number) or (expression.is_notation and expression.tree[0] == "-"):
        return None
    (dimension, factor), (gold_dimension, gold_factor) = _unit(expression.unit.casefold()), _unit(gold.unit.casefold())
    if dimension != gold_dimension:
        return Outcome(0.0, reason="another unit")
    exact = gold.is_number and gold.tree[1].lstrip("-").isdigit() and not gold_dimension
    right = sympy_parent.equal(expression.tree, gold.tree, factor, gold_factor, 0.0 if exact else tolerance)
    return Outcome(1.0 if right else 0.0, reason="an equal expression" if right else "an expression of another value")


def _ranged(numbers: list[Quantity]) -> list[Quantity]:
    """The first number of a range takes the unit of the second: "3 to 5 mg"."""
    if len(numbers) == 2 and not numbers[0].dimension and numbers[1].dimension:
        low, high = numbers
        return [Quantity(low.number, high.factor, high.dimension, False, high.unit), high]
    return numbers


def _equal(amount: Quantity, gold: Quantity, tolerance: float) -> bool:
    amount = _on_scale(amount, gold.dimension)
    if amount.dimension != gold.dimension:
        return False
    if gold.is_count:
        return amount.value == gold.value
    return abs(amount.value - gold.value) <= tolerance * abs(gold.value) + 1e-12


def _on_scale(one: Quantity, scale: str) -> Quantity:
    """A temperature on the scale "°c" or "°f"; degrees without a scale are on either. Anything else as it is."""
    known = (one.dimension, scale)
    if known == ("°f", "°c"):
        return one._replace(number=(one.number - 32.0) / 1.8, dimension=scale)
    if known == ("°c", "°f"):
        return one._replace(number=one.number * 1.8 + 32.0, dimension=scale)
    degrees = ("°", "°c", "°f")
    return one._replace(dimension=scale) if one.dimension in degrees and scale in degrees else one
