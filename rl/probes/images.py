"""Probes that take the image away: grey, another item's, none at all."""

from __future__ import annotations

from rl.probes.probe import Probe, Setting, needs_image, variant
from rollouts.media import blank, with_hash
from rollouts.records import Sample, stable_hash


def _blank(sample: Sample, setting: Setting) -> list[Sample]:
    return [variant(sample, "blank", media=tuple(with_hash(blank(medium)) for medium in sample.media))]


def _text_only(sample: Sample, setting: Setting) -> list[Sample]:
    return [variant(sample, "text_only", media=(), boxes=())]


def _swapped(sample: Sample, setting: Setting) -> list[Sample]:
    """The images of another item of the same modality and source with another gold answer, if it can be one that was
    asked the same question: its image then shows something else for sure."""
    own = _hashes(sample)
    others = [
        other
        for other in setting.samples
        if (other.modality, other.source) == (sample.modality, sample.source)
        and other.media
        and _kinds(other) == _kinds(sample)
        and not own & _hashes(other)
        and _folded(other.gold_text) != _folded(sample.gold_text)
    ]
    same = [other for other in others if _folded(other.question) == _folded(sample.question)]
    if not others:
        return []
    chosen = min(same or others, key=lambda other: stable_hash("swapped", setting.seed, sample.id, other.id))
    return [variant(sample, "swapped", media=chosen.media, boxes=())]


def _hashes(sample: Sample) -> set[str]:
    return {with_hash(medium).sha256 for medium in sample.media}


def _kinds(sample: Sample) -> list[str]:
    return [medium.kind for medium in sample.media]


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


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
