"""The model of a stage: found again by a hash of everything it depends on, or trained, going on where it was."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from rl.config import Config
from rl.data.sizes import images_of
from rl.run.contents import digest
from rl.run.progress import Display
from rl.sft.cache import course_hash, ensure, media_hashes
from rl.sft.ranks import Start, in_workers
from rl.sft.train import Counts, teach
from rl.stages.course import course_of
from rl.stages.ready import ReadyStage
from rl.stages.settings import as_staged
from rollouts.prompt.documents import Document
from rollouts.prompt.processing import load_family, load_processor

# Raise it when the same documents and settings begin to give another model.
FORMAT_VERSION = 1


def ensure_stage(
    config: Config,
    ready: ReadyStage,
    before: Path,
    display: Display | None = None,
    *,
    start: Start = in_workers,
) -> Path:
    """The model of a stage that begins with the model in `before`: a finished one of the same hash in `sft.cache_dir`,
    or a newly trained one.

    Raises:
        RunFolderError: another process trains this very model.
        what `rl.sft.train.teach` raises.
    """
    display = display or Display(sys.stderr)
    staged = as_staged(config, ready.name, load_family(before), str(before))
    processor = load_processor(before, images_of(staged.model))
    course = course_of(ready.name, ready.documents, processor, ready.updates)

    def train(folder: Path) -> Counts:
        return teach(staged, course, folder, display, start=start)

    doing = f"{ready.name}: training on {len(ready.documents)} documents"
    return ensure(staged, stage_hash(staged, ready), doing, len(ready.documents), train, display)


def stage_hash(staged: Config, ready: ReadyStage) -> str:
    """Hex digest of everything that the model of a stage depends on: the files of the model before, settings, seed,
    every document with its images, and which of them share a sequence. `staged`: see `as_staged`."""
    return course_hash(staged, map(_plain, ready.documents), {"stage": FORMAT_VERSION, "updates": ready.updates})


def documents_of(stages: Mapping[str, ReadyStage]) -> dict[str, dict[str, str]]:
    """Stage -> document -> digest: what a run learns from before its questions (`rl.run.contents`)."""
    return {f"documents of {name}": {one.id: digest(_plain(one)) for one in stages[name].documents} for name in stages}


def _plain(document: Document) -> list[object]:
    return [document.id, [one if isinstance(one, str) else {"media": media_hashes([one])} for one in document.pieces]]
