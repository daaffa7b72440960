"""Options that were shown with digits or roman numbers before them: an answer that names one is read as its letter."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rollouts.records import LETTERS

_BODY = re.compile(r"(<answer>)(.{0,2000}?)(</answer>)", re.DOTALL)
_BEFORE = r"\s*(?:(?:the\s+)?(?:correct\s+|final\s+)?answer(?:\s+is|\s*[:：])?\s*)?(?:option\s*|number\s*|选项\s*)?"


def with_letters(completion: str, labels: Sequence[str]) -> str:
    """The completion with the letter in place of a label, in each answer that is a label alone, in brackets or not, or
    a label with a full stop, colon or bracket before the option's text. Any other answer stays as it is and is read by
    the texts of the options; "2 cm" is no label."""
    one = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    named = re.compile(rf"{_BEFORE}\(?({one})(?:\)|(?=[\s.:、：]|$))(\s*[.:、：].*|\s*)", re.DOTALL | re.IGNORECASE)
    by_label = {label.upper(): LETTERS[place] for place, label in enumerate(labels)}

    def read(body: re.Match[str]) -> str:
        match = named.fullmatch(body[2])
        if match is None:
            return body[0]
        return f"{body[1]}{by_label[match[1].upper()]}{match[2]}{body[3]}"

    return _BODY.sub(read, completion)
