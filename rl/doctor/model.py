"""What the doctor says of the model's family, of its chat template, and of the arithmetic it is computed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rl.config import Config
from rl.doctor.architecture import published
from rl.doctor.data import Finding
from rollouts.prompt.hub import HubOutOfReach
from rollouts.prompt.messages import instruction_place, render_prompt
from rollouts.prompt.prefill import prefill_of
from rollouts.prompt.processing import Processor, media_fault, media_token_ids
from rollouts.records import Sample

MODEL_FIX = "model.path=A_FOLDER_WITH_A_MODEL_AND_ITS_PROCESSOR"
# Side of the matrices that are multiplied to see how fast a CPU is, and how often.
PROBE_SIDE, PROBE_TIMES = 256, 3
# bfloat16 is for speed; a CPU that takes longer than this many times float32 has no units for it.
SLOW = 2.0


def start_of(config: Config) -> Path:
    """The folder or Hub id whose processor the run asks with: that of a given SFT model, else the model's."""
    return Path(config.sft.checkpoint or config.model.path)


def check_arithmetic(config: Config, seconds: Callable[[torch.dtype], float] | None = None) -> list[Finding]:
    """Whether the CPU is any faster in bfloat16, where that is asked for: one without units for it takes up to a
    hundred times as long as in float32. It is measured, because no list of processors stays true.

    Args:
        seconds: of a product of two matrices; None = those of this machine.
    """
    if config.compute.device != "cpu" or config.model.dtype != "bfloat16":
        return []
    of = seconds or seconds_of_a_product
    ratio = of(torch.bfloat16) / of(torch.float32)
    if ratio <= SLOW:
        return [Finding(True, f"bfloat16: this CPU takes {ratio:.1f} times as long as in float32")]
    slow = f"bfloat16 is slow here: this CPU takes {ratio:.0f} times as long as in float32"
    return [Finding(True, slow, "model.dtype=float32")]


def seconds_of_a_product(dtype: torch.dtype) -> float:
    """The least seconds that this machine takes for a product of two matrices in `dtype`."""
    matrix = torch.ones(PROBE_SIDE, PROBE_SIDE, dtype=dtype)
    least = float("inf")
    for _ in range(PROBE_TIMES):
        started = time.perf_counter()
        matrix @ matrix
        least = min(least, time.perf_counter() - started)
    return least


def unseen_model(error: HubOutOfReach) -> list[Finding]:
    """What is said of a model whose files cannot be had: what its published configuration says, and what nobody has
    looked at."""
    family = str(published().get(error.name, {}).get("config", {}).get("model_type", ""))
    known = f"{error.name} is of the family {family}, by the configuration that is shipped with this version"
    nothing = f"nothing is known of {error.name}"
    unseen = (
        "not checked: its processor and chat template, whether every row can be encoded and fits into"
        " model.max_model_len, and whether rewards read what is taught"
    )
    fix = f"where there is a network: hf download {error.name}; or {MODEL_FIX}"
    return [
        Finding(True, known) if family else Finding(True, nothing, checked=False),
        Finding(True, f"its files are not on this machine, and {error.why}; a run needs them", fix, checked=False),
        Finding(True, unseen, checked=False),
    ]


def check_model(processor: Processor, samples: Sequence[Sample]) -> list[Finding]:
    """The family, whether it can read these samples, and what its template does with our prompts.

    Raises:
        BadTemplate: the template refuses a plain question.
    """
    family = processor.family
    banned = f"reads images, never says its {len(media_token_ids(processor))} media tokens"
    reads = banned if family.reads_images else "reads text only"
    axes = f", counts positions in {family.position_axes} directions" if family.position_axes > 1 else ""
    findings = [Finding(True, f"the model is of the family {family.model_type}: {reads}{axes}")]
    if fault := media_fault(family, samples):
        return [*findings, Finding(False, fault, "leave these rows out, or model.path=A_MODEL_THAT_READS_IMAGES")]
    if instruction_place(processor) == "user":
        findings.append(
            Finding(True, "the chat template refuses a system turn: the tags are asked for in the user's turn")
        )
    return [*findings, *_opening(processor, samples[0])] if samples else findings


def _opening(processor: Processor, sample: Sample) -> list[Finding]:
    """What the template has written of the answer where the model begins, if anything."""
    prompt = render_prompt(sample, processor)
    prefill = prefill_of(prompt)
    if prefill:
        text = f"the chat template opens <think>: a completion is read with {prefill!r} in front, SFT teaches the rest"
        return [Finding(True, text)]
    if prompt.rfind("<think>") > prompt.rfind("</think>"):
        text = f"the prompt opens <think> and goes on behind it: {prompt[prompt.rfind('<think>') :][:60]!r}"
        return [Finding(False, text, "let the chat template end with <think>, or not open it at all")]
    return []
