"""Anyone's file: `data=jsonl data.root=FILE`, one JSON object a line, one question each. examples/data.md shows it by
example.

| field | meaning |
|---|---|
| `question` | the question; required |
| `answer` | the right answer; required. With options: a letter or an option's text, a list of them where several are
right |
| `options` | list of 2 to 26 option texts; makes the question multiple choice (a list as `answer`: multiple selection)
|
| `answer_type` | mcq, multi, yes_no, open, numeric, report or box; read off answer and options where it is left out |
| `image`, `images` | a path, or a list of paths; relative to the file's folder |
| `volume`, `video` | a folder of slices or frames as images, or a list of files; at most `data.max_frames` are taken,
evenly spaced |
| `id` | unique; the line number where it is left out |
| `split` | train or eval (test, val, validation mean eval) on every row or on none; none: split by image |
| `think` | the thought of the SFT response; a neutral sentence where it is left out |
| `aliases` | other wordings that mean the answer exactly |
| `rubric` | list of {"criterion": text, "points": number} for the reward `rubric_judge`; negative points for faults |
| `difficulty` | 0 (a model always solved it) to 1 (never); data.min_difficulty and data.max_difficulty choose by it |
| `modality`, `source`, `language` (en, zh), `tags`, `pair_id`, `boxes`, `reference_steps`, `visual_references` | as in
`Sample` |

Every line is read and every image opened before anything starts; all bad lines are told at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rl.config import DataConfig
from rl.data import split
from rl.data.jsonl.row import id_of, parse_row, said_in
from rl.data.media.reader import Bar, MediaReader, Room, no_bar
from rl.data.sets import BadRow, DataSplits, SftRow, UnusableData, refuse_bad_rows
from rollouts.records import BadSample, Sample
from rollouts.texts.reading import NoJson, TextFault, decode, file_lines, file_text, parse, parse_object, quote

_NEUTRAL_THOUGHT = "I look at the {modality} and answer what is asked."


class Line(NamedTuple):
    """One good line of the file."""

    number: int
    sample: Sample
    # The thought of the SFT response; None = the row has none.
    think: str | None
    # "train", "eval", or None where the row does not say.
    split: str | None


def load(data: DataConfig, room: Room | None = None, bar: Bar = no_bar) -> DataSplits:
    """SFT rows, RL pool and held-out samples of the file. `room`: what a prompt has for its frames, asked for where a
    row holds some; `bar`: shows how many volumes and videos are read.

    Raises:
        FileNotFoundError: `data.root` is no file.
        BadRows: lines cannot be used, and `data.on_bad_row` is "raise".
        UnusableData: no line is left, or no image can be held out.
    """
    path = Path(str(data.root))
    if not path.is_file():
        raise FileNotFoundError(
            f"data.root={data.root}: expected a JSONL file, {'got a folder' if path.is_dir() else 'there is none'}"
        )
    reader = MediaReader(path.parent, data.media, room)
    lines, bad_rows = read_lines(path, reader, bar)
    lines, bad_rows = check_together(lines, bad_rows)
    refuse_bad_rows(data, bad_rows)
    if not lines:
        raise UnusableData(f"data.root={data.root} has no usable row ({len(bad_rows)} bad ones)")
    train, held_out = _divide(lines, data)
    thoughts = {line.sample.id: line.think for line in lines}
    taught = split.subset(train, data.num_sft, data.seed, "sft")
    return DataSplits(
        sft=[_sft_row(sample, thoughts[sample.id]) for sample in taught],
        rl=train,
        eval=split.subset(held_out, data.num_eval, data.seed, "eval"),
        bad_rows=bad_rows,
        notes=dict(reader.notes),
    )


def read_lines(path: Path, reader: MediaReader, bar: Bar = no_bar) -> tuple[list[Line], list[BadRow]]:
    """Every line of the file, good or bad; blank lines are passed over. A file that is not made of lines of JSON is one
    bad row."""
    lines: list[Line] = []
    bad_rows: list[BadRow] = []
    try:
        numbered = file_lines(path)
    except TextFault as error:
        return [], [BadRow(1, "", str(error))]
    not_json = []
    for _, raw in numbered:
        with contextlib.suppress(BadSample):  # told below
            reader.look(said_in(_object(raw)))
    reader.prepare(bar)
    for number, raw in numbered:
        row_id = ""
        try:
            row = _object(raw)
            row_id = id_of(row, number)
            sample, think, side = parse_row(row, row_id, reader)
            lines.append(Line(number, sample, think, side))
        except BadSample as error:
            not_json += [number] if isinstance(error.__cause__, NoJson) else []
            bad_rows.append(BadRow(number, row_id, str(error).removeprefix(f"sample {quote(row_id)}: ")))
    if len(numbered) > 1 and not_json[:1] == [numbered[0][0]]:
        form = _form_of(path, numbered[0][1], all_lines=len(not_json) == len(numbered))
        if form:
            return [], [BadRow(numbered[0][0], "", f"the file is {form}, expected one JSON object a line")]
    return lines, bad_rows


def _object(raw: bytes) -> dict[str, object]:
    try:
        return parse_object(decode(raw))
    except TextFault as error:
        raise BadSample(str(error)) from error


def _form_of(path: Path, first: bytes, *, all_lines: bool) -> str:
    """What a file is whose first line is no JSON, so that it is said once and not line by line; "" where other lines
    are."""
    try:
        whole = parse(file_text(path), whole_file=True)
    except TextFault:
        return f"no JSON: it begins with {quote(first[:200].decode(errors='replace'))}" if all_lines else ""
    return f"one JSON list of {len(whole)}" if isinstance(whole, list) else "one JSON value over several lines"


def check_together(lines: Sequence[Line], bad_rows: Sequence[BadRow]) -> tuple[list[Line], list[BadRow]]:
    """What can only be told from all lines: repeated ids, splits given to some lines only, an image on both sides."""
    first_line: dict[str, int] = {}
    held_out = {key: line.number for line in lines if line.split == "eval" for key in split.image_keys(line.sample)}
    given = any(line.split for line in lines)
    good, bad = [], list(bad_rows)
    for line in lines:
        reason = None
        clash = [key for key in split.image_keys(line.sample) if key in held_out]
        if line.sample.id in first_line:
            reason = f"the id is taken by line {first_line[line.sample.id]}"
        elif given and line.split is None:
            reason = "has no split, but other lines have one; give it to all lines or to none"
        elif line.split == "train" and clash:
            reason = f"is for training, but its {split.in_words(clash[0])} is held out in line {held_out[clash[0]]}"
        first_line.setdefault(line.sample.id, line.number)
        if reason:
            bad.append(BadRow(line.number, line.sample.id, reason))
        else:
            good.append(line)
    return good, sorted(bad, key=lambda row: row.line or 0)


def _divide(lines: Sequence[Line], data: DataConfig) -> tuple[list[Sample], list[Sample]]:
    samples = [line.sample for line in lines]
    if lines[0].split is None:
        return split.by_image(samples, data.eval_fraction, data.seed)
    train = [sample for sample in samples if sample.split == "train"]
    held_out = [sample for sample in samples if sample.split == "eval"]
    if not train or not held_out:
        raise UnusableData(
            f"data.root={data.root}: {len(train)} rows to train on and {len(held_out)} held out; both need some"
        )
    return train, held_out


def _sft_row(sample: Sample, think: str | None) -> SftRow:
    what = f"{sample.modality} image" if sample.modality else "image" if sample.media else "question"
    return split.sft_row(sample, think or _NEUTRAL_THOUGHT.format(modality=what))
