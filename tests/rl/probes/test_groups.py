"""Groups of stored answers and unseen combinations, by hand."""

from __future__ import annotations

import pytest

from rl.probes.groups import Answered, all_right, confusion, letters
from rl.probes.probe import ProbeImpossible
from rl.probes.unseen import strata
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
    assert groups.num_unjudged == 1


def test_confusion_is_the_same_answer_to_both_and_unread_pairs_are_counted_apart() -> None:
    # MediConfusion: gold A and B, "A" to both: half of the answers are right, the set is wrong, and it is confused.
    both_a = [Answered("1", True, "A"), Answered("1", False, "A")]
    unread = [Answered("2", True, "A"), Answered("2", False, None)]
    told_apart = [Answered("3", True, "A"), Answered("3", True, "B")]
    found = confusion([*both_a, *unread, *told_apart])
    assert (found.num_pairs, found.num_unread, found.same) == (3, 1, {"1": 1.0, "2": None, "3": 0.0})
    assert all_right([*both_a, *unread, *told_apart]).all_right == {"1": False, "2": False, "3": True}
    with pytest.raises(ValueError, match="1 groups have another size, such as '4'"):
        confusion([*both_a, Answered("4", True, "A")])


def test_the_share_of_each_letter() -> None:
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
