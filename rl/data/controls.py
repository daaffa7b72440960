"""The rows that RL learns from in a control of a run: with grey images, or graded by another prompt's gold answer. SFT
rows and held-out items stay what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from rl.config import Config
from rl.data.sets import DataSplits, UnusableData
from rollouts.media import blank, with_hash
from rollouts.records import LETTERS, Sample, stable_hash

# Called with the number of rows that are done since the last call.
Advance = Callable[[int], None]
# What says what is right, and goes from one prompt to another together.
GOLD = ("gold_text", "aliases", "reference_steps", "boxes", "visual_references", "rubric")


def check_controls(splits: DataSplits, config: Config) -> None:
    """Raise UnusableData where one of `config.controls` would have nothing to take away: told before the recipe, which
    may take days."""
    for name in config.controls:
        if name == "blind" and not any(sample.media for sample in splits.rl):
            raise _the_same(name, len(splits.rl))
        if name == "shuffled_gold" and shuffled(splits.rl, config.seed) == splits.rl:
            raise _the_same(name, len(splits.rl))


def controlled(splits: DataSplits, config: Config, advance: Advance = lambda _: None) -> DataSplits:
    """The data of a run under `config.control`; what was done stands in its notes. The order, ids and number of rows
    stay.

    Raises:
        UnusableData: there is nothing to take away: no RL row has an image, or every gold answer would stay where it
            is.
        BadSample: an image cannot be opened any more.
    """
    if config.control == "blind":
        return _noted(splits, [_blind(sample, advance) for sample in splits.rl], "RL rows with grey images", config)
    if config.control == "shuffled_gold":
        return _noted(
            splits, shuffled(splits.rl, config.seed, advance), "RL rows with another row's gold answer", config
        )
    return splits


def _blind(sample: Sample, advance: Advance) -> Sample:
    advance(1)
    if not sample.media:
        return sample
    return dataclasses.replace(sample, media=tuple(with_hash(blank(medium)) for medium in sample.media))


def shuffled(samples: Sequence[Sample], seed: int, advance: Advance = lambda _: None) -> list[Sample]:
    """Each sample with a gold answer that does not follow from its image: that of another row, drawn among rows that
    are asked alike (answer type, modality, kind of question, language), by a seeded permutation. Of options one is
    drawn at random, because another row's answer need not be among them; as many as were right are."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, sample in enumerate(samples):
        if not sample.options:
            kind = (sample.answer_type, sample.modality, sample.tags.get("kind", ""), sample.language)
            alike.setdefault(kind, []).append(place)
    source = dict(enumerate(range(len(samples))))
    for places in alike.values():
        drawn = sorted(places, key=lambda place: stable_hash("shuffled gold", seed, samples[place].id))
        source |= dict(zip(places, drawn, strict=True))
    made = []
    for place, sample in enumerate(samples):
        advance(1)
        if sample.options:
            made.append(_other_options(sample, seed))
        else:
            other = samples[source[place]]
            made.append(dataclasses.replace(sample, **{name: getattr(other, name) for name in GOLD}))
    return made


def _other_options(sample: Sample, seed: int) -> Sample:
    options, number = sample.options or (), len(sample.gold_letters or ())
    ranked = sorted(range(len(options)), key=lambda place: stable_hash("shuffled gold", seed, sample.id, place))
    drawn = sorted(ranked[:number])
    letters = tuple(LETTERS[place] for place in drawn)
    if letters == sample.gold_letters:
        return sample
    text = ", ".join(options[place] for place in drawn)
    # What was annotated of the right answer says nothing of this one.
    return dataclasses.replace(
        sample, gold_letters=letters, gold_text=text, aliases=(), reference_steps=(), visual_references=(), rubric=()
    )


def _noted(splits: DataSplits, rows: list[Sample], what: str, config: Config) -> DataSplits:
    changed = sum(before != now for before, now in zip(splits.rl, rows, strict=True))
    if not changed:
        raise _the_same(config.control, len(rows))
    return dataclasses.replace(splits, rl=rows, notes={**splits.notes, f"control={config.control}: {what}": changed})


def _the_same(control: str, num_rows: int) -> UnusableData:
    why = "no RL row has an image" if control == "blind" else "every gold answer would stay where it is"
    return UnusableData(
        f"control {control} would be the recipe itself: {why} ({num_rows} RL rows). Leave the control out, or give data"
        " in which there is something to take away."
    )
