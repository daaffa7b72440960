"""What a run gained over its SFT model and over other runs and controls, as differences paired by item, with intervals
over clusters of items.

A gain counts as far as no control makes it too: the row that matters is a run against a control, not a run against the
model that it started from.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.compare.folders import GRPO, SFT, Folder, check_comparable, open_folders
from rl.evaluate.kept import Kept
from rl.evaluate.ways import Mode
from rl.run.folder import GAINS
from rl.statistics.estimates import estimate
from rl.statistics.pairs import holm, paired_difference
from rollouts.store.disk import write_atomically

SIGNIFICANCE = 0.05


def gains(folders: Sequence[Folder]) -> dict[str, Any]:
    """The first folder against its SFT model and against each other folder.

    Returns:
        num_items; `folders`, each with name, path and control; way of asking -> {models: accuracy of each with interval
        (the fields of `Estimate`), by name; rows: each {of, over, kind, the fields of `Difference`, p_holm,
        significant}}. kind is "gain" (a run over its SFT model), "control" (the same of a control or another run) or
        "over control" / "over run" (the first run over another folder's). Holm's correction is over the rows of one way
        of asking.

    Raises:
        NotComparable: the folders are not of the same items, reader, judge and seeds.
    """
    check_comparable(folders)
    first = folders[0]
    modes = [mode for mode in first.result.modes if all(mode in one.result.modes for one in folders)]
    labels = _labels(folders)
    result: dict[str, Any] = {
        "num_items": len(first.result.items),
        "folders": [
            {"name": label, "path": str(one.path), "control": one.control}
            for label, one in zip(labels, folders, strict=True)
        ],
    }
    for mode in modes:
        pairs = [("gain", SFT, first.models[SFT], labels[0], first.result)]
        for label, other in zip(labels[1:], folders[1:], strict=True):
            pairs.append(("control", SFT, other.models[SFT], label, other.result))
        for label, other in zip(labels[1:], folders[1:], strict=True):
            kind = "over run" if other.control == "none" else "over control"
            pairs.append((kind, label, other.result, labels[0], first.result))
        rows = [
            {"of": of, "over": over, "kind": kind, **_difference(before, after, mode)}
            for kind, over, before, of, after in pairs
        ]
        _correct(rows)
        models = {SFT: first.models[SFT], **dict(zip(labels, (one.result for one in folders), strict=True))}
        result[mode] = {"models": {name: _estimate(kept, mode) for name, kept in models.items()}, "rows": rows}
    return result


def write_gains(folder: Path) -> dict[str, Any]:
    """The gains of a run over its controls, kept in its folder."""
    result = gains(open_folders([folder]))
    write_atomically(folder / GAINS, (json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode())
    return result


def _labels(folders: Sequence[Folder]) -> list[str]:
    """Names that are told apart: the control's where it is one, the folder's where that is unique, else its path."""
    names = [one.control if one.control != "none" else one.name for one in folders]
    taken = [SFT, GRPO, *names]
    return [name if taken.count(name) == 1 else str(one.path) for name, one in zip(names, folders, strict=True)]


def _difference(before: Kept, after: Kept, mode: Mode) -> dict[str, Any]:
    earlier = {item.id: item for item in before.items}
    first = [earlier[item.id].mean(mode) for item in after.items]
    second = [item.mean(mode) for item in after.items]
    return dataclasses.asdict(paired_difference(first, second, [item.cluster for item in after.items]))


def _estimate(kept: Kept, mode: Mode) -> dict[str, Any]:
    values = [item.mean(mode) for item in kept.items]
    return dataclasses.asdict(estimate(values, [item.cluster for item in kept.items]))


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    """Holm over the rows of one way of asking; a row without a p value is in no family."""
    tested = [row for row in rows if row["p_value"] is not None]
    for row, corrected in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["p_holm"] = corrected
    for row in rows:
        row.setdefault("p_holm", None)
        row["significant"] = row["p_holm"] is not None and row["p_holm"] <= SIGNIFICANCE
