"""The rollouts of a run on disk: appended group by group while a step runs, one sorted Parquet file and a manifest once
it is finished.

rollouts/step_000001/rollouts.jsonl     while it is written: one line a completion, one write a group
rollouts/step_000001/rollouts.parquet   afterwards, sorted by (run, step, prompt_id, sample_index)
rollouts/step_000001/manifest.json      written last: counts, SHA-256, schema version; with it the step is finished
rollouts/superseded/                    steps that a resumed run did again
media/<sha256>.png                      every image once, named after its source file's hash
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rollouts.imaging import pictures
from rollouts.imaging.flat.chunks import without_words
from rollouts.media import encoded_files, frames, with_hash
from rollouts.records import SCHEMA_VERSION, Media, Rollout
from rollouts.store.codec import Row, line_from_rollout, media_row
from rollouts.store.disk import append_whole, replace_from, sha256_file, sync_files, sync_folder, write_atomically
from rollouts.store.layout import (
    JSONL,
    MANIFEST,
    PARQUET,
    DamagedStore,
    DuplicateRollout,
    StoreError,
    list_steps,
    media_path,
    step_folder,
)
from rollouts.store.reader import files_of, read_jsonl, read_rollouts, whole_table

__all__ = ["RunWriter", "media_path", "read_rollouts"]


class RunWriter:
    """Writes the rollouts of one run. One process writes; any number may read meanwhile."""

    def __init__(self, run_dir: Path | str) -> None:
        self.run_dir = Path(run_dir)
        (self.run_dir / "rollouts").mkdir(parents=True, exist_ok=True)
        (self.run_dir / "media").mkdir(exist_ok=True)
        self._files: dict[int, int] = {}
        self._keys: dict[int, set[tuple[object, ...]]] = {}
        # Name of a stored image (hash of its source) -> hash of its file.
        self._media: dict[str, str] = {}
        # Images written since the last finished step, made durable together at the end of this one.
        self._unsynced: list[Path] = []

    def append_group(self, rollouts: Sequence[Rollout]) -> None:
        """Store the completions of one prompt: images first, then all rows in one write, which a killed process leaves
        readable.

        Raises:
            DuplicateRollout: a key is stored already (a resumed run calls `drop_steps_after` first).
            DiskFull: there is no room; the step's file is cut back to the groups before.
        """
        if len({rollout.key[:3] for rollout in rollouts}) != 1:
            raise StoreError(
                f"a group is the completions of one prompt in one step, got {[r.key[:3] for r in rollouts][:3]}"
            )
        step = rollouts[0].step
        file = self._files.get(step)
        if file is None:
            file = self._open(step)
        keys: list[tuple[object, ...]] = [rollout.key for rollout in rollouts]
        if len(set(keys)) != len(keys) or not self._keys[step].isdisjoint(keys):
            again = next(key for key in keys if keys.count(key) > 1 or key in self._keys[step])
            raise DuplicateRollout(
                f"rollout {tuple(again)} is stored twice; (run, step, prompt_id, sample_index) must be unique"
            )
        media: dict[int, list[Row]] = {}
        lines = []
        for rollout in rollouts:
            if id(rollout.sample) not in media:
                media[id(rollout.sample)] = [self._store_media(medium) for medium in rollout.sample.media]
            lines.append(line_from_rollout(rollout, media[id(rollout.sample)]) + b"\n")
        append_whole(file, step_folder(self.run_dir, step) / JSONL, b"".join(lines))
        self._keys[step].update(keys)

    def finish_step(self, step: int) -> Path:
        """Turn the step's JSONL into sorted Parquet, verify it, write the manifest, then remove the JSONL. Returns the
        Parquet file.

        Raises:
            StoreError: nothing was appended for this step.
            DiskFull: there is no room; the JSONL stays, so nothing is lost.
        """
        folder = step_folder(self.run_dir, step)
        if step not in self._files:
            raise StoreError(f"step {step} cannot be finished: no group was appended to it")
        if self._unsynced:
            sync_files(self._unsynced)
            sync_folder(self.run_dir / "media")
            self._unsynced.clear()
        parquet = write_step(self.run_dir, step, whole_table(folder / JSONL), self._hash_of)
        os.close(self._files.pop(step))
        del self._keys[step]
        (folder / JSONL).unlink()
        return parquet

    def drop_steps_after(self, step: int) -> list[int]:
        """Set aside every later step, so that a run resumed from `step` does them again. Returns their numbers; nothing
        is deleted."""
        aside = self.run_dir / "rollouts" / "superseded"
        dropped = [stored for stored in list_steps(self.run_dir) if stored.step > step]
        for stored in dropped:
            self._close(stored.step)
            aside.mkdir(exist_ok=True)
            attempt = sum(1 for _ in aside.glob(f"{stored.folder.name}.*"))
            shutil.move(stored.folder, aside / f"{stored.folder.name}.{attempt}")
        return [stored.step for stored in dropped]

    def close(self) -> None:
        """Close the files of unfinished steps; what was appended stays readable."""
        for step in list(self._files):
            self._close(step)

    def _close(self, step: int) -> None:
        if step in self._files:
            os.close(self._files.pop(step))
            del self._keys[step]

    def _open(self, step: int) -> int:
        folder = step_folder(self.run_dir, step)
        if (folder / MANIFEST).exists():
            raise DuplicateRollout(
                f"step {step} is finished already in {folder}; a resumed run calls drop_steps_after first"
            )
        folder.mkdir(exist_ok=True)
        jsonl = folder / JSONL
        file = os.open(jsonl, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        # A line that a killed writer tore off would run into the next one.
        os.ftruncate(file, jsonl.read_bytes().rfind(b"\n") + 1)
        self._files[step] = file
        self._keys[step] = {
            (row["run"], row["step"], row["prompt_id"], row["sample_index"]) for row in read_jsonl(jsonl)
        }
        return file

    def _store_media(self, medium: Media) -> Row:
        medium = with_hash(medium)
        mask = (
            None
            if medium.mask_files is None
            else [self._store_frame(Media("image", path=p)) for p in medium.mask_files]
        )
        if medium.frame_files is not None:
            frames = [self._store_frame(Media("image", path=path)) for path in medium.frame_files]
        elif medium.frames is not None:
            frames = [self._store_frame(Media("image", data=data)) for data in medium.frames]
        else:
            self._store_image(medium)
            return media_row(medium, None, mask)
        return media_row(medium, frames, mask)

    def _store_frame(self, image: Media) -> str:
        """Store one frame or one picture of a mask; returns its name."""
        named = with_hash(image)
        self._store_image(named)
        return named.sha256

    def _store_image(self, image: Media) -> None:
        path = media_path(self.run_dir, image.sha256)
        if image.sha256 in self._media:
            return
        if path.exists():
            self._media[image.sha256] = sha256_file(path)
            return
        data = encoded_files(image)[0]
        if (digest := hashlib.sha256(data).hexdigest()) != image.sha256:
            raise StoreError(
                f"image {image.path or ''} has SHA-256 {digest}, its record says {image.sha256}: the file changed since"
                " it was loaded"
            )
        # Nothing but the picture is kept: a name may stand in the texts of a file.
        data = without_words(data) if pictures.is_plain_png(data) else _as_png(image)
        write_atomically(path, data, durable=False)
        self._unsynced.append(path)
        self._media[image.sha256] = hashlib.sha256(data).hexdigest()

    def _hash_of(self, name: str) -> str:
        return self._media.get(name) or sha256_file(media_path(self.run_dir, name))


def write_step(run_dir: Path | str, step: int, table: pa.Table, hash_of: Callable[[str], str | None]) -> Path:
    """Write the rows of a whole step (codec.SCHEMA, sorted by key) as Parquet, verify it, then its manifest. Returns
    the Parquet file.

    `hash_of`: name of a stored image -> SHA-256 of its file; None = the file is missing. Raises DiskFull, DamagedStore.
    """
    folder = step_folder(run_dir, step)
    folder.mkdir(parents=True, exist_ok=True)
    parquet = folder / PARQUET
    replace_from(parquet, lambda path: pq.write_table(table, path, compression="zstd", write_page_checksum=True))
    if not pq.ParquetFile(parquet, page_checksum_verification=True).read().equals(table):
        raise DamagedStore(f"{parquet} does not hold what was written. Check the disk.")
    names = {name for media in table["media"].to_pylist() for medium in media for name in files_of(medium)}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run": table["run"][0].as_py(),
        "step": step,
        "num_rollouts": len(table),
        "num_prompts": len(table["prompt_id"].unique()),
        "policy_versions": sorted(table["policy_version"].unique().to_pylist()),
        "files": {PARQUET: {"bytes": parquet.stat().st_size, "sha256": sha256_file(parquet)}},
        # The file's name is the hash of its source, which is kept as a plain PNG, so the file's own hash stands here.
        "media": {name: hash_of(name) for name in sorted(names)},
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    sync_folder(folder)
    sync_folder(folder.parent)
    return parquet


def _as_png(image: Media) -> bytes:
    """The image as PNG with exactly its RGB pixels; one channel where all three are equal, as in most radiology: a
    third of the time and size."""
    picture = frames(image)[0]
    red, green, blue = picture.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        picture = red
    buffer = io.BytesIO()
    # Level 1 is several times as fast as the default, for files a tenth larger.
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
