"""The report of `python -m rewards.check`: numbers, and the faults that would break training."""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rewards.check.inputs import Group
from rewards.check.measure import SAME, Measurement, same
from rewards.contract import Reward
from rollouts.records import Outcome

Range = tuple[float, float]
NUM_BINS = 10
_RANGE = re.compile(r"Range:?\s*[\[{(]\s*(-?\d+(?:\.\d+)?)\s*,(?:[^\]})]*,)?\s*(-?\d+(?:\.\d+)?)\s*[\]})]")


class Fault(NamedTuple):
    """One reason why training would break; `kind` is one word for programs."""

    kind: str
    message: str


class Row(NamedTuple):
    """One outcome with where it came from."""

    group: Group
    place: int
    outcome: Outcome
    seconds: float


@dataclass(frozen=True)
class Report:
    """What is known of one reward."""

    reward: str
    home: str
    range: Range | None
    num_groups: dict[str, int]
    # Answer type -> status -> how many.
    statuses: dict[str, dict[str, int]]
    # Answer types on which the reward gives no value at all: nothing else is said of them.
    not_for: list[str]
    # Answer type of these -> why its first completion has none.
    not_for_reasons: dict[str, str]
    values: dict[str, float]
    # (from, to, how many): equal bins from the least to the greatest value, or each value itself where there are few.
    histogram: list[tuple[float, float, int]]
    # Share of groups of at least two values in which they are not all the same; None = there is no such group.
    signal: dict[str, float | None]
    # Mean value of completions known to be right, of those known to be wrong, and of hostile texts.
    paid: dict[str, float]
    seconds: dict[str, float]
    # The kinds of failure, most frequent first: status, reason, count, traceback (or other evidence) of the first.
    failures: list[dict[str, Any]]
    faults: list[Fault]
    notes: list[str] = field(default_factory=list)


def report(measured: Measurement, range_: Range | None, slow_seconds: float) -> Report:
    """Find the faults in the measurements. `range_`: what values may be, None = anything; `slow_seconds`: for 95 of 100
    completions."""
    rows = [
        Row(group, place, outcome, seconds)
        for group, outcomes, taken in zip(measured.groups, measured.first, measured.seconds, strict=True)
        for place, (outcome, seconds) in enumerate(zip(outcomes, taken, strict=True))
    ]
    statuses: dict[str, Counter[str]] = {}
    for row in rows:
        statuses.setdefault(row.group.sample.answer_type, Counter())[row.outcome.status] += 1
    not_for = sorted(kind for kind, counts in statuses.items() if not counts["ok"])
    used = [row for row in rows if row.group.sample.answer_type not in not_for]
    values = [row.outcome.value for row in used if row.outcome.value is not None]
    seconds = _seconds([row.seconds for row in used])
    paid = _values_by_truth(used)
    faults = [
        *_failure_faults(used, not_for, rows),
        *_constant_faults(measured, not_for, values),
        *_out_of_range(used, range_),
    ]
    faults += [*_unstable(measured, not_for), *_slow(used, seconds, slow_seconds)]
    return Report(
        reward=measured.bound.reward.name,
        home=measured.bound.reward.home,
        range=range_,
        num_groups=dict(Counter(group.origin for group in measured.groups)),
        statuses={kind: dict(counts) for kind, counts in statuses.items()},
        not_for=not_for,
        not_for_reasons={kind: _first_reason(rows, kind) for kind in not_for},
        values=_summary(values),
        histogram=_histogram(values),
        signal={origin: _signal(measured, not_for, origin) for origin in ("cases", "run")},
        paid=paid,
        seconds=seconds,
        failures=_failures(used or rows),
        faults=faults,
        notes=_notes(paid, not_for, statuses, measured),
    )


def declared_range(reward: Reward) -> Range | None:
    """The range that a reward's docstring states ("Range [0, 1]"); [-1, 1] where it says nothing, None where it says
    "unbounded"."""
    text = _docstring(reward) or ""
    if re.search(r"Range:?\s*unbounded", text):
        return None
    match = _RANGE.search(text)
    return (float(match[1]), float(match[2])) if match else (-1.0, 1.0)


