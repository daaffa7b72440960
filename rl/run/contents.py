"""What a run learns from, by content: rows with their images, files of rewards, the judge with its prompts, and the
model's own files. A resumed run compares it with what the run began with: settings alone do not see an edited gold
answer or a plugin that was changed meanwhile."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards.rubric import Rubric
from rl.data.sets import DataSplits
from rl.run.folder import RunFolderError
from rollouts.media import with_hash
from rollouts.records import Sample, to_dict
from rollouts.store.disk import write_atomically

CONTENTS = "contents.json"
# Names shown of rows that differ; the rest is counted.
NUM_SHOWN = 5
# Weights are told apart by their size: hashing 16 GB takes a minute, and nobody edits them by hand.
WEIGHTS = (".safetensors", ".bin", ".gguf")
Contents = Mapping[str, Mapping[str, str]]


def contents_of(splits: DataSplits, rubric: Rubric, judge: str, model: Path) -> dict[str, dict[str, str]]:
    """Part -> name -> digest, for every part of what a run learns from.

    Args:
        splits: the data as a run uses it, after its filters; a part a split, a name a row's id.
        rubric: its rewards from files; a name a reward.
        judge: a digest of the judge that decides (`judges.calibration.results.identity`).
        model: the folder of the base model; a Hub id, which is no folder here, is told by name alone.
    """
    return {
        "SFT rows": {row.sample.id: digest(_plain(row.sample), row.response) for row in splits.sft},
        "RL prompts": _rows(splits.rl),
        "held-out items": _rows(splits.eval),
        "rewards": {name: _file(Path(home.rpartition(":")[0])) for name, home in rubric.plugins().items()},
        "judge": {"settings, prompts and weights": judge},
        "model": {path.name: _model_file(path) for path in sorted(model.glob("*")) if path.is_file()},
    }


def compare(before: Contents, now: Contents) -> list[str]:
    """A line for each part that is not the same: how many names changed, came or went, and the first of them."""
    lines = []
    for part in dict.fromkeys([*before, *now]):
        old, new = before.get(part, {}), now.get(part, {})
        kinds = {
            "changed": [name for name in old if name in new and old[name] != new[name]],
            "gone": [name for name in old if name not in new],
            "new": [name for name in new if name not in old],
            "in another order": [part] if list(old) != list(new) and set(old) == set(new) else [],
        }
        lines += [f"{part}: {_names(names)} {kind}" for kind, names in kinds.items() if names]
    return lines


def hold(folder: Path, now: Contents, *, resume: bool, allow_changes: bool) -> list[str]:
    """Write what a new run learns from, or compare it where a run goes on. Returns the lines of `compare` that a run
    goes on in spite of; they are kept in the file.

    Raises:
        RunFolderError: a resumed run would learn from other contents, and `allow_changes` is not set.
    """
    stored = _stored(folder) if resume else {}
    accepted: list[list[str]] = stored.get("accepted_changes", [])
    changes = check_contents(folder, now, allow_changes=allow_changes) if resume else []
    record: dict[str, Any] = {"accepted_changes": [*accepted, changes] if changes else accepted, "contents": now}
    text = json.dumps(record, ensure_ascii=False)
    write_atomically(folder / CONTENTS, text.encode("utf-8", "backslashreplace"))
    return changes


def check_contents(folder: Path, now: Contents, *, allow_changes: bool) -> list[str]:
    """The lines of `compare` between what a run in `folder` began with and `now`; none where nothing is kept there.

    Raises:
        RunFolderError: there are some, and `allow_changes` is not set.
    """
    stored = _stored(folder)
    changes = compare(stored["contents"], now) if stored else []
    if changes and not allow_changes:
        raise RunFolderError(
            f"resume=true in {folder}, but what the run learns from has changed since it began:\n"
            + "\n".join(f"  {line}" for line in changes)
            + "\nPut it back to go on, give another out_dir= for a new run, or set allow_changes=true to go on all the"
            f" same (recorded in {CONTENTS})."
        )
    return changes


def _stored(folder: Path) -> dict[str, Any]:
    path = folder / CONTENTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _rows(samples: Iterable[Sample]) -> dict[str, str]:
    return {sample.id: digest(_plain(sample)) for sample in samples}


def _plain(sample: Sample) -> dict[str, Any]:
    """A sample as plain values; its images by their hashes, wherever their files are."""
    media = [[one.kind, with_hash(one).sha256, one.frame_indices, *(one.labels or ())] for one in sample.media]
    return {**{name: value for name, value in to_dict(sample).items() if name != "media"}, "media": media}


def digest(*parts: Any) -> str:
    """Of plain values, whatever their order in mappings."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "an installed package"


def _model_file(path: Path) -> str:
    return f"{path.stat().st_size} bytes" if path.suffix in WEIGHTS else _file(path)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 40 else name[:39] + "\u2026" for name in names[:NUM_SHOWN])
    return shown + (f" and {len(names) - NUM_SHOWN:,} more" if len(names) > NUM_SHOWN else "")
