"""`python -m rollouts.check RUN`: what a stored run holds, and what of it is missing, changed or doubled.

It reads every step and compares every hash: counts, unique keys, images, a weights version on each completion.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollouts.store.codec import KEY_COLUMNS, Row
from rollouts.store.disk import sha256_file
from rollouts.store.layout import PARQUET, StepFiles, StoreError, list_steps, media_path
from rollouts.store.reader import files_of, read_manifest, read_rows
from rollouts.terminal import DONE, FAILED, Ending, accept_any_stdout, printable

COMMAND = "python -m rollouts.check"
# Problems that are printed; --json holds all of them.
MAX_PRINTED = 50


@dataclass(frozen=True)
class RunCheck:
    """What was counted, and every problem found in words; `ok` = none."""

    num_steps: int
    num_rollouts: int
    num_media: int
    # Steps without a manifest: the one being written, or torn by a kill.
    unfinished_steps: tuple[int, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check_run(
    run_dir: Path | str,
    *,
    num_steps: int | None = None,
    prompts_per_step: int | None = None,
    num_generations: int | None = None,
) -> RunCheck:
    """Read everything a run has stored and list what is wrong with it.

    A number that is not given is taken from the run itself: groups must all have the size of the largest, steps the
    prompts of the fullest.

    Raises:
        NotARun: the folder holds no rollouts.
    """
    steps = list_steps(run_dir)
    problems: list[str] = []
    counts: dict[int, Counter[str]] = {}
    media: set[str] = set()
    keys: set[tuple[object, ...]] = set()
    total = 0
    for stored in steps:
        try:
            rows = read_rows(stored)
            problems += _file_problems(Path(run_dir), stored)
            names = {name for row in rows for medium in row["media"] for name in files_of(medium)}
            missing = sorted(name for name in names - media if not media_path(run_dir, name).is_file())
        except StoreError as error:
            problems.append(str(error))
            continue
        except (KeyError, TypeError, AttributeError) as error:  # another JSON or Parquet file under this name
            problems.append(f"{stored.folder} does not hold what a step holds: {error!r}")
            continue
        counts[stored.step] = Counter(row["prompt_id"] for row in rows)
        total += len(rows)
        problems += _row_problems(rows, stored.step, keys)
        problems += [
            f"image {name} of step {stored.step} is missing from {Path(run_dir) / 'media'}" for name in missing
        ]
        media |= names
    problems += _count_problems(counts, num_steps, prompts_per_step, num_generations)
    unfinished = tuple(stored.step for stored in steps if not stored.finished)
    return RunCheck(len(steps), total, len(media), unfinished, tuple(problems))


def _file_problems(run_dir: Path, stored: StepFiles) -> Iterator[str]:
    if not stored.finished:
        return
    manifest = read_manifest(stored.folder)
    parquet = stored.folder / PARQUET
    if sha256_file(parquet) != manifest["files"][PARQUET]["sha256"]:
        yield f"{parquet} changed since its manifest was written"
    for name, expected in manifest["media"].items():
        path = media_path(run_dir, name)
        if path.is_file() and sha256_file(path) != expected:
            yield f"{path} changed since step {stored.step} was written"


def _row_problems(rows: list[Row], step: int, keys: set[tuple[object, ...]]) -> Iterator[str]:
    for row in rows:
        key = tuple(row[name] for name in KEY_COLUMNS)
        if key in keys:
            yield f"rollout {key} is stored twice"
        keys.add(key)
        if row["step"] != step:
            yield f"rollout {key} lies in the folder of step {step}"
        if row["policy_version"] is None or row["policy_version"] < 0:
            yield f"rollout {key} has no weights version (got {row['policy_version']})"


def _count_problems(
    counts: dict[int, Counter[str]], num_steps: int | None, prompts_per_step: int | None, num_generations: int | None
) -> Iterator[str]:
    if num_steps is not None and len(counts) != num_steps:
        yield f"{len(counts)} steps are stored, expected {num_steps}"
    prompts = prompts_per_step or max((len(groups) for groups in counts.values()), default=0)
    size = num_generations or max((count for groups in counts.values() for count in groups.values()), default=0)
    for step, groups in counts.items():
        if len(groups) != prompts:
            yield f"step {step} holds {len(groups)} prompts, expected {prompts}"
        yield from (
            f"step {step}, prompt {name}: {count} completions, expected {size}"
            for name, count in groups.items()
            if count != size
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`): FAILED where something is missing or changed."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Read everything that a run has stored and say what is missing, changed or doubled.",
        epilog=(
            "exit code: 0 = all is there and unchanged, 1 = something is not, 2 = the folder is no run. A step without"
            " a manifest is no fault: it is being written, or resume=true does it again."
        ),
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run (its out_dir), or of a replay")
    parser.add_argument("--steps", type=int, metavar="N", help="expect N steps (default: any number)")
    for name, what in (("prompts", "prompts a step"), ("completions", "completions a prompt")):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"expect N {what} (default: the most there are)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    arguments = parser.parse_args(argv)
    with Ending(COMMAND, StoreError) as ending:
        check = check_run(
            arguments.run,
            num_steps=arguments.steps,
            prompts_per_step=arguments.prompts,
            num_generations=arguments.completions,
        )
        show(check, as_json=arguments.json)
        return DONE if check.ok else FAILED
    return ending.code


def show(check: RunCheck, *, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        print(json.dumps(dataclasses.asdict(check), indent=2))
        return
    unfinished = f"; not finished: step {', '.join(map(str, check.unfinished_steps))}" if check.unfinished_steps else ""
    print(f"{check.num_steps} steps, {check.num_rollouts} completions, {check.num_media} images{unfinished}")
    for problem in check.problems[:MAX_PRINTED]:
        print(printable(problem))
    if len(check.problems) > MAX_PRINTED:
        print(f"and {len(check.problems) - MAX_PRINTED} more; --json holds all of them")
    print(f"{len(check.problems)} problems" if check.problems else "all is there and unchanged")


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
