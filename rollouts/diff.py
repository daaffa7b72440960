"""`python -m rollouts.diff RUN_A RUN_B`: the same prompts in two runs, completion by completion: means, flips,
McNemar's test, groups that differ.

Joined on prompt and sample index; where a prompt comes more than once (epochs), its first time in the one run meets its
first time in the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Column
from scipy.stats import binomtest

from rollouts.measures import mean_or_none
from rollouts.records import ACCURACY
from rollouts.store.layout import StoreError, list_steps
from rollouts.store.paid import Paid, compare_pairs, read_paid
from rollouts.store.reader import choose_steps, read_table
from rollouts.terminal import DONE, Ending, accept_any_stdout, complain, one_line, open_console, plain, table

COMMAND = "python -m rollouts.diff"


class DiffError(ValueError):
    """Two runs that cannot be compared as it was asked for."""


class Joined(NamedTuple):
    """Which completion of both runs; `time` counts how often the prompt came before in its run."""

    prompt_id: str
    time: int
    sample_index: int


class Side(NamedTuple):
    """One completion in one run."""

    step: int
    paid: Paid


def read_side(run_dir: Path, problems: list[str]) -> dict[Joined, Side]:
    """All completions of a run by the key they are joined on; a step that cannot be read becomes a problem. Raises
    NotARun."""
    sides: dict[Joined, Side] = {}
    times: dict[str, list[int]] = defaultdict(list)
    for files in choose_steps(run_dir, None):
        try:
            rows = list(read_paid(files))
        except StoreError as error:
            problems.append(str(error))
            continue
        for key, paid in rows:
            if files.step not in times[key.prompt_id]:
                times[key.prompt_id].append(files.step)
            sides[Joined(key.prompt_id, len(times[key.prompt_id]) - 1, key.sample_index)] = Side(files.step, paid)
    return sides


def compare(run_a: Path, run_b: Path, *, reward: str = ACCURACY, top: int = 10) -> dict[str, Any]:
    """Everything `rollouts.diff` tells, JSON-ready.

    `reward`: the one that says right (above 0.5) or wrong. `top`: how many of the groups that differ most.
    Raises NotARun, and DiffError for runs without a common completion or without that reward.
    """
    problems: list[str] = []
    a, b = read_side(run_a, problems), read_side(run_b, problems)
    common = [key for key in a if key in b]
    if not common:
        raise DiffError(
            f"{run_a} ({len(a)} completions) and {run_b} ({len(b)}) have no prompt in common, so there is nothing to"
            " compare: the runs must be on the same data with the same seed."
        )
    pairs = [(a[key].paid, b[key].paid) for key in common]
    names = list(dict.fromkeys(name for pair in pairs for paid in pair for name in paid.outcomes))
    if reward not in names:
        raise DiffError(f"--reward {reward}: neither run has such a reward; there are {', '.join(names)}")
    return {
        "runs": [str(run_a), str(run_b)],
        "num_common": len(common),
        "num_only": [len(a) - len(common), len(b) - len(common)],
        "reward": reward,
        "rewards": {
            name: compare_pairs([(first.value(name), second.value(name)) for first, second in pairs]) for name in names
        },
        "total": compare_pairs([(first.total, second.total) for first, second in pairs]),
        "paired": _paired(common, pairs, reward),
        "groups": _groups(common, a, b, reward)[:top],
        "problems": problems,
    }


def _paired(common: Sequence[Joined], pairs: Sequence[tuple[Paid, Paid]], reward: str) -> dict[str, Any]:
    """Right and wrong of the same completions, and of the same prompts: completions of one prompt are not independent,
    prompts are."""
    marks = [(first.is_right(reward), second.is_right(reward)) for first, second in pairs]
    only_a, only_b = marks.count((True, False)), marks.count((False, True))
    shares: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for key, (first, second) in zip(common, marks, strict=True):
        if first is not None and second is not None:
            shares[key.prompt_id, key.time][0] += first
            shares[key.prompt_id, key.time][1] += second
    more_a = sum(first > second for first, second in shares.values())
    more_b = sum(second > first for first, second in shares.values())
    return {
        "num_judged": sum(None not in one for one in marks),
        "both_right": marks.count((True, True)),
        "both_wrong": marks.count((False, False)),
        "only_a_right": only_a,
        "only_b_right": only_b,
        "mcnemar_p": sign_test(only_a, only_b),
        "prompts_better_in_a": more_a,
        "prompts_better_in_b": more_b,
        "sign_test_p": sign_test(more_a, more_b),
    }


def sign_test(first: int, second: int) -> float:
    """Two-sided exact p that neither side is favoured: 2 P(X <= the smaller count) for X binomial(n, 1/2), at most 1;
    1.0 of nothing.

    Of discordant pairs of right and wrong this is McNemar's exact test (McNemar 1947).
    """
    return float(binomtest(first, first + second, 0.5).pvalue) if first + second else 1.0


def _groups(
    common: Sequence[Joined], a: Mapping[Joined, Side], b: Mapping[Joined, Side], reward: str
) -> list[dict[str, Any]]:
    """The groups whose mean reward differs, those in which it differs most first."""
    members: dict[tuple[str, int], list[Joined]] = defaultdict(list)
    for key in common:
        members[key.prompt_id, key.time].append(key)
    rows = []
    for (prompt_id, _), keys in members.items():
        totals = [mean_or_none([t for t in (side[key].paid.total for key in keys) if t is not None]) for side in (a, b)]
        if totals[0] is None or totals[1] is None or totals[0] == totals[1]:
            continue
        rows.append(
            {
                "prompt_id": prompt_id, "steps": [a[keys[0]].step, b[keys[0]].step], "num_completions": len(keys),
                "mean_a": totals[0], "mean_b": totals[1], "difference": totals[1] - totals[0],
                "right_a": sum(a[key].paid.is_right(reward) or False for key in keys),
                "right_b": sum(b[key].paid.is_right(reward) or False for key in keys),
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: (-abs(row["difference"]), row["steps"], row["prompt_id"]))


def questions(run_dir: Path, groups: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Prompt id -> its question, for the groups that are shown."""
    wanted: dict[int, set[str]] = defaultdict(set)
    for group in groups:
        wanted[group["steps"][0]].add(group["prompt_id"])
    texts: dict[str, str] = {}
    for files in list_steps(run_dir):
        if files.step in wanted:
            rows = read_table(files, ["prompt_id", "question"]).to_pylist()
            texts |= {row["prompt_id"]: row["question"] for row in rows if row["prompt_id"] in wanted[files.step]}
    return texts


