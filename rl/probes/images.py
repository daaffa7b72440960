"""Probes that take the image away: grey, another item's, none at all."""

from __future__ import annotations

from rl.probes.probe import Probe, Setting, alike, folded, needs_image, variant
from rollouts.media import blank, with_hash
from rollouts.records import Sample, stable_hash


def _blank(sample: Sample, setting: Setting) -> list[Sample]:
    return [variant(sample, "blank", media=tuple(with_hash(blank(medium)) for medium in sample.media))]


def _text_only(sample: Sample, setting: Setting) -> list[Sample]:
    return [variant(sample, "text_only", media=(), boxes=())]


def _swapped(sample: Sample, setting: Setting) -> list[Sample]:
    """The images of another item of the same modality and source with another gold answer, if it can be one that was
    asked the same question: its image then shows something else for sure."""
    for key in ((*alike(sample), folded(sample.question)), alike(sample)):
        by_gold = setting.with_images.get(key, {})
        golds = sorted(gold for gold in by_gold if gold != folded(sample.gold_text))
        start = stable_hash("swapped", setting.seed, sample.id)
        for place in range(len(golds)):
            others = by_gold[golds[(start + place) % len(golds)]]
            turn = (others[(start + step) % len(others)] for step in range(len(others)))
            if other := next((one for one in turn if not _hashes(one) & _hashes(sample)), None):
                return [variant(sample, "swapped", media=other.media, boxes=())]
    return []


def _hashes(sample: Sample) -> set[str]:
    return {with_hash(medium).sha256 for medium in sample.media}


PROBES = (
    Probe(
        "blank", "every image mid-grey, its size kept", "what is right without seeing anything",
        "items with images", needs_image, _blank,
    ),
    Probe(
        "swapped", "the images of another item of the same modality and source with another gold answer",
        "whether answers follow the image (the share that changes) or the question", "items with images",
        needs_image, _swapped,
    ),
    Probe(
        "text_only", "no image at all", "what the question and its options give away", "items with images",
        needs_image, _text_only,
    ),
)  # fmt: skip
