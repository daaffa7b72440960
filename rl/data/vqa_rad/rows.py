"""VQA-RAD (Lau et al. 2018, Scientific Data 5:180251, CC0): questions by clinicians about radiology images.

`data.root` is a folder with `trainset.json` and `images/`, or a Hub id. The known traps are cleaned, and counted in
`notes`: integer answers, "CLOSED " with a blank, CLOSED questions that are not yes/no, answers that differ in case or
spelling only, repeated rows, rows that contradict each other, answers that say nothing ("maybe"). A row that names a
missing or broken image is a bad row.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.config import DataConfig
from rl.data import split
from rl.data.images import ImageReader, image_fault
from rl.data.markup import bare_question, refuse_tags
from rl.data.sets import BadRow, DataSplits, UnusableData, refuse_bad_rows
from rl.data.vqa_rad.answers import aliases, clean_answer, distinct, options_in_question
from rl.data.vqa_rad.words import image_modalities, thought
from rollouts.records import LETTERS, BadSample, Media, Sample
from rollouts.rows.sample import text_of, value_text
from rollouts.texts.reading import TextFault, file_text, parse, refuse_half_pairs, shorten

FILE_NAME, IMAGE_FOLDER = "trainset.json", "images"
NO_ANSWER = frozenset({"maybe", "not sure", "unsure", "unknown", "n/a"})
_FIELDS = ("image_name", "question", "answer")


@dataclass(frozen=True)
class Row:
    """One question as the file has it, image opened, blanks cleaned."""

    line: int
    id: str
    question: str
    answer: str
    media: Media
    # From the file where it says so, "" where it does not (the Hub's copy has only image, question and answer).
    organ: str
    question_type: str


def load(data: DataConfig) -> DataSplits:
    """SFT rows, RL pool and held-out samples, split by image.

    Raises:
        FileNotFoundError: `data.root` is no folder with trainset.json and images/, and no Hub id either.
        BadRows: rows cannot be used, and `data.on_bad_row` is "raise".
    """
    root = Path(str(data.root))
    if root.is_dir():
        rows, bad_rows = read_folder(root)
    elif root.exists() or str(data.root).count("/") != 1 or str(data.root).startswith((".", "~")):
        raise FileNotFoundError(
            f"data.root={data.root}: expected a folder with {FILE_NAME} and {IMAGE_FOLDER}/, or a Hub id owner/name"
        )
    else:
        rows, bad_rows = read_hub(str(data.root))
    refuse_bad_rows(data, bad_rows)
    samples, notes = to_samples(rows)
    train, held_out = split.by_image(samples, data.eval_fraction, data.seed)
    taught = split.subset(train, data.num_sft, data.seed, "sft")
    return DataSplits(
        sft=[split.sft_row(sample, thought(sample)) for sample in taught],
        rl=train,
        eval=split.subset(held_out, data.num_eval, data.seed, "eval"),
        bad_rows=bad_rows,
        notes=notes,
    )


def read_folder(root: Path) -> tuple[list[Row], list[BadRow]]:
    """The rows of `trainset.json`, every image opened. Raises FileNotFoundError, and UnusableData where the file is
    no JSON list."""
    path = root / FILE_NAME
    if not path.is_file() or not (root / IMAGE_FOLDER).is_dir():
        raise FileNotFoundError(f"data.root={root}: expected {FILE_NAME} and {IMAGE_FOLDER}/ in this folder")
    try:
        raw = parse(file_text(path), whole_file=True)
    except TextFault as error:
        raise UnusableData(f"{path}: {error}") from error
    if not isinstance(raw, list):
        raise UnusableData(f"{path} holds a {type(raw).__name__}, expected a list of questions")
    reader = ImageReader(root / IMAGE_FOLDER)
    rows, bad_rows = [], []
    for line, entry in enumerate(raw, start=1):
        try:
            rows.append(_row(line, entry, reader))
        except BadSample as error:
            name = shorten(str(entry.get("qid") or "")) if isinstance(entry, dict) else ""
            bad_rows.append(BadRow(line, name, str(error)))
    return _without_taken_ids(rows, bad_rows)


def _without_taken_ids(rows: Sequence[Row], bad_rows: Sequence[BadRow]) -> tuple[list[Row], list[BadRow]]:
    """A qid that stands at two different questions names neither; at a repeated row it is the same question."""
    first: dict[str, Row] = {}
    good, bad = [], list(bad_rows)
    for row in rows:
        taken = first.setdefault(row.id, row)
        if (taken.question, taken.media.sha256) == (row.question, row.media.sha256):
            good.append(row)
        else:
            bad.append(BadRow(row.line, row.id, f"the qid is taken by line {taken.line}, another question"))
    return good, sorted(bad, key=lambda one: one.line or 0)


def _row(line: int, entry: Any, reader: ImageReader) -> Row:
    if not isinstance(entry, dict) or any(name not in entry for name in _FIELDS):
        raise BadSample(f"expected an object with {', '.join(_FIELDS)}")
    question, answer = _question_and_answer(entry)
    qid = line if entry.get("qid") is None else value_text(entry["qid"], "qid")
    return Row(
        line=line,
        id=f"vqa_rad-{qid}",
        question=question,
        answer=answer,
        media=reader.image(value_text(entry["image_name"], "image_name")),
        organ=_description(entry, "image_organ"),
        question_type=_description(entry, "question_type"),
    )


def _question_and_answer(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Question and answer of a row. Raises BadSample for what is no value (null, NaN, a list) or says nothing."""
    try:
        refuse_half_pairs([entry["question"], entry["answer"]])
    except TextFault as error:
        raise BadSample(str(error)) from error
    question = bare_question(_question(value_text(entry["question"], "question")), 1)
    answer = clean_answer(value_text(entry["answer"], "answer"))
    if not question or not answer:
        raise BadSample("the question is empty" if not question else "the answer is empty")
    refuse_tags("answer", answer)
    return question, answer


