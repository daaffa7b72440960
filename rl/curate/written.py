"""Rows as `data=jsonl` reads them, and files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rl.curate.filters.quality import names_somebody
from rl.curate.items import Drop, Item
from rl.curate.letters import Ordered
from rl.curate.recipe.schema import Source
from rl.data.media.given import SAYS
from rollouts.records import BadSample
from rollouts.rows.sample import sample_of
from rollouts.terminal import one_line

_MOST_DETAIL = 200


class Row(Mapping[str, Any]):
    """One row of the output, checked as `data=jsonl` will check it."""

    def __init__(self, values: dict[str, Any]) -> None:
        """Raises BadSample where the row would not be read as it was meant."""
        self._values = values
        sample = sample_of(values, values["id"])
        gold = values["options"]["ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(values["answer"])] if "options" in values else None
        if sample.gold_text != (values["answer"] if gold is None else gold):
            raise BadSample(f"the answer {one_line(str(values['answer']), 60)!r} would be read as something else")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps(self._values, ensure_ascii=False) + "\n"


def row_of(
    ordered: Ordered, source: Source, root: Path, out: Path, *, recipe: str, side: str, patient: str, paired: bool
) -> Row:
    """The row of a question. Raises BadSample.

    `root`: folder of the recipe; `out`: of the output, from which paths of the row start. `patient`: hashed. `paired`:
    whether the other language has a row too.
    """
    made = ordered.made
    item = made.item
    values: dict[str, Any] = {
        "id": f"{item.source}-{made.id}",
        "question": made.question,
        "answer": ordered.letter or made.gold,
        "options": list(ordered.options),
        "answer_type": made.answer_type,
        **_media(item, source, root, out),
        "patient": patient,
        "split": side,
        "think": made.think,
        "aliases": list(made.aliases),
        "modality": item.modality,
        "source": item.source,
        "language": made.language,
        "pair_id": made.pair if paired else "",
        "tags": {
            "recipe": recipe,
            "rule": made.rule,
            **({"task": made.task} if made.task else {}),
            "wording": made.wording,
            **made.tags,
        },
    }
    return Row({name: value for name, value in values.items() if value not in ("", [])})


def _media(item: Item, source: Source, root: Path, out: Path) -> dict[str, Any]:
    def path_of(path: str) -> str:
        return Path(os.path.relpath(root / path, out)).as_posix()

    fields: dict[str, Any] = {}
    images = [path_of(path) for kind, path in item.media if kind == "image"]
    if images:
        fields |= {"image": images[0]} if len(images) == 1 else {"images": images}
    for kind, path in item.media:
        if kind != "image":
            extras = {name: value for name, value in source.media.items() if name in SAYS[kind]}
            fields[kind] = {"path": path_of(path), **extras} if extras else path_of(path)
    if item.mask and len(item.media) == 1:
        fields["mask"] = path_of(item.mask)
    return fields


def dropped_line(drop: Drop) -> str:
    """One line of dropped.jsonl. The item is named by id and line, never by its file, and a detail that holds a word of
    the patient's key is left out."""
    detail = "" if names_somebody(drop.item, drop.detail) else one_line(drop.detail, _MOST_DETAIL)
    values = {
        "source": drop.item.source,
        "line": drop.item.number,
        "item": drop.item.id,
        "rule": drop.rule,
        "reason": drop.reason,
        "language": drop.language,
        "detail": detail,
    }
    return json.dumps({name: value for name, value in values.items() if value != ""}, ensure_ascii=False) + "\n"


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write a file under another name and rename it, so that nobody ever reads half of it. Raises OSError; then what
    stood there before stands there still."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
