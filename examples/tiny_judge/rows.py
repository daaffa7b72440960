"""Pairs as rows of SFT: which are trained on, the very message a judge is sent, and the reply it should give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from examples.tiny_judge.pairs import pairs
from examples.tiny_judge.readings import Pair
from examples.tiny_judge.tokenizer import HEX_PAIRS, NUM_NONCE_PAIRS, reply
from judges.guards.wording import clean
from judges.model.asking import as_json
from rl.data.sets import SftRow
from rollouts.records import Sample

# All pairs of hex digits read alike (see `architecture.share_nonce`), so training needs one nonce only.
NONCE = HEX_PAIRS[0] * NUM_NONCE_PAIRS


class Training(NamedTuple):
    """How many pairs, from which seed, and the highest learning rate."""

    num_pairs: int
    seed: int
    learning_rate: float


# One on the other, each of 1,000 updates with a learning rate that rises and falls to nothing, so that after each there
# is a model to measure.
TRAININGS = (
    Training(64_000, 1, 1.5e-3),
    Training(64_000, 2, 1.2e-3),
    Training(64_000, 3, 1e-3),
    Training(64_000, 4, 8e-4),
    Training(64_000, 5, 5e-4),
)


def trained_pairs() -> Iterator[Pair]:
    """Every pair of every training."""
    for training in TRAININGS:
        yield from pairs(training.num_pairs, training.seed)


def message(pair: Pair, nonce: str = NONCE) -> str:
    """The user message of a judgement, as `judges.model.judge.LlmJudge` writes it."""
    data = {
        "question": clean(pair.question),
        "reference": clean(pair.reference),
        "accepted_wordings": [clean(alias) for alias in pair.aliases],
        "candidate": clean(pair.answer),
    }
    return as_json(data, nonce)


def rows(pairs: Iterable[Pair]) -> Iterator[SftRow]:
    """One row a pair."""
    for number, pair in enumerate(pairs):
        sample = Sample(
            id=f"pair-{number}", question=message(pair), answer_type="open", gold_text=pair.expected, split="judge"
        )
        yield SftRow(sample, reply(NONCE, pair.read, pair.meant))
