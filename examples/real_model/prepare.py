"""Writes the real model as a folder in Hugging Face format: `python -m examples.real_model.prepare [--vision]`.

The folder is written only when the model that was read speaks: a well-known sentence must be as likely to it as it was
when this was written. Query and key in the wrong order, a transposed matrix, tokens off by one: each costs nats.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rollouts.terminal import Ending, accept_any_stdout, require

if __name__ == "__main__":
    require("python -m examples.real_model.prepare", "train")

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin
from transformers.utils import logging

from examples.real_model.package import NoModel, packaged_gguf, ready_reader
from examples.real_model.reading import build_tokenizer, load_weights, read_text
from examples.real_model.vision import with_vision
from rollouts.prompt.processing import load_processor

HOME = Path("runs/real_model")
# Whatever was trained on English knows it (the United States' Declaration of Independence, 44 tokens).
SENTENCE = (
    "We hold these truths to be self-evident, that all men are created equal, that they are endowed by their Creator"
    " with certain unalienable Rights, that among these are Life, Liberty and the pursuit of Happiness."
)
# Mean log-prob of its tokens, nats. The packaged model: measured -0.916. With query and key in GGUF's order it has
# -3.4, with another base of the rotary embedding -1.01, with a transposed projection -10.9, as with random weights.
EXPECTED, TOLERANCE = -0.916, 0.03
# Any other model must reach this.
LEAST = -2.5
START, MUST_FOLLOW = "The capital of France is", "Paris"


class Check(NamedTuple):
    """How well a model speaks."""

    # Mean log-prob of the tokens of SENTENCE behind its first, nats.
    log_prob: float
    # What it greedily writes behind START.
    continuation: str


@torch.no_grad()
def check(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Check:
    """Ask a model for the sentence's log-prob and for a continuation."""
    ids_T = torch.tensor(tokenizer(SENTENCE, add_special_tokens=False)["input_ids"])
    logits_TV = model(input_ids=ids_T[None]).logits[0, :-1].float()
    log_prob = torch.log_softmax(logits_TV, -1).gather(1, ids_T[1:, None]).mean()
    start = torch.tensor([tokenizer(START, add_special_tokens=False)["input_ids"]])
    written = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=5, do_sample=False)[0]
    return Check(float(log_prob), tokenizer.decode(written[start.shape[1] :], skip_special_tokens=True))


def refuse_wrong(result: Check, *, packaged: bool) -> None:
    """Raise NoModel for a model that does not speak as it must."""
    low, high = (EXPECTED - TOLERANCE, EXPECTED + TOLERANCE) if packaged else (LEAST, 0.0)
    if not low <= result.log_prob <= high:
        raise NoModel(
            f"the model gives a well-known sentence {result.log_prob:.3f} nats a token, expected {low:.3f} to"
            f" {high:.3f}: its weights were read in another order than they were written. The versions of transformers"
            " and gguf that are tested are in requirements/"
        )
    if packaged and MUST_FOLLOW not in result.continuation:
        raise NoModel(f"behind {START!r} the model writes {result.continuation!r}, expected {MUST_FOLLOW!r} in it")


def prepare(out: Path, *, gguf: Path | None = None, vision: bool = False) -> Check:
    """Write the model folder `out`. `gguf`: another file than the packaged one; `vision`: as the language part of an
    InternVL with a fresh tower. Returns how well it speaks.

    Raises:
        NoModel: there is no model, it is of another kind, or it does not speak as it must.
        FileExistsError: `out` is there.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; remove it, or name another folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    packages = out.parent / "packages"
    ready_reader(packages)
    file = gguf or packaged_gguf(packages)
    text = read_text(file)
    model: PreTrainedModel = load_weights(file, text)
    processor: PreTrainedTokenizerBase | ProcessorMixin = build_tokenizer(text)
    if vision:
        model, processor = with_vision(model, text)
    result = check(model, getattr(processor, "tokenizer", processor))
    refuse_wrong(result, packaged=gguf is None)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".writing-") as parent:
        folder = Path(parent) / "model"
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        load_processor(folder)  # of a known family, and its template renders
        shutil.move(folder, out)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help=f"the folder to write ({HOME}/smollm2_135m, with --vision .._vision)")
    parser.add_argument("--vision", action="store_true", help="with a small, untrained vision tower")
    parser.add_argument("--gguf", type=Path, help="another GGUF of the Llama family than the packaged one")
    arguments = parser.parse_args(argv)
    out = arguments.out or HOME / ("smollm2_135m_vision" if arguments.vision else "smollm2_135m")
    logging.set_verbosity_error()
    with Ending("python -m examples.real_model.prepare", NoModel, OSError) as ending:
        result = prepare(out, gguf=arguments.gguf, vision=arguments.vision)
        print(f"{out}: a well-known sentence has {result.log_prob:.3f} nats a token; {START + result.continuation!r}")
    return ending.code


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
