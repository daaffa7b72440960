"""Checkpoints that survive a kill at any moment: safetensors and JSON, a manifest of sizes and hashes written last, one
rename.

A checkpoint may be written by a thread while the ranks go on learning (`Saving`): they wait for the copy alone.

`step_000010.tmp/` is filled and flushed to disk, then renamed to `step_000010/`. Every rank writes the rows that it
holds, one file each, hashed on the way to the disk; `layout.json` says which rows of which tensor lie where, so that
any number of ranks can read them again. A folder without a manifest, or one whose files do not match it, is not a
checkpoint; the loader says so and takes the one before. No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor

from rl.policy.ranks import Piece, exchange, piece_of, rank, world_size
from rollouts.store.disk import sha256_file, sync_files, sync_folder, write_atomically

STATE, LAYOUT, MANIFEST = "state.json", "layout.json", "MANIFEST.json"
# The one file of tensors of format 1, which has no layout.
TENSORS = "state.safetensors"
FORMAT_VERSION = 2
# What a rank says when a thread of it has written its shard, and how often the first rank looks for it.
WRITTEN, LOOK_SECONDS = "written_{:05d}.json", 0.05
# Names of safetensors.
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int64: "I64", torch.uint8: "U8"}
log = logging.getLogger(__name__)
T = TypeVar("T")


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or none that is there can be trusted."""


