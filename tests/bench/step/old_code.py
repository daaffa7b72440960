"""Runs inside a work tree of an earlier commit, with that commit's modules (`tests/bench/step/baseline.py`); imports
nothing of today. `old_code.py PART WORK` prints seconds a step as JSON, as the commit's own `tests.bench.pure_step`
does: an engine without a prefix cache; both log-prob passes and the updates; all in float32."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import load_file


def sample(folder: Path, work: dict[str, Any]) -> list[float]:
    """Seconds to draw each step's completions again, in one process."""
    engine_of_then, requests_of_then = import_module("rollouts.engine"), import_module("rollouts.requests")
    processing = import_module("rollouts.processing")
    model, grpo = work["model"], work["grpo"]
    settings = engine_of_then.EngineSettings(
        max_model_len=model["max_model_len"],
        max_images=model["max_images"],
        cpu_kv_cache_gib=work["compute"]["cpu_kv_cache_gib"],
    )
    engine = engine_of_then.VllmEngine(Path(work["sft"]), settings, disk_version=0)
    banned = processing.media_token_ids(processing.load_processor(work["sft"]))
    how = requests_of_then.SamplingSettings(grpo["temperature"], 1.0, grpo["max_completion_length"], 0, banned)
    seconds = []
    for groups in work["steps"]:
        requests, want = [], []
        for group in groups:
            images = tuple(Image.open(folder / name).convert("RGB") for name in group["pictures"])
            for place, row in enumerate(group["rows"]):
                ids = tuple(group["token_ids"])
                requests.append(
                    requests_of_then.Request(group["prompt_id"], place, group["text"], images, row["seed"], ids)
                )
                want.append(tuple(row["token_ids"]))
        started = time.monotonic()
        drawn = dict(engine.sample(requests, how))
        seconds.append(time.monotonic() - started)
        same = sum(drawn[one.key].token_ids == ids for one, ids in zip(requests, want, strict=True))
        print(
            f"sampling of then: {seconds[-1]:.2f} s, {same} of {len(requests)} completions as in the run",
            file=sys.stderr,
        )
    return seconds


def train(folder: Path, work: dict[str, Any]) -> list[float]:
    """Seconds for both log-prob passes and the updates on each step's rows, in one process."""
    import torch

    batching, config, losses = (import_module(f"rl.{name}") for name in ("batching", "config", "losses"))
    policy_of_then, processing = import_module("rl.policy"), import_module("rollouts.processing")
    torch.set_num_threads(work["compute"]["num_threads"] or torch.get_num_threads())
    known = config.GrpoConfig.__dataclass_fields__
    grpo = config.GrpoConfig(**{name: value for name, value in work["grpo"].items() if name in known})
    policy = policy_of_then.Policy(work["sft"], grpo, total_updates=1000)
    reference = policy_of_then.Reference(
        work["sft"], temperature=grpo.temperature, micro_batch_tokens=grpo.micro_batch_tokens
    )
    seconds = []
    for groups in work["steps"]:
        rows = [row for group in groups for row in _rows(folder, group, batching.Row, processing.EncodedPrompt)]
        started = time.monotonic()
        policy.log_probs(rows)
        reference.log_probs(rows)
        size = len(rows) // grpo.num_minibatches
        minibatches = [rows[start : start + size] for start in range(0, len(rows), size)]
        lengths = [[len(row.completion_ids) for row in batch if row.valid] for batch in minibatches]
        for batch, totals in zip(minibatches, losses.denominators(lengths, grpo.max_completion_length), strict=True):
            policy.update(batch, totals)
        seconds.append(time.monotonic() - started)
        print(f"forward and backward of then: {seconds[-1]:.2f} s", file=sys.stderr)
    return seconds


def _rows(folder: Path, group: dict[str, Any], row_of: Callable[..., Any], prompt_of: Callable[..., Any]) -> list[Any]:
    media = load_file(folder / f"{group['media']}.safetensors")
    prompt = prompt_of(
        group["prompt_id"], group["text"], tuple(group["token_ids"]), media, fingerprint=group["fingerprint"]
    )
    return [
        row_of(
            prompt,
            tuple(row["token_ids"]),
            row["advantage"],
            row["valid"],
            tuple(row["old_logprobs"]),
            tuple(row["ref_logprobs"]) if row["ref_logprobs"] else None,
        )
        for row in group["rows"]
    ]


PARTS = {"sample": sample, "train": train}

if __name__ == "__main__":
    part_name, place = sys.argv[1], Path(sys.argv[2])
    print(json.dumps(PARTS[part_name](place, json.loads((place / "work.json").read_text()))))
