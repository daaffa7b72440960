"""Log-probs from logits, beside all models: `python -m tests.bench.step.logprobs [--tokens 512] [--rounds 5]`.

CPU seconds of a pass for log-probs alone, and of one for log-probs with entropy and gradient, by vocabulary.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch

from rl.algo.logprobs import entropy, logprobs_and_entropy, nothing

VOCABULARIES = (49_152, 151_936)
BANNED = (11, 12, 13)


def passes(num_tokens: int, vocabulary: int, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(num_tokens, vocabulary, generator=generator) * 3).to(dtype)
    targets = torch.randint(20, vocabulary, (num_tokens,), generator=generator)
    learnt = logits.clone().requires_grad_()

    def forward() -> object:
        with torch.no_grad():
            return logprobs_and_entropy(logits, targets, 0.9, BANNED, nothing)

    def both() -> object:
        learnt.grad = None
        return logprobs_and_entropy(learnt, targets, 0.9, BANNED, entropy)[0].sum().backward()

    return {"log-probs alone": forward, "with entropy and gradient": both}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.step.logprobs", description=__doc__)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(argv)
    for vocabulary in VOCABULARIES:
        for dtype in (torch.float32, torch.bfloat16):
            for name, do in passes(asked.tokens, vocabulary, dtype).items():
                do()
                seconds = []
                for _ in range(asked.rounds):
                    started = time.process_time()
                    do()
                    seconds.append(time.process_time() - started)
                print(f"V = {vocabulary:,}, {str(dtype)[6:]:8} {name:26} {statistics.median(seconds):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
