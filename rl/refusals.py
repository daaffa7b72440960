"""A row that the processor or the engine refuses in the middle of a run is named, costs that row, and is counted.

Before a run starts every row is checked (rl/data/encodable.py), so this is for what changes meanwhile: a file that
vanished, an engine that reads a picture otherwise. More of them than `grpo.max_failure_rate` end the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from rewards.rubric import Scored
from rollouts.engine.requests import Refusal
from rollouts.prompt.processing import EncodedPrompt, encode
from rollouts.records import Completion, Outcome, Parsed, Sample
from rollouts.texts.reading import shorten

# Characters of a reason in a warning; the file has more.
MOST_SHOWN = 300
# One JSON object a refusal, in the run's folder.
REFUSED_ROWS = "refused_rows.jsonl"


def encode_or_refuse(processor: Any, sample: Sample) -> EncodedPrompt | Refusal:
    """The prompt of a sample, or why there is none."""
    try:
        return encode(processor, sample)
    except Exception as error:  # a boundary: processors raise kinds of their own, and each means this row alone
        return Refusal(sample.id, f"{type(error).__name__}: {error}")


def no_prompt(refusal: Refusal) -> EncodedPrompt:
    """What stands in the place of a refused prompt: no tokens, so that it is in no forward pass."""
    return EncodedPrompt(refusal.prompt_id, "", (), {})


def no_completion(seed: int, version: int) -> Completion:
    """What stands in the place of a completion that was never drawn."""
    return Completion((), "", "abort", (), seed, version)


def no_score(refusal: Refusal, weights: Mapping[str, float]) -> Future[Scored]:
    """The score of a completion that was never drawn: not valid, and so in no mean and no update."""
    reason = f"row {shorten(refusal.prompt_id)} was refused: {shorten(refusal.reason, MOST_SHOWN)}"
    outcomes = {name: Outcome(None, "error", reason) for name in weights}
    future: Future[Scored] = Future()
    future.set_result(Scored(Parsed(None, None, reason=reason), outcomes, dict(weights), None, False))
    return future


def tell_refusal(folder: Path, bar: Any, when: str, refusal: Refusal) -> None:
    """Name the row above the bar, and in the run's folder."""
    bar.warn(
        f"{when}: row {shorten(refusal.prompt_id)} was refused and is left out: {shorten(refusal.reason, MOST_SHOWN)}"
    )
    line = {"when": when, "id": refusal.prompt_id, "reason": refusal.reason[:2_000]}
    with (folder / REFUSED_ROWS).open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
