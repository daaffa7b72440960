"""Accuracy of a model folder on phantoms it was not trained on, by modality and answer type: `python -m
examples.tiny.measure [FOLDER]`.

Plain transformers, no engine and no judge: an answer is right when it is the letter (with its text), or the words or an
alias of them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from rl.data.phantoms.questions import samples
from rl.data.phantoms.words import LOOKING_OPENERS
from rollouts.prompt.processing import collate_media, encode, load_processor
from rollouts.records import Sample

BATCH_SIZE = 64
MODEL = Path(__file__).parent / "model"


@torch.no_grad()
def completions(folder: Path, asked: Sequence[Sample], *, temperature: float = 0.0, seed: int = 0) -> list[str]:
    """One completion a sample, greedy at temperature 0; special tokens left out."""
    processor = load_processor(folder)
    tokenizer = processor.tokenizer
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.manual_seed(seed)
    drawn: dict[str, Any] = (
        {"do_sample": False} if temperature == 0 else {"do_sample": True, "temperature": temperature, "top_k": 0}
    )
    texts: list[str] = []
    for start in range(0, len(asked), BATCH_SIZE):
        prompts = [encode(processor, sample) for sample in asked[start : start + BATCH_SIZE]]
        longest = max(len(prompt.token_ids) for prompt in prompts)
        missing = [longest - len(prompt.token_ids) for prompt in prompts]
        ids = [
            [tokenizer.pad_token_id] * gap + list(prompt.token_ids)
            for gap, prompt in zip(missing, prompts, strict=True)
        ]
        mask = [[0] * gap + [1] * (longest - gap) for gap in missing]
        media = collate_media([prompt.media for prompt in prompts])
        output = model.generate(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            **media,
            max_new_tokens=48,
            pad_token_id=tokenizer.pad_token_id,
            **drawn,
        )
        texts += tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    return texts


def is_right(sample: Sample, completion: str) -> bool:
    """Whether the answer tag holds exactly the gold answer, in the form the model was taught."""
    answer = completion.rpartition("<answer>")[2].partition("</answer>")[0].strip()
    return answer in (sample.gold_text, *sample.aliases)


def is_well_formed(completion: str) -> bool:
    """Whether the four tags stand once each and in order; a quick check, the format reward's own rules are stricter."""
    places = [completion.find(tag) for tag in ("<think>", "</think>", "<answer>", "</answer>")]
    return places[0] == 0 and places == sorted(places) and completion.endswith("</answer>")


def looks(completion: str) -> bool:
    """Whether the thought begins as those that name what is seen."""
    return completion.removeprefix("<think>").startswith(LOOKING_OPENERS)


def table(asked: Sequence[Sample], texts: Sequence[str]) -> dict[str, float]:
    """Shares over all samples, and accuracy by modality, answer type and kind of question."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for sample, text in zip(asked, texts, strict=True):
        right = is_right(sample, text)
        groups["well-formed"].append(is_well_formed(text))
        groups["thought looks"].append(looks(text))
        for name in ("accuracy", sample.modality, sample.answer_type, f"{sample.answer_type} {sample.tags['kind']}"):
            groups[name].append(right)
    return {name: sum(values) / len(values) for name, values in groups.items()}


def main(argv: Sequence[str]) -> None:
    folder = Path(argv[0]) if argv else MODEL
    asked = samples("measure", 640, 0)
    greedy = table(asked, completions(folder, asked))
    sampled = table(asked, completions(folder, asked, temperature=0.9))
    for name, value in greedy.items():
        print(f"{name:24} greedy {value:6.1%}   sampled at 0.9 {sampled[name]:6.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
