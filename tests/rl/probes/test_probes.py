"""Probes: what each changes, what it leaves alone, whom it refuses, and that the same arguments give the same items."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from rewards.rubric import make_rubric
from rl.config import RewardConfig
from rl.probes import table
from rl.probes.corruptions import DAMAGE, corrupted
from rl.probes.options import is_catch_all, orders
from rl.probes.probe import PROBE, VARIANT, ProbeImpossible
from rollouts.media import frames, with_hash
from rollouts.prompt.messages import question_text
from rollouts.records import Media, Sample


def png(shade: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A bright square in the upper left of a ground of one shade."""
    picture = np.full((size[1], size[0], 3), shade, np.uint8)
    picture[2:10, 2:10] = 250
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def image(shade: int) -> Media:
    return with_hash(Media(kind="image", data=png(shade)))


def mcq(name: str, options: tuple[str, ...] = ("cyst", "mass", "stone"), gold: str = "B", **more) -> Sample:
    place = "ABCDEFG".index(gold)
    fields = {"question": "What is it?", "media": (image(60),), "modality": "ultrasound", "source": "made up", **more}
    return Sample(
        id=name, answer_type="mcq", gold_text=options[place], options=options, gold_letters=(gold,), **fields
    )  # fmt: skip


def made(name: str, *samples: Sample, seed: int = 0) -> list[Sample]:
    return [one for probed in table.make([name], samples, seed) for one in probed.samples]


def test_every_probe_names_its_pair_itself_and_its_variant_and_repeats_itself() -> None:
    samples = [mcq("a"), mcq("b", gold="C", media=(image(90),))]
    assert len(table.PROBES) == 3 + 2 + 10 + 7 + 2
    for name in table.PROBES:
        (probed,) = table.make([name], samples)
        assert {one.pair_id for one in probed.samples} == {"a", "b"}, name
        assert all(one.tags[PROBE] == name for one in probed.samples)
        ids = [one.id for one in probed.samples]
        assert len({*ids, "a", "b"}) == len(ids) + 2
        assert len({(one.pair_id, one.tags[VARIANT]) for one in probed.samples}) == len(ids)
        assert table.make([name], samples)[0].samples == probed.samples


def test_what_is_not_probed_stays() -> None:
    plain = mcq("a")
    pictures = {name for name in table.PROBES if name in (*DAMAGE, "blank")}
    for name in pictures:
        for one in made(name, plain):
            same = dataclasses.replace(one, id="a", pair_id=None, tags={}, media=plain.media)
            assert same == plain, name
            assert [frame.size for frame in frames(one.media[0])] == [(40, 30)]
            assert one.media[0].sha256 != plain.media[0].sha256, name


def test_blank_shows_grey_only_and_text_only_shows_nothing() -> None:
    (blanked,) = made("blank", mcq("a"))
    assert set(np.asarray(frames(blanked.media[0])[0]).ravel().tolist()) == {128}
    (alone,) = made("text_only", mcq("a"))
    assert alone.media == ()


def test_swapped_takes_an_image_of_another_answer_and_of_the_same_kind() -> None:
    plain = mcq("a")
    others = [
        mcq("same answer", media=(image(10),)),
        mcq("other modality", gold="C", media=(image(20),), modality="CT"),
        mcq("same image", gold="C"),
        mcq("good", gold="C", media=(image(30),)),
    ]
    swapped = {one.pair_id: one for one in made("swapped", plain, *others)}
    assert swapped["a"].media == others[3].media
    assert (swapped["a"].gold_letters, swapped["a"].options) == (plain.gold_letters, plain.options)
    # Another question's image may show the same thing; that of the same question with another answer may not.
    asked_else = mcq("asked else", gold="A", media=(image(40),), question="What is it not?")
    for seed in range(5):
        chosen = {one.pair_id: one for one in made("swapped", plain, *others, asked_else, seed=seed)}
        assert chosen["a"].media == others[3].media


def test_every_item_of_a_large_set_gets_an_image_of_another_answer() -> None:
    items = [
        mcq(f"{number}", gold="ABC"[number % 3], media=(image(number),), question=f"What is it, {number % 7}?")
        for number in range(210)
    ]
    by_id = {one.id: one for one in items}
    answers = {one.media: one.gold_letters for one in items if one.question.endswith("0?")}
    swapped = made("swapped", *items)
    assert len(swapped) == 210
    for one in swapped:
        own = by_id[one.pair_id or ""]
        assert one.media != own.media
        if own.question.endswith("0?"):
            assert answers[one.media] != own.gold_letters, "an image that was asked the same"
    assert len({one.media for one in swapped}) > 20, "not one image for all"