class NotWritten(CheckpointError):
    """A checkpoint could not be written."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class Stored(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name, read when they are asked for and no more of them than that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / LAYOUT).exists():
            self._layout: dict[str, Any] = json.loads((path / LAYOUT).read_text())
        else:
            with safe_open(path / TENSORS, "pt") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # it is no dict
            self._layout = {name: {"shape": shape, "pieces": [[TENSORS, 0]]} for name, shape in shapes.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the whole tensor."""
        return tuple(self._layout[name]["shape"])

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows start .. stop of a tensor, from whichever files hold them.

        Raises:
            CheckpointError: the files hold fewer rows than the layout says.
        """
        parts: list[Tensor] = []
        for file, first in self._layout[name]["pieces"]:
            with safe_open(self.path / file, "pt") as opened:
                held = opened.get_slice(name)
                begin, end = max(start - first, 0), min(stop - first, held.get_shape()[0])
                if begin < end:
                    parts.append(held[begin:end])
        if (count := sum(map(len, parts))) != stop - start:
            raise CheckpointError(f"{self.path} holds {count} of the rows {start} to {stop} of {name}")
        return torch.cat(parts) if parts else torch.empty((0, *self.shape(name)[1:]))

    def __getitem__(self, name: str) -> Tensor:
        shape = self.shape(name)
        if shape:
            return self.rows(name, 0, shape[0])
        with safe_open(self.path / self._layout[name]["pieces"][0][0], "pt") as file:
            return file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout)

    def __len__(self) -> int:
        return len(self._layout)


@dataclass(frozen=True)
class Checkpoint:
    """One that was verified."""

    path: Path
    step: int
    tensors: Stored
    # Whatever JSON `save` was given: counters, position, versions.
    state: dict[str, Any]
    # Newer folders that did not verify, with the reason.
    rejected: tuple[str, ...] = ()


def save(
    root: Path, step: int, tensors: Mapping[str, Tensor | Piece], state: Mapping[str, Any], keep: int | None = None
) -> Path:
    """Write checkpoint number `step` under `root`, then remove all but the newest `keep` (None = keep all).

    Several ranks: all must call it, each with its pieces, and `root` must be the same folder for all.

    Raises:
        NotWritten: the disk is full or not writable, on any rank; nothing half-written stays behind, older
            checkpoints are untouched.
    """
    job = _Job(root, step, state, keep)
    pieces = {name: one if isinstance(one, Piece) else piece_of(one) for name, one in tensors.items()}
    first = rank() == 0
    try:
        job.begin()
        shards = _together(lambda: _write_shard(job.partial, pieces))
        _together(lambda: job.finish(shards) if first else None)
    except OSError as error:
        raise job.given_up(error) from error
    return job.final


class Saving:
    """The same, written by a thread of each rank while the ranks go on: they wait until what they hold is copied. It
    counts once all have written, which no rank waits for; until then the checkpoint before it is the newest.

    Several ranks: all must make it and call `wait`, at the same time.
    """

    def __init__(
        self, root: Path, step: int, tensors: Mapping[str, Tensor | Piece], state: Mapping[str, Any], keep: int | None
    ) -> None:
        """Copy the pieces of this rank into the host's memory and begin.

        Raises:
            NotWritten: the folder cannot be made, or is not the same one for all ranks.
        """
        self._job = _Job(root, step, state, keep)
        try:
            self._job.begin()
        except OSError as error:
            raise self._job.given_up(error) from error
        pieces = {name: one if isinstance(one, Piece) else piece_of(one) for name, one in tensors.items()}
        # What is written is what there is now, whatever the ranks do to their tensors meanwhile.
        self._pieces = {name: piece._replace(rows=_copied(piece.rows)) for name, piece in pieces.items() if piece.mine}
        if any(piece.rows.is_cuda for piece in pieces.values()):
            torch.cuda.synchronize()
        self._is_written, self._give_up, self._fault = threading.Event(), threading.Event(), ""
        self._thread = threading.Thread(target=self._write, name=f"checkpoint of step {step}", daemon=True)
        self._thread.start()

    def wait(self) -> Path:
        """Until it is on the disk.

        Raises:
            NotWritten: see `save`.
        """
        self._is_written.wait()
        faults = [fault for fault in exchange(self._fault) if fault]
        if faults:
            self._give_up.set()
        self._thread.join()
        if faults := faults or [fault for fault in exchange(self._fault) if fault]:
            raise self._job.given_up(OSError("; ".join(faults)))
        return self._job.final

    def _write(self) -> None:
        """Each rank says in a file of its own that it has written its shard; the first one waits for these files. Ranks
        cannot speak to one another here, because they speak while they learn."""
        try:
            shard = _write_shard(self._job.partial, self._pieces)
            self._pieces = {}
            written = json.dumps([shard.name, shard.fingerprint, shard.layout])
            write_atomically(self._job.partial / WRITTEN.format(rank()), written.encode())
            self._is_written.set()
            if rank() == 0 and (shards := self._of_all_ranks()):
                self._job.finish(shards)
        except Exception as error:  # whatever it is, `wait` must tell it, in the thread that learns
            self._fault = f"{error} (rank {rank()})" if world_size() > 1 else str(error) or type(error).__name__
        finally:
            self._is_written.set()

    def _of_all_ranks(self) -> list[_Shard]:
        """What all have written, once they have; nothing where one of them gave up."""
        files = [self._job.partial / WRITTEN.format(number) for number in range(world_size())]
        while not all(file.exists() for file in files):
            if self._give_up.wait(LOOK_SECONDS):
                return []
        metas = [json.loads(file.read_text()) for file in files]
        for file in files:
            file.unlink()
        return [
            _Shard(name, print_, {key: (tuple(shape), start) for key, (shape, start) in of.items()})
            for name, print_, of in metas
        ]


class _Job:
    """One checkpoint on its way to the disk."""

    def __init__(self, root: Path, step: int, state: Mapping[str, Any], keep: int | None) -> None:
        self._root, self._keep = root, keep
        self._state = {**state, "step": step}
        self.final = root / f"step_{step:06d}"
        self.partial = self.final.with_suffix(".tmp")

    def begin(self) -> None:
        """Make the folder; every rank must call it. Raises OSError on all ranks where one cannot see it."""
        _together(lambda: _begin(self.partial) if rank() == 0 else None)
        _together(self._look)

    def _look(self) -> None:
        if not self.partial.is_dir():
            raise OSError(f"{self.partial} is not seen here: out_dir must be one folder for all machines of the run")

    def finish(self, shards: list[_Shard]) -> None:
        """What the first rank does when all have written."""
        _finish(self.partial, self.final, self._state, shards)
        for old in _folders(self._root)[self._keep :] if self._keep is not None else []:
            shutil.rmtree(old, ignore_errors=True)

    def given_up(self, error: OSError) -> NotWritten:
        """The error to raise; nothing half-written stays behind."""
        if rank() == 0:
            shutil.rmtree(self.partial, ignore_errors=True)
        return NotWritten(f"checkpoint {self.final} could not be written: {error}; free space or set out_dir elsewhere")


def load_latest(root: Path) -> Checkpoint | None:
    """The newest checkpoint under `root` whose manifest verifies; None where none was ever finished. Damaged ones are
    named in the log. Several ranks: all must call it, and each looks at some of the files.

    Raises:
        CheckpointError: there are checkpoints, and all of them are damaged.
    """
    rejected: list[str] = []
    for path in exchange(_folders(root))[0]:
        fault = next((fault for fault in exchange(verify(path, rank(), world_size())) if fault), None)
        if fault is None:
            state = json.loads((path / STATE).read_text())
            return Checkpoint(path, state["step"], Stored(path), state, tuple(rejected))
        rejected.append(f"{path.name}: {fault}")
        log.warning("checkpoint %s is damaged (%s); going back to the one before", path, fault)
    if rejected:
        raise CheckpointError(
            f"no checkpoint under {root} can be trusted: {'; '.join(rejected)}; start again in a new out_dir"
        )
    return None


def verify(path: Path, index: int = 0, count: int = 1) -> str | None:
    """Why this folder cannot be trusted; None when every file has the size and the hash its manifest names. With
    `count`, only each count-th file is looked at, from `index` on."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"] not in (1, FORMAT_VERSION):
            return f"format {manifest['format']}, expected {FORMAT_VERSION}"
        for name, expected in [*manifest["files"].items()][index::count]:
            if _fingerprint(path / name) != expected:
                return f"{name} is not the file that was written"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None


