"""Documents about phantoms: what a page of a textbook would be to a model that knows nothing but drawn images.

No image of them is asked about anywhere: each stage draws its own.
"""

from __future__ import annotations

import numpy as np

from rl.data.phantoms.draw import FINDINGS, Phantom, Rng, draw
from rl.data.phantoms.questions import as_media, describe, facts
from rollouts.prompt.documents import Document
from rollouts.records import Media, stable_hash

DEFAULT_NUM = 2048
# Images of one interleaved document.
MOST_IMAGES = 3
_FIRST = ("This {modality} shows {seen}.", "Seen in this {modality}: {seen}.", "A {modality} with {seen}.")
_NEXT = ("The next one, a {modality}, shows {seen}.", "Beside it a {modality} that shows {seen}.")


def made_documents(stage: str, count: int | None, seed: int) -> list[Document]:
    """The first `count` documents of a stage ("captions": an image and what it shows; else up to three of them and a
    sentence on each); the same arguments give the same bytes."""
    make = _captioned if stage == "captions" else _interleaved
    return [make(stage, number, seed) for number in range(count if count is not None else DEFAULT_NUM)]


def _drawn(stage: str, number: int, place: int, seed: int) -> tuple[Phantom, Media]:
    rng = np.random.default_rng(stable_hash("documents", seed, stage, number, place))
    modality = tuple(FINDINGS)[(number + place) % len(FINDINGS)]
    phantom = draw(modality, str(rng.choice(FINDINGS[modality])), stable_hash(seed, stage, number, place))
    return phantom, as_media(phantom)


def _captioned(stage: str, number: int, seed: int) -> Document:
    phantom, media = _drawn(stage, number, 0, seed)
    return Document(f"{stage}-{number:06d}", (media, f"{phantom.modality}: {describe(facts(phantom))}"))


def _interleaved(stage: str, number: int, seed: int) -> Document:
    rng = np.random.default_rng(stable_hash("interleaved", seed, stage, number))
    pieces: list[str | Media] = []
    for place in range(int(rng.integers(1, MOST_IMAGES + 1))):
        phantom, media = _drawn(stage, number, place, seed)
        pieces += [media, _sentence(phantom, _NEXT if place else _FIRST, rng)]
    return Document(f"{stage}-{number:06d}", tuple(pieces))


def _sentence(phantom: Phantom, wordings: tuple[str, ...], rng: Rng) -> str:
    wording = wordings[int(rng.integers(len(wordings)))]
    return wording.format(modality=phantom.modality, seen=describe(facts(phantom)))
