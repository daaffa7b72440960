"""Groups of stored answers and unseen combinations, by hand."""

from __future__ import annotations

import pytest

from rl.probes.groups import Answered, all_right, changed, confusion, letters
from rl.probes.probe import ProbeImpossible
from rl.probes.unseen import hold_out, strata
from rollouts.records import Sample


def test_a_group_is_right_when_all_of_it_is_and_unjudged_before_it_is_right() -> None:
    rows = [
        Answered("right", True, "yes"), Answered("right", True, "no"),
        Answered("wrong", True, "yes"), Answered("wrong", False, "no"),
        # An answer that nobody could judge beside a right one may be right: the pair is unjudged.
        Answered("open", True, "yes"), Answered("open", None, None),
        # Beside a wrong one it changes nothing any more.
        Answered("lost", False, None), Answered("lost", None, None),
    ]  # fmt: skip
    groups = all_right(rows)
    assert groups.all_right == {"right": True, "wrong": False, "open": None, "lost": False}
    # 1 of the 3 judged groups.
    assert groups.share == pytest.approx(1 / 3) and groups.num_unjudged == 1
    assert all_right([]).share is None


def test_confusion_is_the_same_answer_to_both_and_unread_pairs_are_counted_apart() -> None:
    # MediConfusion: gold A and B, "A" to both: half of the answers are right, the set is wrong, and it is confused.
    both_a = [Answered("1", True, "A"), Answered("1", False, "A")]
    unread = [Answered("2", True, "A"), Answered("2", False, None)]
    told_apart = [Answered("3", True, "A"), Answered("3", True, "B")]
    found = confusion([*both_a, *unread, *told_apart])
    assert (found.num_pairs, found.num_unread, found.num_same, found.share) == (3, 1, 1, 0.5)
    assert all_right([*both_a, *unread, *told_apart]).all_right == {"1": False, "2": False, "3": True}
    assert confusion(unread).share is None
    with pytest.raises(ValueError, match="1 groups have another size, such as '4'"):
        confusion([*both_a, Answered("4", True, "A")])


def test_flips_and_letters() -> None:
    assert changed(["A", "B", None, "C"], ["A", "C", "B", None]) == [0.0, 1.0, None, None]
    with pytest.raises(ValueError, match="1 plain and 2 probed"):
        changed(["A"], ["A", "B"])
    rows = [Answered("1", True, "B"), Answered("2", True, "A"), Answered("3", True, "B"), Answered("4", True, None)]
    assert letters(rows) == {"A": pytest.approx(1 / 3), "B": pytest.approx(2 / 3)}


def item(modality: str, anatomy: str, task: str, number: int = 0) -> Sample:
    tags = {"anatomy": anatomy, "task": task} if task else {}
    return Sample(
        id=f"{modality} {anatomy} {task} {number}", question="What is it?", answer_type="open", gold_text="it",
        modality=modality, tags=tags,
    )  # fmt: skip


def test_combinations_are_seen_recombined_or_novel() -> None:
    train = [item("CT", "chest", "diagnosis"), item("MR", "head", "diagnosis"), item("CT", "head", "place")]
    asked = [
        item("CT", "chest", "diagnosis", 1),  # stands in training
        item("MR", "chest", "place"),  # each part does, never together
        item("US", "chest", "place"),  # no ultrasound does
        item("CT", "", ""),  # its parts are not known
    ]
    assert strata(train, asked) == {
        "CT chest diagnosis 1": "seen",
        "MR chest place 0": "recombined",
        "US chest place 0": "novel",
    }
    with pytest.raises(ProbeImpossible, match="no training row does"):
        strata([item("CT", "", "")], asked)


def test_held_out_combinations_keep_every_part_in_training() -> None:
    rows = [item(m, a, t, n) for m in ("CT", "MR") for a in ("chest", "head") for t in ("d", "p") for n in range(3)]
    for seed in range(5):
        train, held = hold_out([*rows, item("US", "", "")], 0.25, seed)
        # 2 of 8 combinations, 3 rows each; the row without parts stays in training.
        assert len(held) == 6 and len(train) == 19
        assert set(strata(train, held).values()) == {"recombined"}
    with pytest.raises(ProbeImpossible, match="none of 2 combinations"):
        hold_out([item("CT", "chest", "d"), item("MR", "head", "p")], 0.5)
    with pytest.raises(ValueError, match="more than 0 and less than 1"):
        hold_out(rows, 1.0)
