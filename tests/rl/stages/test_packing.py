"""Documents share sequences: none is lost, none is cut, none sees another, and the order follows from the seed."""

from __future__ import annotations

import random

import pytest
import torch

from rl.config import Config, InterleavedConfig, ModelConfig
from rl.policy.batching import Row, make_micro_batches
from rl.stages.course import sequences_of
from rl.stages.packing import pack, share_filled
from rollouts.prompt.documents import share_sequence
from rollouts.prompt.families import FAMILIES
from rollouts.prompt.processing import EncodedPrompt, prompt_positions


def test_the_first_open_sequence_with_room_takes_a_document() -> None:
    # Room 10: 6; 6 + 3; a new one for 5; 6 + 3 has room for 1; 5 + 5.
    assert pack([6, 3, 5, 1, 5], range(5), 10) == [(0, 1, 3), (2, 4)]
    assert pack([6, 3, 5, 1, 5], [4, 3, 2, 1, 0], 10) == [(4, 3, 1), (2,), (0,)]


def test_every_document_is_in_one_sequence_and_none_overflows() -> None:
    chance = random.Random(7)
    for _ in range(50):
        lengths = [chance.randint(1, 40) for _ in range(chance.randint(1, 200))]
        sequences = pack(lengths, chance.sample(range(len(lengths)), len(lengths)), 40)
        assert sorted(number for numbers in sequences for number in numbers) == list(range(len(lengths)))
        assert all(sum(lengths[number] for number in numbers) <= 40 for numbers in sequences)
    lengths = [chance.randint(1, 40) for _ in range(1000)]
    assert share_filled(lengths, pack(lengths, range(1000), 100), 100) > 0.95


def test_a_document_longer_than_a_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="document 1 has 11 tokens, and a sequence 10"):
        pack([5, 11], [0, 1], 10)


def config(**stage: object) -> tuple[InterleavedConfig, Config]:
    return InterleavedConfig(**stage), Config(model=ModelConfig(max_model_len=100))  # type: ignore[arg-type]


def test_updates_follow_from_the_seed_and_have_whole_batches() -> None:
    stage, settings = config(batch_size=3, num_epochs=2)
    lengths = [30 + number % 20 for number in range(50)]
    updates = sequences_of(lengths, stage, settings)
    assert updates == sequences_of(lengths, stage, settings)
    assert all(len(update) == 3 for update in updates)
    # Two epochs hold every document twice, but for the rows that fill no whole batch.
    seen = [number for update in updates for row in update for number in row]
    assert 100 - len(seen) <= 3 * 3 and max(seen.count(number) for number in range(50)) == 2


def test_unpacked_a_row_is_a_document_and_few_documents_are_one_update() -> None:
    stage, settings = config(packed=False, batch_size=4)
    updates = sequences_of([5] * 10, stage, settings)
    assert [len(update) for update in updates] == [4, 4] and all(len(row) == 1 for update in updates for row in update)
    assert len(sequences_of([5] * 3, stage, settings)) == 1
    assert len(sequences_of([60] * 3, InterleavedConfig(batch_size=128), settings)) == 1


def document(name: str, length: int) -> EncodedPrompt:
    return EncodedPrompt(name, "", tuple(range(10, 10 + length)), {}, fingerprint=name)


def test_documents_of_a_sequence_see_themselves_only() -> None:
    whole = share_sequence([document("a", 3), document("b", 2)])
    row = Row(whole, (11, 12, 11), places=(1, 2, 4))
    batch = make_micro_batches([row], 100)[0]
    assert whole.token_ids == (10, 11, 12, 10, 11) and batch.ends.tolist() == [[3, 3, 3, 5, 5]]
    # The first token of each is predicted by nothing: 11, 12 behind places 0, 1; 11 behind place 3.
    assert batch.sources.tolist() == [0, 1, 3] and batch.targets.tolist() == [11, 12, 11]
    assert torch.equal(batch.input_ids, torch.tensor([[10, 11, 12, 10, 11]]))
    # Each begins at position 0, wherever it stands.
    assert prompt_positions(FAMILIES["internvl"], torch.nn.Module(), whole).tolist() == [0, 1, 2, 0, 1]
