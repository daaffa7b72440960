"""Probes that make the images worse in ten ways and three severities, each seeded by the image's own hash, so that a
picture is damaged alike wherever it is asked about.

Sizes stay, so that what a model is shown has as many tokens as before. Nothing is ever mirrored: in a medical image
left and right are part of the answer. The severities are ours, chosen so that the mildest is what a workflow does to
images anyway and the worst is plainly visible.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from rl.probes.probe import Probe, Setting, needs_image, variant
from rollouts.imaging import pictures
from rollouts.media import frames, has_frames, with_hash
from rollouts.records import Media, Sample, stable_hash

SEVERITIES = (1, 2, 3)
Rng = np.random.Generator
Damage = Callable[[Image.Image, int, Rng], Image.Image]
# Corruptions after which boxes in pixels would lie elsewhere.
_MOVES = ("rotation", "crop")
_GREY = (128, 128, 128)


def _jpeg(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=(40, 15, 5)[severity - 1])
    return pictures.picture(buffer.getvalue())


def _noise(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """Gaussian, of 4, 10 and 20 % of the range; the same for all channels, so that grey images stay grey."""
    sigma = 255 * (0.04, 0.10, 0.20)[severity - 1]
    values = np.asarray(image, np.float32)
    return _image(values + rng.normal(0.0, sigma, values.shape[:2])[..., None])


def _blur(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """Gaussian, of a radius of 0.5, 1 and 2 % of the shorter side."""
    return image.filter(ImageFilter.GaussianBlur((0.005, 0.01, 0.02)[severity - 1] * min(image.size)))


def _brightness(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    change = (0.15, 0.3, 0.5)[severity - 1]
    return ImageEnhance.Brightness(image).enhance(1 + change * _sign(rng))


def _contrast(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    factor = (0.8, 0.55, 0.3)[severity - 1]
    return ImageEnhance.Contrast(image).enhance(factor if _sign(rng) < 0 else 1 / factor)


def _gamma(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    power = (1.25, 1.6, 2.2)[severity - 1] ** _sign(rng)
    return _image(255 * (np.asarray(image, np.float32) / 255) ** power)


def _rotation(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """By 3, 8 and 15 degrees to either side about the centre; what comes in from outside is grey."""
    angle = (3, 8, 15)[severity - 1] * _sign(rng)
    return image.rotate(angle, resample=Image.Resampling.BILINEAR, fillcolor=_GREY)


def _down_scaling(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """To a half, a quarter and an eighth of the sides, and back."""
    small = tuple(max(1, side // 2**severity) for side in image.size)
    return image.resize((small[0], small[1]), Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)


def _text(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """Acquisition numbers burnt into a corner as a scanner does it, one to three lines of a twelfth of the height. They
    name no side, no person and no date."""
    shown = image.copy()
    drawing = ImageDraw.Draw(shown)
    height = max(6, image.height // 12)
    lines = (f"kV {int(rng.integers(80, 140))}", f"mAs {int(rng.integers(2, 300))}", f"FOV {int(rng.integers(18, 50))}")
    for place, line in enumerate(lines[:severity]):
        at = (2, 2 + place * height) if rng.random() < 0.5 else (2, image.height - 2 - (place + 1) * height)
        drawing.text(at, line, fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0), font_size=height)
    return shown


def _crop(image: Image.Image, severity: int, rng: Rng) -> Image.Image:
    """5, 10 and 20 % of the sides away, from all four sides alike, and back to the size."""
    share = (0.05, 0.10, 0.20)[severity - 1] / 2
    left, upper = round(share * image.width), round(share * image.height)
    box = (left, upper, max(left + 1, image.width - left), max(upper + 1, image.height - upper))
    return image.crop(box).resize(image.size, Image.Resampling.BILINEAR)


DAMAGE: dict[str, Damage] = {
    "jpeg": _jpeg, "noise": _noise, "blur": _blur, "brightness": _brightness, "contrast": _contrast, "gamma": _gamma,
    "rotation": _rotation, "down_scaling": _down_scaling, "text": _text, "crop": _crop,
}  # fmt: skip


def corrupted(medium: Media, kind: str, severity: int) -> Media:
    """The same medium with every frame damaged. All frames of a volume or video are damaged by the same amount; noise
    differs from frame to frame.

    Raises:
        BadSample: a frame cannot be opened. KeyError, IndexError: there is no such kind or severity.
    """
    digest = with_hash(medium).sha256
    damaged = []
    for place, frame in enumerate(frames(medium)):
        seed = stable_hash("corruption", digest, kind, severity, place if kind == "noise" else 0)
        damaged.append(pictures.to_png(DAMAGE[kind](frame, severity, np.random.default_rng(seed))))
    if not has_frames(medium):
        return with_hash(Media(kind=medium.kind, data=damaged[0]))
    shown = {
        name: getattr(medium, name) for name in ("frame_indices", "frame_times", "positions", "axes", "provenance")
    }
    return with_hash(Media(kind=medium.kind, frames=tuple(damaged), **shown))


def _sign(rng: Rng) -> int:
    return 1 if rng.random() < 0.5 else -1


def _image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _fault(kind: str) -> Callable[[Sample], str]:
    def fault(sample: Sample) -> str:
        if kind in _MOVES and (sample.boxes or sample.answer_type == "box"):
            return "its boxes would lie elsewhere"
        return needs_image(sample)

    return fault


def _make(kind: str) -> Callable[[Sample, Setting], list[Sample]]:
    def make(sample: Sample, setting: Setting) -> list[Sample]:
        return [
            variant(sample, kind, str(severity), media=tuple(corrupted(one, kind, severity) for one in sample.media))
            for severity in SEVERITIES
        ]

    return make


PROBES = tuple(
    Probe(
        kind, f"{kind.replace('_', '-')} in three severities", "what ordinary damage to an image costs",
        "items with images, and no boxes" if kind in _MOVES else "items with images", _fault(kind), _make(kind),
    )
    for kind in DAMAGE
)  # fmt: skip
