"""What a replay changed: values, flips, ranks inside groups, advantages, and the cost of judging."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rl.statistics.labels import kendall_tau_b
from rollouts.measures import mean_or_none
from rollouts.store.layout import list_steps
from rollouts.store.paid import Paid, compare_pairs, read_paid

# Of an advantage, relative and absolute: some 10,000 times what float64 rounds away.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Change:
    """One completion in the run and in its replay."""

    step: int
    prompt_id: str
    sample_index: int
    before: Paid
    after: Paid

    @property
    def is_identical(self) -> bool:
        """Whether every value, status, total and advantage is what it was. Advantages may differ by ROUNDING: another
        processor adds up a group in another order."""
        if self.before._replace(advantage=None) != self.after._replace(advantage=None):
            return False
        before, now = self.before.advantage, self.after.advantage
        if before is None or now is None:
            return before is now
        return math.isclose(before, now, rel_tol=ROUNDING, abs_tol=ROUNDING)

    def flips(self) -> Iterator[str]:
        """Names of the rewards that said right and now say wrong, or the other way round; a failed one says neither."""
        for name in self.after.outcomes:
            before, now = self.before.is_right(name), self.after.is_right(name)
            if before is not None and now is not None and before != now:
                yield name


def changes(run_dir: Path, out: Path) -> Iterator[Change]:
    """Every completion of a replay beside what the run says of it, in the order of their keys. Raises DamagedStore
    where a step cannot be read."""
    before = {one.step: one for one in list_steps(run_dir)}
    for files in list_steps(out):
        if files.finished:
            stored = dict(read_paid(before[files.step]))
            yield from (Change(*key, stored[key], paid) for key, paid in read_paid(files))


def summarize(completions: Sequence[Change]) -> dict[str, Any]:
    """The report, JSON-ready: what `python -m rl.replay` prints and saves, see examples/replay.md for each number."""
    groups: dict[tuple[int, str], list[Change]] = defaultdict(list)
    for one in completions:
        groups[one.step, one.prompt_id].append(one)
    names = dict.fromkeys(name for one in completions for name in (*one.before.outcomes, *one.after.outcomes))
    identical = sum(one.is_identical for one in completions)
    return {
        "num_steps": len({one.step for one in completions}),
        "num_groups": len(groups),
        "num_completions": len(completions),
        "num_identical": identical,
        "share_identical": identical / len(completions) if completions else None,
        "rewards": {name: _reward(completions, name) for name in names},
        "total": compare_pairs([(one.before.total, one.after.total) for one in completions]),
        "groups": _groups(groups.values()),
        "advantages": _advantages(completions),
        "flips": list(flip_rows(completions)),
    }


def flip_rows(completions: Iterable[Change]) -> Iterator[dict[str, Any]]:
    """One row a flip: key, reward, value before and after."""
    for one in completions:
        for name in one.flips():
            yield {
                "step": one.step, "prompt_id": one.prompt_id, "sample_index": one.sample_index, "reward": name,
                "before": one.before.outcomes[name][1], "after": one.after.outcomes[name][1],
            }  # fmt: skip


def _reward(completions: Sequence[Change], name: str) -> dict[str, Any]:
    missing = ("absent", None)
    pairs = [(one.before.outcomes.get(name, missing), one.after.outcomes.get(name, missing)) for one in completions]
    statuses = Counter(f"{before[0]} -> {after[0]}" for before, after in pairs if before[0] != after[0])
    flips = [
        (one.before.outcomes[name][1], one.after.outcomes[name][1]) for one in completions if name in set(one.flips())
    ]
    up = sum(1 for before, after in flips if before is not None and after is not None and after > before)
    return {
        **compare_pairs([(before[1], after[1]) for before, after in pairs]),
        "flips_up": up,
        "flips_down": len(flips) - up,
        "status_changes": dict(sorted(statuses.items())),
    }


def _groups(groups: Iterable[Sequence[Change]]) -> dict[str, Any]:
    """How the order by total changed inside groups, over the members that have a total on both sides."""
    taus: list[float] = []
    counts = Counter[str]()
    for members in groups:
        pairs = [(one.before.total, one.after.total) for one in members]
        before = [b for b, a in pairs if b is not None and a is not None]
        after = [a for b, a in pairs if b is not None and a is not None]
        counts["num_groups"] += 1
        mixed_before, mixed_after = len(set(before)) > 1, len(set(after)) > 1
        counts["signal_lost"] += mixed_before and not mixed_after
        counts["signal_gained"] += mixed_after and not mixed_before
        tau = kendall_tau_b(before, after)
        if tau is not None:
            taus.append(tau)
            counts["order_changed"] += tau < 1.0 - 1e-12
            counts["best_changed"] += _best(before) != _best(after)
    keys = ("num_groups", "order_changed", "best_changed", "signal_lost", "signal_gained")
    return {**{key: counts[key] for key in keys}, "num_ranked": len(taus), "mean_kendall_tau": mean_or_none(taus)}


def _best(totals: Sequence[float]) -> frozenset[int]:
    return frozenset(index for index, total in enumerate(totals) if total == max(totals))


def _advantages(completions: Sequence[Change]) -> dict[str, Any]:
    """How the advantages would have changed; `sign_changes` counts completions that would have been pushed the other
    way."""
    pairs = [(one.before.advantage, one.after.advantage) for one in completions]
    both = [(b, a) for b, a in pairs if b is not None and a is not None]
    steps = [abs(a - b) for b, a in both]
    return {
        "num_changed": sum(step > 0 for step in steps),
        "mean_absolute_change": mean_or_none(steps),
        "max_absolute_change": max(steps, default=None),
        "sign_changes": sum(b * a < 0 for b, a in both),
        "newly_trained": sum(one.after.valid and not one.before.valid for one in completions),
        "no_longer_trained": sum(one.before.valid and not one.after.valid for one in completions),
    }


def diff_table(completions: Sequence[Change]) -> pa.Table:
    """One row a completion and reward, long form, and one named "total" for each completion: step, prompt_id,
    sample_index, reward, .."""
    rows: list[Mapping[str, Any]] = []
    for one in completions:
        key = {"step": one.step, "prompt_id": one.prompt_id, "sample_index": one.sample_index}
        flipped = set(one.flips())
        for name in dict.fromkeys((*one.before.outcomes, *one.after.outcomes)):
            before, after = (side.outcomes.get(name, (None, None)) for side in (one.before, one.after))
            rows.append(
                key | {"reward": name, "status_before": before[0], "value_before": before[1], "status_after": after[0]}
                | {"value_after": after[1], "flipped": name in flipped}
            )  # fmt: skip
        rows.append(
            key | {"reward": "total", "value_before": one.before.total, "value_after": one.after.total,
            "flipped": False}
            | {"advantage_before": one.before.advantage, "advantage_after": one.after.advantage}
        )  # fmt: skip
    text, number = pa.string(), pa.float64()
    schema = {
        "step": pa.int32(), "prompt_id": text, "sample_index": pa.int32(), "reward": text, "status_before": text,
        "value_before": number,
        "status_after": text, "value_after": number, "flipped": pa.bool_(), "advantage_before": number,
        "advantage_after": number,
    }  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))
