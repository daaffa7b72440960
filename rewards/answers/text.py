"""Answer text made comparable: one Unicode form, markup gone, cut into tokens in which signs, decimals and units keep their meaning (rules 5, 9)."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NamedTuple

_SUPERSCRIPTS = str.maketrans({char: f"^{digit}" for digit, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_UNIFIED = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ‛′´", "'"),
        **dict.fromkeys("“”„«»「」『』", '"'),
        **dict.fromkeys("‐‑‒–−﹣－", "-"),
        **dict.fromkeys("—―⸺", " — "),
        **dict.fromkeys("【〔〖〈《", "["),
        **dict.fromkeys("】〕〗〉》", "]"),
        **dict.fromkeys("。｡", "."),
        "，": ",",
        "、": "、",
        "_": " ",
        "…": "...",
        "•": " ",
        **dict.fromkeys("✅✔☑✓", " correct "),
        **dict.fromkeys("❌✗✘✖", " wrong "),
        **dict.fromkeys("→⇒➜➔⟶", " → "),
    }
)
_STRUCK = re.compile(
    r"~~[^~]{0,400}~~|<(s|del|strike)>[^<]{0,400}(?:<(?!/?\1>)[^<]{0,400}){0,8}</\1>"
    r"|(?:\S[\u0335-\u0338])+"
    r"|\\(?:sout|st|[bx]?cancel)\{[^{}]{0,400}(?:\{[^{}]{0,400}\}[^{}]{0,400}){0,4}\}",
    re.IGNORECASE,
)
_RANGE_DASH = re.compile(r"(?<=\d)[—―](?=\d)")
_HTML = re.compile(r"</?(?:b|i|em|strong|u|span|code|pre|mark|sup|sub|font)(?:\s[^<>]{0,80})?/?>", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[^<>|]{0,40}\|>")
_LATEX = re.compile(r"\\(?:[a-zA-Z]+\*?|[()\[\]])")
# A fence with the name of its language, which is a known one or stands on a line of its own.
_FENCE = re.compile(
    r"```(?:(?:json|text|plaintext|plain|markdown|md|latex|tex|python|yaml|xml|html|[a-zA-Z]{2,12}(?=[ \t]*\n(?!\s*```)))\b)?"
)
_LINE_BREAK = re.compile(r"</?(?:p|br|div|li|ul|ol|h[1-6])(?:\s[^<>]{0,80})?/?>", re.IGNORECASE)
_LINE_MARKS = re.compile(r"^[ \t]*(?:#{1,6}|[-*•])[ \t]+", re.MULTILINE)
_TICKED = re.compile(r"\[[xX]\](?=\s{0,4}[\w*(])")
_UNTICKED = re.compile(r"\[ \][^\n]{0,300}")
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(
    rf"(?P<c>[{_CJK}])"
    r"|(?P<n>(?:(?<![^\W_])(?<![)\]])[+-])?(?:\d+(?:\.\d+|,\d{3}(?!\d))*|\.\d+))"
    rf"|(?P<w>[^\W\d_{_CJK}][^\W_{_CJK}]*(?:'[^\W\d_{_CJK}]+)*)"
    r"|(?P<p>\.{3,}|<=|>=|\n|[^\w\s])"
)
MEANING = frozenset("<>≤≥+-%°^/±~≈=")


class Token(NamedTuple):
    """One token of an answer. kind: w word, n number, c one Chinese, Japanese or Korean character, s sign with meaning, p other punctuation."""

    text: str
    kind: str
    start: int
    end: int

    @property
    def key(self) -> str:
        """What is compared: folded, thousands separators removed."""
        return self.text.replace(",", "") if self.kind == "n" else self.text.casefold()


def normalise(text: str) -> str:
    """NFKC, invisible characters removed, quotes and dashes unified. No look-alike map: Cyrillic and Greek letters stay what they are."""
    text = html.unescape(text) if "&" in text else text
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.replace("…", "...").translate(_SUPERSCRIPTS))
        text = _RANGE_DASH.sub("-", "".join(char for char in text if not _invisible(char)))
    return text.translate(_UNIFIED).replace("->", " → ").replace("=>", " → ")


def _invisible(char: str) -> bool:
    return char > "\x7f" and (unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f")


def strip_markup(text: str) -> str:
    """Emphasis, fences, HTML and LaTeX wrappers removed; struck-out text is retracted (rule 8)."""
    text = _STRUCK.sub(" ", text)
    text = _TICKED.sub(" ", _UNTICKED.sub(" ", text)) if "]" in text else text
    text = _LATEX.sub(" ", _SPECIAL.sub(" ", _HTML.sub("", _LINE_BREAK.sub("\n", _FENCE.sub(" ", text)))))
    text = _LINE_MARKS.sub("", text)
    return text.replace("**", "").replace("*", " ").replace("`", " ").replace("$", " ").replace("~", " ")


def tokens(text: str) -> list[Token]:
    """The tokens of a normalised text. A hyphen inside a word is punctuation ("beta-blocker"), one before a digit is a sign ("-2")."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "p"
        value = match.group()
        if kind == "p":
            value = {"<=": "≤", ">=": "≥"}.get(value, value)
            if value in MEANING and not (value == "-" and _is_hyphen(text, match.start(), match.end())):
                kind = "s"
        found.append(Token(value, kind, match.start(), match.end()))
    return found


def _is_hyphen(text: str, start: int, end: int) -> bool:
    before = text[start - 1] if start else " "
    after = text[end] if end < len(text) else " "
    if before.isspace() or not before.isalnum():
        return True
    return after.isalnum() and not (before.isdigit() and after.isdigit())


def key(text: str) -> tuple[str, ...]:
    """The comparable form of a text: folded words, numbers and signs; punctuation dropped. "Beta-blocker" and "beta blocker" are the same."""
    return tuple(token.key for token in tokens(normalise(text)) if token.kind != "p")
