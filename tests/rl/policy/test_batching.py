"""Shared-prompt micro-batches: the budget holds, order is restored, and a token sees what it would see in a row of its
own."""

from __future__ import annotations

import random
from array import array

import pytest
import torch

from rl.policy.attention import attention_mask, position_ids
from rl.policy.batching import Row, in_order, make_micro_batches, onto, split_rows, together
from rollouts.prompt.processing import EncodedPrompt


def prompt(name: str, length: int) -> EncodedPrompt:
    return EncodedPrompt(name, name, tuple(range(100, 100 + length)), {}, fingerprint=name)


def some_rows(seed: int = 0, num_prompts: int = 5, num_generations: int = 4) -> list[Row]:
    chance = random.Random(seed)
    prompts = [prompt(f"p{index}", chance.randint(3, 12)) for index in range(num_prompts)]
    return [
        Row(one, tuple(chance.choices(range(50), k=chance.randint(0, 9))))
        for one in prompts
        for _ in range(num_generations)
    ]


def test_one_tree_by_hand() -> None:
    # Prompt 100 101, completions (1 2 3) and (4): the last token of each predicts nothing and is not fed.
    shared = prompt("p", 2)
    [batch] = make_micro_batches([Row(shared, (1, 2, 3)), Row(shared, (4,))], 64)
    assert batch.input_ids.tolist() == [[100, 101, 1, 2]]
    # Everything sees the prompt; 1 is seen by 2, and 2 by nothing but itself.
    assert batch.ends.tolist() == [[4, 4, 4, 4]]
    assert batch.targets.tolist() == [1, 2, 3, 4]
    # 1 is predicted by the prompt's last token (place 1), 2 by 1 (place 2), 3 by 2 (place 3), 4 again by the prompt's
    # last token.
    assert batch.sources.tolist() == [1, 2, 3, 1]
    assert batch.lengths == (3, 1)
    assert position_ids(batch, [torch.arange(2)]).tolist() == [[0, 1, 2, 3]]


def test_common_beginnings_are_fed_and_predicted_once() -> None:
    # In the order of their tokens: 1 2, 1 2 3, 1 2 3 (again), 1 5 6, 4. Fed are the prompt, 1 (of the first), 2 (which
    # the second goes on from), 5 behind the 1; the last token of each is not.
    shared = prompt("p", 2)
    completions = [(4,), (1, 2, 3), (1, 5, 6), (1, 2), (1, 2, 3)]
    [batch] = make_micro_batches([Row(shared, one) for one in completions], 64)
    assert batch.rows == (3, 1, 4, 2, 0) and batch.lengths == (2, 3, 3, 3, 1)
    assert batch.input_ids.tolist() == [[100, 101, 1, 2, 5]]
    assert position_ids(batch, [torch.arange(2)]).tolist() == [[0, 1, 2, 3, 3]]
    # 1 is seen by 2 and 5, up to the end; 2 (place 3) by itself alone, because 5 (place 4) departs before it.
    assert batch.ends.tolist() == [[5, 5, 5, 4, 5]]
    assert (attention_mask(batch, torch.float32)[0, 0, 4] == 0).tolist() == [True, True, True, False, True]
    # Predicted are 1 behind the prompt, 2 behind 1, 3 behind 2, 5 behind 1, 6 behind 5 and 4 behind the prompt.
    assert batch.sources.tolist() == [1, 2, 3, 2, 4, 1]
    assert batch.targets.tolist() == [1, 2, 3, 5, 6, 4]
    assert batch.predictions.tolist() == [0, 1, 0, 1, 2, 0, 1, 2, 0, 3, 4, 5]


