"""Probes of multiple choice: the options in another order, and with other labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rl.probes.probe import VARIANT, Probe, Setting, needs_options, variant
from rollouts.records import LABELS, LETTERS, OTHER_LABELS, Sample, stable_hash

NUM_ORDERS = 4
# Options that speak of all others, and stay last because that is where such an option stands.
_CATCH_ALL = re.compile(
    r"(all|none|any|both|neither|either) (of )?(the )?(above|these|those|following|others?|options)\b.*"
    r"|(all|none)( of them)?|以上(都|均|全|皆).*|(都|均)(不)?是|以上选项.*",
    re.IGNORECASE,
)
# Options that name others by their letters: in another order they would say something else.
_NAMES_LETTERS = re.compile(
    r"\b(both|either|neither|options?|choices?|answers?)\s+\(?[A-Z]\)?\b"
    r"|\(?\b[A-Z]\)?\s*(,|and|or|&|/|\+)\s*\(?[A-Z]\b\)?"
    r"|选项\s*[A-Z]|[A-Z]\s*[和与或、]\s*[A-Z]",
)
# A list of the options that still stands in the question would contradict the new order.
_TAIL = re.compile(r"\n?\s*(answer choices|options|choices|选项)\s*[:：]?\s*\(?A[).:：].*", re.IGNORECASE | re.DOTALL)


def is_catch_all(option: str) -> bool:
    """Whether an option speaks of all the others, as "None of the above" does."""
    return _CATCH_ALL.fullmatch(option.strip().rstrip(".。")) is not None


def _unshuffled(sample: Sample) -> str:
    if fault := needs_options(sample):
        return fault
    if names := [option for option in sample.options or () if _NAMES_LETTERS.search(option)]:
        return f"an option names others by letter, as {names[0][:40]!r} does"[:80]
    if any(option.strip().rstrip(".") in LETTERS for option in sample.options or ()):
        return "an option is a bare letter"
    if sum(not is_catch_all(option) for option in sample.options or ()) < 2:
        return "fewer than two options can change places"
    return ""


def orders(sample: Sample, seed: int, count: int = NUM_ORDERS) -> list[tuple[int, ...]]:
    """Up to `count` different seeded orders of an item's options, none of them its own; catch-all options stay at the
    end, in their order. Each lists the old places."""
    options = sample.options or ()
    last = [place for place, option in enumerate(options) if is_catch_all(option)]
    free = [place for place in range(len(options)) if place not in last]
    result: list[tuple[int, ...]] = []
    own = tuple(range(len(options)))
    for attempt in range(20 * count):
        drawn = sorted(free, key=lambda place: stable_hash("option order", seed, sample.id, attempt, place))
        order = (*drawn, *last)
        if order != own and order not in result:
            result.append(order)
        if len(result) == count:
            break
    return result


def reordered(sample: Sample, order: Sequence[int]) -> dict[str, object]:
    """Options, gold letters and question of an item in another order; a list of options at the end of the question
    goes, because its letters would be the old ones."""
    options = sample.options or ()
    gold = {LETTERS.index(letter) for letter in sample.gold_letters or ()}
    return {
        "options": tuple(options[place] for place in order),
        "gold_letters": tuple(LETTERS[new] for new, old in enumerate(order) if old in gold),
        "question": _TAIL.sub("", sample.question) or sample.question,
    }


def _shuffled(sample: Sample, setting: Setting) -> list[Sample]:
    return [
        variant(sample, "option_shuffle", str(number), **reordered(sample, order))
        for number, order in enumerate(orders(sample, setting.seed), start=1)
    ]


def _unlabelled(sample: Sample) -> str:
    if sample.answer_type == "multi":
        return "several options are right"
    if fault := needs_options(sample):
        return fault
    texts = {option.strip().rstrip(".").upper() for option in sample.options or ()}
    if texts & {label for labels in OTHER_LABELS.values() for label in labels}:
        return "an option reads like one of the new labels"
    if len(sample.options or ()) > (most := min(map(len, OTHER_LABELS.values()))):
        return f"more than {most} options"
    return ""


def _relabelled(sample: Sample, setting: Setting) -> list[Sample]:
    """The item with its options labelled 1, 2, .. and I, II, ..; it stays multiple choice, and an answer is read and
    paid as that of the plain item is."""
    asks = "请用选项的编号作答。" if sample.language == "zh" else "Answer with the number of the option."
    question = f"{_TAIL.sub('', sample.question) or sample.question}\n{asks}"
    made = [variant(sample, "relabel", name, question=question) for name in OTHER_LABELS]
    return [replace(one, tags={**one.tags, LABELS: one.tags[VARIANT]}) for one in made]


PROBES = (
    Probe(
        "option_shuffle", f"the options in up to {NUM_ORDERS} other orders, catch-all options last",
        "whether the answer is chosen by its text or by its place",
        "multiple choice whose options do not name each other by letter", _unshuffled, _shuffled,
    ),
    Probe(
        "relabel", "the options labelled 1, 2, .. and I, II, ..", "whether a letter is preferred for being that letter",
        "multiple choice with one right option that reads like no number", _unlabelled, _relabelled,
    ),
)  # fmt: skip
