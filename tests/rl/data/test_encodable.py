"""K8: every row is encoded, or provably encodable, before anything starts."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from rl.config import Config, DataConfig, GrpoConfig, ModelConfig, SftConfig
from rl.data.encodable import check_rows, room_hint
from rl.data.load import load
from rl.data.sets import BadRows, DataSplits, SftRow, refuse_bad_rows
from rl.doctor.data import check_taught, rows_fit
from rl.run.progress import Display
from rollouts.prompt import lengths
from rollouts.prompt.families import ImageSettings
from rollouts.prompt.messages import response
from rollouts.prompt.processing import encode, load_processor
from rollouts.records import Media, Sample
from tests.fakes.tiny_models import make_internvl, make_qwen25vl
from tests.rl.doctor.test_doctor import RUBRIC

CONFIG = Config(model=ModelConfig(max_model_len=512), grpo=GrpoConfig(max_completion_length=64))


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_processor(make_internvl(tmp_path_factory.mktemp("internvl")))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_processor(make_qwen25vl(tmp_path_factory.mktemp("qwen")))


def picture(width: int, height: int, form: str = "PNG") -> Media:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (width % 256, height % 256, 0)).save(buffer, format=form)
    return Media("image", data=buffer.getvalue())


def asked(name: str, question: str = "Is it there?", *media: Media) -> Sample:
    return Sample(name, question, "yes_no", "yes", media=media)


def many() -> list[Sample]:
    """Rows with no, one and three images of different sizes, and a volume."""
    volume = Media("volume", frames=tuple(picture(30, 40).data or b"" for _ in range(4)))
    sizes = [(56, 56), (1, 1), (27, 332), (300, 200), (1000, 30), (64, 48)]
    rows = [asked(f"one{i}", "Is it there? " * (i + 1), picture(*size)) for i, size in enumerate(sizes)]
    rows += [asked(f"none{i}", "Ist es gro\u00df? \u662f\u5426" * (i + 1)) for i in range(3)]
    rows += [asked(f"three{i}", "Which?", picture(9, 9), picture(90, 60), picture(60, 90)) for i in range(2)]
    return [*rows, asked("volume", "Which slice?", volume)]


@pytest.mark.parametrize("family", ["internvl", "qwen"])
def test_counted_lengths_are_those_of_whole_encodings(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = request.getfixturevalue(family)
    monkeypatch.setattr(lengths, "NUM_LONGEST", 1)
    measured = lengths.measure(processor, many())
    assert measured.lengths == [len(encode(processor, sample).token_ids) for sample in many()]
    assert measured.num_encoded < len(many()), "not every row was encoded for it"


def test_where_the_arithmetic_does_not_hold_every_row_is_encoded(qwen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = type(qwen.source)._get_num_multimodal_tokens
    wrong = lambda self, image_sizes: {"num_image_tokens": [1 + image_sizes[0][0] % 7]}  # noqa: E731
    monkeypatch.setattr(type(qwen.source), "_get_num_multimodal_tokens", wrong)
    measured = lengths.measure(qwen, many())
    assert measured.lengths == [len(encode(qwen, sample).token_ids) for sample in many()]
    assert measured.num_encoded == len(many()) and real is not wrong


def test_a_processor_without_arithmetic_is_measured_with_grey_pictures(
    qwen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(qwen.source), "_get_num_multimodal_tokens", None)
    monkeypatch.setattr(lengths, "NUM_LONGEST", 1)
    measured = lengths.measure(qwen, many())
    assert measured.lengths == [len(encode(qwen, sample).token_ids) for sample in many()]
    assert measured.num_encoded < len(many())


def test_what_the_processor_refuses_is_a_bad_row_with_id_and_reason(qwen: Any) -> None:
    rows = [*many(), asked("sliver", "Is it?", picture(1000, 2)), asked("marked", "Is <|image_pad|> it?")]
    splits = DataSplits([SftRow(rows[-2], response("Hm.", "yes"))], rows, many())
    checked = check_rows(qwen, splits, CONFIG)
    assert {row.id: row.reason.split(":")[0] for row in checked.bad_rows} == {
        "sliver": "the processor refuses an image of 1000 x 2 pixels",
        "marked": "the question contains ['<|image_pad|>'], which this model takes for media; remove them from the"
        " text",
    }
    assert [len(part) for part in (checked.splits.sft, checked.splits.rl, checked.splits.eval)] == [0, 12, 12]
    assert [row.id for row in checked.splits.bad_rows] == ["sliver", "marked"]
    with pytest.raises(ValueError, match="aspect ratio"):
        encode(qwen, rows[-2])


def test_a_prompt_too_long_in_tokens_is_told_with_the_length_that_would_do(qwen: Any) -> None:
    """300 characters of three bytes each among longer rows of one byte: a byte is a token here."""
    long = asked("zh", "\u662f" * 300)
    splits = DataSplits([], [*many(), asked("en", "a" * 400)], [long])
    config = dataclasses.replace(CONFIG, model=ModelConfig(max_model_len=640))
    checked = check_rows(qwen, splits, config)
    (row,) = checked.bad_rows
    length = len(encode(qwen, long).token_ids)
    assert row.id == "zh" and f"its prompt has {length} tokens" in row.reason
    assert room_hint(checked, config).startswith(f"model.max_model_len={length + 64} ")
    roomy = dataclasses.replace(config, model=ModelConfig(max_model_len=length + 64))
    assert check_rows(qwen, splits, roomy).bad_rows == () and not room_hint(checked, roomy)


def test_a_row_of_sft_is_too_long_with_its_own_tiles_and_its_response(tmp_path: Path) -> None:
    path = make_internvl(tmp_path)
    processor = load_processor(path)
    wide = asked("wide", "Is it there?", picture(280, 56))
    row = SftRow(wide, response("Hm.", "yes"))
    tiled = len(encode(load_processor(path, ImageSettings(max_tiles=6)), wide).token_ids)
    one = len(encode(processor, wide).token_ids)
    assert tiled >= one + 20
    # A byte is a token here; one more ends the turn.
    taught = len(row.response) + 1
    for tiles, room, told in (
        (
            6,
            tiled + taught - 1,
            f"have {tiled + taught} tokens of model.max_model_len={tiled + taught - 1}, images of up to 6",
        ),
        (6, tiled + taught, ""),
        (None, one + taught, ""),
        (None, one + taught - 1, f"its prompt and response have {one + taught} tokens"),
    ):
        config = Config(
            model=ModelConfig(path=str(path), max_model_len=room),
            grpo=GrpoConfig(max_completion_length=8),
            sft=SftConfig(enabled=True, max_tiles=tiles),
        )
        checked = check_rows(processor, DataSplits([row], [], []), config)
        assert [told in bad.reason for bad in checked.bad_rows] == ([True] if told else []), (tiles, room)
    kept = dataclasses.replace(config, sft=SftConfig(enabled=True, checkpoint="a/model"))
    assert check_rows(processor, DataSplits([row], [], []), kept).bad_rows == (), "nothing is taught"


def test_half_a_surrogate_pair_is_found_among_the_texts_of_a_batch(qwen: Any) -> None:
    assert all(isinstance(one, int) for one in lengths._text_lengths(qwen, ["a", "bc", "d"]))
    found = lengths._text_lengths(qwen, ["a", "b\ud83d", "cde"])
    assert (found[0], found[2]) == (1, 3) and "the tokenizer refuses its text" in str(found[1])


def test_the_doctor_tells_such_rows_and_skips_them_on_request(qwen: Any) -> None:
    bad = asked("sliver", "Is it?", picture(1000, 2))
    splits = DataSplits([], [*many(), bad], many())
    finding = rows_fit(qwen, splits, CONFIG).finding
    assert not finding.good and "1 rows cannot be asked: sliver: the processor refuses" in finding.text
    assert "data.on_bad_row=skip" in finding.fix
    skipping = dataclasses.replace(CONFIG, data=DataConfig(on_bad_row="skip"))
    kept = rows_fit(qwen, splits, skipping)
    assert kept.finding.good and bad not in kept.splits.rl
    nothing = rows_fit(qwen, DataSplits([], [bad], [bad]), skipping).splits
    assert (nothing.rl, nothing.eval) == ([], []), "which check_data refuses"
    assert rows_fit(qwen, DataSplits([], many(), many()), CONFIG).finding.text.startswith("all 24 rows can be encoded")


def test_unasked_rows_stop_a_run_with_their_ids(qwen: Any, tmp_path: Path) -> None:
    splits = DataSplits([], [*many(), asked("sliver", "Is it?", picture(1000, 2))], many())
    checked = check_rows(qwen, splits, CONFIG)
    data = DataConfig(name="jsonl", root=str(tmp_path / "rows.jsonl"))
    with pytest.raises(BadRows, match=r"sliver +the processor refuses an image of 1000 x 2 pixels"):
        refuse_bad_rows(data, checked.bad_rows, "a hint")
    written = [json.loads(line) for line in (tmp_path / "bad_rows.jsonl").read_text().splitlines()]
    assert [(one["line"], one["id"]) for one in written] == [(None, "sliver")]
    refuse_bad_rows(dataclasses.replace(data, on_bad_row="skip"), checked.bad_rows)


def test_a_bar_appears_only_where_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, shown in ((3600.0, ""), (-1.0, "look 3/3")):
        monkeypatch.setattr("rl.run.progress._SECONDS_BEFORE_A_BAR", seconds)
        output = io.StringIO()
        with Display(output) as display, display.late_bar("look", 3) as advance:
            for _ in range(3):
                advance(1)
        assert (shown in output.getvalue()) and bool(output.getvalue()) == bool(shown)


def test_a_late_bar_tells_the_time_since_the_work_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(100.0, 30.0)  # each look at the clock is half a minute after the one before
    monkeypatch.setattr("rl.run.progress.time", SimpleNamespace(monotonic=lambda: next(now)))
    output = io.StringIO()
    with Display(output) as display, display.late_bar("look", 3) as advance:
        advance(1)
        advance(1)
    # Begun at 100; shown first at 160, with one of three parts done.
    assert output.getvalue().splitlines() == [
        "look 1/3  [1 min 00 s, 2 min 00 s left]",
        "look 2/3  [1 min 30 s, 45.0 s left]",
    ]


def test_the_doctor_reads_what_sft_teaches_as_the_format_reward_does() -> None:
    good, bad = (
        SftRow(asked(name), response(think, "yes")) for name, think in (("a", "Hm."), ("b", "<think>Hm.</think>"))
    )
    assert check_taught(RUBRIC, [good])[0].good and check_taught(RUBRIC, []) == []
    (finding,) = check_taught(RUBRIC, [good, bad])
    assert not finding.good and finding.text.startswith("1 of 2 SFT responses") and "b: <think><think>" in finding.fix


def test_embedded_data_is_whole() -> None:
    data = DataConfig(num_sft=8, num_rl=8, num_eval=8)
    assert load(data).bad_rows == []
