"""Draws the phantoms: toy images of four modalities, each with the mask of its finding, from a seed and nothing else.

Shapes: F frames, every frame 64 x 64 RGB uint8; masks F x 64 x 64 bool. Only a computed tomography has more than one
frame: three axial slices in order, the lesion largest in one of them. Nothing here resembles a real patient, and
nothing is meant to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rollouts.records import stable_hash

SIZE = 64
NUM_SLICES = 3
# Rows and columns of pixel centres, float32 so that drawing stays cheap.
_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)

Rng = np.random.Generator
FINDINGS: dict[str, tuple[str, ...]] = {
    "radiograph": ("normal", "nodule", "effusion", "pneumothorax", "consolidation"),
    "CT": ("normal", "hemorrhage", "infarct", "abscess"),
    "ultrasound": ("normal", "cyst", "mass", "stone"),
    "dermoscopy": ("normal", "melanoma", "nevus", "keratosis", "hemangioma"),
}


@dataclass(frozen=True)
class Phantom:
    """One drawn image: what it shows and where."""

    modality: str
    finding: str
    # F x 64 x 64 x 3, uint8.
    frames: np.ndarray
    # F x 64 x 64, bool: the pixels of the finding; empty for a normal image.
    masks: np.ndarray


def draw(modality: str, finding: str, seed: int) -> Phantom:
    """Draw one phantom; the same arguments give the same pixels. Raises KeyError for an unknown modality, ValueError
    for a finding it lacks."""
    if finding not in FINDINGS[modality]:
        raise ValueError(f"{modality} has no finding {finding!r}, expected one of {FINDINGS[modality]}")
    rng = np.random.default_rng(stable_hash("phantom", modality, finding, seed))
    frames, masks = _DRAW[modality](finding, rng)
    return Phantom(modality, finding, np.clip(frames, 0, 255).astype(np.uint8), masks)


def _ellipse(centre_x: float, centre_y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Squared distance to the centre in units of the radii: below 1 inside."""
    return ((_X - centre_x) / radius_x) ** 2 + ((_Y - centre_y) / radius_y) ** 2


def _soft(distance: np.ndarray, softness: float = 0.15) -> np.ndarray:
    """Coverage 0..1 of an ellipse with a soft rim."""
    return np.clip((1.0 - distance) / softness * 0.5 + 0.5, 0.0, 1.0)


def _blend(image: np.ndarray, value: float | np.ndarray, coverage: np.ndarray) -> np.ndarray:
    return image + (value - image) * coverage


def _quadrant(rng: Rng, offset_x: tuple[float, float], offset_y: tuple[float, float]) -> tuple[float, float]:
    """A point well inside one of the four quadrants: at least the smaller offset away from both axes."""
    sign_x, sign_y = rng.choice((-1, 1), 2)
    return 31.5 + sign_x * rng.uniform(*offset_x), 31.5 + sign_y * rng.uniform(*offset_y)


def _grey(frames: np.ndarray) -> np.ndarray:
    return np.repeat(frames[..., None], 3, axis=-1)


