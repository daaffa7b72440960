"""Images of a benchmark that a model may have been trained on: by content where both are here, else by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rl.benchmarks.questions import image_key
from rl.data.sets import DataSplits
from rl.data.split import source_key
from rollouts.records import Sample


class Overlap(NamedTuple):
    """What two sets share."""

    # Whose training rows they are.
    whose: str
    num_images: int
    num_shared_images: int
    num_rows: int
    # Rows of the benchmark that show a shared image.
    num_shared_rows: int
    # Whether images were told apart by their names, because they are not here.
    by_name: bool

    def __str__(self) -> str:
        how = ", by file name, because the images are not here" if self.by_name else ""
        return (
            f"{self.num_shared_images:,} of {self.num_images:,} images ({self.num_shared_rows:,} of"
            f" {self.num_rows:,} rows) are in {self.whose}{how}"
        )


def overlap(samples: Sequence[Sample], taught: Sequence[Sample], whose: str) -> Overlap:
    """How many images of the benchmark, and rows with them, are in training rows."""
    known = {image_key(media) for one in taught for media in one.media}
    images = {image_key(media) for one in samples for media in one.media}
    rows = [one for one in samples if any(image_key(media) in known for media in one.media)]
    by_name = any(key.startswith("name ") for key in images)
    return Overlap(whose, len(images), len(images & known), len(samples), len(rows), by_name)


def overlap_with_run(samples: Sequence[Sample], splits: DataSplits, whose: str) -> Overlap:
    """The same with the training rows of a run, whose images are hashed now where they were not."""
    known = {source_key(media) for one in _trained_on(splits) for media in one.media}
    images = {image_key(media) for one in samples for media in one.media}
    rows = [one for one in samples if any(image_key(media) in known for media in one.media)]
    return Overlap(whose, len(images), len(images & known), len(samples), len(rows), False)


def _trained_on(splits: DataSplits) -> list[Sample]:
    return [*(row.sample for row in splits.sft), *splits.rl]
