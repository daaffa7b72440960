"""Reads a text as one arithmetic expression with an optional unit, by a small grammar of its own; nothing is ever
evaluated here.

    sum     := product (("+" | "-") product)*
    product := factor (("*" | "/") factor)*          a name or an opening bracket right after a number or bracket
    multiplies: 2π, 3(4 + 5) factor  := ("+" | "-") factor | atom ("^" factor)?
    atom    := NUMBER | INTEGER INTEGER "/" INTEGER | "pi" | FUNCTION "(" sum ")" | "(" sum ")" | "\\frac" "(" sum ")"
    "(" sum ")"

LaTeX's commands and braces, Unicode fractions, superscripts and roots are written in these terms first. What is read is
a tree of lists, which `rewards/maths/sympy_child.py` turns into numbers in a process of its own.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, NamedTuple

from rewards.answers.text import normalise

# ["number", "2.5"], ["pi"], ["call", name, tree], or ["+" | "-" | "*" | "/" | "^", tree, tree].
Tree = list[Any]
FUNCTIONS = ("sqrt", "cbrt", "exp", "ln", "log")
MAX_CHARS, MAX_TOKENS, MAX_DIGITS, MAX_EXPONENT, MAX_DEPTH = 300, 60, 15, 30, 12

_SUPER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LATEX = (
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!|quad)|\\[()\[\]]|\$"), " "),
    (re.compile(r"\\[dt]?frac"), " frac "),
    (re.compile(r"\\(?:cdot|times)|[×·∙⋅]"), "*"),
    (re.compile(r"\\div|[÷⁄∕]"), "/"),
    (re.compile(r"\\pi(?![a-zA-Z])|π"), " pi "),
    (re.compile(r"\\sqrt\s*\[\s*3\s*\]|∛"), " cbrt "),
    (re.compile(r"\\sqrt|√"), " sqrt "),
    (re.compile(r"\\(ln|log|exp)(?![a-zA-Z])"), r" \1 "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\boxed"), ""),
    (re.compile(r"(?<=[\d)\]}])\s*x\s*(?=10\s*(?:\^|\*\*))"), "*"),
)
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]{0,200})\}")
_BRACKETS = str.maketrans("{}[]", "()()")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d{1,2}(?!\d))?|\.\d+)"
    r"|(?P<name>[^\W\d_]+)|(?P<sign>\*\*|[-+*/^()]))"
)
_WORD = r"(?!(?:sqrt|cbrt|exp|ln|log|pi|frac)\b)[^\W\d_]{1,20}"
# Words before an expression; "x =" is one of them.
_LEAD = re.compile(rf"(?:{_WORD}(?:[ ,']{{1,3}}{_WORD}){{0,11}}(?:\s*[:=≈]|(?=\s)))?\s*")
_DENIES = re.compile(
    r"n't\b|\b(?:not|never|no|cannot|wrong|incorrect|or|if|between|over|under|half|than|least|most)\b|[或不非<>≤≥±]",
    re.IGNORECASE,
)
_UNIT = re.compile(r"\s*(/?\s*(?:%|°|[^\W\d_]+(?:\s*/\s*[^\W\d_]+)?(?:\^\(?[23]\)?)?))")
MAX_PROSE = 120
# Letters and signs that make a number part of something else, for texts that could not be read.
MATHS = re.compile(
    r"√|∛|π|\\[dt]?frac|\\sqrt|\\pi|\b(?:sqrt|pi|ln|log|exp)\b|[\d)}]\s*(?:\^|\*\*)|\d\s*[*×·÷]\s*\d|[⁰¹²³⁴⁵⁶⁷⁸⁹]{2}|⁻"
)


class Expression(NamedTuple):
    """An expression and the word after it, which may be a unit: "mg", "/l" in "10^9/l", or "" """

    tree: Tree
    unit: str

    @property
    def is_number(self) -> bool:
        return self.tree[0] == "number"

    @property
    def is_notation(self) -> bool:
        """What is written like arithmetic and means something else: a range 3-5, a Gleason score 3+4, a blood pressure
        120/80."""
        sign, *sides = self.tree
        if sign not in ("+", "-", "/") or not all(side[0] == "number" for side in sides):
            return False
        return sign != "/" or float(sides[0][1]) >= float(sides[1][1])


class _Unreadable(Exception):
    """The text is no expression of this grammar."""


def read(text: str) -> Expression | None:
    """The expression a text states, after words such as "the ratio is", before at most a unit; None where it is none,
    or too much of one."""
    if len(text) > MAX_CHARS:
        return None
    plain = _plain(text)
    lead = _LEAD.match(plain)
    rest = plain[lead.end() :] if lead else plain
    tokens = _tokens(rest)
    try:
        reader = _Reader(tokens)
        tree = reader.sum(0)
    except _Unreadable:
        return None
    after = rest[tokens[reader.place - 1][2] :]
    unit = _UNIT.match(after)
    prose = (plain[: lead.end()] if lead else "") + " " + (after[unit.end() :] if unit else after)
    if (
        len(prose) > MAX_PROSE
        or _DENIES.search(prose)
        or re.search(r"[\d*+^=/]|\b(?:sqrt|pi|frac)\b", prose.replace("=", " ", 1))
    ):
        return None
    return Expression(tree, re.sub(r"[\s()]", "", unit.group(1)) if unit else "")


def _plain(text: str) -> str:
    """One spelling for the many of the same thing."""
    text = "".join(" " + char if "<fraction>" in unicodedata.decomposition(char) else char for char in text)
    text = _SUPERSCRIPT.sub(_power, text)
    for pattern, written in _LATEX:
        text = pattern.sub(written, text)
    for _ in range(3):
        text = _WRAPPED.sub(r" \1 ", text)
    text = normalise(text).translate(_BRACKETS).replace("⁄", "/").strip()
    if text.startswith("**") and text.endswith("**") and len(text) > 4:  # bold, not a power
        text = text[2:-2]
    return text.strip(" \t\n`\"'").lstrip("≈=").strip()


def _power(match: re.Match[str]) -> str:
    digits = match.group().translate(_SUPER)
    return f"^{digits}" if len(digits) == 1 else f"^({digits})"


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and end of each token, up to the first character that begins none."""
    tokens: list[tuple[str, str, int]] = []
    place = 0
    while (match := _TOKEN.match(text, place)) and len(tokens) <= MAX_TOKENS:
        tokens.append((match.lastgroup or "", match.group(match.lastgroup or 0), match.end()))
        place = match.end()
    return tokens