def test_an_item_without_a_partner_is_left_out_and_a_set_without_any_is_refused() -> None:
    with pytest.raises(ProbeImpossible, match=r"swapped .* 2 x nothing in this set"):
        table.make(["swapped"], [mcq("a"), mcq("b", media=(image(5),))])
    (probed,) = table.make(["swapped"], [mcq("a"), mcq("b", gold="C", media=(image(5),)), mcq("c", modality="CT")])
    assert {one.pair_id for one in probed.samples} == {"a", "b"}
    assert probed.left_out == {"nothing in this set to change it by": 1}


def test_shuffled_options_keep_the_gold_text_and_never_their_own_order() -> None:
    plain = mcq("a", ("cyst", "mass", "stone", "None of the above"), gold="C")
    shuffled = made("option_shuffle", plain)
    assert len(shuffled) == 4 and len({one.options for one in shuffled}) == 4
    for one in shuffled:
        assert one.options != plain.options and set(one.options) == set(plain.options)
        assert one.options[-1] == "None of the above"
        (letter,) = one.gold_letters
        assert one.options["ABCD".index(letter)] == "stone" == one.gold_text
    # Two options have one other order, three have five.
    assert orders(mcq("b", ("left", "right")), 0) == [(1, 0)]
    assert len(orders(mcq("c"), 0, count=9)) == 5


@pytest.mark.parametrize(
    "text", ["All of the above", "none of these.", "None of the above findings", "以上都不是", "Neither of the above"]
)
def test_options_that_speak_of_all_others_are_known(text: str) -> None:
    assert is_catch_all(text)


@pytest.mark.parametrize("text", ["All lobes", "None", "nodule above the hilum", "Bone of the arm", "Any fracture"])
def test_options_that_only_look_like_it_move(text: str) -> None:
    assert is_catch_all(text) == (text == "None")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("cyst", "mass", "Both A and B"), "names others by letter"),
        (("cyst", "mass", "A or B"), "names others by letter"),
        (("A", "B", "C"), "bare letter"),
        (("cyst", "All of the above"), "fewer than two options"),
    ],
)
def test_rows_whose_options_name_letters_are_left_out(options: tuple[str, ...], why: str) -> None:
    with pytest.raises(ProbeImpossible, match=why):
        table.make(["option_shuffle"], [mcq("a", options, gold="A")])


def test_options_that_merely_hold_a_capital_are_shuffled() -> None:
    names = ("Hepatitis A and liver failure", "vitamin C", "T cell lymphoma", "Type A dissection")
    assert len(made("option_shuffle", mcq("a", names))) == 4


def test_a_list_of_options_inside_the_question_goes_with_the_old_order() -> None:
    stem = "What is shown in the figure?"
    plain = mcq("a", question=f"{stem}\nAnswer Choices: (A) cyst (B) mass (C) stone")
    assert {one.question for one in made("option_shuffle", plain)} == {stem}


def test_relabelled_options_stand_in_the_question_and_no_letter_is_left() -> None:
    digits, roman = made("relabel", mcq("a"))
    assert question_text(digits).splitlines()[1:5] == [
        "Answer with the number of the option.", "1. cyst", "2. mass", "3. stone"
    ]  # fmt: skip
    assert question_text(roman).splitlines()[2:5] == ["I. cyst", "II. mass", "III. stone"]
    assert (digits.answer_type, digits.gold_letters, digits.options) == ("mcq", ("B",), ("cyst", "mass", "stone"))
    with pytest.raises(ProbeImpossible, match="reads like one of the new labels"):
        table.make(["relabel"], [mcq("a", ("2", "4", "8"))])


