"""Probes of how one asks: other words around the question, and with or without thoughts before the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rl.probes.probe import Probe, Setting, variant
from rollouts.records import Sample

# Name -> language -> the question with other words around it.
WORDINGS: Mapping[str, Mapping[str, str]] = {
    "labelled": {"en": "Question: {question}", "zh": "问题：{question}"},
    "role": {
        "en": "You are a careful physician reading this case for a colleague. {question}",
        "zh": "您是一位严谨的医生，正在为同事阅读这个病例。{question}",
    },
    "polite": {
        "en": "Please have a look and tell me what you find. {question}",
        "zh": "请您看一下并告诉我您的判断。{question}",
    },
}
# What is asked of the thoughts; both go into the body of the think tag, so that the format stays the one of training.
THINKING: Mapping[str, Mapping[str, str]] = {
    "on": {
        "en": "{question}\nFirst describe step by step what you see, then answer.",
        "zh": "{question}\n请先逐步描述您所看到的，再作答。",
    },
    "off": {
        "en": "{question}\nDo not reason: write only the word none as your thoughts, and answer at once.",
        "zh": "{question}\n不要推理：思考部分只写“无”，并直接作答。",
    },
}


def _make(probe: str, forms: Mapping[str, Mapping[str, str]]) -> Callable[[Sample, Setting], list[Sample]]:
    def make(sample: Sample, setting: Setting) -> list[Sample]:
        return [
            variant(sample, probe, name, question=form[sample.language].replace("{question}", sample.question.strip()))
            for name, form in forms.items()
        ]

    return make


PROBES = (
    Probe(
        "prompts", f"{len(WORDINGS)} other wordings around the question",
        "how much of a score is the prompt; the spread belongs beside it", "any item",
        lambda _: "", _make("prompts", WORDINGS),
    ),
    Probe(
        "thinking", "asked to think step by step, and asked not to think",
        "whether thoughts help; both are instructions, which a model may not follow", "any item",
        lambda _: "", _make("thinking", THINKING),
    ),
)  # fmt: skip
