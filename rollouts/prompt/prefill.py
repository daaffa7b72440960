"""What a chat template has already written of the model's answer when the model begins to speak.

Some templates end the prompt with `<think>` (DeepSeek-R1 distillates, Qwen3-Thinking). The model then never writes the
tag itself, so the reader must put it back in front (ANSWERS.md, rule 14), and SFT must not teach it twice. The end of
the rendered prompt is the one source: it travels with every prompt and is stored with every rollout.
"""

from __future__ import annotations

import re

# Only an open tag with nothing behind it. Thoughts that the template opens and closes itself (`<think></think>`) are
# no beginning of an answer: the model writes its own tags after them.
_OPEN_AT_THE_END = re.compile(r"<think>\s*\Z")


def prefill_of(prompt_text: str) -> str:
    """The beginning of the model's answer that stands at the end of a rendered prompt, such as "<think>\\n"; "" where
    the template opens nothing."""
    match = _OPEN_AT_THE_END.search(prompt_text[-200:])
    return match.group() if match else ""


def after_prefill(response: str, prefill: str) -> str:
    """The rest of a whole response that the model has to write after `prefill`: what SFT teaches.

    Raises:
        ValueError: the response does not begin with what the template has opened, so the two cannot fit together.
    """
    opened = prefill.strip()
    if not opened:
        return response
    if not response.startswith(opened):
        raise ValueError(
            f"the chat template opens {opened!r} and the response begins with {response[:40]!r}; a response must"
            f" begin with {opened!r}, or the template must not open it"
        )
    rest = response[len(opened) :]
    return rest.lstrip() if prefill[-1].isspace() else rest