def _radiograph(finding: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    shift_x, shift_y = rng.uniform(-1.5, 1.5, 2)
    image: np.ndarray = np.full((SIZE, SIZE), 150.0, np.float32)
    lungs = [_ellipse(18 + shift_x, 31 + shift_y, 11, 23), _ellipse(46 + shift_x, 31 + shift_y, 11, 23)]
    for lung in lungs:
        image = _blend(image, 65, _soft(lung))
    image = _blend(image, 170, _soft(_ellipse(35 + shift_x, 44 + shift_y, 8, 10)))
    image = _blend(image, 185, np.clip(2.5 - np.abs(_X - 32 - shift_x), 0, 1))
    image = image + 9 * np.sin(_Y * 0.8 + np.abs(_X - 32) * 0.12 + rng.uniform(0, 6))
    mask = np.zeros((SIZE, SIZE), bool)
    if finding != "normal":
        side = int(rng.integers(2))
        image, mask = _chest_finding(image, finding, lungs[side], 18 + 28 * side + shift_x, shift_y, rng)
    image = image + rng.normal(0, 6, image.shape)
    return _grey(image[None]), mask[None]


def _chest_finding(
    image: np.ndarray, finding: str, lung: np.ndarray, centre_x: float, shift_y: float, rng: Rng
) -> tuple[np.ndarray, np.ndarray]:
    if finding == "effusion":
        level = rng.uniform(40, 44) + shift_y + 0.03 * (_X - centre_x) ** 2
        coverage = _soft(lung) * np.clip(_Y - level, 0, 1)
        return _blend(image, 200, coverage), coverage > 0.5
    if finding == "pneumothorax":
        level = rng.uniform(20, 24) + shift_y
        coverage = _soft(lung) * np.clip(level - _Y, 0, 1)
        edge = _soft(lung) * np.clip(1.2 - np.abs(_Y - level), 0, 1)
        return _blend(_blend(image, 5, coverage), 215, edge), coverage > 0.5
    x, y = centre_x + rng.uniform(-3, 3), 31.5 + rng.choice((-1, 1)) * rng.uniform(8, 13)
    if finding == "nodule":
        spot = _ellipse(x, y, radius := rng.uniform(2.8, 3.8), radius)
        return _blend(image, 225, _soft(spot, 0.5)), spot < 1
    spot = _ellipse(x, y, rng.uniform(6.5, 8), rng.uniform(7, 9))
    patches = 0.75 + 0.25 * np.sin(_X * 1.3 + rng.uniform(0, 6)) * np.sin(_Y * 1.1)
    return _blend(image, 165, np.clip(1.3 - spot, 0, 1) * patches * (lung < 1.2)), (spot < 1) & (lung < 1.2)


def _ct(finding: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    centre_x, centre_y = 31.5 + rng.uniform(-1, 1), 31.5 + rng.uniform(-1, 1)
    lesion_x, lesion_y = _quadrant(rng, (8, 11), (9, 13))
    peak, radius = int(rng.integers(NUM_SLICES)), rng.uniform(6, 7.5)
    frames, masks = [], []
    for index in range(NUM_SLICES):
        size = 1.0 - 0.07 * index
        image = np.full((SIZE, SIZE), 5.0, np.float32)
        image = _blend(image, 240, _soft(_ellipse(centre_x, centre_y, 26 * size, 30 * size)))
        image = _blend(image, 115, _soft(_ellipse(centre_x, centre_y, 23 * size, 27 * size)))
        for sign in (-1, 1):
            image = _blend(image, 60, _soft(_ellipse(centre_x + sign * 3, centre_y, 1.8 + 0.4 * index, 5)))
        mask = np.zeros((SIZE, SIZE), bool)
        distance = abs(index - peak)
        if finding != "normal" and distance < 2:
            spot = _ellipse(lesion_x, lesion_y, *(2 * [radius * (1.0 if distance == 0 else 0.55)]))
            image, mask = _head_finding(image, finding, spot), spot < 1
        frames.append(image + rng.normal(0, 5, image.shape))
        masks.append(mask)
    return _grey(np.stack(frames)), np.stack(masks)


def _head_finding(image: np.ndarray, finding: str, spot: np.ndarray) -> np.ndarray:
    if finding == "hemorrhage":
        return _blend(image, 225, _soft(spot))
    if finding == "infarct":
        return _blend(image, 62, _soft(spot, 0.4))
    return _blend(_blend(image, 220, _soft(spot)), 40, _soft(spot / 0.42))


def _ultrasound(finding: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    depth = np.hypot(_X - 31.5, _Y + 12)
    fan = (np.abs(np.arctan2(_X - 31.5, _Y + 12)) < 0.72) & (depth > 17) & (depth < 74)
    speckle = rng.gamma(10.0, 1 / 10.0, (SIZE, SIZE))
    tissue = np.full((SIZE, SIZE), 105.0, np.float32) + 12 * np.sin(depth * 0.35 + rng.uniform(0, 6))
    mask = np.zeros((SIZE, SIZE), bool)
    if finding != "normal":
        x, y = _quadrant(rng, (7, 12), (7, 12))
        radius = {"cyst": rng.uniform(5.5, 7), "mass": rng.uniform(5.5, 7), "stone": 2.6}[finding]
        spot = _ellipse(x, y, radius * rng.uniform(1.0, 1.2), radius)
        mask = spot < 1
        below = (np.abs(_X - x) < radius * 0.9) & (_Y > y)
        if finding == "cyst":
            tissue = _blend(tissue * np.where(below, 1.35, 1.0), 4, _soft(spot))
        elif finding == "mass":
            tissue = _blend(tissue, 205, _soft(spot, 0.5))
        else:
            tissue = _blend(tissue * np.where(below, 0.12, 1.0), 255, _soft(spot))
    return _grey((tissue * speckle * fan)[None]), mask[None]


def _dermoscopy(finding: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    skin = np.array([226, 182, 160], np.float32) + rng.uniform(-12, 12, 3)
    image = np.tile(skin, (SIZE, SIZE, 1)) + (5 * np.sin(_X * 0.4 + rng.uniform(0, 6)) * np.sin(_Y * 0.5))[..., None]
    mask = np.zeros((SIZE, SIZE), bool)
    if finding != "normal":
        x, y = _quadrant(rng, (12, 16), (12, 16))
        image, mask = _skin_finding(image, finding, x, y, rng)
    for _ in range(int(rng.integers(3))):
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-20, 20)
        line = np.abs((_X - 31.5) * np.cos(angle) + (_Y - 31.5) * np.sin(angle) - offset)
        image = _blend(image, np.array([70, 50, 45], np.float32), np.clip(0.9 - line, 0, 1)[..., None] * 0.7)
    return (image + rng.normal(0, 5, image.shape))[None], mask[None]


_SKIN_COLOURS = {
    "melanoma": (55, 38, 42),
    "nevus": (128, 80, 52),
    "keratosis": (196, 152, 78),
    "hemangioma": (196, 30, 45),
}


def _skin_finding(image: np.ndarray, finding: str, x: float, y: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    radius = rng.uniform(8, 10)
    angle = np.arctan2(_Y - y, _X - x)
    wobble = 0.28 if finding == "melanoma" else 0.05
    rim = 1 + wobble * np.sin(3 * angle + rng.uniform(0, 6)) + 0.6 * wobble * np.sin(5 * angle + rng.uniform(0, 6))
    spot = _ellipse(x, y, radius, radius) / rim**2
    coverage = _soft(spot, 0.3)[..., None]
    image = _blend(image, np.array(_SKIN_COLOURS[finding], np.float32) + rng.uniform(-8, 8, 3), coverage)
    waves = (np.sin(_X * 1.1 + rng.uniform(0, 6)) * np.sin(_Y * 1.1 + rng.uniform(0, 6)) > 0.45)[..., None]
    if finding == "melanoma":
        image = _blend(image, np.array([112, 112, 150], np.float32), coverage * waves)
    elif finding == "keratosis":
        image = _blend(image, np.array([248, 238, 200], np.float32), coverage * waves)
    return image, spot < 1


_DRAW: dict[str, Callable[[str, Rng], tuple[np.ndarray, np.ndarray]]] = {
    "radiograph": _radiograph,
    "CT": _ct,
    "ultrasound": _ultrasound,
    "dermoscopy": _dermoscopy,
}
