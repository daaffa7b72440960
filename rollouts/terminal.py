"""What every command prints: safe texts, one kind of table, one kind of console, and what is not installed; and the
exit code it ends with.

Model text, the files of users and the names of a run are hostile: every character that would act on the terminal is
made visible, and nothing is read as markup.
"""

from __future__ import annotations

import atexit
import importlib.util
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import NoReturn, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

# The exit code of every command; tests/test_commands.py holds them to it. FAILED: what was asked for can be done and
# was not, for a reason of ours, or a check has found something. CANNOT: it cannot be done as it was asked for, because
# of the settings, the data, the files or what is installed. `kill` gives 143.
DONE, FAILED, CANNOT, INTERRUPTED = 0, 1, 2, 130
# Columns of the output where there is no terminal: no cell of a table of numbers is broken.
WIDTH = 120
# An extra of pyproject.toml -> the modules by which its presence shows.
EXTRAS = {
    "train": ("torch", "transformers", "ray", "verl", "datasets", "jinja2", "psutil", "wandb"),
    "view": ("duckdb", "fastapi", "tokenizers", "uvicorn"),
    "media": ("av", "gdcm", "nibabel", "pydicom"),
    "cpu": ("vllm",),
}
# vLLM comes in a build for CPUs and one for CUDA.
_INSTEAD = {"cpu": " (on CUDA 'rounds-rl[gpu]')"}


def printable(text: str) -> str:
    """The text as a terminal prints it safely: line breaks and tabs stay, every other character that would act on the
    terminal is spelled out."""
    return "".join(
        character if character in "\n\t" or not _acts(character) else _spelling(character) for character in text
    )


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _spelling(character: str) -> str:
    code = ord(character)
    # Control Pictures has a sign for each of the first 32 control characters.
    return chr(0x2400 + code) if code < 0x20 else f"<U+{code:04X}>"


def one_line(text: str, limit: int | None = None) -> str:
    """The printable text on one line, its blanks and line breaks as single spaces, cut after `limit` characters."""
    return " ".join(printable(text).split())[:limit]


def plain(text: str, style: str = "") -> Text:
    """The printable text in a style of ours, without markup of its own."""
    return Text(printable(text), style=style)


def open_console(*, errors: bool = False) -> Console:
    """A console on standard output, or on standard error, that reads nothing as markup."""
    someone = any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    width = None if someone or "COLUMNS" in os.environ else WIDTH
    return Console(stderr=errors, highlight=False, markup=False, emoji=False, width=width)


def complain(text: str) -> None:
    """Print an error on standard error."""
    print(printable(text), file=sys.stderr)


def table(title: str, columns: Sequence[str | Column], rows: Iterable[Sequence[str | Text] | None]) -> Table:
    """A table whose texts are made printable; None among the rows draws a line. The first column stands left, the
    others, where they are given by name, right."""
    made = [
        # Folded where a terminal is narrow: a number that is cut short would be another number.
        column if isinstance(column, Column) else Column(column, justify="right" if index else "left", overflow="fold")
        for index, column in enumerate(columns)
    ]
    result = Table(*made, title=plain(title) if title else None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        if row is None:
            result.add_section()
        else:
            result.add_row(*(plain(cell) if isinstance(cell, str) else cell for cell in row))
    return result


class Ending:
    """Turns what a command expects to go wrong into a message and an exit code: `with Ending(COMMAND, StoreError) as
    end:` around its work, and `return end.code` behind it. Everything else keeps its traceback, and gives 1."""

    def __init__(self, command: str, *expected: type[Exception], stopped: str = "interrupted") -> None:
        """`expected`: faults that a person can mend, with messages that say how. `stopped`: what is said at Ctrl-C."""
        self.code = DONE
        self._command, self._expected, self._stopped = command, expected, stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, KeyboardInterrupt):
            self.code = INTERRUPTED
            complain(f"{self._command}: {self._stopped}")
        elif isinstance(error, self._expected):
            self.code = exit_code(error)
            complain(f"{self._command}: {error}")
        else:
            return False
        return True


def exit_code(fault: BaseException) -> int:
    """The exit code of an expected fault: CANNOT, but for kinds that are failures of ours and say so by an attribute
    `exit_code`."""
    return int(getattr(fault, "exit_code", CANNOT))


def end_with(command: Callable[[], int]) -> NoReturn:
    """Run a command that closes all it opens, and end at once with its exit code, or with that of the SystemExit it
    raised: the leak reports of Triton's bindings, which vLLM imports, stay off its last lines. What is registered with
    `atexit` is done before."""
    try:
        code = command()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            complain(stop.code)
        code = FAILED if isinstance(stop.code, str) else stop.code or DONE
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def accept_any_stdout() -> None:
    """Let output survive a terminal or file that cannot show every character (an old locale, a Windows log): such a
    character is written as an escape, \\u80ba, instead of ending the command in a UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed; none is imported."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def require(command: str, *extras: str) -> None:
    """Go on where all modules of the extras are installed (none is imported). Ends the process (CANNOT) with one
    line that says what is missing and how to install it."""
    wanting = [extra for extra in extras if missing(extra)]
    if wanting:
        # `cpu` and `gpu` hold `media`, `train` and `view`, so the last extra of a command brings the others with it.
        last = wanting[-1]
        modules = ", ".join(name for extra in wanting for name in missing(extra))
        complain(f"{command} needs {modules}: pip install 'rounds-rl[{last}]'{_INSTEAD.get(last, '')}")
        raise SystemExit(CANNOT)
