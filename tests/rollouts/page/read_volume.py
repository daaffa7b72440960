"""A CT that is written as a file, read as rows are, and asked about in a stored run: for tests of what the page shows
of a medium."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
from PIL import Image

from rollouts.imaging.ask import Ask
from rollouts.imaging.read import read
from rollouts.records import Media
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts

SLICES, SIDE = 20, 64


class ReadVolume(NamedTuple):
    """Where everything is."""

    run: Path
    # One row, whose id is the sample's.
    data: Path
    volume: Path
    prompt: str


def written(folder: Path) -> ReadVolume:
    """A body with a bright ball from slice 6 to 14, 4 of its 20 slices asked about, the ball marked."""
    volume = folder / "ct.nii.gz"
    z, y, x = np.mgrid[0:SLICES, 0:SIDE, 0:SIDE]
    body = ((x - 32) / 26) ** 2 + ((y - 32) / 20) ** 2 < 1
    ball = (x - 42) ** 2 + (y - 34) ** 2 + (2 * (z - 10)) ** 2 < 64
    voxels = np.where(ball, 180, np.where(body, 40 + 2 * z, -1000)).astype(np.int16)
    affine = np.diag([-1.0, -1.0, 2.5, 1.0])
    affine[2, 3] = -25.0
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine), volume)
    media = read(volume, Ask("volume", window="soft", max_frames=4, modality="CT"), cache=folder / "cache").media()
    media = dataclasses.replace(
        media,
        mask_files=_masks(folder, media, ball),
        labels=tuple(f"Slice {i + 1} of 20:" for i in media.frame_indices or ()),
    )
    asked = dataclasses.replace(fake_rollouts.sample(0), media=(media,), modality="CT", tags={})
    writer = RunWriter(folder / "run")
    writer.append_group([fake_rollouts.rollout(asked, index=index, right=index < 2) for index in range(4)])
    writer.finish_step(1)
    data = folder / "data.jsonl"
    data.write_text(
        json.dumps({"id": asked.id, "question": asked.question, "answer": "x", "volume": "ct.nii.gz"}) + "\n"
    )
    return ReadVolume(folder / "run", data, volume, asked.id)


def _masks(folder: Path, media: Media, ball: np.ndarray) -> tuple[str, ...]:
    files = []
    for index in media.frame_indices or ():
        files.append(str(folder / f"mask{index}.png"))
        Image.fromarray(ball[index].astype(np.uint8) * 255).save(files[-1])
    return tuple(files)
