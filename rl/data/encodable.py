"""Every row is encoded, or provably encodable, before anything starts: one picture that the processor refuses, or one
prompt too long, would end a run at the step that draws it, and again after every resume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from rl.config import Config
from rl.data.sets import BadRow, DataSplits
from rollouts.prompt.lengths import Advance, measure
from rollouts.records import Sample


class Encodable(NamedTuple):
    """What was found of all rows of a run."""

    # The same data without the rows that cannot be asked, which stand in `bad_rows`.
    splits: DataSplits
    bad_rows: tuple[BadRow, ...]
    num_rows: int
    # Rows that were encoded whole, so that the others could be counted.
    num_encoded: int
    # Tokens of the longest prompt among RL and held-out rows that can be encoded, too long or not; 0 without any.
    longest: int


def check_rows(processor: Any, splits: DataSplits, config: Config, advance: Advance = lambda _: None) -> Encodable:
    """Tell the rows that the processor refuses, and those of the RL set and the held-out items whose prompt and
    completion do not fit into `model.max_model_len`."""
    taught = [row.sample for row in splits.sft]
    samples = [*taught, *splits.rl, *splits.eval]
    measured = measure(processor, samples, advance)
    room = config.model.max_model_len - config.grpo.max_completion_length
    asked = measured.lengths[len(taught) :]
    faults = [length if isinstance(length, str) else "" for length in measured.lengths[: len(taught)]]
    faults += [length if isinstance(length, str) else _too_long(length, room, config) for length in asked]
    sides = iter(faults)
    kept = replace(
        splits,
        sft=[row for row in splits.sft if not next(sides)],
        rl=[sample for sample in splits.rl if not next(sides)],
        eval=[sample for sample in splits.eval if not next(sides)],
    )
    bad_rows = tuple(_bad_rows(samples, faults))
    longest = max((length for length in asked if isinstance(length, int)), default=0)
    if bad_rows:
        kept = replace(kept, bad_rows=[*splits.bad_rows, *bad_rows])
    return Encodable(kept, bad_rows, len(samples), measured.num_encoded, longest)


def _too_long(length: int, room: int, config: Config) -> str:
    if length <= room:
        return ""
    limit, completion = config.model.max_model_len, config.grpo.max_completion_length
    return (
        f"its prompt has {length} tokens, with a completion of {completion} (grpo.max_completion_length)"
        f" {length + completion} of model.max_model_len={limit}"
    )


def _bad_rows(samples: list[Sample], faults: list[str]) -> list[BadRow]:
    """One bad row an id: a question that is taught and asked is one row of the data."""
    named = {sample.id: reason for sample, reason in zip(samples, faults, strict=True) if reason}
    return [BadRow(None, name, reason) for name, reason in named.items()]


def room_hint(checked: Encodable, config: Config) -> str:
    """The setting with which no prompt would be too long; "" where none is."""
    needed = checked.longest + config.grpo.max_completion_length
    if needed <= config.model.max_model_len:
        return ""
    smaller = "" if config.model.max_pixels else ", and model.max_pixels=N makes large images of Qwen2.5-VL smaller"
    return f"model.max_model_len={needed} has room for every prompt{smaller}."
