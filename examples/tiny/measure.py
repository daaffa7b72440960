"""Accuracy of model folders on phantoms they were not trained on: `python -m examples.tiny.measure [FOLDER ...]`.

Plain transformers, no engine and no judge: an answer is right when it is the letter with its text, or the words or an
alias of them. Shares stand with their 95 % interval (Wilson), by modality, answer type and kind of question.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForImageTextToText

from judges.calibration.agreement import wilson
from rl.data.phantoms.questions import samples
from rl.data.phantoms.words import LOOKING_OPENERS
from rollouts.prompt.processing import collate_media, encode, load_processor
from rollouts.records import Sample

BATCH_SIZE = 64
MODEL = Path(__file__).parent / "model"


class Share(NamedTuple):
    """How many of how many."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """Between 0 and 1; NaN of nothing."""
        return self.hits / self.total if self.total else float("nan")

    def __str__(self) -> str:
        """As in "91.3 % (88-94)": the share and its 95 % interval."""
        low, high = wilson(self.hits, self.total)
        return f"{100 * self.value:.1f} % ({100 * low:.0f}-{100 * high:.0f})"


@torch.no_grad()
def completions(folder: Path, questions: Sequence[Sample], *, temperature: float = 0.0, seed: int = 0) -> list[str]:
    """One completion a sample, greedy at temperature 0; special tokens left out."""
    processor = load_processor(folder)
    tokenizer = processor.tokenizer
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.manual_seed(seed)
    drawn: dict[str, Any] = (
        {"do_sample": False} if temperature == 0 else {"do_sample": True, "temperature": temperature, "top_k": 0}
    )
    texts: list[str] = []
    for start in range(0, len(questions), BATCH_SIZE):
        prompts = [encode(processor, sample) for sample in questions[start : start + BATCH_SIZE]]
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


def answer_of(completion: str) -> str:
    """What stands in the answer tag."""
    return completion.rpartition("<answer>")[2].partition("</answer>")[0].strip()


def is_right(sample: Sample, completion: str) -> bool:
    """Whether the answer tag holds exactly the gold answer, in a form the model was taught: its text, or letter and
    text.
    """
    lettered = [f"{letter}. {sample.gold_text}" for letter in sample.gold_letters or ()]
    return answer_of(completion) in (sample.gold_text, *sample.aliases, *lettered)


def names_gold_letter(sample: Sample, completion: str) -> bool:
    """Whether the answer begins with the gold letter and a dot, whatever text follows."""
    return answer_of(completion).startswith(tuple(f"{letter}." for letter in sample.gold_letters or ()))


def is_well_formed(completion: str) -> bool:
    """Whether the four tags stand once each and in order; a quick check, the format reward's own rules are stricter."""
    places = [completion.find(tag) for tag in ("<think>", "</think>", "<answer>", "</answer>")]
    return places[0] == 0 and places == sorted(places) and completion.endswith("</answer>")


def looks(completion: str) -> bool:
    """Whether the thought begins as those that name what is seen."""
    return completion.removeprefix("<think>").startswith(LOOKING_OPENERS)


def table(questions: Sequence[Sample], texts: Sequence[str]) -> dict[str, Share]:
    """Shares over all samples, right answers by modality, answer type and kind of question, and multiple choice that
    names the gold letter.
    """
    groups: dict[str, list[bool]] = defaultdict(list)
    for sample, text in zip(questions, texts, strict=True):
        right = is_right(sample, text)
        groups["well-formed"].append(is_well_formed(text))
        groups["thought looks"].append(looks(text))
        kinds = [f"{sample.answer_type} {sample.tags['kind']}"] if "kind" in sample.tags else []
        for name in ("right", sample.modality, sample.answer_type, *kinds):
            groups[name].append(right)
        if sample.gold_letters is not None:
            groups["mcq by letter"].append(names_gold_letter(sample, text))
    return {name: Share(sum(values), len(values)) for name, values in groups.items()}


def summary(shares: Mapping[str, Share]) -> str:
    """The shares that matter, in a line."""
    return ", ".join(
        f"{name} {shares[name]}" for name in ("right", "mcq", "mcq by letter", "well-formed") if name in shares
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[MODEL], help="model folders (the shipped one)")
    parser.add_argument("--count", type=int, default=640, help="questions (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 = greedy (%(default)s)")
    arguments = parser.parse_args(argv)
    questions = samples("measure", arguments.count, 0)
    columns = [
        table(questions, completions(folder, questions, temperature=arguments.temperature))
        for folder in arguments.folders
    ]
    for folder in arguments.folders:
        print(folder)
    for name in columns[0]:
        print(f"{name:20} {columns[0][name].total:5}  " + "  ".join(f"{shares[name]!s:>17}" for shares in columns))


if __name__ == "__main__":
    main()
