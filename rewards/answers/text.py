"""Answer text made comparable: one Unicode form, markup gone, cut into tokens in which signs, decimals and units keep
their meaning (rules 5, 9)."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NamedTuple

_SUPERSCRIPTS = str.maketrans({char: f"^{digit}" for digit, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
# Characters -> what they are read as.
_SIGNS = {
    "‘’ʼ‛′´": "'", "“”„«»「」『』": '"', "‐‑‒–−﹣－": "-", "—―⸺": " — ", "。｡": ".", "，": ",",
    "【〔〖〈《": "[", "】〕〗〉》": "]", "_•": " ", "…": "...",
    "✅✔☑✓": " correct ", "❌✗✘✖": " wrong ", "→⇒➜➔⟶": " → ",
}  # fmt: skip
_UNIFIED = str.maketrans({char: sign for chars, sign in _SIGNS.items() for char in chars})
_STRUCK = re.compile(
    r"~~[^~]{0,400}~~|<(s|del|strike)>[^<]{0,400}(?:<(?!/?\1>)[^<]{0,400}){0,8}</\1>|(?:\S[\u0335-\u0338])+"
    r"|\\(?:sout|st|[bx]?cancel)\{[^{}]{0,400}(?:\{[^{}]{0,400}\}[^{}]{0,400}){0,4}\}"
    r"|\[ \][^\n]{0,300}|\[[xX]\](?=\s{0,4}[\w*(])",  # "[ ] A" is not ticked
    re.IGNORECASE,
)
_RANGE_DASH = re.compile(r"(?<=\d)[—―](?=\d)")
_EMPHASIS = re.compile(
    r"</?(?:b|i|em|strong|u|span|code|pre|mark|sup|sub|font)(?:\s[^<>]{0,80})?/?>|\*\*", re.IGNORECASE
)
_LINE_BREAK = re.compile(r"</?(?:p|br|div|li|ul|ol|h[1-6])(?:\s[^<>]{0,80})?/?>", re.IGNORECASE)
_LINE_MARKS = re.compile(r"^[ \t]*(?:#{1,6}|[-*•])[ \t]+", re.MULTILINE)
# Special tokens, LaTeX commands, and a fence with the name of its language, a known one or on a line of its own.
_WRAPPERS = re.compile(
    r"<\|[^<>|]{0,40}\|>|\\(?:[a-zA-Z]+\*?|[()\[\]])|```(?:(?:json|text|plaintext|plain|markdown|md|latex|tex|python"
    r"|yaml|xml|html|[a-zA-Z]{2,12}(?=[ \t]*\n(?!\s*```)))\b)?|[`$~]"
)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(
    rf"(?P<c>[{_CJK}])|(?P<n>(?:(?<![^\W_])(?<![)\]])[+-])?(?:\d+(?:\.\d+|,\d{{3}}(?!\d))*|\.\d+))"
    rf"|(?P<w>[^\W\d_{_CJK}][^\W_{_CJK}]*(?:'[^\W\d_{_CJK}]+)*)|(?P<p>\.{{3,}}|<=|>=|\n|[^\w\s])"
)
MEANING = frozenset("<>≤≥+-%°^/±~≈=")


class Token(NamedTuple):
    """One token of an answer. kind: w word, n number, c one Chinese, Japanese or Korean character, s sign with meaning,
    p other punctuation."""

    text: str
    kind: str
    start: int
    end: int

    @property
    def key(self) -> str:
        """What is compared: folded, thousands separators removed."""
        return self.text.replace(",", "") if self.kind == "n" else self.text.casefold()


def normalise(text: str) -> str:
    """NFKC, invisible characters removed, quotes and dashes unified. No look-alike map: Cyrillic and Greek letters stay
    what they are."""
    text = html.unescape(text) if "&" in text else text
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.replace("…", "...").translate(_SUPERSCRIPTS))
        text = _RANGE_DASH.sub("-", "".join(char for char in text if not _invisible(char)))
    return text.translate(_UNIFIED).replace("->", " → ").replace("=>", " → ")


def _invisible(char: str) -> bool:
    return char > "\x7f" and (unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f")


def strip_markup(text: str) -> str:
    """Emphasis, fences, HTML and LaTeX wrappers removed; struck-out text is retracted (rule 8)."""
    text = _LINE_BREAK.sub("\n", _STRUCK.sub(" ", text))
    return _LINE_MARKS.sub("", _WRAPPERS.sub(" ", _EMPHASIS.sub("", text))).replace("*", " ")


def tokens(text: str) -> list[Token]:
    """The tokens of a normalised text. A hyphen inside a word is punctuation ("beta-blocker"), one before a digit is a
    sign ("-2")."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup or "p", match.group()
        if kind == "p":
            value = {"<=": "≤", ">=": "≥"}.get(value, value)
            hyphen = value == "-" and _is_hyphen(text, match.start(), match.end())
            kind = "s" if value in MEANING and not hyphen else "p"
        found.append(Token(value, kind, match.start(), match.end()))
    return found


def _is_hyphen(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1] if start else " ", text[end : end + 1] or " "
    return not before.isalnum() or (after.isalnum() and not (before.isdigit() and after.isdigit()))


def key(text: str) -> tuple[str, ...]:
    """The comparable form of a text: folded words, numbers and signs; punctuation dropped. "Beta-blocker" and "beta
    blocker" are the same."""
    return tuple(token.key for token in tokens(normalise(text)) if token.kind != "p")
