"""The paper's RL set: seeded subset, a share of multiple choice asked open, few yes/no items."""

from __future__ import annotations

import pytest

from rl.data.curate import ask_open, by_difficulty, max_yes_no, rl_set
from rollouts.prompt.messages import question_text
from rollouts.records import Sample


def pool(num_mcq: int, num_open: int, num_yes_no: int) -> list[Sample]:
    mcq = [Sample(f"m{i}", "Which?", "mcq", "u", options=("u", "v"), gold_letters=("A",)) for i in range(num_mcq)]
    opened = [Sample(f"o{i}", "What?", "open", "w") for i in range(num_open)]
    return mcq + opened + [Sample(f"y{i}", "Is it?", "yes_no", "no") for i in range(num_yes_no)]


def draw(samples: list[Sample], **settings: object) -> list[Sample]:
    chosen = {"num_rl": None, "open_fraction": 0.0, "max_yes_no_fraction": 0.05, "seed": 0, **settings}
    return rl_set(samples, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(("num_others", "kept"), [(0, 0), (18, 0), (19, 1), (95, 5), (114, 6), (1000, 52)])
def test_yes_no_limit_is_the_papers_share_of_the_final_set(num_others: int, kept: int) -> None:
    """floor(0.05 * M / 0.95): 19 others allow 1 of 20, 95 allow 5 of 100, 1,000 allow 52 of 1,052."""
    assert max_yes_no(num_others, 0.05) == kept


def graded(*difficulties: float | None) -> list[Sample]:
    return [Sample(f"q{i}", "What?", "open", "w", difficulty=value) for i, value in enumerate(difficulties)]


def test_without_bounds_every_sample_stays_whatever_its_difficulty() -> None:
    samples = graded(0.0, None, 1.0)
    assert by_difficulty(samples, None, None) == (samples, {})


def test_bounds_keep_both_ends_and_count_what_they_take_away() -> None:
    kept, notes = by_difficulty(graded(0.0, 0.1, 0.5, 0.9, 1.0, 0.95, None), 0.1, 0.9)
    assert [sample.difficulty for sample in kept] == [0.1, 0.5, 0.9]
    assert notes == {
        "not in the RL set: easier than data.min_difficulty": 1,
        "not in the RL set: harder than data.max_difficulty": 2,
        "not in the RL set: without a difficulty, which the bounds need": 1,
    }
    assert [sample.difficulty for sample in by_difficulty(graded(0.0, 0.5, None), None, 0.2)[0]] == [0.0]


def test_bounds_that_cannot_choose_are_an_error() -> None:
    with pytest.raises(ValueError, match="no training row has a difficulty"):
        by_difficulty(graded(None, None), 0.1, None)
    with pytest.raises(ValueError, match=r"none of 2 training rows .* they go from 0 to 0\.2"):
        by_difficulty(graded(0.0, 0.2, None), 0.5, 0.9)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 0.5])
@pytest.mark.parametrize("num_rl", [None, 10, 100, 150, 400])
def test_the_share_of_yes_no_is_never_exceeded_and_the_size_is_what_is_possible(
    fraction: float, num_rl: int | None
) -> None:
    drawn = draw(pool(60, 40, 100), num_rl=num_rl, max_yes_no_fraction=fraction)
    num_yes_no = sum(sample.answer_type == "yes_no" for sample in drawn)
    assert num_yes_no <= fraction * len(drawn) + 1e-9
    # without a limit on the size: all 100 others, and beside them floor(f * 100 / (1 - f)), of the 100 there are
    possible = 100 + {0.0: 0, 0.05: 5, 0.3: 42, 0.5: 100}[fraction]
    assert len(drawn) == min(possible, num_rl or possible)


def test_items_asked_open_keep_options_and_letter_and_do_not_show_them() -> None:
    original = pool(1, 0, 0)[0]
    opened = ask_open(original)
    assert (opened.answer_type, opened.options, opened.gold_letters, opened.gold_text) == (
        "open",
        ("u", "v"),
        ("A",),
        "u",
    )
    assert question_text(original) == "Which?\nA. u\nB. v"
    assert question_text(opened) == "Which?"


def test_about_the_share_asked_for_is_opened_and_only_of_multiple_choice() -> None:
    drawn = draw(pool(1000, 200, 0), open_fraction=0.25)
    num_opened = sum(sample.answer_type == "open" and sample.options is not None for sample in drawn)
    assert 200 < num_opened < 300  # 250 with a standard deviation of 13.7
    assert sum(sample.answer_type == "open" and sample.options is None for sample in drawn) == 200
    assert all(sample.options for sample in draw(pool(50, 0, 0), open_fraction=1.0))


def test_the_draw_depends_on_seed_and_ids_only() -> None:
    samples = pool(50, 50, 50)
    first = draw(samples, num_rl=40, open_fraction=0.5)
    assert draw(samples[::-1], num_rl=40, open_fraction=0.5) == first
    assert draw(samples, num_rl=40, open_fraction=0.5, seed=1) != first


def test_only_yes_no_questions_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="all 5 training samples are yes/no"):
        draw(pool(0, 0, 5))


@pytest.mark.parametrize(
    "settings", [{"open_fraction": 1.5}, {"max_yes_no_fraction": 1.0}, {"max_yes_no_fraction": -0.1}]
)
def test_shares_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        draw(pool(3, 3, 3), **settings)
