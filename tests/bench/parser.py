"""How long the parser takes over hostile texts of 100,000 characters: `python -m tests.bench.parser`; the limit is 5 ms
(ANSWERS.md, properties)."""

from __future__ import annotations

import random
import sys
import time

from rich.console import Console
from rich.table import Table

import rewards

LIMIT_MS = 5.0
LENGTH = 100_000
CHEST = ("Pleural effusion", "Pneumonia", "Pneumothorax", "Normal chest")
# What answers, hedges, wrappers and our own marks are made of.
FRAGMENTS = (
    "<think>", "</think>", "<answer>", "</answer>", "A", "B", "C", " or ", " not ", "\\boxed{", "}", "{", '"answer":',
    "答案是", "不是", "或",
    "~~", "<s>", "</s>",
    "Pneumonia", "no ", "yes", "\n", ".", ",", "%", "50", "is wrong", "wait, ", "@0", "@", "NEG", "\u200b", "\ud800",
    "İ",
    "(", ")", "```", "B-", "-", "→", "…", "I think ",
)  # fmt: skip
UNITS = (
    *FRAGMENTS, "a", " ", "AB", "not A or ", "<answer>B</answer>", "\\boxed{A}", '{"a":', "[", "A, ", "é", "肺炎",
    "B or C. ", "B, not A. ",
    "Is it A? No. Is it C? Yes. ", "Wait, A. Actually B. ", "[x] A [ ] B ", "不是A，",
)  # fmt: skip


def hostile() -> dict[str, str]:
    """Name -> text: every unit repeated, and letters of all alphabets at random."""
    draw = random.Random(0)
    scattered = "".join(chr(draw.randrange(32, 0x3000)) for _ in range(LENGTH))
    return {**{repr(unit): unit * (LENGTH // len(unit)) for unit in UNITS}, "letters at random": scattered}


def wrapped(text: str) -> dict[str, str]:
    """Where a completion may hold the text."""
    return {
        "bare": text,
        "as answer": f"<think>x</think><answer>{text}</answer>",
        "as thoughts": f"<think>{text}</think><answer>B</answer>",
    }


def milliseconds(completion: str, times: int) -> float:
    """The least of so many readings, in CPU time of this thread: what other work does to the machine is not the
    parser's."""
    least = float("inf")
    for _ in range(times):
        start = time.thread_time()
        rewards.grade_option(completion, CHEST, "B")
        least = min(least, time.thread_time() - start)
    return 1000.0 * least


def main() -> int:
    """Print the slowest; exit code 1 where one is over the limit."""
    found = [
        (milliseconds(completion, 20), name, where)
        for name, text in hostile().items()
        for where, completion in wrapped(text).items()
    ]
    found.sort(reverse=True)
    table = Table(
        "text, repeated",
        "where",
        "ms",
        title=f"slowest of {len(found)} texts of {LENGTH:,} characters; limit {LIMIT_MS:g} ms",
    )
    for taken, name, where in found[:12]:
        table.add_row(name, where, f"{taken:.2f}")
    Console().print(table)
    return int(found[0][0] > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
