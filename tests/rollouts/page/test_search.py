"""Searches, orders and numbers of the page against looking at every rollout."""

from __future__ import annotations

import re

import pytest

from rollouts.page.group import group_page
from rollouts.page.listing import by_step, counts, list_groups, position_of
from rollouts.page.query import FIELDS, SORTS, BadQuery, parse_query
from rollouts.store.writer import RunWriter
from tests.fakes import judged_rollouts
from tests.fakes.view_server import found, viewing


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("is:right", lambda one: one.outcomes["accuracy"].value == 1.0),
        ("is:wrong", lambda one: one.outcomes["accuracy"].value == 0.0),
        ("is:failed", lambda one: one.outcomes["accuracy"].status in ("error", "timeout")),
        ("is:unscored", lambda one: not one.valid),
        ("-is:unscored", lambda one: one.valid),
        ("is:truncated", lambda one: one.completion.finish_reason == "length"),
        ("is:malformed", lambda one: not one.parsed.well_formed),
        ("is:unclear", lambda one: one.parsed.verdict == "unclear"),
        ("status:abstain", lambda one: one.outcomes["accuracy"].status == "abstain"),
        ("status:accuracy=timeout", lambda one: one.outcomes["accuracy"].status == "timeout"),
        ("status:format=timeout", lambda one: False),
        ("reward:<0.5", lambda one: one.total is not None and one.total < 0.5),
        ("reward:0.1..0.95", lambda one: one.total is not None and 0.1 <= one.total <= 0.95),
        ("advantage:>=0.5", lambda one: one.advantage >= 0.5),
        ("tokens:>15 step:2", lambda one: len(one.completion.token_ids) > 15 and one.step == 2),
        ("sample:3", lambda one: one.sample_index == 3),
        ("modality:CT type:yes_no", lambda one: one.sample.modality == "ct" and one.sample.answer_type == "yes_no"),
        ("bright", lambda one: "bright" in one.completion.text),
        ('"faint ring" -step:1', lambda one: "faint ring" in one.completion.text and one.step != 1),
        ("step=1,3 sample:..1", lambda one: one.step in (1, 3) and one.sample_index <= 1),
        ("-modality:CT,radiograph", lambda one: one.sample.modality not in ("ct", "radiograph")),
        ("tokens:16..", lambda one: len(one.completion.token_ids) >= 16),
        ('"step=1"', lambda one: "step=1" in one.completion.text),
        ("https://host/a=b", lambda one: False),
        ("prompt:item-0004", lambda one: one.prompt_id == "item-0004"),
        ("", lambda one: True),
    ],
)
def test_a_search_finds_what_looking_at_every_rollout_finds(many, text, holds):
    viewer, rollouts = many
    expected = {(one.step, one.prompt_id, one.sample_index) for one in rollouts if holds(one)}
    assert found(viewer, text) == expected
    assert list_groups(viewer.index, text, "step", 0)["completions"] == len(expected)


def test_group_filters_find_what_looking_at_every_group_finds(many):
    viewer, rollouts = many
    groups: dict[tuple[int, str], list] = {}
    for one in rollouts:
        groups.setdefault((one.step, one.prompt_id), []).append(one)

    def accuracy(members):
        return [m.outcomes["accuracy"].value for m in members if m.outcomes["accuracy"].value is not None]

    def totals(members):
        return [m.total for m in members if m.total is not None]

    rules = {
        "is:all-wrong": lambda members: accuracy(members) and not any(accuracy(members)),
        "is:all-right": lambda members: accuracy(members) and all(accuracy(members)),
        "is:mixed": lambda members: len(set(accuracy(members))) == 2,
        "is:zero-variance": lambda members: totals(members) and max(totals(members)) - min(totals(members)) < 1e-9,
    }
    for text, rule in rules.items():
        expected = {key for key, members in groups.items() if rule(members)}
        assert {
            (one["step"], one["prompt"]) for one in list_groups(viewer.index, text, "step", 0)["groups"]
        } == expected, text
        assert counts(viewer.index)["groups"][text[3:]] == len(expected)


