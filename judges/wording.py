"""How texts are read before they are compared: what a judge may see of a text, and the form in which two answers are the same one."""

from __future__ import annotations

import re
import unicodedata

# NFKC turns these into plain digits and would make 10² of 102 and 1½ of 11/2.
_SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True))
_SUPERSCRIPTS = re.compile(r"[⁺⁻]*[⁰¹²³⁴⁵⁶⁷⁸⁹][⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]*")
_FRACTION_AFTER_DIGIT = re.compile(r"(?<=\d)(?=[¼½¾⅐-⅞])")
# Drawn as nothing and not of a category that says so: fillers, joiners, blanks, variation selectors (Unicode, Default_Ignorable_Code_Point).
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn")

# A capital A is left alone: "A positive" is a blood group.
_ARTICLES = re.compile(r"^(?:[Tt]he|[Aa]n|a(?!\s+(?:positive|negative)))\s+(?=\w)")
# A leading point stays (".5 mg"), and so does every sign.
_HEADS = " \t\n,;:!?([{}])，；：！？“”‘’「」『』【】（）。"
_ENDS = _HEADS + "."
# Emphasis and quotation are dropped in pairs only: a single one at the end may be meaning (T2*, 5', 5").
_PAIRED = ("**", "__", "*", "_", "`", '"', "'")
_BULLET = re.compile(r"^[*•]\s+")
_TAGS = re.compile(r"</?answer>", re.IGNORECASE)
_LATEX = re.compile(r"\\(?:boxed|text|mathrm|mathbf|textbf)\s*\{|[{}]")
_MATH = re.compile(r"\$([^$]*)\$")
# Case is meaning in a unit: mM and mm, Mg and mg.
_UNIT = re.compile(r"(?<![A-Za-z])\d[\d.,]*\s*([A-Za-zµμ]{1,4})(?![A-Za-z])")


def clean(text: str) -> str:
    """What a judge may see of a text: NFKC; control, zero-width, bidi and Unicode-tag characters removed; white space collapsed."""
    text = _SUPERSCRIPTS.sub(lambda match: "^" + "".join(_SUPERSCRIPT[char] for char in match[0]), text)
    normal = unicodedata.normalize("NFKC", _FRACTION_AFTER_DIGIT.sub(" ", _INVISIBLE.sub("", text)))
    normal = _INVISIBLE.sub("", normal).replace("\u2044", "/")
    kept = "".join(
        char if unicodedata.category(char) not in _HIDDEN_CATEGORIES else " " if char in "\n\t\r" else "" for char in normal
    )
    return re.sub(r"\s+", " ", kept).strip()


def fold(text: str) -> str:
    """The conservative form in which two answers are equal: cleaned, case-folded, outer article and punctuation dropped. Signs and digits stay."""
    return _bare(text).casefold()


def equals_reference(answer: str, reference: str, aliases: tuple[str, ...] = ()) -> bool:
    """True if the whole answer is the reference or one of its aliases after `fold`; nothing is contained, stemmed or guessed."""
    return bool(fold(answer)) and any(_equal(answer, wording) for wording in (reference, *aliases))


def _equal(answer: str, wording: str) -> bool:
    one, other = _bare(answer), _bare(wording)
    return one.casefold() == other.casefold() and _UNIT.findall(one) == _UNIT.findall(other)


def _bare(text: str) -> str:
    text = _LATEX.sub(" ", _TAGS.sub(" ", _MATH.sub(r"\1", clean(text))))
    text = _outer(_BULLET.sub("", re.sub(r"\s+", " ", text).strip()))
    return _outer(_ARTICLES.sub("", text))


def _outer(text: str) -> str:
    """Without the punctuation, quotation and emphasis around it."""
    while True:
        stripped = text.lstrip(_HEADS).rstrip(_ENDS)
        for mark in _PAIRED:
            inside = stripped[len(mark) : -len(mark)]
            if inside and stripped.startswith(mark) and stripped.endswith(mark):
                stripped = inside
        if stripped == text:
            return text
        text = stripped
