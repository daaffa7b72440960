"""Normalises texts before they are compared: what a judge may see of a text, and the form in which two answers are
equal."""

from __future__ import annotations

import re
import unicodedata

# NFKC turns these into plain digits and would make 10² of 102 and 1½ of 11/2.
_SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True))
_SUPERSCRIPTS = re.compile(r"[⁺⁻]*[⁰¹²³⁴⁵⁶⁷⁸⁹][⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]*")
_FRACTION_AFTER_DIGIT = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞])")
# And of two circled or Roman numerals side by side another number: ①② of 12, ⅠⅡ of III.
_NUMERALS = "\u2160-\u2188\u2460-\u249b\u24ea-\u24ff\u2776-\u2793"
_NUMERAL_BESIDE_NUMERAL = re.compile(f"(?<=[{_NUMERALS}0-9])(?=[{_NUMERALS}])|(?<=[{_NUMERALS}])(?=[0-9])")
# Drawn as nothing and not of a category that says so: fillers, joiners, blanks, variation selectors (Unicode,
# Default_Ignorable_Code_Point).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn")

# A capital A is left alone: "A positive" is a blood group.
_ARTICLES = re.compile(r"^(?:[Tt]he|[Aa]n|a(?!\s+(?:positive|negative)))\s+(?=\w)")
# A leading point or comma stays (".5 mg", ",5 mg"), and so does every sign; "!left" is not left.
_HEADS = " \t\n;:?([{}])；：？“”‘’「」『』【】（）。"
_ENDS = _HEADS + ".,!，！"
# Emphasis and quotation are dropped in pairs only: a single one at the end may be meaning (T2*, 5', 5").
_PAIRED = ("**", "__", "*", "_", "`", '"', "'")
_BULLET = re.compile(r"^[*•]\s+")
_TAGS = re.compile(r"</?answer>", re.IGNORECASE)
_LATEX = re.compile(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{|[{}]")
_MATH = re.compile(r"\$([^$]*)\$")
# Case is meaning in a unit: mM and mm, Mg and mg.
_UNIT = re.compile(r"(?<![A-Za-z])\d[\d.,]*\s*([A-Za-zµμ]{1,4})(?![A-Za-z])")
# And in a symbol (PaO2 and PAO2, Mg and mg) and a genotype (DD and dd). Roman numerals are none of these, nor are the
# short words of a sentence.
_SYMBOL = re.compile(r"[^\W_]{2,5}")
_GENOTYPE = re.compile(r"(?:([^\Wivx])\1)+")
_SHORT_WORDS = frozenset("no in on at to by of it is as an or if up".split())


def clean(text: str) -> str:
    """Return what a judge may see of a text: NFKC, without control, zero-width, bidi and Unicode-tag characters, white
    space collapsed."""
    text = _SUPERSCRIPTS.sub(lambda match: "^" + "".join(_SUPERSCRIPT[char] for char in match[0]), text)
    text = _NUMERAL_BESIDE_NUMERAL.sub(" ", _FRACTION_AFTER_DIGIT.sub(" ", _INVISIBLE.sub("", text)))
    normal = unicodedata.normalize("NFKC", text)
    normal = _INVISIBLE.sub("", normal).replace("\u2044", "/")
    visible = "".join(
        char if unicodedata.category(char) not in _HIDDEN_CATEGORIES else " " if char.isspace() else ""
        for char in normal
    )
    return re.sub(r"\s+", " ", visible).strip()


def fold(text: str) -> str:
    """Return the conservative form in which two answers are equal: cleaned, case-folded, without outer article and
    punctuation. Signs and digits stay."""
    return _bare(text).casefold()


def equals_reference(answer: str, reference: str, aliases: tuple[str, ...] = ()) -> bool:
    """Whether the whole answer is the reference or one of its aliases after `fold`. Nothing is contained, stemmed or
    guessed."""
    return bool(fold(answer)) and any(_equal(answer, wording) for wording in (reference, *aliases))


def _equal(answer: str, wording: str) -> bool:
    one, other = _bare(answer), _bare(wording)
    if one.casefold() != other.casefold() or _UNIT.findall(one) != _UNIT.findall(other):
        return False
    symbols = zip(re.findall(r"[^\W_]+", one), re.findall(r"[^\W_]+", other), strict=False)
    return all(_same_case(word, twin) for word, twin in symbols)


def _same_case(word: str, twin: str) -> bool:
    """False for a symbol that is written in another mixture of cases; words and abbreviations may be in either case."""
    if word == twin or not _SYMBOL.fullmatch(word) or word.lower() in _SHORT_WORDS:
        return True
    if _GENOTYPE.fullmatch(word.lower()) or (len(word) == 2 and (word.istitle() or twin.istitle())):
        return False
    return all(one in (one.lower(), one.upper(), one.capitalize()) for one in (word, twin))


def _bare(text: str) -> str:
    text = _LATEX.sub(" ", _TAGS.sub(" ", _MATH.sub(r"\1", clean(text))))
    text = _outer(_BULLET.sub("", re.sub(r"\s+", " ", text).strip()))
    return _outer(_ARTICLES.sub("", text))


def _outer(text: str) -> str:
    """Return the text without the punctuation, quotation and emphasis around it."""
    while True:
        stripped = text.lstrip(_HEADS).rstrip(_ENDS)
        for mark in _PAIRED:
            inside = stripped[len(mark) : -len(mark)]
            if inside and stripped.startswith(mark) and stripped.endswith(mark):
                stripped = inside
        if stripped == text:
            return text
        text = stripped
