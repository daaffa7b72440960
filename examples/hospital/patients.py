"""Who lies in the made-up hospital, and what is found: drawn studies with their masks. Everything follows from a seed.

An MR is drawn from the CT of the same finding by other greys (fluid bright, bone dark), so it is a modality that the
embedded model has never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rl.data.phantoms.draw import FINDINGS, Phantom, draw
from rl.data.phantoms.questions import describe, facts
from rollouts.records import stable_hash

# As the recipe and the questions call them -> as they are drawn.
MODALITIES = {
    "radiograph": "radiograph",
    "CT": "CT",
    "MR": "CT",
    "ultrasound": "ultrasound",
    "dermoscopy": "dermoscopy",
}
# Greys of a CT of the head -> greys of the same head in a T2-weighted MR.
_CT_GREYS, _MR_GREYS = (0, 40, 62, 115, 160, 240, 255), (4, 170, 235, 120, 60, 25, 20)
# Frames of a clip: the probe is moved to and fro by a pixel, and the speckle is drawn anew.
NUM_CLIP_FRAMES = 6
_MOVES = (0, 0, 1, 1, 0, 0)


@dataclass(frozen=True)
class Study:
    """One patient with one study."""

    patient: str
    modality: str
    finding: str
    # F x 64 x 64 x 3, uint8: slices from the feet upwards, frames in order of time, or one picture.
    frames: np.ndarray
    # F x 64 x 64, bool.
    masks: np.ndarray
    # What is seen, in words.
    caption: str


def studies(each: int, seed: int) -> Iterator[Study]:
    """`each` patients of every modality; the same arguments give the same pixels."""
    for modality in MODALITIES:
        for number in range(each):
            yield study(modality, number, seed)


def study(modality: str, number: int, seed: int) -> Study:
    """One patient of a modality."""
    rng = np.random.default_rng(stable_hash("hospital", seed, modality, number))
    drawn = MODALITIES[modality]
    finding = str(rng.choice(FINDINGS[drawn]))
    phantom = draw(drawn, finding, stable_hash("hospital", seed, modality, number))
    if modality == "MR":
        greys = np.interp(phantom.frames.astype(np.float32), _CT_GREYS, _MR_GREYS)
        phantom = replace(phantom, frames=greys.astype(np.uint8))
    if modality == "ultrasound":
        phantom = _moved(phantom, rng)
    seen = describe(_facts(phantom))
    # Nothing of what is found or how it was seen stands in a patient's number.
    patient = f"P{list(MODALITIES).index(modality)}{number:04d}"
    return Study(patient, modality, finding, phantom.frames, phantom.masks, seen)


def _facts(phantom: Phantom) -> dict[str, str]:
    """What is seen, without the frame of a clip that shows it best: all do."""
    known = facts(phantom)
    return {name: value for name, value in known.items() if name != "slice" or phantom.modality == "CT"}


def _moved(phantom: Phantom, rng: np.random.Generator) -> Phantom:
    """The picture as a clip."""
    frames = []
    for move in _MOVES:
        speckle = rng.normal(1.0, 0.05, phantom.frames.shape[1:3])[..., None]
        frames.append(np.clip(np.roll(phantom.frames[0], move, axis=1) * speckle, 0, 255).astype(np.uint8))
    masks = np.stack([np.roll(phantom.masks[0], move, axis=1) for move in _MOVES])
    return replace(phantom, frames=np.stack(frames), masks=masks)