def _description(entry: Mapping[str, Any], name: str) -> str:
    """What the row says of its image or question; "" where it does not. Raises BadSample for what is no text."""
    return text_of({name: entry[name]} if entry.get(name) is not None else {}, name).upper()


def _question(raw: str) -> str:
    """Blanks cleaned; the annotators' mark "-open" at the end of some questions is no part of them."""
    return " ".join(raw.split()).removesuffix("-open").strip()


def read_hub(name: str) -> tuple[list[Row], list[BadRow]]:
    """All splits of a copy on the Hub with the columns image, question and answer. They are merged: they share
    images."""
    import datasets  # here, because a folder needs no Hub client

    try:
        parts = datasets.load_dataset(name)
    except (
        Exception
    ) as error:  # a boundary: the client raises dozens of kinds, all of which mean the same to the reader
        raise FileNotFoundError(
            f"data.root={name}: no such folder here, and the Hub does not give it: {error}"
        ) from error
    raw = (row for part in parts.values() for row in part.cast_column("image", datasets.Image(decode=False)))
    return rows_of_columns(raw)


def rows_of_columns(raw: Iterable[Mapping[str, Any]]) -> tuple[list[Row], list[BadRow]]:
    """Rows from records with `image` ({"bytes": ...}), `question` and `answer`."""
    rows, bad_rows = [], []
    for line, entry in enumerate(raw, start=1):
        try:
            data = (entry.get("image") or {}).get("bytes") or b""
            if fault := image_fault(data):
                raise BadSample(f"image {fault}")
            question, answer = _question_and_answer({name: entry.get(name) for name in ("question", "answer")})
        except BadSample as error:
            bad_rows.append(BadRow(line, "", str(error)))
            continue
        media = Media(kind="image", data=data, sha256=hashlib.sha256(data).hexdigest())
        rows.append(Row(line, f"vqa_rad-hub-{line}", question, answer, media, organ="", question_type=""))
    return rows, bad_rows


def to_samples(rows: Sequence[Row]) -> tuple[list[Sample], dict[str, int]]:
    """One sample for each question about an image, and how many rows each kind of cleaning took away."""
    notes: collections.Counter[str] = collections.Counter()
    groups: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
    for row in rows:
        groups[row.media.sha256, row.question.casefold().rstrip("? ")].append(row)
    modalities = image_modalities((row.media.sha256, row.question, row.answer) for row in rows)
    samples = []
    for group in groups.values():
        telling = [row for row in group if row.answer.casefold() not in NO_ANSWER]
        notes["answers that say nothing"] += len(group) - len(telling)
        wordings = distinct([row.answer for row in telling], without="")
        closed = {wording.casefold() for wording in wordings} & {"yes", "no"}
        if closed and len(wordings) > 1:
            notes["rows that contradict another about the same image"] += len(telling)
        elif telling:
            notes["repeated rows"] += len(telling) - 1
            samples.append(_sample(telling[0], wordings[1:], modalities.get(telling[0].media.sha256, "")))
    return samples, dict(notes)


def _sample(row: Row, other_answers: Sequence[str], modality: str) -> Sample:
    """The record of a row; another answer that annotators gave to the same question about the same image counts as
    right too."""
    gold, folded = row.answer, row.answer.casefold()
    tags = {"organ": row.organ, "question_type": row.question_type}
    common: dict[str, Any] = {
        "id": row.id, "question": row.question, "media": (row.media,), "source": "vqa_rad", "modality": modality,
        "tags": tags
    }  # fmt: skip
    if folded in ("yes", "no"):
        return Sample(answer_type="yes_no", gold_text=folded, **common)
    named = None if other_answers else options_in_question(row.question, gold)
    if named is not None:
        spelled = named.options[named.gold_index]
        letters = (LETTERS[named.gold_index],)
        meant = distinct([gold, *aliases(spelled)], without=spelled)
        return Sample(
            answer_type="mcq", gold_text=spelled, options=named.options, gold_letters=letters, aliases=meant, **common
        )
    meant = distinct([*other_answers, *aliases(gold)], without=gold)
    return Sample(answer_type="open", gold_text=gold, aliases=meant, **common)
