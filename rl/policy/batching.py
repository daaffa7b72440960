"""Rows become micro-batches in which the completions of one prompt share it, and share whatever words they begin with:
prompt, images and common beginnings are computed once, not eight times.

A *tree* is one sequence: the prompt, then its completions in the order of their tokens, each from where it departs from
the one before it. A token sees the prompt and what stands before it in its own completion, and stands at the position
it would have alone, so every completion gets the numbers of a separate row. Which completion a shared token came from
makes no difference: it has the same past in all of them, and its gradient is the sum of theirs. A tree of documents is
a prompt without completions: its own tokens are learnt, and each document sees itself only. Results depend on neither
the token budget nor the padding nor the order of the rows (tests/rl/policy/test_batching.py).

Legend: T trees of a micro-batch, L their padded length, N completion tokens of a micro-batch end to end, K what is
predicted in it: a token behind a past, each pair once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from rollouts.prompt.processing import EncodedPrompt

# What a pair of tokens costs beside a token. A layer of width h multiplies about 12 h^2 times for a token and 2 h times
# for a pair, so a pair is 1/(6 h) of a token; this is h = 2,048. Ranks are balanced by it, results do not depend on it.
PAIR_COST = 1 / 12288


@dataclass(frozen=True)
class Row:
    """One completion on its way to the policy."""

    prompt: EncodedPrompt
    completion_ids: tuple[int, ...]
    advantage: float = 0.0
    # False = not trained on: in no sum and in no denominator.
    valid: bool = True
    # Log-probs at the step's start; None = those of this very forward pass (right for the first update of a step).
    old_logprobs: tuple[float, ...] | None = None
    # Log-probs under the frozen reference; None = no KL.
    ref_logprobs: tuple[float, ...] | None = None
    # Log-probs that the engine drew with; read where it drew with older weights (grpo.max_staleness).
    engine_logprobs: tuple[float, ...] | None = None
    # Where the completion's tokens stand inside the prompt, which is then a document, or several; None = behind it.
    places: tuple[int, ...] | None = None

    @property
    def num_tokens(self) -> int:
        """Prompt and completion, each token once."""
        return len(self.prompt.token_ids) + (len(self.completion_ids) if self.places is None else 0)


class Tree(NamedTuple):
    """One prompt with some of its completions."""

    prompt: EncodedPrompt
    # Places of its rows in the list that was given, in the order of their tokens.
    rows: tuple[int, ...]
    length: int


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass takes, all of it data; nothing is deduced from a pad id."""

    trees: tuple[Tree, ...]
    # Places of the rows in the list that was given, in the order of their tokens in N.
    rows: tuple[int, ...]
    # Completion tokens of each of those rows.
    lengths: tuple[int, ...]
    input_ids: Tensor  # [T, L]
    # Behind the last token of the tree that sees this one: all that see it stand between it and here. The tree's end
    # for the prompt, the document's for a document, the next place for padding.
    ends: Tensor  # [T, L]
    # Place of each token inside the prompt or the document, or behind the prompt.
    offsets: Tensor  # [T, L]
    # Where in the flattened [T * L] the hidden state lies that makes each prediction, and the token predicted.
    sources: Tensor  # [K]
    targets: Tensor  # [K]
    # Which prediction each completion token is; several completions may begin with the same.
    predictions: Tensor  # [N]


def make_micro_batches(rows: Sequence[Row], token_budget: int, pad_id: int = 0) -> list[MicroBatch]:
    """Micro-batches of at most `token_budget` tokens, padding included; deterministic. A tree over the budget is cut
    between completions, and one completion that is longer than the budget goes alone. Rows without tokens appear in
    none of them.
    """
    trees = [tree for group in _by_prompt(rows) for tree in _cut(group, rows, token_budget)]
    trees.sort(key=lambda tree: -tree.length)  # stable: equal lengths keep the order of the rows
    batches: list[list[Tree]] = []
    for tree in trees:
        if batches and (len(batches[-1]) + 1) * batches[-1][0].length <= token_budget:
            batches[-1].append(tree)
        else:
            batches.append([tree])
    return [_assemble(batch, rows, pad_id) for batch in batches]


