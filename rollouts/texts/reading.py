"""One way to open text files that people wrote, to read a line of JSON, and to print a value in an error.

A leaf that all packages may import: a bad line costs itself, with a reason in the words of whoever made the file, and
never the report of bad lines.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOST_SHOWN = 80
# Marks with which other encodings begin; UTF-8's own mark is read over.
_OTHER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PAR1", "a Parquet table"),
    (b"PK\x03\x04", "a zip file (or a spreadsheet)"),
    (b"\x1f\x8b", "a gzip file"),
)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
# Letters and signs that take room and show nothing.
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800\u034f"
# How programs write a value that is not there. Words that may be an answer ("none", "N/A", "NAT") are not among them.
_MISSING = frozenset({"nan", "NaN", "<NA>", "NaT", "null", "NULL", "undefined", "#N/A"})


class TextFault(ValueError):
    """A file or a line that cannot be read; the message says why, without the file's name."""


class NoJson(TextFault):
    """The text is not JSON."""


def file_lines(path: Path) -> list[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank, without its end (LF or CRLF).

    Only these end a line: a text may hold U+2028 and the like. Raises OSError, and TextFault for a file that is no
    UTF-8 text at all.
    """
    data = path.read_bytes()
    _refuse_other_files(data)
    return [(number, line) for number, line in enumerate(data.splitlines(), start=1) if line.strip(b" \t\xef\xbb\xbf")]


def file_text(path: Path) -> str:
    """The whole text of a file. Raises OSError and TextFault."""
    data = path.read_bytes()
    _refuse_other_files(data)
    return decode(data)


def _refuse_other_files(data: bytes) -> None:
    for mark, name in _OTHER_MARKS:
        if data.startswith(mark):
            is_text = name.startswith("UTF")
            fix = "save it as UTF-8" if is_text else "expected a text file in UTF-8"
            raise TextFault(f"the file is {name}{', which Windows calls Unicode' if name == 'UTF-16' else ''}; {fix}")
    if b"\x00" in data[:4096]:
        raise TextFault("the file holds bytes of zero, as UTF-16 and binary files do; save it as text in UTF-8")


def decode(data: bytes) -> str:
    """UTF-8 with or without a byte-order mark. Raises TextFault."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start : error.start + 1]
        letter = byte.decode("cp1252", errors="replace")
        raise TextFault(
            f"not UTF-8: byte {error.start + 1} is 0x{byte.hex()}, which Windows writes for {letter!r} in code page"
            " 1252; save the file as UTF-8"
        ) from None


def parse(text: str, *, whole_file: bool = False) -> Any:
    """A JSON value. Refused are NaN, Infinity and numbers too large to be finite, a field that stands twice, and half
    of a surrogate pair; not in a `whole_file` of many rows, where whoever reads a row tells what is wrong with it.

    Raises NoJson, or TextFault for what is JSON and cannot be used.
    """

    def refuse(name: str) -> float:
        raise TextFault(f"not JSON: {name} is no value; leave the field out, or write null")

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) or whole_file else refuse(digits[:20])

    try:
        value = json.loads(
            text,
            object_pairs_hook=None if whole_file else _unique,
            parse_constant=None if whole_file else refuse,
            parse_float=number,
        )
    except TextFault:
        raise
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise NoJson(f"not JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise TextFault("not readable: nested too deeply") from None
    except ValueError:  # Python's limit on the digits of a whole number
        raise TextFault("not readable: a number of more than 4,300 digits") from None
    if r"\u" in text and not whole_file:
        refuse_half_pairs(value)
    return value


def parse_object(text: str, fields: str = "") -> dict[str, Any]:
    """One JSON object, as `parse` reads it; `fields`: what should stand in it, for the error. Raises TextFault."""
    value = parse(text)
    if not isinstance(value, dict):
        with_fields = f" with {fields}" if fields else ""
        raise TextFault(f"expected one JSON object{with_fields}, got a {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise TextFault(f"field {shorten(name)!r} stands there twice")
    return row


def refuse_half_pairs(value: Any) -> None:
    """Raise TextFault where a text in a JSON value holds half of a surrogate pair, which no file and no tokenizer
    takes."""
    left = [value]
    while left:  # no recursion: values may be nested as deeply as they can be read
        one = left.pop()
        if isinstance(one, str) and (half := _HALF_PAIR.search(one)):
            raise TextFault(f"holds half of a surrogate pair (\\u{ord(half[0]):04x}), which is no character")
        if isinstance(one, Mapping):
            left += [*one, *one.values()]
        elif isinstance(one, (list, tuple)):
            left += one


def shorten(text: str, most: int = _MOST_SHOWN) -> str:
    """A text for an error: of at most about `most` characters, on one line, printable everywhere."""
    clipped = text if len(text) <= most else f"{text[: most * 3 // 4]}... ({len(text):,} characters)"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in clipped)


def quote(value: object) -> str:
    """Any value for an error, as Python writes it, cut like `shorten`; lists and objects may be of any depth."""
    try:
        written = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of more than 4,300 digits
        written = f"a {type(value).__name__}"
    return shorten(written)


def trim(text: str) -> str:
    """The text without blanks, format and control characters (zero-width space, byte-order mark) at its ends."""
    start, end = 0, len(text)
    while start < end and _shows_nothing(text[start]):
        start += 1
    while end > start and _shows_nothing(text[end - 1]):
        end -= 1
    return text[start:end]


def is_blank(text: str) -> bool:
    """Whether nothing of the text would be seen."""
    return all(_shows_nothing(one) or one in _FILLERS or unicodedata.category(one) == "Mn" for one in text)


def is_missing(text: str) -> bool:
    """Whether the text is how a program writes a value that is not there (pandas: nan, <NA>, NaT)."""
    return trim(text) in _MISSING


def is_value(value: object) -> bool:
    """Whether a value is text (the empty one, too) or a finite number, and no stand-in for one that is missing."""
    if isinstance(value, str):
        return not is_missing(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _shows_nothing(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")