def test_numbers_by_step_are_means_over_the_completions_found(many):
    viewer, rollouts = many
    (steps,) = by_step(viewer.index, "modality:ct")
    for one in steps:
        here = [r for r in rollouts if r.step == one["step"] and r.sample.modality == "ct"]
        paid = [r.total for r in here if r.total is not None]
        assert one["num"] == len(here) and one["num_valid"] == len(paid)
        assert one["reward"] == pytest.approx(sum(paid) / len(paid))
        assert one["failed"] == sum(r.outcomes["accuracy"].status in ("error", "timeout") for r in here)
        assert one["mixed"] + one["all_right"] + one["all_wrong"] == pytest.approx(1.0)


def test_every_order_keeps_all_groups_and_positions_agree_with_it(many):
    viewer, _ = many
    for sort in SORTS:
        groups = list_groups(viewer.index, "is:wrong", sort, 0)["groups"]
        for at in (0, len(groups) - 1):
            asked = position_of(viewer.index, "is:wrong", sort, groups[at]["step"], groups[at]["prompt"])
            assert asked == {"position": at, "total": len(groups)}
    assert position_of(viewer.index, "is:wrong", "step", 1, "nobody")["position"] is None
    assert list_groups(viewer.index, "", "step", 17)["groups"][0]["step"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iss:wrong", "did you mean 'is'"), ("is:al-wrong", "did you mean 'all-wrong'"), ("reward:high", "reward:<3"),
        ("step:>", "no number"),
        ("reward:nan", "no number"), ("reward:inf", "no number"), ("status:bad", "none of ok"),
        ("judge:maybe", "none of correct"),
        ("label:x", "none of"), ("step:3..1", "LOW at most HIGH"), ("step:,", "names no value"),
        ("a=b", "put a text in quotes"),
        ("is:wrong,mixed", "write them one by one"), ("x" * 2000, "at most 1,000"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_read_says_what_can(text, said):
    with pytest.raises(BadQuery, match=re.escape(said)):
        parse_query(text)


def test_values_reach_the_database_as_values_only():
    for name in FIELDS:
        for value in ("'; DROP TABLE rows; --", "1 OR 1=1", "%s"):
            try:
                query = parse_query(f'{name}:"{value}"')
            except BadQuery:
                continue
            assert value not in query.on_completions + query.on_groups
            assert value in query.values.values()


def test_judge_and_rule_disagree_exactly_where_they_were_made_to(judged):
    assert found(judged, "is:disagree") == {(1, prompt, sample) for prompt, sample in judged_rollouts.DISAGREEMENTS}
    group = group_page(judged.index, judged.images, 0, 1, "item-0002")
    # "lower left" and the sentence that holds it by rule, "the left base" by the judge alone.
    assert [one["rule_right"] for one in group["completions"]] == [True, True, False, False]
    assert [one["judge"] for one in group["completions"]] == ["correct", "correct", "incorrect", "correct"]
    assert found(judged, "judge:failed") == {(1, "item-0005", 3)} and found(judged, "judge:unsure") == {
        (1, "item-0008", 3)
    }
    assert counts(judged.index)["completions"]["disagree"] == 2


def test_flipped_since_compares_with_the_last_visit_up_to_that_step(judged):
    # Sample 8: 0 of 3 right at step 1, 4 of 4 at step 2; the others were asked once.
    assert [(one["step"], one["prompt"]) for one in list_groups(judged.index, "flipped:1", "step", 0)["groups"]] == [
        (2, "item-0008")
    ]
    assert list_groups(judged.index, "flipped:2", "step", 0)["total"] == 0
    assert list_groups(judged.index, "flipped:0", "step", 0)["total"] == 0
    assert group_page(judged.index, judged.images, 0, 2, "item-0008")["visits"] == [
        {"step": 1, "right": 0, "judged": 3}, {"step": 2, "right": 4, "judged": 4}]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("lower left", True),
        ("in the LOWER LEFT, near the edge", True),
        ("the lower left quadrant", True),
        ("lower-left", True),
        ("upper left", False),
        ("flower left", False),
        ("not the lower left", None),
        ("lower left or upper left", None),
        ("", False),
    ],
)
def test_the_rule_wants_the_reference_word_for_word_and_undenied(tmp_path, answer, rule):
    # Gold of sample 2 is "lower left", with the alias "the lower left quadrant".
    writer = RunWriter(tmp_path)
    writer.append_group(judged_rollouts.group(2, [(answer, "correct")]))
    viewer = viewing(tmp_path)
    (completion,) = viewer.group(1, "item-0002")["completions"]
    viewer.close()
    assert completion["rule_right"] is rule
    assert completion["disagree"] is (rule is False)
