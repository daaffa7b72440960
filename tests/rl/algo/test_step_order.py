"""In which order the groups of a step are asked and trained on, and in which pieces."""

from __future__ import annotations

from collections.abc import Sequence

from rl.algo.step_order import asking_order, cuts_between, parts, training_order


def test_orders_are_stable() -> None:
    waits = [False, True, False, True, True]
    assert asking_order(waits) == [1, 3, 4, 0, 2]
    assert training_order(waits, whole_step=False) == [0, 2, 1, 3, 4]
    assert training_order(waits, whole_step=True) == [0, 1, 2, 3, 4]


def test_each_minibatch_waits_for_the_groups_it_needs() -> None:
    def cut(prompts: int, generations: int, minibatches: int) -> list[tuple[int, int, list[int]]]:
        found = parts(prompts, generations, minibatches, whole_step=False)
        assert all(piece.ends for part in found for piece in part.pieces)
        return [(part.groups.start, part.groups.stop, [piece.minibatch for piece in part.pieces]) for part in found]

    # 16 x 8 in four: 32 rows, four groups each.
    assert cut(16, 8, 4) == [(0, 4, [0]), (4, 8, [1]), (8, 12, [2]), (12, 16, [3])]
    # 3 x 4 in two: six rows, which end in the middle of the second group.
    assert cut(3, 4, 2) == [(0, 2, [0]), (2, 3, [1])]
    # 2 x 8 in four: two mini-batches out of one group; the second needs nothing new and comes with it.
    assert cut(2, 8, 4) == [(0, 1, [0, 1]), (1, 2, [2, 3])]
    assert cut(1, 8, 4) == [(0, 1, [0, 1, 2, 3])]
    (whole,) = parts(4, 8, 4, whole_step=True)
    assert whole.groups == slice(0, 4)
    assert [piece.rows for piece in whole.pieces] == [slice(8 * number, 8 * number + 8) for number in range(4)]


def test_each_piece_waits_for_the_groups_it_needs() -> None:
    def cut(*sizes: int, cuts: Sequence[int]) -> list[tuple[int, int, list[tuple[int, int, int, bool]]]]:
        found = parts(*sizes, whole_step=False, cuts=cuts)
        return [
            (
                part.groups.start,
                part.groups.stop,
                [(piece.rows.start, piece.rows.stop, piece.minibatch, piece.ends) for piece in part.pieces],
            )
            for part in found
        ]

    # 4 x 4 in two: a piece is a group, and every second one ends a mini-batch of eight rows.
    assert cut(4, 4, 2, cuts=[1, 2, 3]) == [
        (0, 1, [(0, 4, 0, False)]),
        (1, 2, [(4, 8, 0, True)]),
        (2, 3, [(8, 12, 1, False)]),
        (3, 4, [(12, 16, 1, True)]),
    ]
    # 3 x 4 in two: six rows, which end in the middle of the second group; its two pieces need no more than it.
    assert cut(3, 4, 2, cuts=[1, 2]) == [
        (0, 1, [(0, 4, 0, False)]),
        (1, 2, [(4, 6, 0, True), (6, 8, 1, False)]),
        (2, 3, [(8, 12, 1, True)]),
    ]
    # 3 x 4 in one, cut once.
    assert cut(3, 4, 1, cuts=[2]) == [(0, 2, [(0, 8, 0, False)]), (2, 3, [(8, 12, 0, True)])]


def test_a_piece_holds_the_groups_that_fit_into_one_pass() -> None:
    assert cuts_between([5, 5, 5, 5], budget=20) == []
    assert cuts_between([5, 5, 5, 5], budget=19) == [3]
    # A group over the budget goes alone, and a refused one, without tokens, costs nothing.
    assert cuts_between([5, 30, 5, 0, 5, 1], budget=10) == [1, 2, 5]
