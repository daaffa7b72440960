"""What the numbers of a wide step cost beside all models:
`python -m tests.bench.step.wide [--prompts 256] [--completions 8] [--tokens 1024]`.

Made-up completions with log-probs of the engine, the policy and the reference go the way of a step: from the engines,
from the workers, into records, on disk, to the workers, into micro-batches and into the loss. Printed are CPU seconds
of each part in one process, with pickle in the place of Ray, and the bytes that it makes or sends.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rl.config import GrpoConfig
from rl.policy.batching import MicroBatch, Row, in_order, make_micro_batches, split_rows
from rl.policy.objectives import GrpoObjective
from rollouts.prompt.processing import EncodedPrompt
from rollouts.records import Completion, Outcome, Parsed, Rollout, Sample
from rollouts.store.layout import JSONL, step_folder
from rollouts.store.reader import read_rollouts
from rollouts.store.writer import RunWriter

VOCABULARY, PROMPT_TOKENS, NUM_RANKS, BUDGET = 150_000, 350, 8, 16_384


class Costs:
    """Seconds and bytes of each part, in the order in which they were measured."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, int]] = []

    def timed(self, name: str, do: Callable[[], Any], size: Callable[[Any], int] = lambda _: 0) -> Any:
        """What `do` returns; its seconds are kept under `name`."""
        started = time.process_time()
        found = do()
        self.rows.append((name, time.process_time() - started, size(found)))
        return found

    def sent(self, name: str, values: Sequence[Any]) -> list[Any]:
        """The values as they are on the other side, each sent by itself."""
        packed = self.timed(f"{name}: packed", lambda: [pickle.dumps(one, 5) for one in values], _total)
        return self.timed(f"{name}: opened", lambda: [pickle.loads(one) for one in packed])

    def show(self) -> None:
        for name, seconds, num_bytes in self.rows:
            print(f"{name:42} {seconds:7.2f} s" + (f" {num_bytes / 1e6:8.1f} MB" if num_bytes else ""))
        print(f"{'all':42} {sum(seconds for _, seconds, _ in self.rows):7.2f} s")


def _total(values: Sequence[bytes]) -> int:
    return sum(map(len, values))


def completions(num_prompts: int, size: int, num_tokens: int) -> list[list[Completion]]:
    """The groups of a step as engines give them."""
    rng = random.Random(0)
    words = [f"word{number} " for number in range(1000)]
    generator = torch.Generator().manual_seed(0)
    groups = []
    for _ in range(num_prompts):
        ids = torch.randint(0, VOCABULARY, (size, num_tokens), generator=generator).tolist()
        logprobs = (-torch.rand(size, num_tokens, generator=generator)).tolist()
        text = "".join(rng.choices(words, k=num_tokens))
        groups.append(
            [
                Completion(tuple(one), text, "stop", tuple(values), rng.getrandbits(60), 0, "rollout-0")
                for one, values in zip(ids, logprobs, strict=True)
            ]
        )
    return groups


def records(groups: Sequence[Sequence[Completion]], logprobs: Sequence[Sequence[float]]) -> list[list[Rollout]]:
    """The records of a step, with the same log-probs of policy and reference."""
    given = iter(logprobs)
    parsed, outcomes, weights = Parsed("thoughts", "yes", yes_no="yes"), {"accuracy": Outcome(1.0)}, {"accuracy": 1.0}
    return [
        [
            Rollout(
                "wide", 1, f"prompt-{number:05}", index, Sample(f"prompt-{number:05}", "Is it?", "yes_no", "yes"),
                "Is it?", completion, parsed, outcomes, weights, 1.0, True, 0.5, values, values,
            )
            for index, (completion, values) in enumerate(zip(group, given, strict=False))
        ]
        for number, group in enumerate(groups)
    ]  # fmt: skip


def stored(costs: Costs, folder: Path, rollouts: Sequence[Sequence[Rollout]]) -> None:
    """Write the step and read it again."""
    writer, lines = RunWriter(folder), step_folder(folder, 1) / JSONL

    def append() -> None:
        for group in rollouts:
            writer.append_group(group)

    costs.timed("store: append the groups", append, lambda _: lines.stat().st_size)
    costs.timed("store: finish the step", lambda: writer.finish_step(1), lambda parquet: parquet.stat().st_size)
    costs.timed("store: read the step", lambda: list(read_rollouts(folder)))


def trained(costs: Costs, rows: Sequence[Row], num_tokens: int) -> None:
    """What ranks do with the rows of a step besides the model's own work, one rank after the other."""
    parts = costs.timed("rows: dealt out", lambda: split_rows(rows, NUM_RANKS))
    mine = [[rows[place] for place in part] for part in parts]
    batches = costs.timed("rows: micro-batches", lambda: [make_micro_batches(one, BUDGET) for one in mine])
    objective = GrpoObjective(GrpoConfig(max_completion_length=num_tokens))
    costs.timed("rows: are they finite", lambda: [objective.finite(one) for one in mine])

    def loss(batch: MicroBatch, its: Sequence[Row]) -> None:
        logprobs_N = torch.full((sum(batch.lengths),), -1.0)
        objective.loss(batch, its, logprobs_N, torch.zeros_like(logprobs_N))

    costs.timed(
        "rows: losses", lambda: [loss(one, its) for part, its in zip(batches, mine, strict=True) for one in part]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.step.wide", description=__doc__)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--completions", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1024)
    asked = parser.parse_args(argv)
    costs = Costs()
    groups = costs.sent("completions", completions(asked.prompts, asked.completions, asked.tokens))
    flat = [completion for group in groups for completion in group]
    prompts = [EncodedPrompt("", "", tuple(range(PROMPT_TOKENS)), {}, fingerprint=str(k)) for k in range(asked.prompts)]
    rows = [Row(prompts[place // asked.completions], one.token_ids) for place, one in enumerate(flat)]
    batches = make_micro_batches(rows, BUDGET)
    values = [-torch.rand(sum(batch.lengths)) for batch in batches]
    by_row = costs.timed("log-probs: by row", lambda: in_order(batches, values, len(rows)))
    by_row = costs.sent("log-probs", [by_row])[0]
    rollouts = costs.timed("records", lambda: records(groups, by_row))
    with tempfile.TemporaryDirectory() as folder:
        stored(costs, Path(folder), rollouts)
    told = [
        dataclasses.replace(
            row, advantage=0.5, old_logprobs=one.completion.logprobs, engine_logprobs=one.completion.logprobs,
            ref_logprobs=one.ref_logprobs,
        )
        for row, one in zip(rows, (one for group in rollouts for one in group), strict=True)
    ]  # fmt: skip
    trained(costs, costs.sent("rows", [told])[0], asked.tokens)
    costs.show()
    return 0


if __name__ == "__main__":
    sys.exit(main())
