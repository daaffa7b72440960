"""The house in numbers, for LOG.md: `python -m tests.house_numbers [CHECKOUT ...]` prints a column for each checkout.

It reads the syntax trees and runs nothing of them.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

PACKAGES = ("judges", "rollouts", "rewards", "rl")
BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.IfExp, ast.BoolOp, ast.comprehension, ast.Match)
# The walk of one completion's text to its reward: who hands it on, under today's name or the one of 0.1.0, and then all
# that the reader of answers imports.
WALK = (
    ("rollouts.engine.vllm", "rollouts.engine"),
    ("rl.workers.rollout_worker",),
    ("rl.workers.groups",),
    ("rl.drawing", "rl.step"),
    ("rewards.scorer",),
    ("rewards.rubric",),
    ("rewards.calling",),
    ("rewards.shipped.choice", "rewards.option_match"),
)
READER = ("rewards.answers.read", "rewards.parsing")


def modules(checkout: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the packages."""
    return {
        ".".join(path.relative_to(checkout).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((checkout / package).rglob("*.py"))
    }


def imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The project's modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                for alias in node.names
            }
    return names & known.keys()


def reach(start: str, known: Mapping[str, Path], within: str) -> set[str]:
    """All modules below `within` that a module imports, directly or not, itself included."""
    seen, ahead = {start}, [start]
    while ahead:
        fresh = {name for name in imports(known[ahead.pop()], known) if name.startswith(within)} - seen
        seen |= fresh
        ahead += fresh
    return seen


def first(names: Sequence[str], known: Mapping[str, Path]) -> str:
    """The name that this checkout has. Raises KeyError where it has none."""
    for name in names:
        if name in known:
            return name
    raise KeyError(f"none of {names} is here")


def numbers(checkout: Path) -> Iterator[tuple[str, str]]:
    """Name and value of each number of a checkout, in the order they are printed."""
    known = modules(checkout)
    texts = [path.read_text(encoding="utf-8").splitlines() for path in known.values()]
    lines = sum(map(len, texts))
    nodes = [node for path in known.values() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    branches = sum(isinstance(node, BRANCHES) for node in nodes)
    anys = sum(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)
    wide = sum(len(line) > 120 for text in texts for line in text)
    folders = Counter(path.parent.relative_to(checkout).as_posix() for path in known.values())
    largest, count = folders.most_common(1)[0]
    yield "files / lines", f"{len(known)} / {lines:,}"
    yield "folders, most files in one", f"{len(folders)}, {count} in {largest}"
    yield "doors from text to reward", str(len(WALK) + len(reach(first(READER, known), known, "rewards.")))
    yield "lines that read an answer", f"{reader_lines(known):,}"
    yield "modules that rl/recipe.py imports", str(len(imports(known["rl.recipe"], known)))
    yield "branches per 1,000 lines", f"{1000 * branches / lines:.0f}"
    yield "`Any` per 1,000 lines", f"{1000 * anys / lines:.1f}"
    yield "lines over 120 columns", f"{wide:,} ({wide / lines:.1%})"
    for folder in sorted(folders):
        inside = [text for path, text in zip(known.values(), texts, strict=True) if path.parent == checkout / folder]
        yield f"  {folder}/", f"{len(inside)} / {sum(map(len, inside)):,}"


def reader_lines(known: Mapping[str, Path]) -> int:
    """Lines of the reader and all it imports in `rewards`."""
    return sum(
        len(known[name].read_text(encoding="utf-8").splitlines())
        for name in reach(first(READER, known), known, "rewards.")
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.house_numbers", description=re.sub(r":.*", "", __doc__ or "")
    )
    parser.add_argument(
        "checkouts", nargs="*", type=Path, default=[Path(".")], help="folders of checkouts (default: .)"
    )
    checkouts = parser.parse_args(argv).checkouts
    columns = [dict(numbers(checkout)) for checkout in checkouts]
    table = Table("", *(checkout.resolve().name for checkout in checkouts))
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "") for column in columns))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
