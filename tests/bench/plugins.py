"""What a reward in child processes costs: `python -m tests.bench.plugins` prints CPU seconds to start a child and to
call it, and wall seconds to replace one that hangs or ends.

CPU seconds are those of this process and of the children it reaped, so that they hold on a busy machine too; wall
seconds do not.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

from rewards import Rubric, Sample, Scorer, registry
from rewards.binding import bind
from rewards.contract import Limits
from tests.paths import PLUGINS
from tests.plugins import kind

OPEN = Sample("q", "What is it?", "open", "Pneumonia")
NUM_STEPS, NUM_PROMPTS, NUM_GENERATIONS = 20, 16, 8


def cpu_seconds(work: Callable[[], None]) -> float:
    """User and system seconds of this process and its ended children while `work` runs."""

    def now() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(used.ru_utime + used.ru_stime for used in both)

    began = now()
    work()
    return now() - began


def steps(spec: str, count: int) -> None:
    """Score steps whose completions are all there at once, and close."""
    with Scorer(Rubric({spec: 1.0}, limits=Limits(timeout_seconds=60.0))) as scorer:
        for _ in range(count):
            futures = [
                scorer.submit(OPEN, f"completion {prompt} {index}", f"g{prompt}", group_size=NUM_GENERATIONS)
                for prompt in range(NUM_PROMPTS)
                for index in range(NUM_GENERATIONS)
            ]
            assert all(future.result().valid for future in futures)


def load() -> None:
    """Bind a reward, which a child imports to see that it works."""
    assert bind(f"{PLUGINS}/kind.py:needless").reward.name == "needless"


def main() -> None:
    """The command."""
    print(f"a child that starts, imports the reward and ends: {cpu_seconds(load):.2f} s CPU")
    registry.reward("alone", isolate=False)(kind.needless)
    registry.reward("grouped", isolate=False)(kind.rank)
    pairs = (("alone", "kind.py:needless"), ("grouped", "kind.py:rank"), ("alone", "hostile.py:blocks"))
    for here, there in pairs:
        inside, outside = (
            cpu_seconds(lambda spec=spec: steps(spec, NUM_STEPS)) - cpu_seconds(lambda spec=spec: steps(spec, 1))  # type: ignore[misc]
            for spec in (here, f"{PLUGINS}/{there}")
        )
        calls = (NUM_STEPS - 1) * NUM_PROMPTS * NUM_GENERATIONS
        print(
            f"a completion, {there}: {1e3 * inside / calls:.2f} ms CPU in this process, {1e3 * outside / calls:.2f} ms"
            " in children"
        )
    with Scorer(
        Rubric({f"{PLUGINS}/hostile.py:hostile": 1.0}, limits=Limits(timeout_seconds=1.0, workers=1))
    ) as scorer:
        scorer.submit(OPEN, "fine", "g").result()
        for what in ("spins", "os._exit", "segfault", "raises"):
            began = time.perf_counter()
            scorer.submit(OPEN, what, "g").result()
            failed = time.perf_counter() - began
            scorer.submit(OPEN, "fine", "g").result()
            again = time.perf_counter() - began - failed
            print(f"{what}: its outcome after {failed:.2f} s wall (deadline 1 s), the next one {again:.2f} s later")


if __name__ == "__main__":
    main()