def _docstring(reward: Reward) -> str | None:
    """The docstring of a reward. That of a child process is read from its file, which is not imported here."""
    if reward.function is not None:
        return reward.function.__doc__
    path, _, line = reward.home.rpartition(":")
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            begins = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if str(begins) == line:
                return ast.get_docstring(node)
    return None


def _first_reason(rows: Sequence[Row], kind: str) -> str:
    return next(row.outcome.reason for row in rows if row.group.sample.answer_type == kind)


def _values_by_truth(used: Sequence[Row]) -> dict[str, float]:
    kinds: dict[str, list[float]] = {}
    for row in used:
        truth = row.group.right[row.place]
        kind = "hostile" if row.group.origin == "hostile" else None if truth is None else "right" if truth else "wrong"
        if kind is not None and row.outcome.value is not None:
            kinds.setdefault(kind, []).append(row.outcome.value)
    return {kind: statistics.fmean(values) for kind, values in kinds.items()}


def _failure_faults(used: Sequence[Row], not_for: Sequence[str], rows: Sequence[Row]) -> Iterable[Fault]:
    if not used:
        yield Fault("applies_to_nothing", f"no completion of any answer type ({', '.join(not_for)}) got a value")
    for status in ("error", "timeout"):
        failed = [row for row in used if row.outcome.status == status]
        if failed:
            share = f"{len(failed)} of {len(used)} completions"
            why = f"{failed[0].outcome.reason} (first on {failed[0].group.sample.id!r}, {failed[0].group.origin})"
            yield Fault("fails", f"{share} end in {status}; each leaves its group: {why}")
    in_run = sorted({row.group.sample.answer_type for row in rows if row.group.origin == "run"} & set(not_for))
    if in_run and used:
        yield Fault(
            "fails_in_run",
            f"the run asks {', '.join(in_run)}, and this reward has no value there; route other answer types to it"
            " only",
        )


def _constant_faults(measured: Measurement, not_for: Sequence[str], values: Sequence[float]) -> Iterable[Fault]:
    if len(values) < 2:
        return
    if max(values) - min(values) <= SAME:
        yield Fault("constant", f"every completion is paid {values[0]:g}: nothing can be learned")
        return
    kept = [k for k, group in enumerate(measured.groups) if group.sample.answer_type not in not_for]
    if any(_varies(measured.first[k]) for k in kept):
        return
    # Nothing varies inside a group. Does it with the completions of another group?
    tried = len(measured.swapped)
    swaps = [(measured.first[k], other) for k in kept if k < tried and (other := measured.swapped[k]) is not None]
    if all(same(one, other) for before, after in swaps for one, other in zip(before, after, strict=True)):
        yield Fault(
            "ignores_completion",
            "the value is the same whatever the completion is: it is computed from the sample alone",
        )
    else:
        yield Fault("no_signal", "no group has two different values, so every advantage is 0")


def _varies(outcomes: Sequence[Outcome]) -> bool:
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    return len(values) > 1 and max(values) - min(values) > SAME


def _signal(measured: Measurement, not_for: Sequence[str], origin: str) -> float | None:
    usable = [
        outcomes
        for group, outcomes in zip(measured.groups, measured.first, strict=True)
        if group.origin == origin
        and group.sample.answer_type not in not_for
        and sum(o.value is not None for o in outcomes) > 1
    ]
    return sum(_varies(outcomes) for outcomes in usable) / len(usable) if usable else None


def _out_of_range(used: Sequence[Row], range_: Range | None) -> Iterable[Fault]:
    if range_ is None:
        return
    low, high = range_
    beyond = [
        row for row in used if row.outcome.value is not None and not low - SAME <= row.outcome.value <= high + SAME
    ]
    if beyond:
        worst = max(beyond, key=lambda row: abs(row.outcome.value or 0.0))
        yield Fault(
            "out_of_range",
            f"{len(beyond)} values are outside [{low:g}, {high:g}], such as {worst.outcome.value:g} on"
            f" {worst.group.sample.id!r}: state the range in the docstring (Range [0, 5].), give --range, or scale it,"
            " or it drowns the other rewards",
        )


