"""Markup that other trainers and models write into the texts of a data set: taken off where it is plain what it means,
told where it is not.

A placeholder for an image would stand beside the real image as text; think and answer tags inside a thought would teach
`<think><think>`, which the format reward never pays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rollouts.records import BadSample
from rollouts.texts.reading import quote, trim

# What stands for an image or a video in the prompts of LLaVA, verl, MMMU, Qwen-VL, InternVL, Llama, Phi and Gemma.
_PLACEHOLDER = re.compile(
    r"<\|vision_start\|>\s*<\|(?:image|video)_pad\|>\s*<\|vision_end\|>"
    r"|<img>\s*(?:<IMG_CONTEXT>\s*)*</img>"
    r"|<(?:image|video|img|IMG_CONTEXT|ImageHere|image_soft_token|start_of_image|end_of_image)>"
    r"|</(?:image|video|img)>"
    r"|<(?:image|video)[ _-]?\d{1,3}>"
    r"|<\|(?:image|video|image_pad|video_pad|vision_start|vision_end|vision_pad|(?:image|video)_\d{1,3})\|>"
    r"|\[(?:IMG|IMAGE|VIDEO)\]",
    re.IGNORECASE,
)
# Where a turn of a conversation begins or ends in the templates of these models.
_TURN = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|begin_of_text)\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")
_TAG = re.compile(r"</?\s*(?:think|answer)\s*>", re.IGNORECASE)
_WHOLE_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.IGNORECASE | re.DOTALL)


def bare_question(question: str, num_media: int) -> str:
    """The question without the placeholders at its beginning or end, one for each of the row's images, volumes and
    videos, which this project shows before the question.

    Raises BadSample for placeholders inside the text (which image is meant would be lost), for more or fewer of them
    than the row has media, and for the marks of a conversation's turns.
    """
    if turn := _TURN.search(question):
        raise BadSample(f"the question holds {turn[0]!r}, which begins or ends a turn for some models: remove it")
    there = _PLACEHOLDER.findall(question)
    if not there:
        return question
    if len(there) != num_media:
        raise BadSample(
            f"the question holds {len(there)} placeholder{'' if len(there) == 1 else 's'} ({there[0]!r}), and the row"
            f" has {num_media} images, volumes and videos: remove what stands for none"
        )
    bare, taken = trim(question), 0
    while placeholder := _PLACEHOLDER.match(bare):
        bare, taken = trim(bare[placeholder.end() :]), taken + 1
    while taken < len(there) and (last := list(_PLACEHOLDER.finditer(bare))[-1]).end() == len(bare):
        bare, taken = trim(bare[: last.start()]), taken + 1
    if taken < len(there):
        raise BadSample(
            f"the question holds {there[0]!r} between its words; images are shown before the question here: say"
            ' "the first image" and so on instead'
        )
    return bare


def bare_thought(think: str) -> str:
    """A thought without the think tags around it. Raises BadSample where tags are left inside: an answer, a second
    thought."""
    whole = _WHOLE_THOUGHT.fullmatch(think)
    return refuse_tags("think", trim(whole[1]) if whole else think)


def refuse_tags(name: str, text: str) -> str:
    """The text, if it holds no think or answer tag and nothing that stands for an image. Raises BadSample."""
    if tag := _TAG.search(text):
        raise BadSample(
            f"{name} is {quote(text)}, which holds {tag[0]!r}: give the text alone, the tags are put around it"
        )
    if mark := _PLACEHOLDER.search(text):
        raise BadSample(f"{name} is {quote(text)}, which holds {mark[0]!r}, a placeholder for an image: remove it")
    return text


def refuse_tags_in(name: str, texts: Iterable[str]) -> None:
    """`refuse_tags` for each text of a field."""
    for text in texts:
        refuse_tags(name, text)


def refuse_marks(name: str, text: str) -> str:
    """A text of a document, if it holds nothing that stands for an image and no mark of a conversation. Raises
    BadSample."""
    if mark := _PLACEHOLDER.search(text) or _TURN.search(text):
        raise BadSample(f"{name} holds {mark[0]!r}, which stands for an image or a turn for some models: remove it")
    return text
