"""What a prompt of a run has for its frames: the context window without completion and text, over the tokens of one
frame as the model's own processor counts them."""

from __future__ import annotations

from collections.abc import Sequence

from rl.config import Config
from rl.data.media.budget import FrameRoom
from rl.data.sizes import images_of
from rollouts.prompt.lengths import added_by_image, text_length
from rollouts.prompt.processing import load_processor
from rollouts.records import BadSample

# Side of a frame in pixels where `data.media.longest_side` sets none: that of a slice of CT. Only families that take
# images of any size count by it.
USUAL_SIDE = 512
# As long as a label of a frame gets.
_LABEL = "Slice 1000 of 1000:"


def frame_room(config: Config, questions: Sequence[str]) -> FrameRoom:
    """What is left beside the longest of these questions.

    Raises:
        BadSample: the processor takes no image of that size. And what `load_processor` raises.
    """
    processor = load_processor(config.sft.checkpoint or config.model.path, images_of(config.model))
    side = config.data.media.longest_side or USUAL_SIDE
    per_frame = _number(added_by_image(processor, (side, side)))
    if config.data.media.frame_labels:
        per_frame += _number(text_length(processor, f"{_LABEL}?")) - _number(text_length(processor, "?"))
    if config.data.media.max_tokens is not None:
        return FrameRoom(config.data.media.max_tokens, per_frame)
    text = max(_number(text_length(processor, question)) for question in questions)
    return FrameRoom(config.model.max_model_len - config.grpo.max_completion_length - text, per_frame)


def _number(result: int | str) -> int:
    if isinstance(result, str):
        raise BadSample(result)
    return result
