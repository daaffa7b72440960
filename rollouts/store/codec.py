"""A rollout as one flat row, and back: the same row is a line of JSONL while a step runs and a row of Parquet once it
is finished.

Columns are flat and typed, so that pandas, polars, DuckDB and `datasets` read the files as they stand. What is keyed by
name in a record (outcomes, weights, parts, tags, timings) is a list of structs with a `name`, because the set of names
differs from run to run and a schema must not. A number that is not finite is stored as null and its column is named in
`not_finite`: JSON has no NaN, and a NaN must not pass as "not computed".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa

from rollouts.records import SCHEMA_VERSION, Completion, Media, Outcome, Parsed, Rollout, RubricCriterion, Sample

Row = dict[str, Any]

KEY_COLUMNS = ("run", "step", "prompt_id", "sample_index")

_TEXT, _NUMBER, _COUNT, _TEXTS, _NUMBERS = (
    pa.string(),
    pa.float64(),
    pa.int64(),
    pa.list_(pa.string()),
    pa.list_(pa.float64()),
)
# A number for each token, of which a step holds millions: in float32, as models compute them.
_PER_TOKEN = pa.list_(pa.float32())
_NAMED_NUMBERS = pa.list_(pa.struct({"name": _TEXT, "value": _NUMBER}))
_MEDIA = pa.struct(
    # `sha256` names the file of an image; `frames` names the files of a volume or video in order, null for an image.
    # `mask` those of its outline. `provenance` is JSON text: its names belong to the reader that wrote it.
    {
        "kind": _TEXT, "sha256": _TEXT, "frame_indices": pa.list_(pa.int32()), "frames": _TEXTS,
        "source_sha256": _TEXT, "patient": _TEXT, "frame_times": _NUMBERS, "positions": _NUMBERS, "axes": _TEXT,
        "provenance": _TEXT, "mask": _TEXTS, "labels": _TEXTS,
    }
)  # fmt: skip
# What a run of schema 1 says of its media, all of it.
_MEDIA_OF_SCHEMA_1 = ("kind", "sha256", "frame_indices", "frames")
_OUTCOME = pa.struct(
    # `evidence` is JSON text: its shape belongs to the reward that wrote it.
    {
        "name": _TEXT, "value": _NUMBER, "status": _TEXT, "reason": _TEXT, "parts": _NAMED_NUMBERS,
        "evidence": _TEXT, "cost": _NUMBER, "seconds": _NUMBER,
    }
)  # fmt: skip
SCHEMA = pa.schema(
    {
        "run": _TEXT, "step": pa.int32(), "prompt_id": _TEXT, "sample_index": pa.int32(), "schema_version": pa.int32(),
        # The sample.
        "sample_id": _TEXT, "split": _TEXT, "source": _TEXT, "modality": _TEXT, "language": _TEXT,
        "question": _TEXT, "answer_type": _TEXT, "options": _TEXTS, "gold_letters": _TEXTS, "gold_text": _TEXT,
        "aliases": _TEXTS,
        "media": pa.list_(_MEDIA), "tags": pa.list_(pa.struct({"name": _TEXT, "value": _TEXT})),
        "reference_steps": _TEXTS, "boxes": pa.list_(_NUMBERS), "visual_references": _TEXTS,
        "rubric": pa.list_(pa.struct({"text": _TEXT, "points": _NUMBER})), "pair_id": _TEXT, "difficulty": _NUMBER,
        # What was asked and what came back.
        "prompt_text": _TEXT, "completion": _TEXT, "token_ids": pa.list_(pa.int32()), "finish_reason": _TEXT,
        "logprobs": _PER_TOKEN,
        "seed": _COUNT, "policy_version": _COUNT, "engine": _TEXT,
        "think": _TEXT, "answer": _TEXT, "letters": _TEXTS, "yes_no": _TEXT, "well_formed": pa.bool_(),
        "parse_reason": _TEXT, "parse_verdict": _TEXT,
        # What it was paid and why.
        "outcomes": pa.list_(_OUTCOME), "weights": _NAMED_NUMBERS, "total": _NUMBER, "valid": pa.bool_(),
        "advantage": _NUMBER,
        "old_logprobs": _PER_TOKEN, "ref_logprobs": _PER_TOKEN, "timings": _NAMED_NUMBERS, "not_finite": _TEXTS,
    },
    metadata={"rounds_schema_version": str(SCHEMA_VERSION)},
)  # fmt: skip

_SAMPLE_TEXTS = (
    "split",
    "source",
    "modality",
    "language",
    "question",
    "answer_type",
    "gold_text",
    "pair_id",
    "difficulty",
)
_COMPLETION = ("finish_reason", "seed", "policy_version", "engine")
# Columns that hold measured numbers, which may turn out not to be finite.
_MEASURED = (
    *("difficulty", "boxes", "logprobs", "outcomes", "weights", "total", "advantage"),
    *("old_logprobs", "ref_logprobs", "timings"),
)
_PARSED = ("think", "answer", "yes_no", "well_formed")
# What `sample_from_row` reads.
SAMPLE_COLUMNS = (
    *("sample_id", *_SAMPLE_TEXTS, "options", "gold_letters", "aliases", "media", "tags"),
    *("reference_steps", "boxes", "visual_references", "rubric"),
)
# What scoring writes, see `scored_row`.
SCORED_COLUMNS = (
    *("think", "answer", "letters", "yes_no", "well_formed", "parse_reason", "parse_verdict"),
    *("outcomes", "weights", "total", "valid", "advantage"),
)


def line_from_rollout(rollout: Rollout, media: Sequence[Row]) -> bytes:
    """The row of a rollout as one line of JSON; `media` are the media as they were stored (kind, sha256, frame_indices,
    frames)."""
    return to_json(_row_from_rollout(rollout, media))


def media_row(medium: Media, frames: Sequence[str] | None, mask: Sequence[str] | None) -> Row:
    """A medium as it is stored, its frames and its mask by the names of their files."""
    numbers = {name: _floats(getattr(medium, name)) for name in ("frame_times", "positions")}
    return {
        "kind": medium.kind,
        "sha256": medium.sha256,
        "frame_indices": None if medium.frame_indices is None else [int(index) for index in medium.frame_indices],
        "frames": _list(frames),
        "source_sha256": medium.source_sha256,
        "patient": medium.patient,
        **numbers,
        "axes": medium.axes,
        "provenance": to_json(medium.provenance).decode() if medium.provenance else None,
        "mask": _list(mask),
        "labels": _list(medium.labels),
    }


def told_of_media(medium: Row) -> dict[str, Any]:
    """Fields of a Media record from a stored medium: all but its files. A run of schema 1 has the indices only."""
    extras = {name: _optional(medium.get(name)) for name in ("frame_times", "positions")}
    indices, labels, provenance = medium["frame_indices"], medium.get("labels"), medium.get("provenance")
    return {
        "sha256": medium["sha256"],
        "frame_indices": None if indices is None else tuple(indices),
        **{name: medium.get(name) or "" for name in ("source_sha256", "patient", "axes")},
        **extras,
        "provenance": orjson.loads(provenance) if provenance else {},
        "labels": None if labels is None else tuple(labels),
    }


def conform(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns `names` in the order and types of SCHEMA; what a run of an older version lacks, a column or a field
    of its media, is null. Raises pa.ArrowException where a type does not fit."""
    schema = pa.schema([SCHEMA.field(name) for name in names], metadata=SCHEMA.metadata)
    for name in names:
        if name not in table.column_names:
            table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
    if "media" in names:
        table = table.set_column(table.column_names.index("media"), "media", _widened(table["media"]))
    return table.select(list(names)).cast(schema)