def _unstable(measured: Measurement, not_for: Sequence[str]) -> Iterable[Fault]:
    kept = [k for k, group in enumerate(measured.groups) if group.sample.answer_type not in not_for]

    def different(others: Sequence[Sequence[Outcome]]) -> str | None:
        for k in (k for k in kept if k < len(others)):
            for one, other in zip(measured.first[k], others[k], strict=True):
                if not same(one, other):
                    sample_id = measured.groups[k].sample.id
                    return f"{_describe(one)} and {_describe(other)} for the same completion of {sample_id!r}"
        return None

    if example := different(measured.again):
        yield Fault("not_deterministic", f"asked twice in the same order, it said {example}")
    elif example := different(measured.reversed):
        yield Fault("order_dependent", f"asked in another order, it said {example}")


def _slow(used: Sequence[Row], seconds: dict[str, float], limit: float) -> Iterable[Fault]:
    if used and seconds["p95"] > limit:
        worst = max(used, key=lambda row: row.seconds)
        length = len(worst.group.members[worst.place].completion)
        yield Fault(
            "slow",
            f"5 of 100 completions take more than {seconds['p95']:.2f} s (limit {limit:g} s); the slowest"
            f" {worst.seconds:.2f} s, {length} characters",
        )


def _seconds(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds) or [0.0]
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "median": statistics.median(ordered),
        "p95": p95,
        "max": ordered[-1],
        "per_1000": 1000 * statistics.fmean(ordered),
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    distinct = len({round(value / SAME) for value in values})
    return {
        "count": len(values),
        "least": min(values),
        "mean": statistics.fmean(values),
        "greatest": max(values),
        "distinct": distinct,
    }


def _histogram(values: Sequence[float]) -> list[tuple[float, float, int]]:
    if not values:
        return []
    low, high = min(values), max(values)
    if high - low <= SAME:
        return [(low, high, len(values))]
    if len(distinct := Counter(round(value, 9) for value in values)) <= NUM_BINS:
        return [(value, value, distinct[value]) for value in sorted(distinct)]
    width = (high - low) / NUM_BINS
    counts = Counter(min(NUM_BINS - 1, int((value - low) / width)) for value in values)
    return [(low + width * k, low + width * (k + 1), counts[k]) for k in range(NUM_BINS)]


def _failures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.outcome.status != "ok":
            # Numbers and names differ from sample to sample; what is left is the kind of failure.
            kind = re.sub(r"'[^']*'|\d+", "_", row.outcome.reason)
            kinds.setdefault((row.outcome.status, kind), []).append(row)
    ordered = sorted(kinds.values(), key=len, reverse=True)
    return [
        {
            "status": cases[0].outcome.status,
            "reason": cases[0].outcome.reason,
            "count": len(cases),
            "sample": cases[0].group.sample.id,
            "traceback": str((cases[0].outcome.evidence or {}).get("traceback", "")),
        }
        for cases in ordered
    ]


def _notes(
    paid: dict[str, float], not_for: Sequence[str], statuses: dict[str, Counter[str]], measured: Measurement
) -> list[str]:
    notes = []
    if len(measured.groups) < measured.num_groups:
        left = measured.num_groups - len(measured.groups)
        notes.append(f"the time was up: {left} of {measured.num_groups} groups were not scored (--budget-seconds)")
    if paid.get("right", 0.0) < paid.get("wrong", 0.0) - 0.1:
        notes.append(f"right answers are paid {paid['right']:.3f} on average, wrong ones {paid['wrong']:.3f}")
    if not_for and len(not_for) < len(statuses):
        notes.append(f"no value for answer type {', '.join(not_for)}: route only the others to it (reward.routes)")
    return notes


def _describe(outcome: Outcome) -> str:
    return outcome.status if outcome.value is None else f"{outcome.value:g}"