@pytest.mark.parametrize(
    ("number", "said", "letters"),
    [
        (0, "2", "B"), (0, "(2)", "B"), (0, "2. mass", "B"), (0, "The answer is 2.", "B"), (0, "option 3", "C"),
        (0, "mass", "B"), (0, "2 cm", ""), (0, "4", ""),
        (1, "II", "B"), (1, "iii.", "C"), (1, "I", "A"), (1, "I think it is the mass", "B"), (1, "II: mass", "B"),
    ],
)  # fmt: skip
def test_an_answer_by_another_label_is_read_as_its_letter(number: int, said: str, letters: str) -> None:
    """The plain item and its relabelled ones go through one reader, so that their difference is that of the labels."""
    item = made("relabel", mcq("a"))[number]
    rubric = make_rubric(RewardConfig(routes={"mcq": "option_match"}), None)
    found = rubric.parse(item, f"<think>2 of 3</think>\n<answer>{said}</answer>")
    assert "".join(found.letters) == letters


def test_corruptions_grow_with_their_severity_and_know_the_image_only() -> None:
    picture = image(60)
    clean = np.asarray(frames(picture)[0], float)
    for kind in DAMAGE:
        damaged = [np.asarray(frames(corrupted(picture, kind, severity))[0], float) for severity in (1, 2, 3)]
        errors = [float(np.abs(one - clean).mean()) for one in damaged]
        assert 0 < errors[0] < errors[2], (kind, errors)
        assert corrupted(picture, kind, 2) == corrupted(image(60), kind, 2)
        # The bright square stays on the side where it was: nothing is mirrored.
        for one in damaged:
            assert one[:15, :20].mean() > one[:15, 20:].mean() + 3, kind


def test_frames_of_a_volume_are_damaged_alike_and_stay_in_order() -> None:
    volume = with_hash(Media(kind="volume", frames=(png(20), png(60), png(100)), frame_indices=(3, 5, 9)))
    for kind in DAMAGE:
        made_of = corrupted(volume, kind, 1)
        assert (made_of.kind, made_of.frame_indices, len(made_of.frames)) == ("volume", (3, 5, 9), 3)
        shades = [np.asarray(one)[20:, 20:].mean() for one in frames(made_of)]
        assert shades == sorted(shades)


def test_a_corruption_that_moves_things_is_refused_where_there_are_boxes() -> None:
    boxed = dataclasses.replace(mcq("a"), boxes=((1.0, 1.0, 9.0, 9.0),))
    for kind in ("rotation", "crop"):
        with pytest.raises(ProbeImpossible, match="boxes would lie elsewhere"):
            table.make([kind], [boxed])
    assert len(made("noise", boxed)) == 3


def test_a_sentence_names_a_wrong_answer_and_sentences_never_pile_up() -> None:
    plain = mcq("a", ("cyst.", "mass", "stone"))
    by_kind = [made(name, plain)[0] for name in table.FAMILIES["bias"]]
    named = {word for one in by_kind for word in ("cyst", "mass", "stone") if word in one.question.split("\n")[0]}
    assert len(named) == 1 and named <= {"cyst", "stone"}
    assert all(one.question.split("\n")[1] == plain.question and one.question.count("\n") == 1 for one in by_kind)
    assert len({one.question for one in by_kind}) == 7
    with pytest.raises(ProbeImpossible, match="never of each other"):
        table.make(["bias_recency"], [by_kind[0]])
    # Which wrong answer is named depends on the item's id: over 40 items both are.
    asked = [made("bias_recency", mcq(f"item {number}"))[0].question for number in range(40)]
    assert any("cyst" in one for one in asked) and any("stone" in one for one in asked)
    yes = Sample(id="y", question="Is it there?", answer_type="yes_no", gold_text="yes")
    assert "that it is no" not in yes.question and "be no" in made("bias_recency", yes)[0].question


def test_a_name_that_is_no_probe_is_told_with_the_nearest() -> None:
    with pytest.raises(ProbeImpossible, match=r"no probe named 'swaped'.*swapped"):
        table.named(["swaped"])
    assert [one.name for one in table.named(["corruptions", "noise"])] == list(DAMAGE)


def test_items_without_images_or_options_are_told() -> None:
    text = Sample(id="t", question="What is it?", answer_type="open", gold_text="a cyst")
    with pytest.raises(ProbeImpossible, match=r"blank needs items with images.*1 x it has no image"):
        table.make(["blank"], [text])
    with pytest.raises(ProbeImpossible, match="it is no multiple choice"):
        table.make(["option_shuffle"], [text])
    assert [one.tags[VARIANT] for one in made("thinking", text)] == ["on", "off"]
    assert len(made("prompts", text)) == 3
