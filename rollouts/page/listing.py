"""What lists and charts show: groups that a search finds, numbers by step, counts of everything one may filter by."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rollouts.page.index import Index
from rollouts.page.query import IS_COMPLETION, IS_GROUP, SORTS, BadQuery, Query, parse_query
from rollouts.page.schema import DISAGREE, FAILED
from rollouts.store.folder import inside

PAGE_SIZE = 100
_MAX_METRICS_BYTES = 200_000_000
# TRL's names; what a step's line of metrics.jsonl says beyond the rollouts themselves.
_METRICS = ("kl", "loss", "entropy", "grad_norm", "learning_rate", "timing_s/step", "eval/accuracy")


def _from(query: Query, *, two_runs: bool) -> tuple[str, str]:
    """The WITH and the FROM .. WHERE of everything that lists groups of the first run."""
    needs_rows = query.picks_completions
    matches = f"""found AS (
        SELECT r.step, r.prompt_id, list(r.sample_index ORDER BY r.sample_index) AS hits
        FROM rows r LEFT JOIN labels l ON l.key = r.step || '/' || r.prompt_id || '/' || r.sample_index
        WHERE r.side = 0 AND {query.on_completions} GROUP BY r.step, r.prompt_id)"""
    other = """other AS (
        SELECT g.step AS at, g.prompt_id, arg_min(o.step, abs(o.step - g.step)) AS step
        FROM groups g JOIN groups o ON o.side = 1 AND o.prompt_id = g.prompt_id WHERE g.side = 0 GROUP BY g.step,
        g.prompt_id)"""
    parts = [matches] if needs_rows else []
    source = "FROM groups g"
    if needs_rows:
        source += " JOIN found f ON f.step = g.step AND f.prompt_id = g.prompt_id"
    if two_runs:
        parts.append(other)
        source += """ LEFT JOIN other x ON x.at = g.step AND x.prompt_id = g.prompt_id
            LEFT JOIN groups b ON b.side = 1 AND b.step = x.step AND b.prompt_id = g.prompt_id"""
    else:
        source += (
            " LEFT JOIN (SELECT NULL::INTEGER AS num_right, NULL::DOUBLE AS mean, NULL::INTEGER AS step) b ON FALSE"
        )
    return ("WITH " + ", ".join(parts) if parts else ""), f"{source} WHERE g.side = 0 AND {query.on_groups}"


def list_groups(index: Index, text: str, sort: str, offset: int, limit: int = PAGE_SIZE) -> dict[str, Any]:
    """One page of the groups a search finds, in order; `total` of them, `completions` found in them.

    Raises:
        BadQuery: the search or the order cannot be read.
    """
    if sort not in SORTS:
        raise BadQuery(f"there is no order {sort[:40]!r}; there are: {', '.join(SORTS)}")
    query = parse_query(text)
    before, source = _from(query, two_runs=len(index.runs) > 1)
    hits = "f.hits" if query.picks_completions else "NULL"
    groups = index.ask_named(
        f"""{before}
        SELECT g.step, g.prompt_id AS prompt, left(g.question, 240) AS question, g.gold, g.modality, g.answer_type AS
        type, g.thumb, g.num_media,
            g.num, g.num_valid, g.num_right, g.mean, g.spread, g.num_tokens, g.num_disagree, g.num_failed,
            g.num_truncated, g.totals, g.rights,
            {hits} AS hits, b.num_right AS b_right, b.mean AS b_mean, b.step AS b_step,
            count(*) OVER () AS total, sum(COALESCE(len({hits}), g.num)) OVER () AS completions
        {source} ORDER BY {SORTS[sort]} LIMIT {int(limit)} OFFSET {int(offset)}""",
        query.values,
    )
    total, completions = (groups[0]["total"], int(groups[0]["completions"])) if groups else (0, 0)
    for group in groups:
        del group["total"], group["completions"]
        group["totals"] = [finite(value) for value in group["totals"]]
        for name in ("mean", "spread", "num_tokens", "b_mean"):
            group[name] = finite(group[name])
    return {"groups": groups, "total": total, "completions": completions, "offset": offset}


def find_groups(index: Index, text: str) -> dict[tuple[int, str], int]:
    """(step, prompt id) of each group of the first run that a search finds -> completions of it found. Raises
    BadQuery."""
    query = parse_query(text)
    before, source = _from(query, two_runs=False)
    hits = "COALESCE(len(f.hits), 0)" if query.picks_completions else "g.num"
    rows = index.ask(f"{before} SELECT g.step, g.prompt_id, {hits} {source}", query.values)
    return {(step, prompt_id): num for step, prompt_id, num in rows}


def position_of(index: Index, text: str, sort: str, step: int, prompt_id: str) -> dict[str, Any]:
    """Where a group stands in the list that `list_groups` gives, from 0; None = the search does not find it. Raises
    BadQuery."""
    if sort not in SORTS:
        raise BadQuery(f"there is no order {sort[:40]!r}; there are: {', '.join(SORTS)}")
    query = parse_query(text)
    before, source = _from(query, two_runs=len(index.runs) > 1)
    at, name = query.add(step), query.add(prompt_id)
    ranked = (
        f"SELECT g.step, g.prompt_id, row_number() OVER (ORDER BY {SORTS[sort]}) - 1 AS position, count(*) OVER () AS"
        f" total {source}"
    )
    rows = index.ask(
        f"{before} SELECT position, total FROM ({ranked}) WHERE step = {at} AND prompt_id = {name}", query.values
    )
    if rows:
        return {"position": rows[0][0], "total": rows[0][1]}
    values = {key: value for key, value in query.values.items() if key not in (at[1:], name[1:])}
    return {"position": None, "total": index.ask(f"{before} SELECT count(*) {source}", values)[0][0]}


def by_step(index: Index, text: str) -> list[list[dict[str, Any]]]:
    """For each run, numbers of each step over the completions that a search finds; shares are over groups of at least
    one value."""
    query = parse_query(text)
    before, source = _from(query, two_runs=len(index.runs) > 1)
    sides = []
    for side in range(len(index.runs)):
        # The groups found in the first run, and the same prompts and steps of the second.
        match = "r.step = t.step" if side == 0 else "r.step = t.b_step"
        steps = index.ask_named(
            f"""{before} {"," if before else "WITH"} t AS (SELECT g.step, g.prompt_id, b.step AS b_step {source})
            SELECT r.step, count(*) AS num, count(r.total) AS num_valid, avg(r.total) AS reward,
            avg(r.is_right::INTEGER) AS accuracy,
                avg(r.num_tokens) AS length, count_if({FAILED}) AS failed, count_if(list_contains(statuses, 'abstain'))
                AS abstained,
                count_if({DISAGREE}) AS disagree, avg((finish_reason != 'stop')::INTEGER) AS truncated, sum(cost) AS
                cost
            FROM rows r JOIN t ON {match} AND r.prompt_id = t.prompt_id
            WHERE r.side = {side} GROUP BY r.step ORDER BY r.step""",
            query.values,
        )
        shares = index.ask_named(
            f"""{before} {"," if before else "WITH"} t AS (SELECT g.step, g.prompt_id, b.step AS b_step {source})
            SELECT r.step, count(*) AS num_groups, avg({IS_GROUP["mixed"][0].replace("g.", "r.")}::INTEGER) AS mixed,
                avg({IS_GROUP["all-right"][0].replace("g.", "r.")}::INTEGER) AS all_right,
                avg({IS_GROUP["all-wrong"][0].replace("g.", "r.")}::INTEGER) AS all_wrong,
                avg({IS_GROUP["zero-variance"][0].replace("g.", "r.")}::INTEGER) AS zero_variance
            FROM groups r JOIN t ON {match} AND r.prompt_id = t.prompt_id WHERE r.side = {side} GROUP BY r.step""",
            query.values,
        )
        share_of = {share["step"]: share for share in shares}
        sides.append(
            [{name: finite(value) for name, value in {**share_of.get(one["step"], {}), **one}.items()} for one in steps]
        )
    return sides


def counts(index: Index) -> dict[str, Any]:
    """How many of the first run's completions and groups each filter finds, for menus and for the "start here" list."""
    kinds = ", ".join(
        f"count_if({condition}) AS {_column(name)}"
        for name, (condition, _) in IS_COMPLETION.items()
        if name != "labelled"
    )
    (rows,) = index.ask_named(f"SELECT count(*) AS num, {kinds} FROM rows r WHERE side = 0")
    groups = ", ".join(
        f"count_if({condition.replace('g.', '')}) AS {_column(name)}"
        for name, (condition, _) in IS_GROUP.items()
        if name != "differs"
    )
    (shares,) = index.ask_named(f"SELECT count(*) AS num, {groups} FROM groups WHERE side = 0")
    statuses: dict[str, dict[str, int]] = {}
    for named, count in index.ask(
        "SELECT unnest(named_statuses) AS s, count(*) FROM rows WHERE side = 0 GROUP BY s ORDER BY s"
    ):
        reward, _, status = str(named).rpartition("=")
        statuses.setdefault(reward, {})[status] = count
    facets = {
        name: [{"value": value, "num": num} for value, num in index.ask(
            f"SELECT {column}, count(*) AS n FROM groups WHERE side = 0 "
            "GROUP BY 1 ORDER BY n DESC, 1 LIMIT 40") if value]
        for name, column in (("modality", "modality"), ("type", "answer_type"), ("source", "source"))
    }  # fmt: skip
    labels = index.ask("SELECT expected, count(*) FROM labels GROUP BY 1")
    return {
        "completions": {name.replace("_", "-"): value for name, value in rows.items()},
        "groups": {name.replace("_", "-"): value for name, value in shares.items()},
        "statuses": statuses,
        "facets": facets,
        "labels": dict(labels),
    }


def metrics_by_step(run_dir: Path) -> list[dict[str, float]]:
    """The few trainer's numbers that charts show, of each step of metrics.jsonl; the last line of a step wins. [] =
    there is no such file."""
    rows: dict[int, dict[str, float]] = {}
    try:
        path = inside(run_dir, "metrics.jsonl")
        if path.stat().st_size > _MAX_METRICS_BYTES:
            return []
        with open(path, "rb") as file:
            for line in file:
                _metric_line(line, rows)
    except (OSError, ValueError):
        return []
    return [rows[step] for step in sorted(rows)]


def _metric_line(line: bytes, rows: dict[int, dict[str, float]]) -> None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return
    if isinstance(row, dict) and isinstance(row.get("step"), int):
        values = {
            name: row[name] for name in _METRICS if isinstance(row.get(name), (int, float)) and math.isfinite(row[name])
        }
        rows[row["step"]] = {"step": row["step"], **values}


def finite(value: Any) -> Any:
    """The value, or None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _column(name: str) -> str:
    return name.replace("-", "_")
