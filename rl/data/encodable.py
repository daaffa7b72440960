"""Every row is encoded, or provably encodable, before anything starts: one picture that the processor refuses, or one
prompt too long, would end a run at the step that draws it, and again after every resume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from rl.config import Config
from rl.data.sets import BadRow, DataSplits
from rl.data.sizes import images_of
from rollouts.prompt.lengths import Advance, Measured, measure
from rollouts.prompt.processing import load_processor
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
    # Tokens of the longest SFT row that is too long, with its response; 0 = none is.
    longest_taught: int = 0


def check_rows(processor: Any, splits: DataSplits, config: Config, advance: Advance = lambda _: None) -> Encodable:
    """Tell the rows that the processor refuses, those of the RL set and the held-out items whose prompt and completion
    do not fit into `model.max_model_len`, and those of SFT whose prompt and response do not, with SFT's own tiles."""
    taught, asked_of = [row.sample for row in splits.sft], [*splits.rl, *splits.eval]
    samples = [*taught, *asked_of]
    tiled = _of_sft(processor, config)
    if tiled is processor:
        measured = measure(processor, samples, advance)
    else:
        of_sft, of_others = measure(tiled, taught, advance), measure(processor, asked_of, advance)
        measured = Measured(of_sft.lengths + of_others.lengths, of_sft.num_encoded + of_others.num_encoded)
    room = config.model.max_model_len - config.grpo.max_completion_length
    lengths = measured.lengths[len(taught) :]
    faults, longest_taught = _faults_of_sft(tiled, measured.lengths, splits, config)
    faults += [length if isinstance(length, str) else _too_long(length, room, config) for length in lengths]
    sides = iter(faults)
    kept = replace(
        splits,
        sft=[row for row in splits.sft if not next(sides)],
        rl=[sample for sample in splits.rl if not next(sides)],
        eval=[sample for sample in splits.eval if not next(sides)],
    )
    bad_rows = tuple(_bad_rows(samples, faults))
    longest = max((length for length in lengths if isinstance(length, int)), default=0)
    if bad_rows:
        kept = replace(kept, bad_rows=[*splits.bad_rows, *bad_rows])
    return Encodable(kept, bad_rows, len(samples), measured.num_encoded, longest, longest_taught)


def _of_sft(processor: Any, config: Config) -> Any:
    """The processor as SFT has it: with more tiles an image where `sft.max_tiles` says so and the family cuts tiles."""
    tiles = config.sft.max_tiles
    if not _is_taught(config) or tiles in (None, config.model.max_tiles) or not processor.family.cuts_tiles:
        return processor
    return load_processor(config.model.path, images_of(replace(config.model, max_tiles=tiles)))


def _is_taught(config: Config) -> bool:
    return config.sft.enabled and config.sft.checkpoint is None


def _faults_of_sft(
    processor: Any, lengths: list[int | str], splits: DataSplits, config: Config
) -> tuple[list[str], int]:
    """Why each row of SFT cannot be taught, "" = it can; and tokens of the longest that is too long. `lengths`: of
    prompts, those of SFT first."""
    limit, tiles = config.model.max_model_len, config.sft.max_tiles or config.model.max_tiles
    cut = f", images of up to {tiles} tiles included: sft.max_tiles makes them fewer" if tiles > 1 else ""
    faults, longest = [], 0
    for length, row in zip(lengths, splits.sft, strict=False):
        if isinstance(length, str):
            faults.append(length)
            continue
        whole = length + _taught(processor, row.response, limit - length) if _is_taught(config) else 0
        longest = max(longest, whole if whole > limit else 0)
        fault = f"its prompt and response have {whole} tokens of model.max_model_len={limit}{cut}"
        faults.append(fault if whole > limit else "")
    return faults, longest


def _taught(processor: Any, response: str, room: int) -> int:
    """Tokens behind a prompt, or as many bytes where these fit into the room: no token is shorter. What the template
    has written of the response already is counted twice, a few tokens."""
    most = len(response.encode(errors="replace")) + 1
    return most if most <= room else len(processor.tokenizer(response, add_special_tokens=False)["input_ids"]) + 1


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
    """The setting with which no prompt and no row of SFT would be too long; "" where none is."""
    needed = max(checked.longest + config.grpo.max_completion_length, checked.longest_taught)
    if needed <= config.model.max_model_len:
        return ""
    smaller = "" if config.model.max_pixels else ", and model.max_pixels=N makes large images of Qwen2.5-VL smaller"
    return f"model.max_model_len={needed} has room for every prompt{smaller}."
