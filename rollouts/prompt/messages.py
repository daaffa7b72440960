"""A sample becomes the messages a model is asked with, in SFT, RL and evaluation alike.

The system instruction about the tags belongs to the model's chat template or to `SYSTEM_INSTRUCTION`, never to both: a
template that already speaks of the answer tag is left alone (an SFT template without the tags keeps the format reward
at 0, VLM-R1 #173).
"""

from __future__ import annotations

from typing import Any, Protocol

from rollouts.records import Sample

SYSTEM_INSTRUCTION = (
    "First think about what you see inside <think> </think>, then give the final answer inside <answer> </answer>. "
    "For multiple choice answer with the letter of the option."
)


class ChatTemplated(Protocol):
    """What a Hugging Face processor or tokenizer offers for prompts."""

    chat_template: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...


def question_text(sample: Sample) -> str:
    """The question, then one `A. option` a line. Options are shown for multiple choice only: an open item keeps them in
    the record, unseen."""
    lines = [sample.question.strip()]
    if sample.answer_type in ("mcq", "multi"):
        lines += [f"{letter}. {option}" for letter, option in zip(sample.letters, sample.options or (), strict=True)]
    return "\n".join(lines)


def num_frames(sample: Sample) -> int:
    """Frames the prompt will hold: one an image, one a slice or frame of a volume or video."""
    return sum(len(media.frames) if media.frames is not None else 1 for media in sample.media)


def build_messages(sample: Sample, *, system: str | None = None) -> list[dict[str, Any]]:
    """One user message, frames first and in order, then the question; before it the system instruction where one is
    given."""
    content: list[dict[str, Any]] = [{"type": "image"} for _ in range(num_frames(sample))]
    content.append({"type": "text", "text": question_text(sample)})
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    return messages


def needs_instruction(processor: ChatTemplated) -> bool:
    """Whether the chat template says nothing of the answer tag itself."""
    return "<answer>" not in str(processor.chat_template)


def render_prompt(sample: Sample, processor: ChatTemplated) -> str:
    """The prompt's text, one image placeholder a frame, ending where the assistant begins to speak."""
    system = SYSTEM_INSTRUCTION if needs_instruction(processor) else None
    messages = build_messages(sample, system=system)
    return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def response(think: str, answer: str) -> str:
    """The completion a model is taught to give, and the only shape the format reward pays."""
    return f"<think>{think}</think>\n<answer>{answer}</answer>"
