"""Benchmarks of a training run (`eval.benchmarks`): the SFT model, the model after RL, and every so many steps between,
each in a folder of `evaluations/`, and all of them as a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.evaluate.suite.curve import curve, headline_of
from rl.evaluate.suite.folder import OF_RUN, ordered
from rl.evaluate.suite.run import Suite
from rl.evaluate.suite.table import print_summary
from rl.run.progress import Display


@dataclass(frozen=True)
class BenchmarksOfRun:
    """The benchmarks of one run."""

    suite: Suite
    folder: Path
    display: Display

    def step(self, step: int) -> dict[str, float]:
        """`benchmark/NAME` of the weights of version `step`, which the engines must hold: asked greedily, without
        probes. A headline without a value is left out."""
        name = f"step_{step:06d}"
        summary = self.suite.measure(
            self.folder / OF_RUN / name,
            name,
            step,
            self.display,
            model=f"{self.folder.name} after step {step}",
            quick=True,
        )
        return metrics_of(summary)

    def whole(self, name: str, version: int, model: str) -> dict[str, float]:
        """The same of the SFT model or the one after RL, with samples and probes; prints what was found."""
        summary = self.suite.measure(self.folder / OF_RUN / name, name, version, self.display, model=model)
        print_summary(summary)
        return metrics_of(summary)

    def finish(self) -> None:
        """Write and print the curve over all that were measured, the SFT model first and the last model last."""
        curve(self.folder / OF_RUN, ordered(self.folder / OF_RUN))


def metrics_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """`benchmark/NAME` -> the headline's value."""
    records: Sequence[dict[str, Any]] = summary["benchmarks"]
    scores = {f"benchmark/{one['name']}": headline_of(one) for one in records}
    return {name: score["value"] for name, score in scores.items() if score is not None and score["value"] is not None}