class _Reader:
    """Recursive descent over the tokens; stops before the first name that is neither a function nor a constant: a
    unit."""

    def __init__(self, tokens: list[tuple[str, str, int]]) -> None:
        if len(tokens) > MAX_TOKENS:
            raise _Unreadable
        self.tokens, self.place = tokens, 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        kind, text, _ = self.tokens[self.place + ahead] if self.place + ahead < len(self.tokens) else ("", "", 0)
        return kind, "^" if text == "**" else text

    def take(self, text: str) -> bool:
        if self.peek() != ("sign", text):
            return False
        self.place += 1
        return True

    def sum(self, depth: int) -> Tree:
        tree = self.product(depth)
        while self.peek() in (("sign", "+"), ("sign", "-")):
            _, sign = self.peek()
            self.place += 1
            tree = [sign, tree, self.product(depth)]
        return tree

    def product(self, depth: int) -> Tree:
        tree = self.factor(depth)
        while True:
            kind, text = self.peek()
            if kind == "sign" and text in "*/":
                if text == "/" and not self.starts_factor(1):
                    return tree  # "/l" of a unit
                self.place += 1
                tree = [text, tree, self.factor(depth)]
            elif (kind == "name" and text in (*FUNCTIONS, "pi", "frac")) or (kind, text) == ("sign", "("):
                tree = ["*", tree, self.factor(depth)]
            else:
                return tree

    def starts_factor(self, ahead: int) -> bool:
        kind, text = self.peek(ahead)
        return kind == "number" or text in (*FUNCTIONS, "pi", "frac", "(", "-", "+")

    def factor(self, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise _Unreadable
        if self.take("+"):
            return self.factor(depth + 1)
        if self.take("-"):
            tree = self.factor(depth + 1)
            return (
                ["number", f"-{tree[1]}"] if tree[0] == "number" and tree[1][0] != "-" else ["-", ["number", "0"], tree]
            )
        tree = self.atom(depth)
        if self.take("^"):
            tree = ["^", tree, self.factor(depth + 1)]
            _refuse_towers(tree)
        return tree

    def atom(self, depth: int) -> Tree:
        kind, text = self.peek()
        self.place += 1
        if kind == "number":
            if sum(char.isdigit() for char in text) > MAX_DIGITS:
                raise _Unreadable
            return self.mixed(text) or ["number", text.replace(",", "").lower()]
        if (kind, text) == ("name", "pi"):
            return ["pi"]
        if (kind, text) == ("name", "frac"):
            return ["/", self.bracketed(depth), self.bracketed(depth)]
        if kind == "name" and text in FUNCTIONS:
            # "√2" has no bracket: the sign takes the next atom.
            inner = self.bracketed(depth) if self.peek()[1] == "(" else self.atom(depth + 1)
            if text == "exp" and (_holds(inner, "^") or _holds(inner, "call")):
                raise _Unreadable  # a tower
            return ["call", text, inner]
        if (kind, text) == ("sign", "("):
            self.place -= 1
            return self.bracketed(depth)
        raise _Unreadable

    def bracketed(self, depth: int) -> Tree:
        if depth > MAX_DEPTH or not self.take("("):
            raise _Unreadable
        tree = self.sum(depth + 1)
        if not self.take(")"):
            raise _Unreadable
        return tree

    def mixed(self, whole: str) -> Tree | None:
        """1 1/2 is one and a half."""
        (kind, above), slash, (last, below) = self.peek(), self.peek(1), self.peek(2)
        if not (
            whole.isdigit()
            and kind == last == "number"
            and slash == ("sign", "/")
            and above.isdigit()
            and below.isdigit()
        ):
            return None
        self.place += 3
        return ["+", ["number", whole], ["/", ["number", above], ["number", below]]]


def _refuse_towers(power: Tree) -> None:
    """10^10^10 is no answer, and nothing that a reader would write has a power inside a power or an exponent beyond
    30."""
    _, base, exponent = power
    if _holds(base, "^") or _holds(exponent, "^") or _holds(exponent, "call"):
        raise _Unreadable
    if any(abs(float(number)) > MAX_EXPONENT for number in _numbers(exponent)) or _holds(exponent, "*"):
        raise _Unreadable


def _holds(tree: Tree, kind: str) -> bool:
    return tree[0] == kind or any(_holds(part, kind) for part in tree[1:] if isinstance(part, list))


def _numbers(tree: Tree) -> list[str]:
    if tree[0] == "number":
        return [tree[1]]
    return [number for part in tree[1:] if isinstance(part, list) for number in _numbers(part)]
