"""The documents of a stage: read from a file of JSON lines, each line and each image before anything starts, or made of
phantoms."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rl.config import DataConfig, StageConfig
from rl.data.documents.phantoms import made_documents
from rl.data.documents.row import asked_to_read, document_of
from rl.data.jsonl.row import id_of
from rl.data.media.reader import Bar, MediaReader, no_bar
from rl.data.sets import BadRow, UnusableData
from rollouts.media import with_hash
from rollouts.prompt.documents import Document
from rollouts.records import BadSample, Media, Sample, stable_hash
from rollouts.texts.reading import TextFault, decode, file_lines, parse_object, quote


@dataclass(frozen=True)
class Documents:
    """The documents of one stage."""

    documents: list[Document]
    bad_rows: list[BadRow] = field(default_factory=list)
    # What was left out, and how many; told to the reader, no fault of anybody.
    notes: Mapping[str, int] = field(default_factory=dict)


def load_documents(name: str, stage: StageConfig, data: DataConfig, bar: Bar = no_bar) -> Documents:
    """The documents of the stage of this name, in a seeded order, at most `num_documents`.

    Raises:
        FileNotFoundError: `root` is no file.
        UnusableData: no line of it can be used.
    """
    if stage.data == "phantoms":
        return Documents(made_documents(name, stage.num_documents, data.seed))
    path = Path(str(stage.root))
    if not path.is_file():
        raise FileNotFoundError(f"stages.{name}.root={stage.root}: expected a JSONL file, there is none")
    content = read_documents(path, stage.data, MediaReader(path.parent, data.media), bar)
    if not content.documents and not content.bad_rows:
        raise UnusableData(f"stages.{name}.root={stage.root} holds no document")
    ordered = sorted(content.documents, key=lambda one: stable_hash(data.seed, name, one.id))
    return Documents(ordered[: stage.num_documents], content.bad_rows)


def read_documents(path: Path, form: str, reader: MediaReader, bar: Bar = no_bar) -> Documents:
    """Every line of a file, good or bad; blank lines are passed over. `bar`: shows how many volumes are read."""
    good: dict[str, tuple[int, Document]] = {}
    bad: list[BadRow] = []
    try:
        numbered = file_lines(path)
    except TextFault as error:
        return Documents([], [BadRow(1, "", str(error))])
    for _, raw in numbered:
        with contextlib.suppress(BadSample):  # told below
            for piece in asked_to_read(_object(raw)):
                reader.look(piece)
    reader.prepare(bar)
    for number, raw in numbered:
        row_id = ""
        try:
            row = _object(raw)
            row_id = id_of(row, number)
            if row_id in good:
                raise BadSample(f"the id is taken by line {good[row_id][0]}")
            good[row_id] = number, document_of(row, row_id, form, reader)
        except BadSample as error:
            bad.append(BadRow(number, row_id, str(error).removeprefix(f"sample {quote(row_id)}: ")))
    return Documents([document for _, document in good.values()], bad)


def _object(raw: bytes) -> dict[str, object]:
    try:
        return parse_object(decode(raw))
    except TextFault as error:
        raise BadSample(str(error)) from error


def held_apart(content: Documents, held_out: Sequence[Sample]) -> Documents:
    """The documents that show no image, source or patient of a held-out item; the others are left out and counted,
    because what is measured later must not have been read before."""
    keys = {key for sample in held_out for media in sample.media for key in _keys(media)}
    kept = [one for one in content.documents if not any(keys & _keys(media) for media in one.media)]
    num_left_out = len(content.documents) - len(kept)
    notes = {"documents that show a held-out image or patient, left out": num_left_out} if num_left_out else {}
    return Documents(kept, content.bad_rows, {**content.notes, **notes})


def _keys(media: Media) -> set[str]:
    """What must not be read before it is asked about: what is shown, where it comes from, and whose it is."""
    return {with_hash(media).sha256, media.source_sha256, media.patient} - {""}
