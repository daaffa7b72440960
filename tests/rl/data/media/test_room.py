"""The room for frames in a context window is what the model's own processor would fill it with."""

from __future__ import annotations

import dataclasses

from PIL import Image

from rl.config import Config, DataConfig, MediaConfig
from rl.data.media.labels import frame_labels
from rl.data.media.room import frame_room
from rl.data.sets import DataSplits
from rl.data.sizes import images_of
from rl.doctor.data import check_template
from rollouts.prompt.processing import encode, load_processor
from rollouts.records import Media, Sample
from tests.fakes import fake_rollouts


def asked(num_frames: int, question: str, *, labelled: bool) -> Sample:
    png = fake_rollouts.encoded(Image.new("RGB", (40, 30)), "PNG")
    media = Media(
        "volume", frames=(png,) * num_frames, frame_indices=tuple(range(num_frames)), provenance={"source_frames": 99}
    )
    media = dataclasses.replace(media, labels=frame_labels(media, "en")) if labelled else media
    return Sample("q", question, "open", "there", media=(media,))


def test_as_many_frames_as_the_room_holds_fit_and_one_more_does_not() -> None:
    config = Config()
    processor = load_processor(config.model.path, images_of(config.model))
    room = frame_room(config, ["Where?", "Which finding is seen in this picture of the chest?"])
    fitting = room.tokens // room.per_frame
    longest = config.model.max_model_len - config.grpo.max_completion_length
    lengths = [
        len(
            encode(
                processor, asked(count, "Which finding is seen in this picture of the chest?", labelled=False)
            ).token_ids
        )
        for count in (fitting, fitting + 1)
    ]
    assert lengths[0] <= longest < lengths[1]
    assert frame_room(_with(max_tokens=100), ["Where?"]).tokens == 100


def test_labels_are_counted_and_stand_between_the_frames() -> None:
    config = _with(frame_labels=True)
    processor = load_processor(config.model.path, images_of(config.model))
    room = frame_room(config, ["Where?"])
    fitting = room.tokens // room.per_frame
    assert fitting < frame_room(Config(), ["Where?"]).tokens // frame_room(Config(), ["Where?"]).per_frame
    sample = asked(fitting, "Where?", labelled=True)
    longest = config.model.max_model_len - config.grpo.max_completion_length
    assert len(encode(processor, sample).token_ids) <= longest
    findings = check_template(processor, DataSplits(sft=[], rl=[sample], eval=[]), config)
    assert [one.good for one in findings if "label before it: Slice 1 of 99:" in one.text] == [True]


def _with(**media: object) -> Config:
    return dataclasses.replace(Config(), data=DataConfig(media=MediaConfig(**media)))  # type: ignore[arg-type]