def _together(work: Callable[[], T]) -> list[T]:
    """What the work of each rank gives, in the order of ranks. Raises OSError on all ranks where one of them did."""
    answer: T | None = None
    fault = ""
    try:
        answer = work()
    except OSError as error:
        fault = f"{error} (rank {rank()})" if world_size() > 1 else str(error)
    answers = exchange((answer, fault))
    if faults := [fault for _, fault in answers if fault]:
        raise OSError("; ".join(faults))
    return [answer for answer, _ in answers]  # type: ignore[misc]  # None only where the work gives it


def _copied(rows: Tensor) -> Tensor:
    """In the host's memory, on its way there where it comes from a GPU."""
    if not rows.is_cuda:
        return rows.detach().clone(memory_format=torch.contiguous_format)
    return torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True).copy_(rows.detach(), non_blocking=True)


def _begin(partial: Path) -> None:
    """An empty folder; what runs that were killed left half-written goes."""
    for left in partial.parent.glob("step_*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)


@dataclass(frozen=True)
class _Shard:
    """What a rank wrote."""

    name: str
    fingerprint: dict[str, int | str]
    # Tensor -> shape of the whole, and the first of the rows that are in this file.
    layout: dict[str, tuple[tuple[int, ...], int]]


def _write_shard(partial: Path, pieces: Mapping[str, Piece]) -> _Shard:
    """The rows of this rank as a safetensors file, a tensor at a time: a header of JSON behind its length, then the
    bytes (https://huggingface.co/docs/safetensors/index#format). Nothing is held twice, and nothing read again."""
    mine = {name: piece for name, piece in pieces.items() if piece.mine}
    # Wide numbers first, so that each begins at a multiple of its size.
    names = sorted(mine, key=lambda name: -mine[name].rows.element_size())
    header: dict[str, Any] = {}
    end = 0
    for name in names:
        rows = mine[name].rows
        span = [end, end := end + rows.numel() * rows.element_size()]
        header[name] = {"dtype": DTYPES[rows.dtype], "shape": list(rows.shape), "data_offsets": span}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path = partial / f"shard_{rank():05d}_of_{world_size():05d}.safetensors"
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for data in (struct.pack("<Q", len(text)), text):
            file.write(data)
            digest.update(data)
        for name in names:
            values = mine[name].rows.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
            file.write(memoryview(values))
            digest.update(memoryview(values))
        file.flush()
        os.fsync(file.fileno())
    fingerprint: dict[str, int | str] = {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
    return _Shard(path.name, fingerprint, {name: (mine[name].shape, mine[name].start) for name in names})


def _finish(partial: Path, final: Path, state: Mapping[str, Any], shards: list[_Shard]) -> None:
    """Layout, state and manifest, then the rename that makes the folder a checkpoint."""
    layout: dict[str, Any] = {}
    for shard in shards:
        if not (partial / shard.name).exists():
            raise OSError(f"{shard.name} was written elsewhere: out_dir must be one folder for all machines of the run")
        for name, (shape, start) in shard.layout.items():
            layout.setdefault(name, {"shape": shape, "pieces": []})["pieces"].append([shard.name, start])
    (partial / LAYOUT).write_text(json.dumps(layout, indent=1, sort_keys=True))
    (partial / STATE).write_text(json.dumps(state, indent=1, sort_keys=True, allow_nan=False))
    files = {shard.name: shard.fingerprint for shard in shards}
    files |= {name: _fingerprint(partial / name) for name in (LAYOUT, STATE)}
    (partial / MANIFEST).write_text(
        json.dumps({"format": FORMAT_VERSION, "step": state["step"], "files": files}, indent=1)
    )
    sync_files([partial / name for name in (LAYOUT, STATE, MANIFEST)])
    sync_folder(partial)
    if final.exists():  # a resumed run writes this step again
        shutil.rmtree(final)
    partial.rename(final)
    sync_folder(final.parent)


def _folders(root: Path) -> list[Path]:
    """Finished checkpoint folders, newest first."""
    return sorted((path for path in root.glob("step_*") if path.is_dir() and path.suffix != ".tmp"), reverse=True)


def _fingerprint(path: Path) -> dict[str, int | str]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
