"""The right answer of a row: letters and texts of options, and yes or no in every form in which data sets write it."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, NamedTuple

from rollouts.records import LETTERS, BadSample
from rollouts.texts.reading import is_blank, is_value, quote, trim

# How data sets write yes and no.
_WORDS = {
    "yes": frozenset("yes y true 是 是的 对 对的 有 存在 包含 包括 可以 能 会 正确".split()),
    "no": frozenset("no n false 否 不 不是 没有 无 不存在 不包含 不包括 不可以 不能 不会 不对 错误".split()),
}
# With nothing but these behind it, "Yes, there is" is a yes.
_FILLERS = frozenset(
    "there it they this that he she is are was were not isn't aren't wasn't does do doesn't don't has have can"
    " cannot the a an indeed".split()
)
# "A. x", "(A) x", "a) x", "A: x".
_LABEL = re.compile(r"\(?([A-Za-z])\s*[.):、]\s*(?=\S)")


class Gold(NamedTuple):
    """The right answer of a row, in words and, with options, in letters."""

    answer_type: str
    text: str
    letters: tuple[str, ...] | None


def gold_of(answer: Any, kind: str, written: tuple[str, ...] | None) -> Gold:
    """The right answer of a row. `kind`: its answer_type, "" = to be guessed. `written`: the options of the row, labels
    included. Raises BadSample with what was got and what was expected."""
    many = answer if isinstance(answer, list) else [answer]
    if not many or any(not is_value(item) or is_blank(str(item)) for item in many):
        raise BadSample(f"answer is {quote(answer)}, expected text, a number or a list of letters")
    texts = [trim(str(item)) for item in many]
    if written is None:
        if isinstance(answer, list):
            raise BadSample(
                "answer is a list, but there are no options; other wordings of one answer go into 'aliases'"
            )
        kind = kind or ("yes_no" if yes_or_no(texts[0]) else "open")
        return Gold(kind, _spelled(texts[0], kind), None)
    options = without_labels(written)
    indices = sorted({_option_index(text, written, options) for text in texts})
    text = "; ".join(options[index] for index in indices)
    kind = kind or ("multi" if isinstance(answer, list) else "mcq")
    return Gold(kind, _spelled(text, kind), tuple(LETTERS[index] for index in indices))


def yes_or_no(text: str) -> str | None:
    """ "yes" or "no" for "Yes.", "YES!", ｙｅｓ, "y", "True", 是, "Yes, there is"; None for anything that says more."""
    words = re.findall(r"[\w']+", unicodedata.normalize("NFKC", text).casefold())
    if len(words) > 1 and words[0] in ("y", "n"):  # "N/A" is no "no"
        return None
    answer = next((name for name, forms in _WORDS.items() if words and words[0] in forms), None)
    return answer if all(word in _FILLERS or word in _WORDS[answer or "no"] for word in words[1:]) else None


def _spelled(text: str, kind: str) -> str:
    """The gold text; the record refuses a yes_no gold that is neither word."""
    return (yes_or_no(text) or text) if kind == "yes_no" else text


def without_labels(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The option texts without labels of their own, "A. x" and its like. Raises BadSample where those labels stand in
    another order than A, B, C..: the gold letter of such a row means the label, not the place."""
    labels = [_LABEL.match(unicodedata.normalize("NFKC", text)) for text in texts]
    letters = [label[1].upper() for label in labels if label]
    if len(letters) < len(texts) or len(texts) < 2 or set(letters) != set(LETTERS[: len(texts)]):
        return texts
    if letters != list(LETTERS[: len(texts)]):
        raise BadSample(f"the options are labelled in the order {letters}: sort them A, B, C.. or take the labels off")
    return tuple(
        unicodedata.normalize("NFKC", text)[label.end() :].strip()
        for text, label in zip(texts, labels, strict=True)
        if label
    )


def _option_index(answer: str, written: tuple[str, ...], options: tuple[str, ...]) -> int:
    """The option an answer names, by its full text first ("A" may be a blood group) and by its letter otherwise."""
    target = " ".join(answer.casefold().split())
    for texts in (written, options):
        folded = [" ".join(option.casefold().split()) for option in texts]
        if folded.count(target) == 1:
            return folded.index(target)
    letter = answer.upper()
    if len(options) <= len(LETTERS) and len(letter) == 1 and letter in LETTERS[: len(options)]:
        return LETTERS.index(letter)
    if folded.count(target) > 1:
        raise BadSample(f"two options have the same text: {quote(list(options))}")
    raise BadSample(f"the gold answer {quote(answer)} is not among the options {quote(list(options))}")
