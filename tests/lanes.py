"""Which test files `pytest --fast` (`make test-fast`) runs: those that start nothing, decided from their imports.

A file is left out, before it is imported, when it or one of the tests' own helpers that it imports can start a process
or a server, or when importing it loads an engine or a model library. So a new pure file is in without being listed.
What imports cannot show (the project starts a process for the test; a test takes long) says it by
`@pytest.mark.full_run_only(reason=..)`; a test of the fast lane that starts something all the same fails.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN = ("conf", "examples", "judges", "rewards", "rl", "rollouts", "tests")
# Modules, and names of asyncio, by which a test starts a process, a server or a browser.
STARTERS = {"http", "multiprocessing", "playwright", "socket", "socketserver", "start_server", "subprocess", "uvicorn"}
# Libraries that take many seconds to load. torch is none of them: the maths is tested on tensors.
HEAVY = {"ray", "transformers", "trl", "verl", "vllm"}
# What Python reports (sys.addaudithook) when a process or a server starts.
EVENTS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "socket.bind", "subprocess.Popen"}


def why_left_out(path: Path) -> str:
    """Why `path`, a test file, is not of the fast lane; "" where it is."""
    waiting, seen = [path.resolve()], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        names = list(imports(file))
        tops = {name.partition(".")[0] for name in names}
        bad = tops & HEAVY | (_words(file) & STARTERS if file.is_relative_to(ROOT / "tests") else set())
        if bad:
            return f"{file.relative_to(ROOT)} uses {', '.join(sorted(bad))}"
        waiting += [own for name in names if (own := _file_of(name)) is not None]
    return ""


def imports(path: Path) -> Iterator[str]:
    """Dotted names that importing the file imports; what stands inside functions is not among them."""
    for node in _tree(path).body:
        for inner in ast.walk(node) if isinstance(node, (ast.If, ast.Try)) else [node]:
            if isinstance(inner, ast.Import):
                yield from (alias.name for alias in inner.names)
            elif isinstance(inner, ast.ImportFrom) and inner.module is not None:
                yield from (inner.module, *(f"{inner.module}.{alias.name}" for alias in inner.names))


def _words(path: Path) -> set[str]:
    """First parts of what the file imports anywhere, and the attributes it names."""
    words = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            words |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            words.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
    return words


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _file_of(name: str) -> Path | None:
    """The file of a module of this checkout; None for a library, and for a name inside a module."""
    if name.partition(".")[0] not in OWN:
        return None
    place = ROOT.joinpath(*name.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


class FastLane:
    """The pytest plugin behind `--fast`: leaves files and marked tests out, and watches the others."""

    def __init__(self) -> None:
        self.started: list[str] = []
        # As if not installed: a comparison with TRL's or verl's own code is skipped, and a hidden import fails at once.
        sys.modules.update(dict.fromkeys(HEAVY))  # type: ignore[arg-type]
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS:
            self.started.append(event)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave a file out before it is imported."""
        is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
        return True if is_test and why_left_out(collection_path) else None

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out single tests that say so."""
        marks = ("full_run_only", "slow", "gpu", "browser")
        out = [item for item in items if any(item.get_closest_marker(mark) for mark in marks)]
        items[:] = [item for item in items if item not in out]
        config.hook.pytest_deselected(items=out)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test that started something."""
        self.started.clear()
        yield
        if self.started:
            pytest.fail(
                f"the fast lane starts nothing, but this test did: {', '.join(sorted(set(self.started)))}. Mark it"
                ' @pytest.mark.full_run_only(reason="..").',
                pytrace=False,
            )
