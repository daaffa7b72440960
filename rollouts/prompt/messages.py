"""A sample becomes the messages a model is asked with, in SFT, RL and evaluation alike.

The instruction about the tags belongs to the model's chat template or to `SYSTEM_INSTRUCTION`, never to both: a
template that already speaks of the answer tag is left alone (an SFT template without the tags keeps the format reward
at 0, VLM-R1 #173). A template that refuses a system turn (Gemma, Mistral) gets the instruction in the user's turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from jinja2 import TemplateError

from rollouts.records import Sample

SYSTEM_INSTRUCTION = (
    "First think about what you see inside <think> </think>, then give the final answer inside <answer> </answer>. "
    "For multiple choice answer with the letter of the option."
)
# One turn: its role, and its parts in order, each with a type ("image" or "text") and, for text, the text.
Part = dict[str, str]
Message = dict[str, str | list[Part]]
# Who asks for the tags: the chat template itself, a system turn, or the user's turn.
InstructionPlace = Literal["template", "system", "user"]


class BadTemplate(ValueError):
    """There is no chat template, or it refuses a plain question."""


class ChatTemplated(Protocol):
    """A processor or tokenizer as prompts need it."""

    @property
    def chat_template(self) -> str: ...

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The conversation as text. Raises jinja2.TemplateError where the template refuses it."""
        ...


def question_text(sample: Sample) -> str:
    """The question, then one `A. option` a line. Options are shown for multiple choice only: an open item keeps them in
    the record, unseen."""
    lines = [sample.question.strip()]
    if sample.answer_type in ("mcq", "multi"):
        lines += [f"{label}. {option}" for label, option in zip(sample.labels, sample.options or (), strict=True)]
    return "\n".join(lines)


def num_frames(sample: Sample) -> int:
    """Frames the prompt will hold: one an image, one a slice or frame of a volume or video."""
    return sum(media.num_frames for media in sample.media)


def build_messages(sample: Sample, *, system: str | None = None, instruction: str | None = None) -> list[Message]:
    """One user message, frames first and in order, each behind its label where it has one, then the question. `system`
    becomes a system turn before it, `instruction` stands before the question in the user's own turn."""
    text = question_text(sample) if instruction is None else f"{instruction}\n\n{question_text(sample)}"
    content = [*_frames(sample), {"type": "text", "text": text}]
    messages: list[Message] = [{"role": "user", "content": content}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    return messages


def _frames(sample: Sample) -> list[Part]:
    content: list[Part] = []
    for media in sample.media:
        for label in media.labels or [""] * media.num_frames:
            if label:
                content.append({"type": "text", "text": label})
            content.append({"type": "image"})
    return content


def needs_instruction(processor: ChatTemplated) -> bool:
    """Whether the chat template says nothing of the answer tag itself."""
    return "<answer>" not in processor.chat_template


def instruction_place(processor: ChatTemplated) -> InstructionPlace:
    """Where the tags are asked for, found by rendering a plain question with a system turn.

    Raises:
        BadTemplate: the template refuses the question without a system turn as well.
    """
    if not needs_instruction(processor):
        return "template"
    question = Sample(id="probe", question="Is it there?", answer_type="yes_no", gold_text="yes")
    try:
        _render(processor, build_messages(question, system=SYSTEM_INSTRUCTION))
    except BadTemplate:
        _render(processor, build_messages(question, instruction=SYSTEM_INSTRUCTION))
        return "user"
    return "system"


def render_prompt(sample: Sample, processor: ChatTemplated) -> str:
    """The prompt's text, one image placeholder a frame, ending where the model begins to write.

    Raises:
        BadTemplate: the template refuses the question.
    """
    place = instruction_place(processor)
    system = SYSTEM_INSTRUCTION if place == "system" else None
    instruction = SYSTEM_INSTRUCTION if place == "user" else None
    return _render(processor, build_messages(sample, system=system, instruction=instruction))


def _render(processor: ChatTemplated, messages: Sequence[Message]) -> str:
    try:
        return processor.render(messages, add_generation_prompt=True)
    except TemplateError as error:
        raise BadTemplate(
            f"the chat template refuses a question with the roles {[message['role'] for message in messages]}:"
            f" {error}; mend chat_template.jinja in the model's folder"
        ) from error


def response(think: str, answer: str) -> str:
    """The whole response a model is taught to give, and the only shape the format reward pays."""
    return f"<think>{think}</think>\n<answer>{answer}</answer>"
