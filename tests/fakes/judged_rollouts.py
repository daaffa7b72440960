"""Open questions with a judge that is sometimes wrong: a small run whose every count can be worked out by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rollouts.records import Outcome, Rollout
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts

JUDGE = "openai:scripted"


def judged(rollout: Rollout, decision: str | None, answer: str) -> Rollout:
    """The rollout with this answer and this verdict; None = the judge timed out."""
    evidence = {
        "judge": JUDGE, "layer": "judge", "decision": decision, "failure": None if decision else "timeout",
        "prompt": "equivalence_1.en@0123",
        "reference": rollout.sample.gold_text, "answer": answer,
        "attempts": [{"reply": json.dumps({"verdict": decision}), "problem": ""}],
    }  # fmt: skip
    value = float(decision == "correct") if decision in ("correct", "incorrect") else None
    status = "timeout" if decision is None else "abstain" if decision == "unsure" else "ok"
    accuracy = Outcome(value, status, reason="judge", evidence=evidence, seconds=0.25, cost=0.001)
    text = f"<think>I look at the picture.</think>\n<answer>{answer}</answer>"
    return dataclasses.replace(
        rollout,
        completion=dataclasses.replace(rollout.completion, text=text, finish_reason="stop"),
        parsed=dataclasses.replace(
            rollout.parsed, think="I look at the picture.", answer=answer, well_formed=True, letters=(), yes_no=None
        ),
        outcomes={"accuracy": accuracy, "format": Outcome(1.0)},
        total=None if value is None else 0.9 * value + 0.1,
        valid=value is not None,
    )


def group(number: int, said: list[tuple[str, str | None]], step: int = 1, run: str = "judged") -> list[Rollout]:
    """Completions of open sample `number` (3k + 2), each (answer, verdict)."""
    sample = fake_rollouts.sample(number, "open")
    members = [
        judged(fake_rollouts.rollout(sample, step=step, index=i, run=run), verdict, answer)
        for i, (answer, verdict) in enumerate(said)
    ]
    return fake_rollouts.with_advantages(members)


# Gold of sample 2 is "lower left", of sample 5 "upper right", of sample 8 "upper left". Two of these eight verdicts go
# against the rule.
SAID = {
    2: [
        ("lower left", "correct"),
        ("in the lower left, near the edge", "correct"),
        ("upper left", "incorrect"),
        ("the left base", "correct"),
    ],
    5: [
        ("upper right", "correct"),
        ("lower right", "incorrect"),
        ("it is in the upper right", "incorrect"),
        ("upper right", None),
    ],
    8: [("lower left", "incorrect"), ("lower right", "incorrect"), ("no lesion", "incorrect"), ("not sure", "unsure")],
}
# (prompt, sample) of those two: "the left base" was called correct, "it is in the upper right" incorrect.
DISAGREEMENTS = [("item-0002", 3), ("item-0005", 2)]


def written(run_dir: Path) -> Path:
    """Step 1 asks samples 2, 5 and 8; step 2 asks sample 8 again and now all are right. Finished, in `run_dir`."""
    writer = RunWriter(run_dir)
    for number, said in SAID.items():
        writer.append_group(group(number, said))
    writer.finish_step(1)
    writer.append_group(group(8, [("upper left", "correct")] * 4, step=2))
    writer.finish_step(2)
    return run_dir
