"""An SFT model is kept under a hash of everything it depends on, so that the next run with the same configuration finds
it, and a training that was interrupted goes on where it was."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rl.config import Config, Train
from rl.data.sets import SftRow
from rl.data.sizes import images_of
from rl.run.folder import RunFolderError
from rl.run.progress import Display
from rl.sft.ranks import Start, in_workers
from rl.sft.train import CHECKPOINTS, Counts, train_sft
from rollouts.media import with_hash
from rollouts.prompt.messages import render_prompt
from rollouts.prompt.prefill import prefill_of
from rollouts.prompt.processing import load_family, load_processor
from rollouts.records import Media, Sample, to_dict
from rollouts.store.disk import sha256_file

# Raise it when the same rows and settings begin to give another model. 2: the policy's own code instead of TRL's, fp32
# weights on every device, and the first update moves.
FORMAT_VERSION = 2
# Settings that do not change the result.
_SFT_WITHOUT_EFFECT = (
    *("enabled", "checkpoint", "cache_dir", "min_format_rate", "micro_batch_tokens", "save_steps"),
    *("train", "max_tiles"),  # they stand in the model's settings by then (`as_trained`)
)
_MODEL_WITHOUT_EFFECT = ("path", "max_model_len", "max_images")
FINISHED, LOCK = "sft.json", ".lock"


def as_trained(config: Config) -> Config:
    """The configuration as SFT has it: what learns and how large images are may be its own (`sft.train`,
    `sft.max_tiles`)."""
    sft = config.sft
    return with_model(config, sft.train or config.model.train, sft.max_tiles)


def with_model(config: Config, train: Train, max_tiles: int | None) -> Config:
    """The configuration of a training in which this learns and images have at most so many tiles; None = as in RL. A
    family that cuts no tiles has no such setting."""
    model = dataclasses.replace(config.model, train=train)
    if max_tiles is not None and load_family(config.model.path).cuts_tiles:
        model = dataclasses.replace(model, max_tiles=max_tiles)
    return dataclasses.replace(config, model=model)


def sft_hash(config: Config, rows: Sequence[SftRow]) -> str:
    """Hex digest of everything the SFT model depends on: model files, settings, seed, what the template makes of a row,
    and every row with its images."""
    config = as_trained(config)
    lines = ([_plain(row.sample), media_hashes(row.sample.media), row.response] for row in rows)
    return course_hash(config, lines, {"asked": _prompts(config, rows)})


def course_hash(config: Config, lines: Iterable[object], rest: Mapping[str, object]) -> str:
    """Hex digest of everything that a training of `config.model` with the settings of `config.sft` depends on.

    Args:
        lines: a JSON-ready value for each row.
        rest: what else matters, JSON-ready.
    """
    digest = hashlib.sha256()
    folder = Path(config.model.path)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0".encode() + bytes.fromhex(sha256_file(path)))
    settings = {
        "format": FORMAT_VERSION,
        "model": _without(dataclasses.asdict(config.model), _MODEL_WITHOUT_EFFECT),
        "model_id": "" if files else config.model.path,
        "sft": _without(dataclasses.asdict(config.sft), _SFT_WITHOUT_EFFECT),
        "seed": config.seed,
        **rest,
    }
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for line in lines:
        digest.update(json.dumps(line, sort_keys=True).encode())
    return digest.hexdigest()


def media_hashes(media: Sequence[Media]) -> list[str]:
    """Of the content of each; and what stands before its frames, which is read, too."""
    return [*(with_hash(one).sha256 for one in media), *(label for one in media for label in one.labels or ())]


def _plain(sample: Sample) -> dict[str, object]:
    return {name: value for name, value in to_dict(sample).items() if name != "media"}


def _without(settings: dict[str, object], names: Sequence[str]) -> dict[str, object]:
    return {name: value for name, value in settings.items() if name not in names}


def _prompts(config: Config, rows: Sequence[SftRow]) -> list[str]:
    """What code and template make of the first row of each kind of answer: instructions, turns, and what the template
    opens of the answer itself, which is then not taught."""
    processor = load_processor(config.model.path, images_of(config.model))
    first = {row.sample.answer_type: row.sample for row in reversed(rows)}
    prompts = [render_prompt(first[kind], processor) for kind in sorted(first)]
    return [str(processor.turn_end), *(text for prompt in prompts for text in (prompt, prefill_of(prompt)))]


def ensure_sft(
    config: Config, rows: Sequence[SftRow], display: Display | None = None, *, start: Start = in_workers
) -> Path:
    """The SFT model of this configuration: the given checkpoint, a finished one of the same hash, or a newly trained
    one. `display` says which.

    A model appears under its name only when it is complete. While it is trained it lies in a hidden folder beside, with
    a checkpoint every `sft.save_steps` updates: whoever asks for the same model again goes on there.

    Raises:
        FileNotFoundError: `sft.checkpoint` or the model's folder is missing.
        RunFolderError: another process trains this very model.
        Whatever `train_sft` raises.
    """
    display = display or Display(sys.stderr)
    if config.sft.checkpoint is not None:
        if not (Path(config.sft.checkpoint) / "config.json").is_file():
            raise FileNotFoundError(
                f"sft.checkpoint={config.sft.checkpoint} holds no model (no config.json); "
                "give the folder of a finished SFT model, or leave it out to train one"
            )
        return Path(config.sft.checkpoint)
    config = as_trained(config)

    def train(folder: Path) -> Counts:
        return train_sft(config, rows, folder, display, start=start)

    return ensure(config, sft_hash(config, rows), f"training on {len(rows)} rows", len(rows), train, display)


def ensure(
    config: Config, digest: str, doing: str, num_rows: int, train: Callable[[Path], Counts], display: Display
) -> Path:
    """The finished model of this hash in `sft.cache_dir`, or the one that `train` makes in the folder it is given.

    Raises:
        RunFolderError: another process trains this very model.
        Whatever `train` raises.
    """
    final = Path(config.sft.cache_dir) / digest[:16]
    if (final / FINISHED).is_file():
        return _reuse(final, display)
    partial = final.with_name(f".{final.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    with _held(partial / LOCK):
        if (final / FINISHED).is_file():  # finished by another process meanwhile
            return _reuse(final, display)
        display.say(f"{doing} into {final}")
        try:
            counts = train(partial)
        except BaseException:
            if not any((partial / CHECKPOINTS).glob("step_*")):  # nothing to go on from
                shutil.rmtree(partial)
            raise
        record = {"hash": digest, "num_rows": num_rows, "refused_rows": counts.num_refused}
        (partial / FINISHED).write_text(json.dumps(record) + "\n", encoding="utf-8")
        shutil.rmtree(partial / CHECKPOINTS, ignore_errors=True)
        (partial / LOCK).unlink()
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    return final


def _reuse(final: Path, display: Display) -> Path:
    display.say(f"{final} is reused (same model, data and settings)")
    refused = json.loads((final / FINISHED).read_text(encoding="utf-8")).get("refused_rows", 0)
    if refused:
        display.warn(f"the processor refused {refused} rows when it was trained; they are in its refused_rows.jsonl")
    return final


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """One process at a time trains a model; the lock of one that was killed is free."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RunFolderError(
            f"another process trains the SFT model in {path.parent}; wait for it, or give another sft.cache_dir="
        ) from None
    try:
        yield
    finally:
        os.close(lock)
