"""The quality filters (D3): every rule has a name, is deterministic and counts what it drops; the paper states none."""

from __future__ import annotations

import statistics
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rl.curate.items import Item, Made
from rl.curate.looking import Look
from rl.curate.recipe.schema import Filters
from rl.curate.text import cjk_share, fold, words

_LEAST_CJK, _MOST_CJK = 0.3, 0.1
# A gold's word that stands in the question gives it away; "image" and the like do not.
_EMPTY_WORDS = frozenset(
    "a an the of in on at to and or with for is are this that image picture side left right no not part"
    " 的 在 是 图 像 中 侧 左 右 部 上 下".split()
)


def picture_fault(look: Look, filters: Filters) -> str:
    """Why the pictures of an item cannot be asked about; "" = they can. Raises nothing."""
    if look.fault:
        return "cannot be read"
    if filters.min_pixels is not None and min(look.width, look.height) < filters.min_pixels:
        return f"smaller than {filters.min_pixels} pixels"
    if filters.min_deviation is not None and look.deviation < filters.min_deviation:
        return "one grey"
    return ""


class Question(NamedTuple):
    """A question and what the filters compare it with."""

    made: Made
    filters: Filters


Filter = Callable[[Question], bool]


def _gold_in_question(question: Question) -> bool:
    """The question answers itself: every word of the gold stands in it. A caption is no answer to be guessed."""
    if question.made.answer_type == "report":
        return False
    gold = [word for word in words(question.made.gold) if word not in _EMPTY_WORDS]
    return bool(gold) and set(gold) <= set(words(question.made.question))


def _gold_not_among_options(question: Question) -> bool:
    return bool(question.made.options) and question.made.gold not in question.made.options


def _options_alike(question: Question) -> bool:
    folded = [fold(option) for option in question.made.options]
    return len(set(folded)) < len(folded)


def _gold_is_long(question: Question) -> bool:
    options, most = question.made.options, question.filters.max_gold_length
    # Labels are as long as they are; only what was written for this question can be written to give itself away.
    if most is None or len(options) < 2 or not question.made.tags.get("model"):
        return False
    others = [len(option) for option in options if option != question.made.gold]
    return len(question.made.gold) > most * statistics.median(others)


def _not_printable(question: Question) -> bool:
    return any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn") or character == "\ufffd"
        for text in _texts(question.made)
        for character in text
    )


def _other_language(question: Question) -> bool:
    made = question.made
    share = cjk_share(f"{made.question} {made.gold}")
    return share < _LEAST_CJK if made.language == "zh" else share > _MOST_CJK


def _names_the_patient(question: Question) -> bool:
    """A word of the patient's key, as it stands in a table or a file name, in any text."""
    return names_somebody(question.made.item, *_texts(question.made))


def names_somebody(item: Item, *texts: str) -> bool:
    """Whether a text holds a word of at least three letters of the item's patient's key."""
    keys = {word for word in words(item.patient) if len(word) >= 3}
    return bool(keys) and any(keys & set(words(text)) for text in texts)


def _texts(made: Made) -> tuple[str, ...]:
    return (made.question, made.gold, made.think, *made.options, *made.aliases)


FILTERS: dict[str, Filter] = {
    "the question answers itself": _gold_in_question,
    "the gold is not among the options": _gold_not_among_options,
    "two options are the same": _options_alike,
    "the gold option is much longer than the others": _gold_is_long,
    "characters that do not print": _not_printable,
    "text of another language": _other_language,
    "names the patient": _names_the_patient,
}


def fault(made: Made, filters: Filters) -> str:
    """The first filter that drops a question; "" = it stays."""
    question = Question(made, filters)
    return next((name for name, drops in FILTERS.items() if drops(question)), "")


def twice(rows: Sequence[Made], source_of: Callable[[Item], str]) -> set[str]:
    """Ids of questions that say the same of the same picture as an earlier one, by id. `source_of`: hash of an item's
    media."""
    seen: dict[tuple[str, ...], str] = {}
    again = set()
    for row in sorted(rows, key=lambda row: row.id):
        key = (source_of(row.item), row.answer_type, fold(row.question), fold(row.gold))
        if key in seen:
            again.add(row.id)
        seen.setdefault(key, row.id)
    return again
