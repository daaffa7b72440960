"""What a chat template does with our prompts: what it opens for the model, and where it lets the tags be asked for."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2
import pytest

from rollouts.prompt.messages import (
    SYSTEM_INSTRUCTION,
    BadTemplate,
    Message,
    instruction_place,
    render_prompt,
)
from rollouts.prompt.prefill import after_prefill, prefill_of
from rollouts.records import Sample

QUESTION = Sample(id="q", question="Is a cyst hollow?", answer_type="yes_no", gold_text="yes")
TURNS = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'][-1]['text'] }} {% endfor %}"
REFUSES_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
REFUSES_USER = "{% if messages[-1]['role'] == 'user' %}{{ raise_exception('no user turn') }}{% endif %}"


class FakeProcessor:
    """A chat template and nothing else, rendered as transformers does it."""

    def __init__(self, chat_template: str) -> None:
        self.chat_template = chat_template

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        def refuse(why: str) -> None:
            raise jinja2.TemplateError(why)

        environment = jinja2.Environment()
        environment.globals["raise_exception"] = refuse
        template = environment.from_string(self.chat_template)
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt)


@pytest.mark.parametrize(
    ("prompt", "prefill"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>\n"),
        ("<｜Assistant｜><think>", "<think>"),
        ("Let me see. <think> \n\n", "<think> \n\n"),
        ("<|im_start|>assistant\n", ""),
        ("", ""),
        # Thoughts that the template closes again are no beginning of the answer.
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        # A tag in the question or in the instruction is not what the model goes on from.
        ("What does <think> mean?<|im_end|>\n<|im_start|>assistant\n", ""),
        ("Think inside <think> </think>.<|im_start|>assistant\n", ""),
        ("<Think>\n", ""),
    ],
)
def test_the_prefill_is_the_open_tag_at_the_prompts_end(prompt: str, prefill: str) -> None:
    assert prefill_of(prompt) == prefill


@pytest.mark.parametrize(
    ("whole", "prefill", "rest"),
    [
        ("<think>T</think>\n<answer>A</answer>", "", "<think>T</think>\n<answer>A</answer>"),
        ("<think>T</think>\n<answer>A</answer>", "<think>", "T</think>\n<answer>A</answer>"),
        ("<think>T</think>\n<answer>A</answer>", "<think>\n", "T</think>\n<answer>A</answer>"),
        # The template has written the line break as well.
        ("<think>\nT</think>", "<think>\n", "T</think>"),
        ("<think>\nT</think>", "<think>", "\nT</think>"),
    ],
)
def test_sft_teaches_what_the_template_has_not_written(whole: str, prefill: str, rest: str) -> None:
    assert after_prefill(whole, prefill) == rest


def test_a_response_that_does_not_begin_with_what_is_opened_is_refused() -> None:
    with pytest.raises(ValueError, match=r"opens '<think>' and the response begins with '<answer>A"):
        after_prefill("<answer>A</answer>", "<think>\n")


@pytest.mark.parametrize(
    ("template", "place", "prompt"),
    [
        (TURNS, "system", f"[system] {SYSTEM_INSTRUCTION} [user] Is a cyst hollow? "),
        (REFUSES_SYSTEM + TURNS, "user", f"[user] {SYSTEM_INSTRUCTION}\n\nIs a cyst hollow? "),
        (TURNS + "Say <answer>.", "template", "[user] Is a cyst hollow? Say <answer>."),
    ],
)
def test_the_tags_are_asked_for_where_the_template_lets_it(template: str, place: str, prompt: str) -> None:
    processor = FakeProcessor(template)
    assert instruction_place(processor) == place
    assert render_prompt(QUESTION, processor) == prompt


def test_a_template_that_refuses_the_question_itself_is_told_with_its_own_words() -> None:
    with pytest.raises(BadTemplate, match=r"roles \['user'\]: no user turn; mend chat_template"):
        render_prompt(QUESTION, FakeProcessor(REFUSES_USER + TURNS))
