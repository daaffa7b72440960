"""The embedded data: the same from a seed, split by image, balanced, and worded so that a side is never ambiguous."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest

from rl.config import DataConfig
from rl.data import sets
from rl.data.load import load
from rl.data.phantoms import questions as phantoms
from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS, NUM_SLICES, SIZE, draw
from rollouts.records import LETTERS, to_dict

pytestmark = pytest.mark.full_run_only(reason="draws thousands of images")
SMALL = DataConfig(num_sft=96, num_rl=64, num_eval=96)


@cache
def standard() -> sets.DataSplits:
    return phantoms.load(DataConfig())


def images(samples):
    return {media.sha256 for sample in samples for media in sample.media}


def test_a_seed_gives_the_same_questions_responses_and_images():
    first, again = phantoms.load(SMALL), phantoms.load(SMALL)
    assert [(to_dict(row.sample), row.response) for row in first.sft] == [
        (to_dict(row.sample), row.response) for row in again.sft
    ]
    assert first.eval == again.eval and first.rl == again.rl
    other = phantoms.load(DataConfig(num_sft=96, num_rl=64, num_eval=96, seed=1))
    assert not images(first.eval) & images(other.eval)


def test_no_image_is_in_two_splits_and_ids_are_unique():
    data = standard()
    parts = [images([row.sample for row in data.sft]), images(data.rl), images(data.eval)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    ids = [row.sample.id for row in data.sft] + [sample.id for sample in data.rl + data.eval]
    assert len(set(ids)) == len(ids)


def test_an_image_gives_one_or_two_different_questions():
    per_image = Counter(sample.media[0].sha256 for sample in standard().eval)
    assert set(per_image.values()) == {1, 2}
    asked = Counter((sample.media[0].sha256, sample.question) for sample in standard().eval)
    assert max(asked.values()) == 1


def test_held_out_items_cover_modalities_and_answer_types():
    held_out = standard().eval
    assert len(held_out) == 640
    by_modality = Counter(sample.modality for sample in held_out)
    assert set(by_modality) == set(FINDINGS) and min(by_modality.values()) >= 100
    shares = {kind: count / 640 for kind, count in Counter(sample.answer_type for sample in held_out).items()}
    assert shares == {
        "mcq": pytest.approx(0.45, abs=0.04),
        "open": pytest.approx(0.30, abs=0.04),
        "yes_no": pytest.approx(0.25, abs=0.04),
    }


def test_yes_and_no_are_balanced():
    golds = Counter(row.sample.gold_text for row in standard().sft if row.sample.answer_type == "yes_no")
    # About 1,000 fair coins: 3 standard deviations are 0.047.
    assert golds["yes"] / sum(golds.values()) == pytest.approx(0.5, abs=0.05)


def test_every_letter_is_equally_often_right_among_as_many_options():
    asked = [sample for sample in standard().rl if sample.answer_type == "mcq"]
    for num_options in (2, 3, 4):
        letters = Counter(sample.gold_letters[0] for sample in asked if len(sample.options) == num_options)
        total = sum(letters.values())
        # Three standard deviations of a share 1/k over `total` draws.
        slack = 3 * np.sqrt((1 / num_options) * (1 - 1 / num_options) / total)
        assert total > 100 and set(letters) == set(LETTERS[:num_options])
        assert all(abs(count / total - 1 / num_options) < slack for count in letters.values())


def test_gold_letter_and_gold_text_agree_and_distractors_are_other_labels():
    for sample in standard().rl:
        pool = (
            phantoms.choices(sample.tags["kind"], sample.modality) if sample.answer_type != "yes_no" else ("yes", "no")
        )
        assert sample.gold_text in pool
        if sample.options is not None:
            assert sample.options[LETTERS.index(sample.gold_letters[0])] == sample.gold_text
            assert set(sample.options) <= set(pool)


def test_mask_to_words_by_hand():
    mask = np.zeros((4, 6), bool)
    # Rows 0..3, columns 0..5: the centre is row 1.5, column 2.5. One pixel at row 0, column 5 is above and to the
    # right.
    mask[0, 5] = True
    assert words.image_place(mask) == "upper right of the image"
    assert words.patient_side(mask) == "patient's left"
    # Adding row 3, columns 0, 0 and 1 moves the centroid to row (0+3+3+3)/4 = 2.25, column (5+0+1+2)/4 = 2.0: below and
    # to the left.
    mask[3, 0:3] = True
    assert words.image_place(mask) == "lower left of the image"
    assert words.patient_side(mask) == "patient's right"


def test_a_mask_without_a_side_is_refused():
    centred = np.zeros((4, 6), bool)
    centred[1:3, 2:4] = True
    with pytest.raises(ValueError, match="axis"):
        words.image_place(centred)
    with pytest.raises(ValueError, match="midline"):
        words.patient_side(centred)
    with pytest.raises(ValueError, match="empty"):
        words.image_place(np.zeros((4, 6), bool))


def test_the_largest_slice_is_counted_from_one():
    masks = np.zeros((3, 4, 4), bool)
    masks[0, 0, 0], masks[1, :2, :2] = True, True
    # 1, 4 and 0 pixels.
    assert words.largest_slice(masks) == "slice 2"


def test_a_side_is_always_said_to_be_the_images_or_the_patients():
    places, sides = set(words.IMAGE_PLACES), set(words.PATIENT_SIDES)
    for sample in [*standard().rl, *standard().eval]:
        if sample.tags["kind"] == "place":
            assert "image" in sample.question and sample.gold_text in places
            assert "patient" not in sample.question
        elif sample.tags["kind"] == "side":
            assert "patient" in sample.question and "image" not in sample.question and sample.gold_text in sides
            assert sample.modality in words.FACING_PATIENT
        else:
            assert "left" not in sample.question and "right" not in sample.question
    # A bare "left" means neither.
    assert not any(alias in ("left", "right") for answer in places | sides for alias in words.aliases(answer))


def test_image_right_is_the_patients_left_in_every_description():
    seen = [sample.visual_references[0] for sample in standard().eval if "patient's" in sample.visual_references[0]]
    assert len(seen) > 100
    for text in seen:
        assert ("right of the image" in text) == ("patient's left" in text)


def test_no_wording_means_two_answers_of_one_question():
    for kind in ("finding", "place", "side", "slice"):
        for modality in FINDINGS:
            wordings = [
                wording for answer in phantoms.choices(kind, modality) for wording in (answer, *words.aliases(answer))
            ]
            assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize("modality", FINDINGS)
def test_a_finding_changes_the_image_where_its_mask_is(modality):
    for finding in FINDINGS[modality]:
        phantom = draw(modality, finding, 3)
        assert (
            phantom.frames.shape == (NUM_SLICES if modality == "CT" else 1, SIZE, SIZE, 3)
            and phantom.frames.dtype == np.uint8
        )
        assert phantom.masks.any() == (finding != "normal")
        if finding != "normal":
            # The same seed without the finding would draw other noise, so the rim around the mask is what it is
            # compared with.
            around = np.roll(phantom.masks, 6, axis=2) | np.roll(phantom.masks, -6, axis=2) & ~phantom.masks
            inside, outside = phantom.frames[phantom.masks], phantom.frames[around & ~phantom.masks]
            assert np.abs(inside.mean(0) - outside.mean(0)).max() > 10


def test_a_computed_tomography_is_an_ordered_volume():
    volumes = [sample.media[0] for sample in standard().eval if sample.modality == "CT"]
    assert all(
        media.kind == "volume" and len(media.frames) == NUM_SLICES and media.frame_indices == (0, 1, 2)
        for media in volumes
    )


def test_an_unknown_finding_is_refused():
    with pytest.raises(ValueError, match="dermoscopy has no finding 'cyst'"):
        draw("dermoscopy", "cyst", 0)


def test_the_corpus_holds_the_stated_share_of_rows_that_do_not_look():
    for fraction in (0.0, 0.6):
        rows = phantoms.load(DataConfig(num_sft=1000, num_rl=10, num_eval=10, shortcut_fraction=fraction)).sft
        shortcuts = sum(any(thought in row.response for thought in words.SHORTCUT_THOUGHTS) for row in rows)
        # 1,000 rows: 3 standard deviations are below 0.047; at 0 there is none at all.
        assert shortcuts / 1000 == pytest.approx(fraction, abs=0.05 if fraction else 0)


def test_looking_rows_are_right_and_name_what_is_seen():
    rows = phantoms.load(DataConfig(num_sft=300, num_rl=10, num_eval=10, shortcut_fraction=0.0)).sft
    for row in rows:
        assert row.sample.visual_references[0] in row.response
        letter = f"{row.sample.gold_letters[0]}. " if row.sample.gold_letters else ""
        assert row.response.endswith(f"<answer>{letter}{row.sample.gold_text}</answer>")


def pool(sample):
    """The answers that a question leaves open to somebody who has not seen the image."""
    if sample.answer_type == "yes_no":
        return ("yes", "no")
    return sample.options or phantoms.choices(sample.tags["kind"], sample.modality)


def facts_told(sample):
    """What modality, kind and question tell of the image; the wording does not matter, what is asked for does."""
    asked = next((f for f in sorted(FINDINGS[sample.modality], key=len)[::-1] if f in sample.question), "normal")
    named = asked if sample.answer_type == "yes_no" or sample.tags["kind"] == "place" else ""
    return sample.modality, sample.tags["kind"], named


def test_who_has_not_seen_the_image_is_right_by_chance_whatever_is_known_of_other_answers():
    """The best blind policy: of the answers that are open it gives the one that was right most often in training where
    modality, kind and question told the same."""
    counts = {}
    for row in standard().sft:
        counts.setdefault(facts_told(row.sample), Counter())[row.sample.gold_text] += 1
    blind, chance = [], []
    for sample in [*standard().eval, *standard().rl]:
        known = counts.get(facts_told(sample), Counter())
        blind.append(max(pool(sample), key=lambda answer: known[answer]) == sample.gold_text)
        chance.append(1 / len(pool(sample)))
    # 2,890 questions: 2 points are 2.2 standard deviations. Before, "normal" was twice as frequent as any finding and a
    # place followed from some findings: 6 points above chance.
    assert len(blind) > 2800 and abs(np.mean(blind) - np.mean(chance)) < 0.02


def test_every_finding_is_asked_for_alike_and_as_often_in_vain():
    samples = [row.sample for row in standard().sft] + standard().rl
    for modality, findings in FINDINGS.items():
        golds = Counter(one.gold_text for one in samples if one.modality == modality and one.tags["kind"] == "finding")
        for finding in findings:
            share = golds[finding] / sum(golds.values())
            # About 900 questions a modality: 3 standard deviations of 1/5 or 1/4 are below 0.045.
            assert share == pytest.approx(1 / len(findings), abs=0.045), (modality, finding)
        rng = np.random.default_rng(0)
        shown = [phantoms.draw_finding(modality, rng) for _ in range(20_000)]
        absent = Counter(phantoms.draw_absent(modality, finding, rng) for finding in shown)
        there = Counter(shown)
        # As often asked for in vain as it is there, so that yes is as likely as no whatever is asked for.
        assert all(absent[one] / there[one] == pytest.approx(1, abs=0.1) for one in findings)


def test_shortcut_answers_are_always_an_answer_and_right_by_chance():
    guesses = [row for row in standard().sft if any(thought in row.response for thought in words.SHORTCUT_THOUGHTS)]
    right, chance = [], []
    for row in guesses:
        said = row.response.rpartition("<answer>")[2].removesuffix("</answer>")
        letters = dict(zip(row.sample.letters, row.sample.options or (), strict=True))
        text = letters.get(said, said) if row.sample.answer_type == "mcq" else said
        assert text in pool(row.sample)
        right.append(text == row.sample.gold_text)
        chance.append(1 / len(pool(row.sample)))
    # About 2,450 guesses: 3 standard deviations are 0.03.
    assert len(right) > 2200 and abs(np.mean(right) - np.mean(chance)) < 0.03


def test_the_one_door_draws_the_rl_set_from_the_pool():
    data = load(SMALL)
    assert len(data.rl) == 64 and not data.bad_rows
    assert sum(sample.answer_type == "yes_no" for sample in data.rl) <= 0.05 * 64
