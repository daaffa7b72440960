"""What a slow judge costs a GRPO step: `python -m tests.bench.slow_judge [--seconds 2] [--steps 16] [--all-open]
[overrides]`.

A real HTTP server judges (tests/fakes/scripted_judge.py), 64 calls in flight allowed, no cache, so that every different
answer of a group is a call. Two runs of `+experiment=med_grpo` at a learning rate of next to nothing draw the same
completions. In the first the judge thinks in every even step, in the second in every odd one, so each step is measured
both ways, on the same tokens, and a noisy machine disturbs both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from rl.run.tracking import read_metrics
from rollouts.store.reader import list_steps
from rollouts.store.writer import read_rollouts
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, always

IN_FLIGHT = 64
# The first step of a run compiles and fills caches.
WARM_UP_STEPS = 1
ALL_OPEN = ("data.open_fraction=1.0", "data.max_yes_no_fraction=0.0")


class Step(NamedTuple):
    """One step of one run."""

    seconds: float
    # Of these, waited for scores.
    waited: float
    num_calls: int
    num_open: int


class Judge:
    """Thinks in the steps that `is_slow` names, answers at once in the others; which step it is, the run's metrics
    tell."""

    def __init__(self, folder: Path, seconds: float, is_slow: Callable[[int], bool]) -> None:
        self.folder, self.seconds, self.is_slow = folder, seconds, is_slow
        self.calls: Counter[int] = Counter()
        self.step = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        metrics = self.folder / "metrics.jsonl"
        while True:
            # Before the first line the SFT model is evaluated, and the first step is made.
            self.step = 1 + (metrics.read_bytes().count(b"\n") if metrics.exists() else 0)
            time.sleep(0.01)

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.calls[self.step] += 1
        reply = always("incorrect")(body)
        reply.delay_seconds = self.seconds if self.is_slow(self.step) else 0.0
        return reply


def run(folder: Path, steps: int, seconds: float, is_slow: Callable[[int], bool], overrides: list[str]) -> list[Step]:
    """One run of the main command; its steps without the warm-up."""
    judge = Judge(folder, seconds, is_slow)
    with ScriptedJudge(judge) as server:
        command = [
            *(sys.executable, "-m", "rl.train", "+experiment=med_grpo", f"out_dir={folder}", f"grpo.num_steps={steps}"),
            *(
                "grpo.learning_rate=1e-12",
                "data.num_eval=16",
                "eval.num_samples=0",
                "eval.blank_images=false",
                "wandb=off",
            ),
            *("judge=openai", f"judge.base_url={server.url}", f"judge.model={MODEL}", "judge.cache=off"),
            *(f"judge.max_concurrency={IN_FLIGHT}", *overrides),
        ]
        environment = {**os.environ, "OPENAI_API_KEY": "none"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
        if done.returncode != 0:
            sys.exit(f"the command ended with {done.returncode}:\n{done.stdout[-2000:]}")
        print(f"most calls in flight: {server.most_in_flight}", file=sys.stderr)
    stored = {
        step.step: {one.prompt_id for one in read_rollouts(folder, step.step) if one.sample.answer_type == "open"}
        for step in list_steps(folder)
    }
    return [
        Step(line["timing_s/step"], line["timing_s/reward"], judge.calls[line["step"]], len(stored[line["step"]]))
        for line in read_metrics(folder)[WARM_UP_STEPS:]
    ]


def measure(steps: int, seconds: float, overrides: list[str]) -> list[tuple[Step, Step]]:
    """The same steps with an instant and with a slow judge, in order."""
    pairs: list[tuple[Step, Step]] = []
    with tempfile.TemporaryDirectory() as parent:
        even = run(
            Path(parent) / "even", steps, seconds, lambda step: step > 0 and step % 2 == 0 and step <= steps, overrides
        )
        odd = run(
            Path(parent) / "odd", steps, seconds, lambda step: step > 1 and step % 2 == 1 and step <= steps, overrides
        )
    for place, (one, other) in enumerate(zip(even, odd, strict=True), start=1 + WARM_UP_STEPS):
        pairs.append((other, one) if place % 2 == 0 else (one, other))
    return pairs


def show(title: str, pairs: list[tuple[Step, Step]], seconds: float) -> None:
    """A line a step, and the ratios."""
    table = Table(
        "step", "open groups", "calls", "instant s", "slow s", "slow: waited s", "slow / instant", title=title
    )
    for place, (instant, slow) in enumerate(pairs, start=1 + WARM_UP_STEPS):
        ratio = slow.seconds / instant.seconds
        cells = (slow.seconds, slow.waited)
        table.add_row(
            f"{place}",
            f"{slow.num_open}",
            f"{slow.num_calls}",
            f"{instant.seconds:.2f}",
            *(f"{cell:.2f}" for cell in cells),
            f"{ratio:.2f}",
        )
    console = Console(width=120)
    console.print(table)
    instant, slow = (statistics.median(pair[kind].seconds for pair in pairs) for kind in (0, 1))
    paired = statistics.median(slow.seconds / instant.seconds for instant, slow in pairs)
    console.print(
        f"medians: instant {instant:.2f} s, {seconds:g} s a call {slow:.2f} s: {slow / instant - 1:+.1%}; median of the"
        f" pairs {paired - 1:+.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long the slow judge thinks about each call")
    parser.add_argument(
        "--steps", type=int, default=16, help="GRPO steps of each run, the first of which does not count"
    )
    parser.add_argument("--all-open", action="store_true", help="ask every question open, instead of the recipe's mix")
    parser.add_argument("overrides", nargs="*", help="settings of the runs, such as sft.cache_dir=DIR")
    arguments = parser.parse_args()
    overrides = [*(ALL_OPEN if arguments.all_open else ()), *arguments.overrides]
    title = "every question asked open" if arguments.all_open else "the recipe's mix of questions"
    show(title, measure(arguments.steps, arguments.seconds, overrides), arguments.seconds)


if __name__ == "__main__":
    main()
