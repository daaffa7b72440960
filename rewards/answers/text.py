"""Answer text made comparable: one Unicode form, markup gone, cut into tokens that keep their meaning (rules 5, 9)."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import NamedTuple

_SUPERSCRIPTS = str.maketrans({char: f"^{digit}" for digit, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_SIGNS = {  # characters -> what they are read as
    "‘’ʼ‛′´": "'", "“”„«»「」『』": '"', "‐‑‒–−﹣－": "-", "—―⸺": " — ", "。｡": ".", "，": ",",
    "【〔〖〈《": "[", "】〕〗〉》": "]", "_•": " ", "…": "...",
    "✅✔☑✓": " correct ", "❌✗✘✖": " wrong ", "→⇒➜➔⟶": " → ",
}  # fmt: skip
_UNIFIED = str.maketrans({char: sign for chars, sign in _SIGNS.items() for char in chars})
_STRUCK = re.compile(
    r"(?i)~~[^~]{0,400}~~|<(s|del|strike)>[^<]{0,400}(?:<(?!/?\1>)[^<]{0,400}){0,8}</\1>|(?:\S[\u0335-\u0338])+"
    r"|\\(?:sout|st|[bx]?cancel)\{[^{}]{0,400}(?:\{[^{}]{0,400}\}[^{}]{0,400}){0,4}\}"
    r"|\[ \][^\n]{0,300}|\[x\](?=\s{0,4}[\w*(])"  # "[ ] A" is not ticked
)
_TAGS = re.compile(
    r"(?i)\*\*|(?<!<)</?"
    r"(?:(p|br|div|li|ul|ol|h[1-6])|b|i|em|strong|u|span|code|pre|mark|sup|sub|font)(?:\s[^<>]{0,80})?/?>|</\w{1,20}>"
)
_LINE_MARKS = re.compile(r"(?m)^[ \t]*(?:(?:#{1,6}|[-*•])[ \t]+|\(?(?:i(?=\)(?s:.){1,300}\bii\))|ii+|iv)\))")
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
_ALIKE = {"<=": "≤", ">=": "≥", "[": "(", "]": ")"}


class Token(NamedTuple):
    """One token. kind: w word, n number, c Chinese, Japanese or Korean sign, s sign with meaning, p punctuation."""

    text: str
    kind: str
    start: int
    end: int
    key: str  # what is compared: folded, thousands separators removed


def normalise(text: str) -> str:
    """NFKC, invisible characters removed, quotes and dashes unified; Cyrillic and Greek letters stay what they are."""
    text = html.unescape(text) if "&" in text else text
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.replace("…", "...").translate(_SUPERSCRIPTS))
        hidden = {char for char in {*text} if unicodedata.category(char) == "Cf" or "\ufe00" <= char <= "\ufe0f"}
        text = re.sub(r"(?<=\d)[—―](?=\d)", "-", text.translate(dict.fromkeys(map(ord, hidden))))
    return text.translate(_UNIFIED).replace("->", " → ").replace("!=", " ≠ ").replace("=>", " → ")


def strip_markup(text: str) -> str:
    """Emphasis, fences, HTML and LaTeX wrappers removed; struck-out text is retracted (rule 8)."""
    text = _TAGS.sub(lambda tag: "\n" if tag[1] else "", _STRUCK.sub(" ", text))
    return _LINE_MARKS.sub("", _WRAPPERS.sub(" ", text)).replace("*", " ")


def tokens(text: str) -> list[Token]:
    """The tokens of a normalised text. The hyphen of "beta-blocker" is punctuation, the one of "-2" is a sign."""
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind, value = match.lastgroup or "p", match.group()
        if kind == "p":
            value = "…" if value.startswith("...") else _ALIKE.get(value, value)
            before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
            inside = after.isalnum() and not (before.isdigit() and after.isdigit())
            kind = "s" if value in MEANING and not (value == "-" and (inside or not before.isalnum())) else "p"
        folded = value.replace(",", "") if kind == "n" else value.casefold()
        tokens.append(Token(value, kind, match.start(), match.end(), folded))
    return tokens


def key(text: str) -> tuple[str, ...]:
    """The comparable form of a text: folded words, numbers and signs; "beta-blocker" is "beta blocker"."""
    return tuple(token.key for token in tokens(normalise(text)) if token.kind != "p")
