"""How many rows of case files the reader gets right: `python -m rewards.answers.measure [FILES]`, else of tests/cases.

`--wrong` prints the rows that are not graded as written; files with "format" in their name are graded by the format.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards.answers.form import grade_format
from rewards.answers.read import grade_option, parse
from rollouts.terminal import CANNOT, DONE, FAILED, accept_any_stdout, complain, open_console, table

# Files of cases, as they are named below tests/cases.
KINDS = ("*option_cases*.jsonl", "unseen_*.jsonl", "*format_cases*.jsonl")
# What is counted of each row.
COLUMNS = ("rows", "right", "paid wrong", "refused", "unclear", "must pay", "must not pay")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of cases, one JSON object a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def grade(row: Mapping[str, Any], is_format: bool = False) -> tuple[bool, bool, bool]:
    """Whether a row must be paid, whether it is, and whether its answer is unclear.

    A row names either `gold` and `verdict`, or the `expected_letters` of its answer; "" = none, and then any single
    letter is paid wrongly.
    """
    if is_format:
        return bool(row["verdict"]), grade_format(row["completion"]), False
    extras = {name: row[name] for name in ("prefill", "finish_reason") if name in row}
    parsed = parse(row["completion"], row["options"], **extras)
    if "expected_letters" in row:
        wanted = row["expected_letters"]
        paid = "".join(parsed.letters) == wanted if wanted else len(parsed.letters) == 1
        return bool(wanted), paid, parsed.verdict == "unclear"
    return (
        row["verdict"] is True,
        grade_option(row["completion"], row["options"], row["gold"]),
        parsed.verdict == "unclear",
    )


def count(rows: Sequence[Mapping[str, Any]], is_format: bool) -> Counter[str]:
    """The columns over the rows. A row that names another answer than expected counts as refused."""
    counts: Counter[str] = Counter(rows=len(rows))
    for row in rows:
        wanted, paid, unclear = grade(row, is_format)
        counts["must pay" if wanted else "must not pay"] += 1
        counts["unclear"] += unclear
        counts["right" if wanted == paid else "paid wrong" if paid else "refused"] += 1
    return counts


def wrong(rows: Sequence[Mapping[str, Any]], is_format: bool) -> Iterator[Mapping[str, Any]]:
    """The rows that are not graded as written."""
    for row in rows:
        wanted, paid, _ = grade(row, is_format)
        if wanted != paid:
            yield row


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit code (`rollouts.terminal`): FAILED where a row is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m rewards.answers.measure",
        description="Grades files of cases with the answer reader: rows right, paid wrong, refused, and unclear.",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="JSON lines; default: those of tests/cases")
    parser.add_argument("--wrong", action="store_true", help="print the rows that are not graded as written as well")
    arguments = parser.parse_args(argv)
    paths = arguments.files or [path for kind in KINDS for path in sorted(Path("tests/cases").rglob(kind))]
    total: Counter[str] = Counter()
    lines: list[list[str] | None] = []
    for path in paths:
        is_format = "format" in path.name
        try:
            rows = rows_of(path)
            counts = count(rows, is_format)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            complain(
                f"{parser.prog}: {path} holds no cases ({reason}); expected one JSON object a line, as in tests/cases"
            )
            return CANNOT
        total += counts
        lines.append(_line(path.name, counts))
        for row in wrong(rows, is_format) if arguments.wrong else ():
            print(json.dumps(row, ensure_ascii=False))
    title = "the answer reader against its cases"
    open_console().print(table(title, ("file", *COLUMNS), [*lines, None, _line("all", total)]))
    return FAILED if total["right"] < total["rows"] else DONE


def _line(name: str, counts: Counter[str]) -> list[str]:
    """A line of the table; beside what is unclear its share of all rows."""
    share = f" ({counts['unclear'] / counts['rows']:.1%})" if counts["rows"] else ""
    return [name, *(f"{counts[column]:,}{share if column == 'unclear' else ''}" for column in COLUMNS)]


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
