"""The rows of SFT: RL's own prompts, the taught tokens behind them, and the order in which they are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from rl.config import Config
from rl.data.sets import SftRow
from rl.policy.batching import Row
from rollouts.prompt.prefill import after_prefill
from rollouts.prompt.processing import Processor, encode
from rollouts.records import BadSample, stable_hash

# Rows are dealt to batches from stretches of this many batches, sorted by length inside: little padding, and still a
# random order.
_BATCHES_PER_STRETCH = 16


def encode_row(processor: Processor, row: SftRow) -> Row:
    """Encode a row with the same chat template as RL; of the response only what the template has not written already,
    and the token that ends a turn.

    Raises:
        BadSample: an image cannot be read, or the template opens a tag that the response does not begin with.
    """
    prompt = encode(processor, row.sample).for_trainer()
    try:
        taught = after_prefill(row.response, prompt.prefill)
    except ValueError as error:
        raise BadSample(f"sample {row.sample.id!r}: {error}") from error
    ids = processor.tokenizer(taught, add_special_tokens=False)["input_ids"]
    return Row(prompt, (*ids, processor.turn_end))


def training_order(rows: Sequence[SftRow], config: Config) -> list[int]:
    """Row numbers in the order they are trained on, see `ordered`."""
    return ordered([_rough_length(row) for row in rows], batch_size(rows, config), config.sft.num_epochs, config.seed)


def ordered(lengths: Sequence[int], batch: int, num_epochs: int, seed: int) -> list[int]:
    """Numbers of rows of these lengths in the order they are trained on, epoch after epoch: a permutation from the
    seed, rows of similar length side by side.

    The last rows of an epoch that fill no whole batch are left for the next one, so every batch has `batch` rows.
    """
    order: list[int] = []
    for epoch in range(num_epochs):
        order += shuffled(len(lengths), seed, epoch)
    order = order[: len(order) // batch * batch]
    stretches = [
        order[i : i + batch * _BATCHES_PER_STRETCH] for i in range(0, len(order), batch * _BATCHES_PER_STRETCH)
    ]
    return [
        number for place, stretch in enumerate(stretches) for number in _by_length(lengths, stretch, batch, seed, place)
    ]


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    """The numbers below `count` in the random order of an epoch."""
    generator = torch.Generator().manual_seed(stable_hash("sft order", seed, epoch))
    return torch.randperm(count, generator=generator).tolist()


def batch_size(rows: Sequence[SftRow], config: Config) -> int:
    """Rows of one update: `sft.batch_size`, or all of them where there are fewer."""
    return min(config.sft.batch_size, len(rows))


def _by_length(lengths: Sequence[int], stretch: list[int], batch: int, seed: int, place: int) -> Iterator[int]:
    """The stretch in batches of similar length, the batches in random order."""
    by_length = sorted(stretch, key=lambda number: lengths[number])
    batches = [by_length[i : i + batch] for i in range(0, len(by_length), batch)]
    generator = torch.Generator().manual_seed(stable_hash("sft stretch", seed, place))
    for i in torch.randperm(len(batches), generator=generator).tolist():
        yield from batches[i]


def _rough_length(row: SftRow) -> int:
    """Characters, with a frame counted as 100: good enough to sort by, and no image is opened for it."""
    num_frames = sum(media.num_frames for media in row.sample.media)
    return 100 * num_frames + len(row.sample.question) + sum(map(len, row.sample.options or ())) + len(row.response)
