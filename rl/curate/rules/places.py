"""D2: where a mask lies, in words; the patient's side and the image's side are asked apart and never mixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

from rl.curate.items import Item, Made
from rl.curate.recipe.schema import PlaceRule
from rl.curate.rules.asking import Result, Work, dropped, tagged
from rl.curate.rules.labels import draw_options, in_each_language
from rollouts.imaging.masks.places import Place, height_words, region_words, side_words

Of = Literal["image", "patient"]
_SIDES, _HEIGHTS = ("left", "right", "both"), ("upper", "middle", "lower")
# What the finding is called where neither recipe nor label says it.
_UNNAMED = "marked finding"


def place_rule(work: Work, rule: str, settings: PlaceRule, items: Sequence[Item]) -> Iterator[Result]:
    """One question an item for each kind of side, where its word can be said."""
    whole = settings.form == "mcq"
    places: dict[str, Place] = {}
    for item in items:
        fields = work.looks[item.id].place
        if not work.drawn(item, rule, settings.share):
            continue
        if not item.mask or fields is None:
            yield dropped(item, rule, "nothing is marked" if item.mask else "no mask")
        elif len(item.labels) > 1 and settings.finding is None:
            yield dropped(item, rule, "several labels, so which one is marked is not known")
        else:
            places[item.id] = Place(**fields)
    for of in settings.sides:
        # A place that is nowhere the answer would be a distractor that gives itself away.
        there = sorted({key for place in places.values() if (key := key_of(place, of, whole=whole))})
        for item in items:
            if item.id in places:
                yield from _questions(work, rule, settings, item, places[item.id], of, there)


def _questions(
    work: Work, rule: str, settings: PlaceRule, item: Item, place: Place, of: Of, there: Sequence[str]
) -> Iterator[Result]:
    key = key_of(place, of, whole=settings.form == "mcq")
    if key is None:
        known = of == "image" or place.axes
        yield dropped(item, rule, "lies between two words" if known else "the patient's sides are not known")
        return
    alike = tuple(other for other in there if _kind(other) == _kind(key))
    keys: tuple[str, ...] = ()
    if settings.form == "mcq":
        drawn = draw_options(
            work, f"{rule} {of}", item, key, [one for one in alike if one != key], settings.distractors
        )
        if drawn is None:
            yield dropped(item, rule, "no other place may be its distractor")
            return
        keys = drawn
    finding = settings.finding or next(iter(item.labels), _UNNAMED)
    results = in_each_language(
        work,
        rule,
        f"place_{of}",
        item,
        key,
        keys,
        word=lambda one, language: _words(one, of, language)[0],
        aliases=partial(_aliases, of=of),
        alternatives=() if keys else alike,
        task=of,
        finding=lambda language: work.plan.ontology.word(finding, language),
    )
    for result in results:
        if isinstance(result, Made):
            sides = {"image_side": place.image_side, "patient_side": place.patient_side}
            result = tagged(result, finding=finding, **{name: side for name, side in sides.items() if side})
        yield result


def key_of(place: Place, of: Of, *, whole: bool) -> str | None:
    """ "upper left" of an image where height and side are known, else what is known of both; the side of a patient.

    `whole`: for options, which must be of one kind: height and side, or nothing. None = no word can be said.
    """
    if of == "patient":
        return place.patient_side
    if place.image_side is not None and place.image_height is not None:
        return f"{place.image_height} {place.image_side}"
    return None if whole else place.image_side or place.image_height


def _kind(key: str) -> tuple[bool, bool]:
    """Whether a key says a height, and whether it says a side: answers of one kind only are compared."""
    height, side = _parts(key)
    return height is not None, side is not None


def _words(key: str, of: Of, language: str) -> tuple[str, ...]:
    """How a key is said, the usual form first, then others that mean the same."""
    height, side = _parts(key)
    place = Place(1, side, height, side, height, None)
    words = region_words if side and height else side_words if side else height_words
    return words(place, "zh" if language == "zh" else "en", of)


def _parts(key: str) -> tuple[str | None, str | None]:
    parts = key.split()
    height = next((part for part in parts if part in _HEIGHTS), None)
    return height, next((part for part in parts if part in _SIDES), None)


def _aliases(key: str, language: str, of: Of) -> tuple[str, ...]:
    usual, *others = _words(key, of, language)
    if language == "en":
        whose = "of the image" if of == "image" else "of the patient"
        others += [f"{usual} {whose}", f"the {usual} {whose}"]
        others += [f"patient's {usual}", f"the patient's {usual}"] if of == "patient" else []
    return tuple(dict.fromkeys(others))
