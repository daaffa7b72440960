"""How volumes, videos and pictures in medical formats are read and shown: the section `data.media`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class MediaConfig:
    """What rows of data=jsonl say of their own goes before these settings (rollouts/imaging/ask.py explains each)."""

    # How grey values become 0 to 255: "auto" (percentiles 0.5 and 99.5 of the whole volume), "dicom" (the file's own
    # window), a preset in Hounsfield units (lung, mediastinum, soft, liver, brain, subdural, bone, wide), "rgb3" (three
    # of them, one a channel), or centre/width such as "40/400". Colour and video are never windowed.
    window: str = "auto"
    # Modality, as the row or the file says it -> window, such as {CT: soft}.
    window_by_modality: dict[str, str] = field(default_factory=dict)
    # Planes other than the one a volume was taken in are cut out of its voxels, by turning and never by resampling.
    plane: Literal["native", "axial", "coronal", "sagittal"] = "native"
    # Slices or frames shown of one volume or video at most, evenly spaced in place or time; model.max_images must allow
    # as many. Fewer are shown where the context window has no room for them (python -m rl.doctor tells).
    max_frames: int = 4
    # Modality -> the same, such as {CT: 16, US: 8}.
    max_frames_by_modality: dict[str, int] = field(default_factory=dict)
    # Tokens that all frames of one prompt may take; null = what model.max_model_len leaves beside the longest question
    # and grpo.max_completion_length.
    max_tokens: int | None = None
    # Stretch rows or columns of volumes whose pixels are no squares, so that nobody is squashed.
    square_pixels: bool = True
    # Frames with a longer side than so many pixels are made smaller; null = as large as they are.
    longest_side: int | None = None
    # A text before each frame, in the language of the question: "Slice 13 of 40:", "At 3.2 s:".
    frame_labels: bool = False
    # A volume in which slices are missing, and a video that ends before its header says: read and noted, or refused.
    on_gap: Literal["note", "refuse"] = "note"
    on_cut: Literal["refuse", "note"] = "refuse"
    # Frames that were read, by hashes of their source and of what was asked, so that a second run starts at once. The
    # salt of the patients' keys lies there, too; it goes nowhere else.
    cache_dir: str = "runs/frames"
    # Processes that read at the start; one that a file brings down costs that row.
    workers: int = 2


def window_of(text: str) -> str | tuple[float, float]:
    """A window as `rollouts.imaging.ask.Ask` takes it: a name as it is, "40/400" as centre and width."""
    centre, slash, width = text.partition("/")
    try:
        return (float(centre), float(width)) if slash else text
    except ValueError:
        return text
