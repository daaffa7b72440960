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

import dataclasses
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, takewhile
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rollouts.prompt.processing import EncodedPrompt

# What a pair of tokens costs beside a token. A layer of width h multiplies about 12 h^2 times for a token and 2 h times
# for a pair, so a pair is 1/(6 h) of a token; this is h = 2,048. Ranks are balanced by it, results do not depend on it.
PAIR_COST = 1 / 12288
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """One completion on its way to the policy."""

    prompt: EncodedPrompt
    completion_ids: tuple[int, ...]
    advantage: float = 0.0
    # False = not trained on: in no sum and in no denominator.
    valid: bool = True
    # Log-probs at the step's start; None = those of this very forward pass (right for the first update of a step). All
    # log-probs are float32 (`per_token`).
    old_logprobs: Sequence[float] | None = None
    # Log-probs under the frozen reference; None = no KL.
    ref_logprobs: Sequence[float] | None = None
    # Log-probs that the engine drew with; read where it drew with older weights (grpo.max_staleness).
    engine_logprobs: Sequence[float] | None = None
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

    def on(self, device: torch.device) -> MicroBatch:
        """The same with its tensors there."""
        names = ("input_ids", "ends", "offsets", "sources", "targets", "predictions")
        there = onto(device, *(getattr(self, name) for name in names))
        return dataclasses.replace(self, **dict(zip(names, there, strict=True)))


def onto(device: torch.device, *tensors: Tensor) -> list[Tensor]:
    """Tensors of one dtype on another device, by one copy that a GPU makes while this process goes on: each copy of its
    own from ordinary memory would wait until the GPU has done all that it was told before. On the CPU they are what
    they were."""
    if device.type == "cpu":
        return list(tensors)
    return together(tensors, lambda whole: whole.pin_memory().to(device, non_blocking=True))


def together(tensors: Sequence[Tensor], copy: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Copies of tensors of one dtype, all made at once: `copy` is given them end to end."""
    whole = copy(torch.cat([one.reshape(-1) for one in tensors]))
    parts = whole.split([one.numel() for one in tensors])
    return [part.view(one.shape) for part, one in zip(parts, tensors, strict=True)]


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


def in_order(batches: Sequence[MicroBatch], values: Sequence[Tensor], num_rows: int) -> list[Sequence[float]]:
    """Per-token values [N] of each micro-batch, on the CPU, as one array a row, in the order the rows were given;
    empty for rows without tokens."""
    by_row: list[Sequence[float]] = [array("f")] * num_rows
    for batch, value in zip(batches, values, strict=True):
        for row, part in zip(batch.rows, value.float().split(list(batch.lengths)), strict=True):
            by_row[row] = array("f", part.numpy().tobytes())
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

    def __init__(self, tree: Tree) -> None:
        prompt = np.asarray(tree.prompt.token_ids, np.int64)
        self.ids = np.zeros(tree.length, np.int64)
        self.ids[: len(prompt)] = prompt
        self.ends = np.full(tree.length, tree.length)
        ends = accumulate(len(one.token_ids) for one in tree.prompt.documents)
        for one, end in zip(tree.prompt.documents, ends, strict=True):
            self.ends[end - len(one.token_ids) : end] = end
        self.offsets = np.arange(tree.length)
        # In K, piece by piece: where it is predicted, and what; and in N, which of them each token is.
        self.sources: list[Places] = []
        self.targets: list[Places] = []
        self.predictions: list[Places] = []
        self.num_predictions = 0
        self._filled, self._last_of_prompt = len(prompt), len(prompt) - 1
        # Of the completion before: its tokens as they lie, and its predictions.
        self._before: Row | None = None
        self._path = self._predicted = np.zeros(0, np.int64)

    def add(self, row: Row) -> None:
        """The next completion, or what is learnt of the documents."""
        known = fed = 0
        if self._before is not None:
            known, fed = _num_common(self._before, row), _shared(self._before, row)
        num_inputs, tokens = _num_inputs(row), np.asarray(row.completion_ids, np.int64)
        self.ends[self._path[fed:]] = self._filled  # nothing that comes now has seen them
        new = slice(self._filled, self._filled + num_inputs - fed)
        self.ids[new], self.offsets[new] = tokens[fed:num_inputs], np.arange(fed, num_inputs)
        self._path = np.concatenate([self._path[:fed], np.arange(new.start, new.stop)])
        self._filled = new.stop
        # Each token is predicted by the one before it.
        places = np.append(self._last_of_prompt, self._path) if row.places is None else np.asarray(row.places) - 1
        self.sources.append(places[known : len(tokens)])
        self.targets.append(tokens[known:])
        predicted = np.arange(self.num_predictions, self.num_predictions + len(tokens) - known)
        self._predicted = np.concatenate([self._predicted[:known], predicted])
        self.predictions.append(self._predicted)
        self.num_predictions += len(predicted)
        self._before = row


def _assemble(trees: Sequence[Tree], rows: Sequence[Row], pad_id: int) -> MicroBatch:
    length = max(tree.length for tree in trees)
    input_ids = np.full((len(trees), length), pad_id)
    ends = np.tile(np.arange(1, length + 1), (len(trees), 1))
    offsets = np.zeros((len(trees), length), np.int64)
    sources: list[Places] = []
    targets: list[Places] = []
    predictions: list[Places] = []
    num_before = 0
    for index, tree in enumerate(trees):
        laid = _Laid(tree)
        for place in tree.rows:
            laid.add(rows[place])
        input_ids[index, : tree.length] = laid.ids
        ends[index, : tree.length] = laid.ends
        offsets[index, : tree.length] = laid.offsets
        sources += [index * length + one for one in laid.sources]
        targets += laid.targets
        predictions += [num_before + one for one in laid.predictions]
        num_before += laid.num_predictions
    places = tuple(place for tree in trees for place in tree.rows)
    return MicroBatch(
        trees=tuple(trees),
        rows=places,
        lengths=tuple(len(rows[place].completion_ids) for place in places),
        input_ids=torch.from_numpy(input_ids),
        ends=torch.from_numpy(ends),
        offsets=torch.from_numpy(offsets),
        sources=torch.from_numpy(np.concatenate(sources)),
        targets=torch.from_numpy(np.concatenate(targets)),
        predictions=torch.from_numpy(np.concatenate(predictions)),
    )
