"""The folder of a replay. It reads like a run, the same command resumes it, and it never changes the run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from rl.algo.estimator import ADVANTAGE_SETTINGS
from rl.config import Config
from rl.config.door import config_hash
from rl.replay.filters import ReplayError
from rl.run.folder import CONFIG, LOCK, VERSIONS
from rollouts.store.disk import sha256_file, write_atomically
from rollouts.store.layout import MANIFEST, StepFiles, list_steps, media_path, step_folder
from rollouts.store.reader import files_of, read_manifest
from rollouts.store.writer import write_step

REQUEST = "replay.json"
_FIRST_FILES = {CONFIG, VERSIONS, LOCK}
# Files of the run that the viewer also reads and that scoring does not write.
_TAKEN_ALONG = ("model/tokenizer.json",)


@dataclasses.dataclass(frozen=True)
class Request:
    """What identifies a replay: two replays with the same request are one."""

    run: str
    only: tuple[str, ...]
    times: int
    # Hashes of the settings of rewards, judge and advantages, in the run and in the replay.
    before: str
    after: str


def request_of(run_dir: Path, before: Config, config: Config, only: Sequence[str], times: int) -> Request:
    """The request of a command line."""
    return Request(str(run_dir.resolve()), tuple(sorted(only)), times, _scoring_hash(before), _scoring_hash(config))


def _scoring_hash(config: Config) -> str:
    return config_hash(config.reward, config.judge, [getattr(config.grpo, name) for name in ADVANTAGE_SETTINGS])


def default_out(run_dir: Path, request: Request) -> Path:
    """A folder beside the run, the same for the same request."""
    run = run_dir.resolve()
    return run.with_name(f"{run.name}.replay-{config_hash(dataclasses.asdict(request))[:6]}")


def check_out(out: Path, run_dir: Path, request: Request) -> bool:
    """Whether `out` holds this replay already, so that it resumes. Raises ReplayError for a folder that cannot be
    used."""
    inner, outer = out.resolve(), run_dir.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise ReplayError(
            f"--out {out}: the run itself is never changed; name a folder that is neither in it nor around it"
        )
    inside = {path.name for path in out.iterdir()} if out.exists() else set()
    if inside <= _FIRST_FILES:
        # Nothing, or what a replay that was killed at once had written.
        return bool(inside - {LOCK})
    try:
        stored = json.loads((out / REQUEST).read_bytes())["request"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ReplayError(f"--out {out}: is not empty and holds no replay. Name another folder.") from None
    wanted = json.loads(json.dumps(dataclasses.asdict(request)))
    if different := [name for name in wanted if stored.get(name) != wanted[name]]:
        raise ReplayError(f"--out {out}: holds another replay ({', '.join(different)} differ). Name another folder.")
    return True


class ReplayFolder:
    """Writes a replay. `spent` adds up what judging took in all processes of a replay that was resumed."""

    def __init__(self, out: Path, run_dir: Path, request: Request) -> None:
        self.path = out
        self.run_dir = run_dir
        self.request = request
        known = json.loads((out / REQUEST).read_bytes()) if (out / REQUEST).exists() else {}
        self._before: dict[str, float] = known.get("judge", {})
        self.spent = dict(self._before)
        (out / "media").mkdir(exist_ok=True)
        self._save()
        for name in _TAKEN_ALONG:
            _link(run_dir / name, out / name)

    def is_done(self, step: int) -> bool:
        """Whether a step was written by this process or one before."""
        return (step_folder(self.path, step) / MANIFEST).exists()

    def write(self, files: StepFiles, table: pa.Table, judge: Mapping[str, float]) -> None:
        """Store one step with its images. `judge`: counters of this process so far."""
        hashes = _media_hashes(self.run_dir, files, table)
        for name, digest in hashes.items():
            if digest is not None:
                _link(media_path(self.run_dir, name), media_path(self.path, name))
        write_step(self.path, files.step, table, hashes.__getitem__)
        self.spent = {name: self._before.get(name, 0.0) + judge.get(name, 0.0) for name in {*self._before, *judge}}
        self._save()

    def steps(self) -> list[StepFiles]:
        """The steps written so far."""
        return [one for one in list_steps(self.path) if one.finished]

    def _save(self) -> None:
        write_atomically(
            self.path / REQUEST, to_json({"request": dataclasses.asdict(self.request), "judge": self.spent})
        )


def to_json(value: Any) -> bytes:
    """Indented JSON with keys in order."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=True) + "\n").encode()


def _media_hashes(run_dir: Path, files: StepFiles, table: pa.Table) -> dict[str, str | None]:
    """Name of each image of the table -> SHA-256 of its file, from the run's own manifest where there is one; None =
    the file is missing."""
    manifest = read_manifest(files.folder)["media"] if files.finished else {}
    names = {name for media in table["media"].to_pylist() for one in media for name in files_of(one)}
    there = {name for name in names if _is_file(media_path(run_dir, name))}
    return {
        name: (manifest.get(name) or sha256_file(media_path(run_dir, name))) if name in there else None
        for name in names
    }


def _is_file(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _link(source: Path, target: Path) -> None:
    """Link the file under a second name, or copy it. Linking is safe, because files of a run are replaced and never
    changed in place."""
    if target.exists() or not _is_file(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        shutil.copyfile(source, beside)
        os.replace(beside, target)