def test_every_completion_finds_its_own_way_through_a_tree() -> None:
    """Whatever the completions, what a prediction's source sees is the prompt and the completion before it."""
    for seed in range(50):
        chance = random.Random(seed)
        shared = prompt("p", chance.randint(1, 4))
        rows = [Row(shared, tuple(chance.choices((7, 8), k=chance.randint(0, 6)))) for _ in range(12)]
        batches = make_micro_batches(rows, chance.choice([1, 12, 100]))
        found = {}
        for batch in batches:
            seen = attention_mask(batch, torch.float32)[:, 0] == 0
            ids = batch.input_ids.flatten()
            parts = batch.predictions.split(list(batch.lengths))
            for place, predictions in zip(batch.rows, parts, strict=True):
                for depth, one in enumerate(predictions.tolist()):
                    tree, inside = divmod(int(batch.sources[one]), batch.input_ids.shape[1])
                    past = ids.view_as(batch.input_ids)[tree][seen[tree, inside]].tolist()
                    assert tuple(past) == shared.token_ids + rows[place].completion_ids[:depth]
                found[place] = tuple(batch.targets[predictions].tolist())
            assert sum(tree.length for tree in batch.trees) == len({
                (tree, tuple(batch.input_ids[tree][seen[tree, inside]].tolist()))
                for tree, one in enumerate(batch.trees) for inside in range(one.length)
            })  # fmt: skip
        assert found == {place: row.completion_ids for place, row in enumerate(rows) if row.completion_ids}


def test_completions_stand_where_they_would_stand_alone_and_do_not_see_each_other() -> None:
    shared = prompt("p", 2)
    [batch] = make_micro_batches(
        [Row(shared, (1, 2, 3)), Row(shared, (4, 5)), Row(prompt("q", 1), (6, 7))], 64, pad_id=9
    )
    assert batch.input_ids.tolist() == [[100, 101, 1, 2, 4], [100, 6, 9, 9, 9]]
    assert position_ids(batch, [torch.arange(2), torch.arange(1)])[0].tolist() == [0, 1, 2, 3, 2]
    seen = (attention_mask(batch, torch.float32)[:, 0] == 0).int().tolist()
    assert seen[0] == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    # Padding sees itself, and nobody else sees it.
    assert seen[1] == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]


def test_three_dimensional_positions_go_on_after_the_largest_of_the_prompt() -> None:
    [batch] = make_micro_batches([Row(prompt("p", 3), (1, 2, 3))], 64)
    positions = position_ids(batch, [torch.tensor([[0, 1, 1], [0, 1, 2], [0, 1, 3]])])
    assert positions.shape == (3, 1, 5)
    assert positions[:, 0, 3:].tolist() == [[4, 5]] * 3
    assert positions[:, 0, :3].tolist() == [[0, 1, 1], [0, 1, 2], [0, 1, 3]]


@pytest.mark.parametrize("budget", [1, 10, 25, 60, 1000])
def test_the_budget_holds_padding_included_and_no_token_is_lost(budget: int) -> None:
    rows = some_rows()
    batches = make_micro_batches(rows, budget)
    for batch in batches:
        alone = len(batch.rows) == 1
        assert batch.input_ids.numel() <= budget or alone
    restored = in_order(batches, [batch.targets[batch.predictions] for batch in batches], len(rows))
    assert [tuple(map(int, row)) for row in restored] == [row.completion_ids for row in rows]


def test_the_same_rows_give_the_same_micro_batches() -> None:
    first, second = make_micro_batches(some_rows(), 40), make_micro_batches(some_rows(), 40)
    assert [batch.rows for batch in first] == [batch.rows for batch in second]


def test_shared_prompts_are_fed_once() -> None:
    shared = prompt("p", 50)
    rows = [Row(shared, (index, 2, 3)) for index in range(8)]
    [batch] = make_micro_batches(rows, 1000)
    assert batch.input_ids.numel() == 50 + 8 * 2


