"""The evaluations on benchmarks that a run made (`eval.benchmarks`): a page each, and what the run's report says of
them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from rl.evaluate.suite.folder import OF_RUN, ordered
from rl.report.evaluation.flips import summary_of
from rl.report.evaluation.numbers import headlines
from rl.report.evaluation.page import write_evaluation_report
from rl.report.templating import REPORT
from rollouts.store.layout import StoreError

SFT = "SFT"


def write_evaluations(run_dir: Path, troubles: list[str]) -> list[dict[str, Any]]:
    """Write the page of each evaluation of a run, beside the SFT model's where there is one. Returns for each its name,
    the page's address from the run's folder, and its headlines; one that cannot be read is a sentence in `troubles`.

    Raises:
        DiskFull: there is no room.
    """
    pages = []
    names = ordered(run_dir / OF_RUN)
    for name in names:
        folder = run_dir / OF_RUN / name
        try:
            write_evaluation_report(folder, run_dir / OF_RUN / SFT if SFT in names and name != SFT else None)
            scores = headlines(summary_of(folder))
        except StoreError as error:
            troubles.append(f"The evaluation {name} is not shown: {error}")
            continue
        pages.append({"name": name, "address": f"{OF_RUN}/{quote(name)}/{REPORT}", "scores": scores})
    return pages