def split_rows(rows: Sequence[Row], num_parts: int) -> list[list[int]]:
    """Places of the rows for each rank: costs (`_cost`) as even as greedy filling makes them, order kept;
    deterministic.

    Prompts stay whole where there are as many as parts. Where there are fewer, the dearest are cut between completions,
    each piece with the prompt of its own, so that a part is empty only where there are fewer completions than parts.
    """
    pieces = _by_prompt(rows)
    counts = [1] * len(pieces)
    while sum(counts) < num_parts:
        cuttable = [
            (_cost(rows, group) / count, -index)
            for index, (group, count) in enumerate(zip(pieces, counts, strict=True))
            if count < sum(bool(rows[place].completion_ids) for place in group)
        ]
        if not cuttable:
            break
        counts[-max(cuttable)[1]] += 1
    cut = [
        [group[index] for index in piece]
        for group, count in zip(pieces, counts, strict=True)
        for piece in _deal([_num_inputs(rows[place]) + 1 for place in group], count)
    ]
    parts = _deal([_cost(rows, piece) for piece in cut], num_parts)
    return [sorted(place for piece in part for place in cut[piece]) for part in parts]


def _deal(costs: Sequence[float], num_parts: int) -> list[list[int]]:
    """Indices of the costs for each part: the dearest first, each to the part that has the least so far; in order."""
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    loads = [0.0] * num_parts
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        lightest = loads.index(min(loads))
        parts[lightest].append(index)
        loads[lightest] += costs[index]
    return [sorted(part) for part in parts]


def _cost(rows: Sequence[Row], places: Sequence[int]) -> float:
    """Work of one prompt with these completions, in tokens: its tokens, and the pairs of tokens that look at each
    other, PAIR_COST each."""
    prompt = len(rows[places[0]].prompt.token_ids)
    num_tokens, pairs = prompt, prompt * (prompt + 1) / 2
    for place, shared in _along(rows, places):
        whole = _num_inputs(rows[place])
        num_tokens += whole - shared
        pairs += (whole - shared) * prompt + (whole * (whole + 1) - shared * (shared + 1)) / 2
    return num_tokens + PAIR_COST * pairs


def in_order(batches: Sequence[MicroBatch], values: Sequence[Tensor], num_rows: int) -> list[list[float]]:
    """Per-token values [N] of each micro-batch as one list a row, in the order the rows were given; empty for rows
    without tokens."""
    by_row: list[list[float]] = [[] for _ in range(num_rows)]
    for batch, value in zip(batches, values, strict=True):
        for row, part in zip(batch.rows, value.split(list(batch.lengths)), strict=True):
            by_row[row] = part.tolist()
    return by_row


def _by_prompt(rows: Sequence[Row]) -> list[list[int]]:
    groups: dict[str | int, list[int]] = {}
    for place, row in enumerate(rows):
        # Without a fingerprint nothing proves that two prompts hold the same images.
        key = row.prompt.fingerprint or id(row.prompt)
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _num_inputs(row: Row) -> int:
    """Tokens of a completion that are fed behind the prompt: the last one predicts nothing."""
    if row.places is not None:
        return 0
    return max(len(row.completion_ids) - 1, 0)


def _along(rows: Sequence[Row], places: Sequence[int]) -> list[tuple[int, int]]:
    """The completions of one prompt in the order of their tokens, and how many tokens each is fed in common with the
    one before it. None has more in common with an earlier one."""
    ordered = sorted(places, key=lambda place: rows[place].completion_ids)
    shared = [_shared(rows[before], rows[here]) for before, here in pairwise(ordered)]
    return list(zip(ordered, [0, *shared][: len(ordered)], strict=True))


def _shared(before: Row, row: Row) -> int:
    """How many tokens two completions are fed in common."""
    return min(_num_common(before, row), _num_inputs(before), _num_inputs(row))