def _widened(media: pa.ChunkedArray) -> pa.ChunkedArray:
    """Media as they are stored now: those of schema 1 get the fields that came later, null."""
    kind = media.type
    old = pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    if not old or [one.name for one in kind.value_type] != list(_MEDIA_OF_SCHEMA_1):
        return media
    return pa.chunked_array([pa.array(chunk.to_pylist(), pa.list_(_MEDIA)) for chunk in media.chunks], pa.list_(_MEDIA))


def to_json(value: Any) -> bytes:
    """JSON of any value, UTF-8, on one line: non-finite numbers as null, lone surrogates replaced, unknown objects as
    their text."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        # orjson refuses lone surrogates and integers beyond 64 bits.
        return json.dumps(
            _clean(value), default=str, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()


def _row_from_rollout(rollout: Rollout, media: Sequence[Row]) -> Row:
    sample, completion, parsed = rollout.sample, rollout.completion, rollout.parsed
    row: Row = {name: getattr(rollout, name) for name in (*KEY_COLUMNS, "prompt_text")}
    row |= {"schema_version": SCHEMA_VERSION, "sample_id": sample.id, "media": list(media)}
    row |= {name: getattr(sample, name) for name in _SAMPLE_TEXTS}
    row |= {
        name: _list(getattr(sample, name))
        for name in ("options", "gold_letters", "aliases", "reference_steps", "visual_references")
    }
    row |= {
        "boxes": [_floats(box) for box in sample.boxes],
        "rubric": [{"text": criterion.text, "points": float(criterion.points)} for criterion in sample.rubric],
        "tags": [{"name": n, "value": str(v)} for n, v in sample.tags.items()],
    }
    row |= {name: getattr(completion, name) for name in _COMPLETION}
    row |= {
        "completion": completion.text,
        "token_ids": list(completion.token_ids),
        "logprobs": _per_token(completion.logprobs),
    }
    row |= scored_row(parsed, rollout.outcomes, rollout.weights, rollout.total, rollout.valid, rollout.advantage)
    row |= {"timings": _named(rollout.timings)}
    row |= {"old_logprobs": _per_token(rollout.old_logprobs), "ref_logprobs": _per_token(rollout.ref_logprobs)}
    return row | {"not_finite": [name for name in _MEASURED if _holds_non_finite(row[name])]}


def scored_row(
    parsed: Parsed,
    outcomes: Mapping[str, Outcome],
    weights: Mapping[str, float],
    total: float | None,
    valid: bool,
    advantage: float | None,
) -> Row:
    """The columns that say how a completion was read and what it was paid (SCORED_COLUMNS)."""
    row: Row = {name: getattr(parsed, name) for name in _PARSED}
    row |= {"letters": list(parsed.letters), "parse_reason": parsed.reason, "parse_verdict": parsed.verdict}
    row |= {"outcomes": [_outcome_row(name, outcome) for name, outcome in outcomes.items()], "weights": _named(weights)}
    return row | {"total": _float(total), "valid": valid, "advantage": _float(advantage)}


def rollout_from_row(row: Row, open_media: Callable[[Row], Media]) -> Rollout:
    """The record of a row that came from JSONL or Parquet; `open_media` finds the stored files of one medium."""
    return Rollout(
        run=row["run"],
        step=row["step"],
        prompt_id=row["prompt_id"],
        sample_index=row["sample_index"],
        sample=sample_from_row(row, open_media),
        prompt_text=row["prompt_text"],
        completion=Completion(
            token_ids=tuple(row["token_ids"]),
            text=row["completion"],
            logprobs=_tuple(row["logprobs"]),
            **_pick(row, _COMPLETION),
        ),
        parsed=_parsed(row),
        outcomes={outcome["name"]: outcome_from_row(outcome) for outcome in row["outcomes"]},
        weights=_mapping(row["weights"]),
        total=_scalar(row, "total"),
        valid=row["valid"],
        advantage=_scalar(row, "advantage"),
        old_logprobs=_optional(row["old_logprobs"]),
        ref_logprobs=_optional(row["ref_logprobs"]),
        timings=_mapping(row["timings"]),
    )


def sample_from_row(row: Row, open_media: Callable[[Row], Media]) -> Sample:
    """The question of a row, with its stored images."""
    return Sample(
        id=row["sample_id"],
        options=tuple(row["options"]) if row["options"] is not None else None,
        gold_letters=tuple(row["gold_letters"]) if row["gold_letters"] is not None else None,
        aliases=tuple(row["aliases"]),
        media=tuple(open_media(medium) for medium in row["media"]),
        tags={tag["name"]: tag["value"] for tag in row["tags"]},
        reference_steps=tuple(row["reference_steps"]),
        boxes=tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in row["boxes"]),
        visual_references=tuple(row["visual_references"]),
        # A run that was stored before there were rubrics has no such column.
        rubric=tuple(RubricCriterion(criterion["text"], criterion["points"]) for criterion in row.get("rubric") or ()),
        **_pick(row, _SAMPLE_TEXTS),
    )


def _parsed(row: Row) -> Parsed:
    """How the completion was read. A run that was stored before there were three verdicts has no such column."""
    states: Literal["stated", "nothing"] = "stated" if row["letters"] or row["yes_no"] else "nothing"
    return Parsed(
        letters=tuple(row["letters"]),
        reason=row["parse_reason"],
        verdict=row.get("parse_verdict") or states,
        **_pick(row, _PARSED),
    )


def _outcome_row(name: str, outcome: Outcome) -> Row:
    evidence = None if outcome.evidence is None else to_json(outcome.evidence).decode()
    row = {
        "name": name,
        "value": _float(outcome.value),
        "status": outcome.status,
        "reason": outcome.reason,
        "parts": _named(outcome.parts),
    }
    return row | {"evidence": evidence, "cost": float(outcome.cost), "seconds": float(outcome.seconds)}


def outcome_from_row(row: Row) -> Outcome:
    """One outcome of the column `outcomes`."""
    evidence = None if row["evidence"] is None else orjson.loads(row["evidence"])
    return Outcome(
        value=row["value"],
        status=row["status"],
        reason=row["reason"],
        parts=_mapping(row["parts"]),
        evidence=evidence,
        cost=_or_nan(row["cost"]),
        seconds=_or_nan(row["seconds"]),
    )


def _pick(row: Row, names: Sequence[str]) -> Row:
    return {name: row[name] for name in names}


def _list(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _floats(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]


def _per_token(values: Sequence[float] | None) -> np.ndarray[Any, Any] | None:
    """The numbers of a record where they lie; orjson writes each with the few digits that make the same float32."""
    return None if values is None else np.asarray(values, np.float32)


def _named(values: Mapping[str, float]) -> list[Row]:
    return [{"name": name, "value": float(value)} for name, value in values.items()]


def _mapping(rows: Sequence[Row]) -> dict[str, float]:
    return {row["name"]: _or_nan(row["value"]) for row in rows}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _tuple(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else value for value in values)


def _optional(values: Sequence[float | None] | None) -> tuple[float, ...] | None:
    return None if values is None else _tuple(values)


def _scalar(row: Row, name: str) -> float | None:
    return math.nan if row[name] is None and name in row["not_finite"] else row[name]


def _plain(values: Any) -> bool:
    """Whether a list holds finite numbers only: the fast path of token ids and log-probs, thousands a row."""
    try:
        return all(map(math.isfinite, values))
    except TypeError:
        return False


def _holds_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, np.ndarray):
        return not np.isfinite(value).all()
    if isinstance(value, dict):
        return any(_holds_non_finite(item) for item in value.values())
    return isinstance(value, list) and not _plain(value) and any(_holds_non_finite(item) for item in value)


def _clean(value: Any) -> Any:
    """The same value with non-finite numbers as None and lone surrogates, which UTF-8 cannot hold, as replacement
    characters."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return _clean(value.tolist())
    if isinstance(value, (list, tuple)):
        return list(value) if _plain(value) else [_clean(item) for item in value]
    if isinstance(value, Mapping):
        return {str(_clean(key)): _clean(item) for key, item in value.items()}
    return value
