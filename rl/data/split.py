"""Train or held out: decided by source and seed alone, so that no image and no patient is on both sides; and seeded
subsets of rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rl.data.families import families
from rl.data.sets import SftRow, UnusableData
from rollouts.media import with_hash
from rollouts.prompt.messages import response
from rollouts.records import Media, Sample, stable_hash

# Sorts behind every other key, so that no family is named after a patient.
_PATIENT = "~patient "
_UNIT = float(1 << 63)  # stable_hash gives 63 bits


def by_image(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Training and held-out samples. Samples that share a source, a patient, a `pair_id` or (without images) a question
    stay together.

    Each such family is held out by a hash of its own, so that new images do not move old ones. Two files with the same
    bytes are one image; how a volume or a video is shown (window, plane, number of frames) moves nothing.

    Raises:
        ValueError: the fraction is outside 0 to 1.
        UnusableData: all samples are one family.
    """
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"data.eval_fraction is {fraction}, expected more than 0 and less than 1")
    names = families([list(image_keys(sample)) for sample in samples])
    drawn = sorted((stable_hash(seed, "held-out", name) / _UNIT, name) for name in set(names))
    if len(drawn) < 2:
        raise UnusableData(
            f"all {len(samples)} questions share images, so none can be held out; give more images, or a split of"
            " your own"
        )
    num_held_out = sum(number < fraction for number, _ in drawn)
    # a handful of images may all fall on one side; each side gets at least one
    held_out = {name for _, name in drawn[: min(max(num_held_out, 1), len(drawn) - 1)]}
    named = list(zip(samples, names, strict=True))
    train = [dataclasses.replace(sample, split="train") for sample, name in named if name not in held_out]
    held = [dataclasses.replace(sample, split="eval") for sample, name in named if name in held_out]
    return train, held


def image_keys(sample: Sample) -> Iterator[str]:
    """What must not be on both sides: the source of each image, volume and video; the question where there is none; the
    pair the sample belongs to; the patients. The first is no patient, whose key differs from machine to machine."""
    yield from (source_key(media) for media in sample.media)
    if not sample.media:
        yield "question " + " ".join(sample.question.casefold().split())
    if sample.pair_id is not None:
        yield f"pair {sample.pair_id}"
    yield from (f"{_PATIENT}{media.patient}" for media in sample.media if media.patient)


def source_key(media: Media) -> str:
    """What names the content of a medium however it is shown: the hash of its source."""
    return media.source_sha256 or with_hash(media).sha256


def in_words(key: str) -> str:
    """What a key of `image_keys` stands for: image, question, pair, patient."""
    first = key.split(" ", 1)[0]
    return "patient" if key.startswith(_PATIENT) else first if first in ("question", "pair") else "image"


def subset(samples: Sequence[Sample], count: int | None, seed: int, purpose: str) -> list[Sample]:
    """At most `count` samples, chosen and ordered by seed, purpose and id; None keeps all."""
    ordered = sorted(samples, key=lambda sample: stable_hash(seed, purpose, sample.id))
    return ordered if count is None else ordered[:count]


def answer_to_teach(sample: Sample) -> str:
    """What stands in the answer tag of a right response: letter and text where one option is right, letters where
    several are."""
    if sample.answer_type == "mcq" and sample.gold_letters:
        return f"{sample.gold_letters[0]}. {sample.gold_text}"
    if sample.answer_type == "multi":
        return ", ".join(sample.gold_letters or ())
    return sample.gold_text


def sft_row(sample: Sample, think: str) -> SftRow:
    """A row of the SFT corpus in the one shape of a response."""
    return SftRow(sample, response(think, answer_to_teach(sample)))