def test_prompts_that_differ_in_their_images_alone_are_kept_apart() -> None:
    ids = (100, 101)
    rows = [Row(EncodedPrompt("p", "p", ids, {}, fingerprint=name), (1, 2)) for name in ("one image", "another image")]
    [batch] = make_micro_batches(rows, 1000)
    assert len(batch.trees) == 2
    unknown = [Row(EncodedPrompt("p", "p", ids, {}), (1, 2)) for _ in range(2)]
    [batch] = make_micro_batches(unknown, 1000)
    assert len(batch.trees) == 2


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5])
def test_rows_are_split_over_ranks_by_whole_prompts(num_parts: int) -> None:
    rows = some_rows()
    parts = split_rows(rows, num_parts)
    assert len(parts) == num_parts
    assert sorted(place for part in parts for place in part) == list(range(len(rows)))
    owners = [{rows[place].prompt.prompt_id for place in part} for part in parts]
    assert sum(map(len, owners)) == 5
    assert parts == split_rows(rows, num_parts)


def test_one_rank_gets_the_rows_as_they_are() -> None:
    rows = some_rows()
    assert split_rows(rows, 1) == [list(range(len(rows)))]
    assert split_rows([], 2) == [[], []]


def test_prompts_are_cut_between_completions_where_there_are_fewer_than_ranks() -> None:
    # Four prompts of 8 completions each on 8 ranks: two ranks a prompt, 4 completions each.
    rows = [Row(prompt(f"p{index}", 300), (own,) * 100) for index in range(4) for own in range(8)]
    parts = split_rows(rows, 8)
    assert [len(part) for part in parts] == [4] * 8
    assert all(len({rows[place].prompt.prompt_id for place in part}) == 1 for part in parts)
    # The longest prompt is cut first: p1 costs more, so that it gets two of three ranks.
    sizes = (("p0", 20), ("p1", 90))
    rows = [Row(prompt(name, 10), (own,) * size) for name, size in sizes for own in range(4)]
    assert sorted(map(len, split_rows(rows, 3))) == [2, 2, 4]
    # One completion cannot be cut, and an empty one is no work.
    alone = [Row(prompt("p", 10), (1, 2)), Row(prompt("p", 10), ())]
    assert sorted(split_rows(alone, 3)) == [[], [], [0, 1]]


def test_ranks_are_balanced_by_pairs_as_well_as_tokens() -> None:
    # A tree of 20,000 tokens costs 20,000 + 20,000 * 20,001 / 2 / 12,288 = 36,277, one of 2,500 tokens 2,754: twelve
    # of these are 33,052, and all go to the other rank. By tokens alone two of them would join the long one.
    rows = [Row(prompt("long", 19_999), (1, 2)), *(Row(prompt(f"p{index}", 2_499), (1, 2)) for index in range(12))]
    tokens = sorted(sum(len(rows[place].prompt.token_ids) + 1 for place in part) for part in split_rows(rows, 2))
    assert tokens == [20_000, 30_000]


def test_log_probs_go_back_as_arrays_of_float32_in_the_order_of_the_rows() -> None:
    rows = [Row(prompt("p", 3), ids) for ids in ((4, 5), (), (4, 6, 7))]
    [batch] = make_micro_batches(rows, 64)
    # In N: 4 5, then 4 6 7.
    answers = in_order([batch], [torch.tensor([-0.25, -0.5, -0.25, -1.0, -2.0])], len(rows))
    assert answers == [array("f", values) for values in ((-0.25, -0.5), (), (-0.25, -1.0, -2.0))]


def test_tensors_that_travel_together_arrive_as_they_were_by_one_copy() -> None:
    sent: list[int] = []

    def copy(whole: torch.Tensor) -> torch.Tensor:
        sent.append(len(whole))
        return whole.clone()

    given = [torch.arange(6).view(2, 3), torch.zeros(0, dtype=torch.long), torch.tensor([7])]
    found = together(given, copy)
    assert sent == [7] and all(torch.equal(one, other) for one, other in zip(given, found, strict=True))
    assert all(one is other for one, other in zip(given, onto(torch.device("cpu"), *given), strict=True))