def _num_common(before: Row, row: Row) -> int:
    """How many tokens two completions begin with in common."""
    pairs = zip(before.completion_ids, row.completion_ids, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _cut(places: Sequence[int], rows: Sequence[Row], token_budget: int) -> list[Tree]:
    prompt = rows[places[0]].prompt
    trees: list[Tree] = []
    for place, shared in _along(rows, [place for place in places if rows[place].completion_ids]):
        whole = _num_inputs(rows[place])
        if trees and trees[-1].length + whole - shared <= token_budget:
            last = trees[-1]
            trees[-1] = last._replace(rows=(*last.rows, place), length=last.length + whole - shared)
        else:
            trees.append(Tree(prompt, (place,), len(prompt.token_ids) + whole))
    return trees


class _Laid:
    """A tree as its tokens lie, put together completion by completion in the order of their tokens."""

    def __init__(self, prompt: EncodedPrompt, length: int) -> None:
        self.ids = list(prompt.token_ids)
        ends = accumulate(len(one.token_ids) for one in prompt.documents)
        documents = zip(prompt.documents, ends, strict=True)
        self.ends = [end for one, end in documents for _ in one.token_ids] or [length] * len(self.ids)
        self.offsets = list(range(len(self.ids)))
        # In K: where it is predicted, and what.
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.predictions: list[int] = []
        self._length, self._last_of_prompt = length, len(self.ids) - 1
        # Of the completion before: its tokens as they lie, and its predictions.
        self._before: Row | None = None
        self._path: list[int] = []
        self._predicted: list[int] = []

    def add(self, row: Row) -> None:
        """The next completion, or what is learnt of the documents."""
        known = fed = 0
        if self._before is not None:
            known, fed = _num_common(self._before, row), _shared(self._before, row)
        num_inputs = _num_inputs(row)
        for place in self._path[fed:]:  # nothing that comes now has seen them
            self.ends[place] = len(self.ids)
        self._path = self._path[:fed] + list(range(len(self.ids), len(self.ids) + num_inputs - fed))
        self.ids += row.completion_ids[fed:num_inputs]
        self.ends += [self._length] * (num_inputs - fed)
        self.offsets += range(fed, num_inputs)
        # Each token is predicted by the one before it.
        places = [self._last_of_prompt, *self._path] if row.places is None else [where - 1 for where in row.places]
        new = range(len(self.targets), len(self.targets) + len(row.completion_ids) - known)
        self.sources += places[known : len(row.completion_ids)]
        self.targets += row.completion_ids[known:]
        self._predicted = self._predicted[:known] + list(new)
        self.predictions += self._predicted
        self._before = row


def _assemble(trees: Sequence[Tree], rows: Sequence[Row], pad_id: int) -> MicroBatch:
    length = max(tree.length for tree in trees)
    input_ids = torch.full((len(trees), length), pad_id)
    ends = torch.arange(1, length + 1).repeat(len(trees), 1)
    offsets = torch.zeros((len(trees), length), dtype=torch.long)
    sources: list[int] = []
    targets: list[int] = []
    predictions: list[int] = []
    for index, tree in enumerate(trees):
        laid = _Laid(tree.prompt, tree.length)
        for place in tree.rows:
            laid.add(rows[place])
        input_ids[index, : tree.length] = torch.tensor(laid.ids)
        ends[index, : tree.length] = torch.tensor(laid.ends)
        offsets[index, : tree.length] = torch.tensor(laid.offsets)
        predictions += [len(targets) + one for one in laid.predictions]
        sources += [index * length + one for one in laid.sources]
        targets += laid.targets
    places = tuple(place for tree in trees for place in tree.rows)
    lengths = tuple(len(rows[place].completion_ids) for place in places)
    return MicroBatch(
        trees=tuple(trees),
        rows=places,
        lengths=lengths,
        input_ids=input_ids,
        ends=ends,
        offsets=offsets,
        sources=torch.tensor(sources),
        targets=torch.tensor(targets),
        predictions=torch.tensor(predictions),
    )