def show(report: Mapping[str, Any], texts: Mapping[str, str], console: Console) -> None:
    """The report for people; what a run says is shown as text, whatever characters it holds."""
    console.print(plain(f"A = {report['runs'][0]}\nB = {report['runs'][1]}"))
    only = report["num_only"]
    console.print(f"{report['num_common']} completions in both, {only[0]} only in A, {only[1]} only in B")
    keys = ("agreement", "mean_before", "mean_after", "mean_shift")
    rewards = [
        (name, str(one["num_both"]), *("-" if one[key] is None else f"{one[key]:.4f}" for key in keys))
        for name, one in [*report["rewards"].items(), ("total", report["total"])]
    ]
    console.print(table("", ("reward", "both", "equal", "A", "B", "B - A"), rewards))
    paired = report["paired"]
    console.print(plain(
        f"{report['reward']}: {paired['both_right']} right in both, {paired['both_wrong']} wrong in both, "
        f"{paired['only_a_right']} right only in A, "
        f"{paired['only_b_right']} only in B: McNemar's exact p = {paired['mcnemar_p']:.3g} "
        f"over {paired['num_judged']} completions"
    ))  # fmt: skip
    console.print(
        f"by prompt, which unlike completions are independent: better in A {paired['prompts_better_in_a']}, in B"
        f" {paired['prompts_better_in_b']}, sign test p = {paired['sign_test_p']:.3g}"
    )
    columns = (
        Column("step", min_width=7),
        Column("prompt", overflow="fold", min_width=12),
        Column("right", min_width=10),
        Column("mean", min_width=13),
        Column("question", no_wrap=True, overflow="ellipsis", max_width=60),
    )
    groups = [
        (
            " → ".join(str(step) for step in row["steps"]),
            row["prompt_id"],
            f"{row['right_a']} → {row['right_b']} of {row['num_completions']}",
            f"{row['mean_a']:.3f} → {row['mean_b']:.3f}",
            one_line(texts.get(row["prompt_id"], "")),
        )
        for row in report["groups"]
    ]
    console.print(table("groups that differ most, from A to B", columns, groups))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description=(
            "Compare two runs on the prompts they share: means, flips, McNemar's test on paired correctness, groups"
            " that differ most."
        ),
        epilog=(
            f"examples:\n  {COMMAND} runs/seed0 runs/seed1\n  {COMMAND} runs/med_grpo runs/med_grpo.replay-1a2b3c"
            " --json | jq .paired"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A")
    parser.add_argument("run_b", type=Path, metavar="RUN_B")
    parser.add_argument(
        "--reward", default=ACCURACY, metavar="NAME", help="the reward that says right or wrong (default: %(default)s)"
    )
    parser.add_argument(
        "--top",
        type=int,
        default=10,
        metavar="N",
        help="how many of the groups that differ most (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args(argv)
    with Ending(COMMAND, StoreError, DiffError) as ending:
        report = compare(arguments.run_a, arguments.run_b, reward=arguments.reward, top=arguments.top)
        texts = {} if arguments.json else questions(arguments.run_a, report["groups"])
    if ending.code:
        return ending.code
    for problem in report["problems"]:
        complain(f"{COMMAND}: left out: {problem}")
    if arguments.json:
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        show(report, texts, open_console())
    return DONE


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
