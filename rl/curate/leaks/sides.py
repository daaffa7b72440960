"""Which rows may stand on which side: families of one source, patient or pair are split together, near copies across
the sides are found, and what an evaluation set holds already is taken out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rl.curate.items import Item
from rl.curate.leaks.copies import Copy, near
from rl.curate.looking import Look
from rl.data.families import families
from rollouts.records import stable_hash

_UNIT = float(1 << 63)  # stable_hash gives 63 bits


class Split(NamedTuple):
    """Item id -> "train" or "eval"; empty where rows have no split. `moved`: items that a table set to train although
    their family is held out elsewhere in it."""

    side: dict[str, str]
    moved: tuple[str, ...] = ()


def patient_key(item: Item, look: Look, recipe: str) -> str:
    """A hash of the patient, salted with the recipe's name; "" = unknown. The key itself leaves curation nowhere."""
    if item.patient:
        return "p" + hashlib.sha256(f"{recipe}\0{item.patient}".encode()).hexdigest()[:16]
    return look.patient


def families_of(items: Sequence[Item], looks: Mapping[str, Look], recipe: str) -> dict[str, str]:
    """Item id -> name of its family: items that share a medium or a patient, over any number of steps."""
    named = families([_keys(item, looks[item.id], recipe) for item in items])
    return {item.id: name for item, name in zip(items, named, strict=True)}


def _keys(item: Item, look: Look, recipe: str) -> list[str]:
    patient = patient_key(item, look, recipe)
    return [*(f"source {one}" for one in look.media_sha256), *([f"patient {patient}"] if patient else [])]


def split(items: Sequence[Item], looks: Mapping[str, Look], recipe: str, fraction: float | None, seed: int) -> Split:
    """The side of each item. A family of which a table holds out a part is held out whole; the others are drawn by a
    hash of their own, so that new items do not move old ones."""
    if fraction is None and not any(item.split for item in items):
        return Split({})
    family = families_of(items, looks, recipe)
    given: dict[str, set[str]] = {}
    for item in items:
        given.setdefault(family[item.id], set()).add(item.split)
    side = {name: _side(name, sides, fraction, seed) for name, sides in given.items()}
    moved = tuple(item.id for item in items if item.split == "train" and side[family[item.id]] == "eval")
    return Split({item.id: side[family[item.id]] for item in items}, moved)


def _side(family: str, given: set[str], fraction: float | None, seed: int) -> str:
    if "eval" in given:
        return "eval"
    if "train" in given or fraction is None:
        return "train"
    return "eval" if stable_hash(seed, "held-out", family) / _UNIT < fraction else "train"


class NearCopy(NamedTuple):
    """Two items whose pictures look the same."""

    first: str
    second: str
    distance: int


def copies_between(
    first: Sequence[Item], second: Sequence[Item], looks: Mapping[str, Look], most: int
) -> list[NearCopy]:
    """Near copies of pictures of two lists of items, the nearest of each two items."""
    of_first = [(item.id, one) for item in first for one in looks[item.id].hashes]
    of_second = [(item.id, one) for item in second for one in looks[item.id].hashes]
    nearest: dict[tuple[str, str], int] = {}
    for copy in near([one for _, one in of_first], [one for _, one in of_second], most):
        key = (of_first[copy.first][0], of_second[copy.second][0])
        nearest[key] = min(copy.distance, nearest.get(key, 64))
    return [NearCopy(*key, distance) for key, distance in sorted(nearest.items()) if key[0] != key[1]]


def known_copies(
    items: Sequence[Item], looks: Mapping[str, Look], known: Iterable[tuple[int, ...]], most: int
) -> dict[str, int]:
    """Item id -> distance to the nearest picture of an evaluation set, for those that are near one."""
    ours = [(item.id, one) for item in items for one in looks[item.id].hashes]
    distances: dict[str, int] = {}
    for copy in _near(ours, list(known), most):
        name = ours[copy.first][0]
        distances[name] = min(copy.distance, distances.get(name, 64))
    return distances


def _near(ours: Sequence[tuple[str, tuple[int, ...]]], known: Sequence[tuple[int, ...]], most: int) -> list[Copy]:
    return near([one for _, one in ours], known, most) if known else []
