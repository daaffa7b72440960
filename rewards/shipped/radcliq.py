"""Negated RadCliQ-v1 as a reward: an adapter to the package RadEval, which is not installed with this project."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewards.registry import Member, RewardError, reward
from rollouts.records import Outcome, Sample

# The models are loaded once and asked by one thread at a time.
_LOCK = threading.Lock()
MIN_BACKGROUND = 20


@reward("radcliq", needs="RadEval")
async def radcliq(group: Sequence[Member], sample: Sample, background: str, empty: float = -4.0) -> list[Outcome]:
    """-RadCliQ-v1 of each answer against the gold text; `empty` without an answer. Range: unbounded.

    RadCliQ counts errors, so lower is better and the reward is its negative: its inverse 1/RadCliQ explodes near 0 and turns its sign there.
    `background`: a text file of reference reports, one a line, at least 20, scored along with each group. RadCliQ's BERTScore weighs words by how
    rare they are among the references of one call; the members of a group share one reference, which alone would weigh every word 0.
    `empty`: what no report is paid; keep it below what bad reports get. English chest radiographs only. Needs `pip install RadEval` and its models.
    Source: Yu et al. 2023 (Patterns 4, 100802), as implemented by RadEval (arXiv:2509.18030).
    """
    said = [" ".join((member.parsed.answer or "").split()) for member in group]
    scores = await asyncio.to_thread(_score, [text for text in said if text], sample.gold_text, background)
    values = iter(scores)
    return [Outcome(-next(values), reason="negated RadCliQ-v1") if text else Outcome(empty, reason="no answer") for text in said]


def _score(said: list[str], reference: str, background: str) -> list[float]:
    if not said:
        return []
    common = _reports(background)
    with _LOCK:
        result = _evaluator()(refs=[*common, *[" ".join(reference.split())] * len(said)], hyps=[*common, *said])
    scores = [float(score) for score in result["radcliq-v1"]["sample_scores"]][len(common) :]
    if len(scores) != len(said):
        raise RewardError(f"RadEval returned {len(scores)} scores for {len(said)} reports")
    return scores


@functools.cache
def _evaluator() -> Any:
    from RadEval import RadEval

    return RadEval(do_radcliq=True, do_details=True, show_progress=False)


@functools.cache
def _reports(background: str) -> tuple[str, ...]:
    path = Path(background)
    if not path.is_file():
        raise RewardError(f"radcliq: background={background} is no file; give a text file of reference reports, one a line")
    reports = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(set(reports)) < MIN_BACKGROUND:
        raise RewardError(
            f"radcliq: {background} holds {len(set(reports))} different reports, at least {MIN_BACKGROUND} are needed"
        )
    return reports
