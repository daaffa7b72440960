"""Pairs as rows of SFT: the very message a judge is sent, and the reply it should give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from examples.tiny_judge.readings import Pair
from examples.tiny_judge.tokenizer import HEX_PAIRS, NUM_NONCE_PAIRS, reply
from judges.guards.wording import clean
from judges.model.asking import as_json
from rl.data.sets import SftRow
from rollouts.records import Sample

# All pairs of hex digits read alike (see `architecture.share_nonce`), so training needs one nonce only.
NONCE = HEX_PAIRS[0] * NUM_NONCE_PAIRS


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
