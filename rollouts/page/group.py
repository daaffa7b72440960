"""One group as the page shows it: question, images, and each completion with its pay and the reasons.

Heavy columns are read when a group is opened."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rollouts.measures import k3
from rollouts.page.images import Images
from rollouts.page.index import Index, check_unpacked, conform
from rollouts.page.listing import finite
from rollouts.page.media.words import medium_page
from rollouts.prompt.prefill import prefill_of
from rollouts.records import LETTERS
from rollouts.store.codec import SCHEMA, Row
from rollouts.store.folder import inside
from rollouts.store.layout import JSONL, PARQUET, StoreError

# Columns of one number a token; read for one completion when it is opened.
PER_TOKEN = ("token_ids", "logprobs", "old_logprobs", "ref_logprobs")
_SHOWN = tuple(name for name in SCHEMA.names if name not in PER_TOKEN)
# The most of one text that is sent to the page; what is longer says so.
_MAX_TEXT_CHARS = 200_000


class NoSuchGroup(StoreError):
    """The run has no such step, prompt or completion."""


def read_group(index: Index, side: int, step: int, prompt_id: str, names: Sequence[str] = _SHOWN) -> list[Row]:
    """The stored rows of one group, by sample index, with the columns asked for.

    Raises:
        NoSuchGroup: there is none. Refused, ValueError or pa.ArrowException: its file cannot be read.
    """
    one = index.steps.get((side, step))
    if one is None:
        raise NoSuchGroup(f"the run has no step {step}")
    run_dir = index.runs[side]
    if one.finished:
        rows = _from_parquet(inside(run_dir, "rollouts", one.folder.name, PARQUET), prompt_id, names)
    else:
        places = index.lines.get((side, step, prompt_id), [])
        rows = _from_jsonl(inside(run_dir, "rollouts", one.folder.name, JSONL), places, names)
    if not rows:
        raise NoSuchGroup(f"step {step} has no group of prompt {prompt_id[:120]!r}")
    return sorted(rows, key=lambda row: row["sample_index"])


def _from_parquet(path: Path, prompt_id: str, names: Sequence[str]) -> list[Row]:
    names = [*dict.fromkeys(("prompt_id", "sample_index", *names))]
    tables = []
    with pq.ParquetFile(path) as file:
        check_unpacked(file.metadata)
        stored = set(file.schema_arrow.names)
        there = [name for name in names if name in stored]
        for number in _row_groups(file.metadata, prompt_id):
            table = file.read_row_group(number, columns=there)
            tables.append(conform(table.filter(pc.equal(table["prompt_id"], prompt_id)), names))
    return pa.concat_tables(tables).to_pylist() if tables else []


def _row_groups(metadata: pq.FileMetaData, prompt_id: str) -> list[int]:
    """Numbers of the Parquet row groups that may hold the prompt. Rows are sorted by prompt, so few do."""
    column = metadata.schema.names.index("prompt_id") if "prompt_id" in metadata.schema.names else None
    chosen = []
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(column).statistics if column is not None else None
        # Long texts are cut in statistics, so a bound that is a prefix of the id may still hold it.
        low, high = (
            (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else (None, None)
        )
        if not isinstance(low, str) or not isinstance(high, str) or low <= prompt_id <= high + "\U0010ffff":
            chosen.append(number)
    return chosen


def _from_jsonl(path: Path, places: Sequence[tuple[int, int]], names: Sequence[str]) -> list[Row]:
    rows = []
    with open(path, "rb") as file:
        for offset, length in places:
            file.seek(offset)
            row = json.loads(file.read(length))
            rows.append({name: row.get(name) for name in dict.fromkeys(("prompt_id", "sample_index", *names))})
    # The same types as from Parquet, so that a hostile line cannot be of another shape.
    schema = pa.schema([SCHEMA.field(name) for name in rows[0]]) if rows else None
    return pa.Table.from_pylist(rows, schema=schema).to_pylist() if rows else []


def group_page(index: Index, images: Images, side: int, step: int, prompt_id: str) -> dict[str, Any]:
    """Everything the page shows of one group except token by token. Raises like `read_group`."""
    rows = read_group(index, side, step, prompt_id)
    light = {
        one["sample_index"]: one
        for one in index.ask_named(
            "SELECT sample_index, num_tokens, is_right, judge, layer, rule_right FROM rows WHERE side = ? AND step = ?"
            " AND prompt_id = ?",
            (side, step, prompt_id),
        )
    }
    first = rows[0]
    gold = set(first["gold_letters"] or ())
    visits = index.ask(
        "SELECT step, num_right, num_judged FROM groups WHERE side = ? AND prompt_id = ? ORDER BY step LIMIT 200",
        (side, prompt_id),
    )
    return {
        "side": side,
        "step": step,
        "prompt": prompt_id,
        "run": first["run"],
        **{name: first[name] for name in ("sample_id", "split", "source", "modality", "language", "pair_id")},
        "difficulty": finite(first["difficulty"]),
        "type": first["answer_type"],
        "question": _text(first["question"]),
        # An open item keeps its options in the record; the model was not shown them.
        "options_shown": first["answer_type"] in ("mcq", "multi", "yes_no"),
        "options": [
            {"letter": letter, "text": _text(text), "gold": letter in gold}
            for letter, text in zip(LETTERS, (first["options"] or [])[: len(LETTERS)], strict=False)
        ],
        "gold": _text(first["gold_text"]),
        "aliases": first["aliases"] or [],
        "tags": {str(tag["name"]): str(tag["value"]) for tag in first["tags"] or ()},
        "reference_steps": first["reference_steps"] or [],
        "visual_references": first["visual_references"] or [],
        "rubric": [f"{one['text']} ({finite(one['points'])} points)" for one in first["rubric"] or ()],
        "prompt_text": _text(first["prompt_text"]),
        # What the chat template wrote of every answer, so that no completion holds it.
        "prefill": prefill_of(first["prompt_text"] or ""),
        "media": [medium_page(medium, images.problem) for medium in first["media"] or ()],
        "visits": [{"step": at, "right": right, "judged": total} for at, right, total in visits],
        "completions": [_completion(index, side, row, light.get(row["sample_index"], {})) for row in rows],
    }


def _completion(index: Index, side: int, row: Row, light: dict[str, Any]) -> dict[str, Any]:
    weights = {weight["name"]: finite(weight["value"]) for weight in row["weights"] or ()}
    judge, rule = light.get("judge"), light.get("rule_right")
    return {
        "sample": row["sample_index"],
        "total": finite(row["total"]),
        "valid": bool(row["valid"]),
        "advantage": finite(row["advantage"]),
        "finish": row["finish_reason"],
        "text": _text(row["completion"]),
        "think": _text(row["think"]),
        "answer": _text(row["answer"]),
        "letters": row["letters"] or [],
        "yes_no": row["yes_no"],
        "well_formed": bool(row["well_formed"]),
        "parse_reason": _text(row["parse_reason"]),
        "unclear": row.get("parse_verdict") == "unclear",
        "num_tokens": light.get("num_tokens"),
        "right": light.get("is_right"),
        "judge": judge,
        "layer": light.get("layer"),
        "rule_right": rule,
        "disagree": judge in ("correct", "incorrect") and rule is not None and (judge == "correct") != rule,
        "label": index.label(row["step"], row["prompt_id"], row["sample_index"]) if side == 0 else None,
        "rewards": [_reward(outcome, weights.get(outcome["name"])) for outcome in row["outcomes"] or ()],
        "not_finite": row["not_finite"] or [],
        "policy_version": row["policy_version"],
        # As text: JavaScript has no 63-bit integers.
        "seed": str(row["seed"]),
        "engine": row["engine"],
        "timings": {str(one["name"]): finite(one["value"]) for one in row["timings"] or ()},
    }


def _reward(outcome: Row, weight: float | None) -> dict[str, Any]:
    return {
        "name": outcome["name"],
        "weight": weight,
        "value": finite(outcome["value"]),
        "status": outcome["status"],
        "reason": _text(outcome["reason"]),
        "parts": [{"name": part["name"], "value": finite(part["value"])} for part in outcome["parts"] or ()],
        # JSON text as it was stored; the page lays it out, and shows it as it is where it is no JSON.
        "evidence": _text(outcome["evidence"]),
        "cost": finite(outcome["cost"]),
        "seconds": finite(outcome["seconds"]),
    }


def token_rows(index: Index, side: int, step: int, prompt_id: str) -> dict[int, dict[str, Any]]:
    """Sample index -> ids, text and log-probs of a completion's tokens. Raises like `read_group`.

    `kl` is the k3 estimate at each token (Schulman), of the policy at the step's start against the reference; None =
    not stored.
    """
    rows = read_group(index, side, step, prompt_id, (*PER_TOKEN, "completion"))
    return {row["sample_index"]: _tokens(row) for row in rows}


def _tokens(row: Row) -> dict[str, Any]:
    sampled, old, reference = (row[name] for name in ("logprobs", "old_logprobs", "ref_logprobs"))
    policy = old or sampled
    kl = None
    if reference and policy and len(reference) == len(policy):
        values = k3(_or_nan(policy), _or_nan(reference))
        kl = [round(float(value), 5) if math.isfinite(value) else None for value in values]
    return {
        "ids": [int(one or 0) for one in row["token_ids"] or ()],
        "text": row["completion"] or "",
        "logprobs": _round_all(sampled),
        "ref_logprobs": _round_all(reference),
        "kl": kl,
    }


def _or_nan(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None or not math.isfinite(value) else value for value in values]


def _round_all(values: Sequence[float | None] | None) -> list[float | None] | None:
    return (
        None if values is None else [None if one is None or not math.isfinite(one) else round(one, 4) for one in values]
    )


def _text(value: str | None) -> str | None:
    if value is None or len(value) <= _MAX_TEXT_CHARS:
        return value
    return (
        value[:_MAX_TEXT_CHARS]
        + f"\n[{len(value) - _MAX_TEXT_CHARS:,} more characters are in the store and not shown here]"
    )
