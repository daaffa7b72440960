"""Seconds of the real model's step in float32 and bfloat16, and how far engine and policy are apart in both:
`python -m examples.real_model.measure [--sft FOLDER] [--steps 4] [overrides]`.

Each arithmetic is a run of the main command on the same questions, with a learning rate of next to nothing, so that
both train the same weights; the first step compiles and fills caches, and does not count. bfloat16 pays where the CPU
multiplies in it (AMX, AVX512-BF16), so what the CPU can is printed first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rollouts.terminal import accept_any_stdout, open_console, require, table

if __name__ == "__main__":
    require("python -m examples.real_model.measure", "train", "cpu")

from rl.run.tracking import read_metrics

DTYPES = ("float32", "bfloat16")
# What /proc/cpuinfo calls the units that multiply in bfloat16.
BF16_FEATURES = ("avx512_bf16", "amx_bf16")
WARM_UP_STEPS = 1
# Metric -> its line in the table.
SECONDS = {
    "timing_s/sync": "weights to the engine",
    "timing_s/gen": "sampling",
    "timing_s/old_log_prob": "log-probs before the update",
    "timing_s/ref": "waiting for the reference",
    "timing_s/update_actor": "update",
    "timing_s/step": "whole step",
}
# Engine against policy on the same tokens, nats.
GAPS = {
    "rollout_corr/logprob_abs_diff_mean": "log-prob gap, mean",
    "rollout_corr/logprob_abs_diff_max": "log-prob gap, largest",
}
TOKENS = "num_completion_tokens"


def cpu(cpuinfo: str) -> str:
    """The processor's name and which units for bfloat16 it has, from the text of /proc/cpuinfo."""
    fields = dict((part.strip() for part in line.split(":", 1)) for line in cpuinfo.splitlines() if ":" in line)
    flags = set(fields.get("flags", "").split())
    units = [name for name in BF16_FEATURES if name in flags]
    return f"{fields.get('model name', 'unknown CPU')}, bfloat16 in hardware: {', '.join(units) or 'no'}"


def medians(metrics: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Median of each number over the steps that count.

    Raises:
        ValueError: no step is left behind the warm-up.
    """
    counted = metrics[WARM_UP_STEPS:]
    if not counted:
        raise ValueError(f"{len(metrics)} steps, of which {WARM_UP_STEPS} warm up; none is left, take more --steps")
    return {
        name: statistics.median(values)
        for name in (*SECONDS, *GAPS, TOKENS)
        if (values := [value for step in counted if (value := step.get(name)) is not None])
    }


def settings(dtype: str, steps: int, folder: Path, sft: Path | None) -> list[str]:
    """The settings of a run of `steps` steps in one arithmetic. It starts from the SFT model `sft`; None = from the
    model as prepared, whose completions are a few tokens long."""
    return [
        "+experiment=real_model", f"model.dtype={dtype}", f"out_dir={folder}", f"grpo.num_steps={steps}",
        "grpo.learning_rate=1e-12", f"sft.checkpoint={sft}" if sft else "sft.enabled=false",
        "data.num_eval=2", "eval.num_samples=0", "eval.every_steps=0", "wandb=off",
    ]  # fmt: skip


def run(arguments: Sequence[str], folder: Path) -> list[dict[str, float | None]]:
    """The metrics of a run with these settings into `folder`."""
    command = [sys.executable, "-m", "rl.train", *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[1:])} ended with {done.returncode}; its error is above")
    return read_metrics(folder)


def show(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """One column an arithmetic, and how the second compares with the first."""
    first, second = DTYPES
    rows = []
    for name, line in {**SECONDS, **GAPS, TOKENS: "completion tokens a step"}.items():
        if name not in metrics[first] or name not in metrics[second]:
            continue
        values = [metrics[dtype][name] for dtype in DTYPES]
        digits = "{:.2f}" if name in SECONDS else "{:.0f}" if name == TOKENS else "{:.1e}"
        ratio = f"{values[1] / values[0]:.2f}" if name in SECONDS and values[0] > 0 else ""
        rows.append((line, *(digits.format(value) for value in values), ratio))
    open_console().print(table("median seconds a step; gaps in nats", ("", *DTYPES, f"{second} / {first}"), rows))


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="steps of each run, the first of which does not count")
    parser.add_argument("--sft", type=Path, help="an SFT model to start from, as summary.json of a run names it")
    parser.add_argument("--json", type=Path, help="also write the numbers of every step to this file")
    parser.add_argument("overrides", nargs="*", help="settings of the runs, such as grpo.prompts_per_step=4")
    arguments = parser.parse_args(argv)
    if arguments.steps <= WARM_UP_STEPS:
        parser.error(f"--steps is {arguments.steps}, expected more than {WARM_UP_STEPS}, which does not count")
    info = Path("/proc/cpuinfo")
    name = cpu(info.read_text()) if info.is_file() else "unknown CPU"
    print(f"{name}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as parent:
        steps = {}
        for dtype in DTYPES:
            folder = Path(parent) / dtype
            steps[dtype] = run([*settings(dtype, arguments.steps, folder, arguments.sft), *arguments.overrides], folder)
    show({dtype: medians(metrics) for dtype, metrics in steps.items()})
    if arguments.json:
        arguments.json.write_text(json.dumps({"cpu": name, "steps": steps}, indent=1))
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
