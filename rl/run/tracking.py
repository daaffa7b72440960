"""Where a run's numbers go: `metrics.jsonl`, one line a step, and Weights & Biases. The one file that imports wandb,
and only when it is used."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from PIL.Image import Image

from rollouts.store.disk import append_whole, write_atomically

METRICS = "metrics.jsonl"


class TrackingError(RuntimeError):
    """Weights & Biases could not be started; the message says what to set."""


class Tracker:
    """Writes each step's metrics as they come. A context manager: leaving it finishes the W&B run, as failed when an
    error is on its way."""

    def __init__(
        self,
        run_dir: Path,
        mode: Literal["offline", "online", "off"] = "offline",
        project: str = "rounds",
        config: Mapping[str, Any] | None = None,
        resume_step: int | None = None,
    ) -> None:
        """Args:
            mode: "offline" writes W&B files into `run_dir/wandb` without a network or a login, "online" sends them,
                "off" writes none.
            resume_step: the run goes on after this step; later lines, which the resumed run writes again, are dropped,
                with 0 all of them. None = a new run.

        Raises:
            TrackingError: "online" without an API key, or the server cannot be reached.
        """
        self.run_dir = run_dir
        self.path = run_dir / METRICS
        _keep_until(self.path, resume_step)
        self._wandb = None if mode == "off" else _start_wandb(run_dir, mode, project, dict(config or {}))
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one step. A number that is not finite becomes null in the file and is left out of W&B.

        Raises:
            DiskFull: there is no room; the file ends with the step before.
        """
        finite = {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}
        append_whole(self._file, self.path, (json.dumps({"step": step, **finite}) + "\n").encode())
        if self._wandb is not None:
            self._wandb.log({name: value for name, value in finite.items() if value is not None}, step=step)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Put a run's result (nested numbers and texts) into the W&B summary; `summary.json` is written
        elsewhere."""
        if self._wandb is not None:
            self._wandb.summary.update(dict(values))

    def close(self, failed: bool = False) -> None:
        """Finish the W&B run and close the file; calling it again does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._wandb is not None:
            self._wandb.finish(exit_code=int(failed))
            self._wandb = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=kind is not None)


def read_metrics(run_dir: Path) -> list[dict[str, float | None]]:
    """The steps of `metrics.jsonl` in order; a torn last line, which a killed run leaves, is passed over. Empty when
    there is no file."""
    path = run_dir / METRICS
    if not path.exists():
        return []
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().split(b"\n")[:-1] if line.strip()]


def _keep_until(path: Path, step: int | None) -> None:
    if step is None or not path.exists():
        return
    kept = [line for line in _whole_lines(path) if step and json.loads(line)["step"] <= step]
    write_atomically(path, b"".join(line + b"\n" for line in kept))


def check_login(mode: Literal["offline", "online", "off"]) -> None:
    """Check, before the first minute of a run is spent, that `online` has a key. Raises TrackingError."""
    if mode != "online" or os.environ.get("WANDB_API_KEY"):
        return
    import wandb  # half a second, and `wandb=off` must not need it

    if not wandb.api.api_key:
        raise TrackingError(
            "wandb=online needs an API key: set WANDB_API_KEY or run `wandb login`, or use wandb=offline (the default)"
        )


class ImageTable(NamedTuple):
    """Rows of one step for W&B; a value that is a picture is shown as one."""

    step: int
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def log_tables(
    folder: Path,
    tables: Iterable[ImageTable],
    *,
    mode: Literal["offline", "online"] = "offline",
    project: str = "rounds",
) -> int:
    """Log tables as `rollouts` of one W&B run whose files lie in `folder`, one a step. Returns how many.

    Raises:
        TrackingError: "online" without an API key, or the server cannot be reached.
    """
    import wandb  # half a second, and `wandb=off` must not need it

    # Where the images of a table wait for `wandb sync`; by default somewhere under the home folder, which nobody would
    # copy along.
    os.environ.setdefault("WANDB_DATA_DIR", str((folder / "wandb" / "data").absolute()))
    run = _start_wandb(folder, mode, project, {})
    count = 0
    for table in tables:
        rows = [[wandb.Image(value) if isinstance(value, Image) else value for value in row] for row in table.rows]
        run.log({"rollouts": wandb.Table(columns=list(table.columns), data=rows)}, step=table.step)
        count += 1
    run.finish()
    return count


def _start_wandb(run_dir: Path, mode: Literal["offline", "online"], project: str, config: dict[str, Any]) -> Any:
    # Its advice on other libraries comes before the settings below are heard.
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb  # half a second, and `wandb=off` must not need it

    check_login(mode)
    settings = wandb.Settings(
        silent=True,
        console="off",  # its redirection of stdout garbles the progress display
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        init_timeout=60,
    )
    # A resumed run goes on under the id of the run it resumes.
    id_file = run_dir / "wandb" / "run_id"
    known = id_file.read_text().strip() if id_file.exists() else None
    resume: Literal["allow"] | None = "allow" if known and mode == "online" else None
    try:
        run = wandb.init(
            mode=mode,
            dir=str(run_dir),
            project=project,
            name=run_dir.name,
            config=config,
            settings=settings,
            id=known,
            resume=resume,
        )
    except wandb.errors.Error as error:
        raise TrackingError(
            f"wandb={mode} could not start: {error}. Use wandb=offline and `wandb sync` later, or wandb=off"
        ) from error
    write_atomically(id_file, run.id.encode())
    return run
