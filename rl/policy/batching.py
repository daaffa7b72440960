"""Rows become micro-batches in which the completions of one prompt share it: prompt and images are computed once, not
eight times.

A *tree* is one sequence: the prompt, then its completions one after the other. A token sees the prompt and its own
completion only, and stands at the position it would have alone, so every completion gets the numbers of a separate row.
A tree of documents is a prompt without completions: its own tokens are learnt, and each document sees itself only.
Results depend on neither the token budget nor the padding nor the order of the rows (tests/rl/policy/test_batching.py).

Legend: T trees of a micro-batch, L their padded length, N completion tokens of a micro-batch end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rollouts.prompt.processing import EncodedPrompt

PROMPT, PADDING = 0, -1
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
    # Places of its rows in the list that was given.
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
    # 0 = prompt, k = k-th completion or document of the tree, -1 = padding.
    segments: Tensor  # [T, L]
    # Place of each token inside its own segment.
    offsets: Tensor  # [T, L]
    # Where in the flattened [T * L] the hidden state lies that predicts each completion token, and the token.
    sources: Tensor  # [N]
    targets: Tensor  # [N]


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
    inputs = [_num_inputs(rows[place]) for place in places]
    pairs = prompt * (prompt + 1) / 2 + sum(one * prompt + one * (one + 1) / 2 for one in inputs)
    return prompt + sum(inputs) + PAIR_COST * pairs


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


def _tree_length(rows: Sequence[Row], places: Sequence[int]) -> int:
    return len(rows[places[0]].prompt.token_ids) + sum(_num_inputs(rows[place]) for place in places)


def _cut(places: Sequence[int], rows: Sequence[Row], token_budget: int) -> list[Tree]:
    prompt = rows[places[0]].prompt
    parts: list[list[int]] = []
    length = 0
    for place in places:
        if not rows[place].completion_ids:
            continue
        more = _num_inputs(rows[place])
        if not parts or length + more > token_budget:
            parts.append([])
            length = len(prompt.token_ids)
        parts[-1].append(place)
        length += more
    return [Tree(prompt, tuple(part), _tree_length(rows, part)) for part in parts]


def _segments(prompt: EncodedPrompt) -> Tensor:
    """[P]: 0 for a prompt, which everything behind it sees; 1, 2, .. for documents, which see themselves only."""
    if not prompt.documents:
        return torch.full((len(prompt.token_ids),), PROMPT)
    lengths = torch.tensor([len(document.token_ids) for document in prompt.documents])
    return torch.arange(1, len(lengths) + 1).repeat_interleave(lengths)


def _assemble(trees: Sequence[Tree], rows: Sequence[Row], pad_id: int) -> MicroBatch:
    length = max(tree.length for tree in trees)
    input_ids = torch.full((len(trees), length), pad_id)
    segments = torch.full((len(trees), length), PADDING)
    offsets = torch.zeros((len(trees), length), dtype=torch.long)
    sources: list[int] = []
    targets: list[int] = []
    for index, tree in enumerate(trees):
        end = len(tree.prompt.token_ids)
        start = index * length
        input_ids[index, :end] = torch.tensor(tree.prompt.token_ids)
        segments[index, :end] = _segments(tree.prompt)
        offsets[index, :end] = torch.arange(end)
        last_of_prompt = start + end - 1
        for number, place in enumerate(tree.rows, start=1):
            completion, inside = rows[place].completion_ids, rows[place].places
            targets += completion
            if inside is not None:  # each is predicted by the token before it
                sources += [start + where - 1 for where in inside]
                continue
            num_inputs = len(completion) - 1
            span = slice(end, end + num_inputs)
            input_ids[index, span] = torch.tensor(completion[:num_inputs], dtype=torch.long)
            segments[index, span] = number
            offsets[index, span] = torch.arange(num_inputs)
            sources += [last_of_prompt, *range(start + end, start + end + num_inputs)]
            end += num_inputs
    places = tuple(place for tree in trees for place in tree.rows)
    lengths = tuple(len(rows[place].completion_ids) for place in places)
    return MicroBatch(
        tuple(trees), places, lengths, input_ids, segments, offsets, torch.tensor(sources), torch.tensor(targets)
    )
