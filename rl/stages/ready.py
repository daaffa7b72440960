"""Everything of a stage that can be known before anything is trained: its documents, each of which the processor takes
and has room for, and its updates."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rl.config import Config
from rl.config.stage_rules import stage_of
from rl.data.documents.rows import held_apart, load_documents
from rl.data.media.reader import Bar, no_bar
from rl.data.sets import BadRow, BadRows, UnusableData, write_bad_rows
from rl.data.sizes import images_of
from rl.sft.train import Numbers
from rl.stages.course import sequences_of
from rl.stages.packing import share_filled
from rl.stages.settings import as_staged
from rollouts.prompt.documents import Document
from rollouts.prompt.lengths import Advance, measure_documents
from rollouts.prompt.processing import load_family, load_processor
from rollouts.records import Sample


@dataclass(frozen=True)
class ReadyStage:
    """One stage, ready to be trained."""

    name: str
    documents: list[Document]
    # Tokens of each.
    lengths: list[int]
    updates: list[list[Numbers]]
    bad_rows: list[BadRow]
    notes: dict[str, int]

    @property
    def num_images(self) -> int:
        """Frames of all documents."""
        return sum(media.num_frames for one in self.documents for media in one.media)


class Checked(NamedTuple):
    """Documents that can be taught, and the others."""

    documents: list[Document]
    lengths: list[int]
    bad_rows: list[BadRow]


def ready_stage(config: Config, name: str, held_out: Sequence[Sample], bar: Bar = no_bar) -> ReadyStage:
    """The documents of a stage, checked one by one.

    Args:
        config: the run's.
        held_out: items that are asked later: documents that show one of their images are left out.
        bar: shows how many volumes are read, and how many documents are checked.

    Raises:
        BadRows: some cannot be taught, and data.on_bad_row is "raise"; they are listed beside their file.
        UnusableData: none is left.
        FileNotFoundError: `root` is not there.
    """
    stage = stage_of(config, name)
    content = held_apart(load_documents(name, stage, config.data, bar), held_out)
    staged = as_staged(config, name, load_family(config.model.path))
    with bar(f"check the documents of {name}", len(content.documents)) as advance:
        checked = check_documents(staged, content.documents, advance)
    bad_rows = [*content.bad_rows, *checked.bad_rows]
    if bad_rows and config.data.on_bad_row == "raise":
        where = "data=phantoms" if stage.root is None else f"root={stage.root}"
        raise BadRows(f"stages.{name}.{where}", bad_rows, _listed(stage.root, bad_rows))
    if not checked.documents:
        raise UnusableData(
            f"stages.{name}: no document is left to learn ({len(bad_rows)} bad ones); give others with"
            f" stages.{name}.root=, or leave the stage out with stages.skip=[{name}]"
        )
    updates = sequences_of(checked.lengths, stage, config)
    return ReadyStage(name, checked.documents, checked.lengths, updates, bad_rows, dict(content.notes))


def check_documents(staged: Config, documents: Sequence[Document], advance: Advance = lambda _: None) -> Checked:
    """The documents that the processor takes and that fit into `model.max_model_len`. `staged`: see `as_staged`."""
    processor = load_processor(staged.model.path, images_of(staged.model))
    room = staged.model.max_model_len
    good: list[Document] = []
    lengths: list[int] = []
    bad: list[BadRow] = []
    for document, length in zip(documents, measure_documents(processor, documents, advance).lengths, strict=True):
        if isinstance(length, str):
            bad.append(BadRow(None, document.id, length))
        elif length > room:
            reason = f"it has {length} tokens of model.max_model_len={room}: cut the document, or raise that"
            bad.append(BadRow(None, document.id, reason))
        else:
            good.append(document)
            lengths.append(length)
    return Checked(good, lengths, bad)


def in_words(config: Config, ready: ReadyStage) -> str:
    """What a stage teaches, in numbers."""
    stage, tokens = stage_of(config, ready.name), sum(ready.lengths)
    rows = [row for update in ready.updates for row in update]
    text = f"{len(ready.documents):,} documents with {ready.num_images:,} images, {tokens:,} tokens"
    if stage.packed:
        filled = share_filled(ready.lengths, rows, config.model.max_model_len)
        text += f"; {len(rows):,} sequences of {config.model.max_model_len} tokens, {filled:.0%} filled"
    return f"{text}; {len(ready.updates):,} updates of {len(ready.updates[0])} rows at {stage.learning_rate:g}"


def _listed(root: str | None, rows: Sequence[BadRow]) -> str:
    """All bad rows in a file beside the documents, or where that cannot be written."""
    try:
        if root is None:
            raise FileNotFoundError
        return str(write_bad_rows(Path(root).parent / "bad_rows.jsonl", rows))
    except OSError:
        return str(write_bad_rows(Path(tempfile.mkdtemp(prefix="rounds-bad-rows-")) / "bad_rows.jsonl", rows))
