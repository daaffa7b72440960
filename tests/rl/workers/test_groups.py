"""Groups of workers without Ray: what is asked of whom, and where the answers go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.policy.batching import Row
from rl.workers.groups import AdapterOff, PolicyGroup
from rollouts.prompt.processing import EncodedPrompt


class AtOnce:
    """Workers and session in one: a call is answered when it is made, with the tokens of each row, below 0 for the
    reference."""

    world_size, workers, timeout = 2, ("first", "second"), 1.0

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Any] = []

    def execute_all_async(self, method: str, *arguments: Any) -> list[int]:
        """References to the answers, a number each."""
        self.asked.append(method)
        sign = -1.0 if method == "reference_log_probs" else 1.0
        parts = arguments[0] if arguments else [()] * self.world_size
        self.answers += [[[sign * token for token in row.completion_ids] for row in part] for part in parts]
        return list(range(len(self.answers) - len(parts), len(self.answers)))

    def first_ready(self, references: Sequence[int], seconds: float) -> int:
        return references[-1]

    def fetch(self, reference: int, seconds: float | None = None) -> Any:
        return self.answers[reference]

    def log_files(self, pid: int) -> list[Path]:
        return []


def test_the_reference_of_an_adapter_is_asked_of_the_policys_own_ranks() -> None:
    workers = AtOnce()
    policy = PolicyGroup("policy", workers, workers)
    prompts = [EncodedPrompt(name, "", (1, 2, 3), {}, fingerprint=name) for name in "abc"]
    rows = [Row(prompt, (10 * place, 10 * place + 1)) for place, prompt in enumerate(prompts, start=1)]
    waits = AdapterOff(policy).start_log_probs(rows)
    assert waits() == [[-10.0, -11.0], [-20.0, -21.0], [-30.0, -31.0]]
    assert policy.log_probs(rows) == [[10.0, 11.0], [20.0, 21.0], [30.0, 31.0]]
    assert workers.asked[-2:] == ["reference_log_probs", "log_probs"]
