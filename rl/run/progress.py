"""What a command shows while it works: one live line with the numbers that matter, plain lines where there is no
terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rollouts.terminal import plain

# Names of metrics, how they are called in the line, and how they are written.
SHOWN = (
    ("reward", "reward", "{:.3f}"),
    ("accuracy", "acc", "{:.1%}"),
    ("eval/accuracy", "held-out", "{:.1%}"),
    ("mean_token_accuracy", "token acc", "{:.1%}"),
    ("kl", "kl", "{:.4f}"),
    ("loss", "loss", "{:.4f}"),
    ("completions/format_rate", "format", "{:.0%}"),
    ("completions/mean_length", "tokens", "{:.0f}"),
    ("timing_s/step", "step", "{:.1f}s"),
)
# Without a terminal: a line for the first and the last piece of work and not more often than this in between.
_SECONDS_BETWEEN_LINES = 10.0
# Shorter work is done before a bar could be read.
_SECONDS_BEFORE_A_BAR = 2.0


def numbers_line(metrics: Mapping[str, float | None]) -> str:
    """The numbers that a person watches, in a fixed order, without those that are missing or not finite."""
    parts = []
    for name, label, form in SHOWN:
        value = metrics.get(name)
        if value is not None and math.isfinite(value):
            parts.append(f"{label} {form.format(value)}")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """4.2 s, 1 min 05 s, 2 h 03 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass
class Bar:
    """One piece of work with a known number of parts; made by `Display.bar`."""

    _display: Display
    _title: str
    _total: int
    _task: TaskID | None
    _done: int
    _started: float
    _last_line: float = -math.inf
    _first: int = 0

    def advance(self, metrics: Mapping[str, float | None] | None = None, parts: int = 1) -> None:
        """Say that `parts` more are done, with the newest numbers."""
        self.reach(self._done + parts, metrics)

    def reach(self, done: int, metrics: Mapping[str, float | None] | None = None) -> None:
        """Say that `done` parts are done in all."""
        self._done = done
        numbers = numbers_line(metrics or {})
        if self._display.live is not None and self._task is not None:
            self._display.live.update(self._task, completed=done)
            if numbers:
                self._display.live.update(self._task, numbers=numbers)
            return
        now = time.monotonic()
        if done == self._first + 1 or done >= self._total or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._display.say(f"{self._title} {done}/{self._total}  {numbers}{'  ' if numbers else ''}{self._eta(now)}")

    def warn(self, text: str) -> None:
        """A line that stays and stands out, above the bar."""
        self._display.warn(text)

    def _eta(self, now: float) -> str:
        elapsed, fresh = now - self._started, self._done - self._first
        if self._done >= self._total or fresh <= 0:
            return f"[{duration(elapsed)}]"
        return f"[{duration(elapsed)}, {duration(elapsed / fresh * (self._total - self._done))} left]"


class Display:
    """Shows what goes on. A context manager: leaving it, also by Ctrl-C, restores the terminal's cursor and keeps the
    lines above it."""

    def __init__(self, file: IO[str] | None = None) -> None:
        """`file` is where to write, standard output by default. A live display is used only where that is a
        terminal."""
        self.console = Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.live: Progress | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self.live = Progress(
                SpinnerColumn(finished_text="✓"),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[numbers]}", markup=False),
                console=self.console,
                transient=False,
            )

    def say(self, text: str, style: str = "") -> None:
        """One line that stays."""
        self.console.print(plain(text, style))
        if self.live is None:
            self.console.file.flush()

    def warn(self, text: str) -> None:
        """One line that stays and stands out."""
        self.say(f"warning: {text}", style="yellow")

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Say that something without parts begins, and when it is over how many seconds it took, or that it was
        interrupted or failed."""
        started = time.monotonic()
        task = self.live.add_task(title, total=None, numbers="") if self.live is not None else None
        if task is None:
            self.say(f"{title} ...")
        ending, style = "failed after", "red"
        try:
            yield
            ending, style = "", ""
        except (KeyboardInterrupt, SystemExit):
            ending, style = "interrupted after", "yellow"
            raise
        finally:
            if self.live is not None and task is not None:
                self.live.remove_task(task)
            self.say(f"{title}: {ending}{' ' if ending else ''}{duration(time.monotonic() - started)}", style=style)

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        """Work in `total` parts, of which `done` were done before (a resumed run). Advance it after each part."""
        yield self._bar(title, total, done, time.monotonic())

    def _bar(self, title: str, total: int, done: int, started: float) -> Bar:
        if self.live is None:
            return Bar(self, title, total, None, done, started, _first=done)
        task = self.live.add_task(title, total=total, completed=done, numbers="")
        # Of work that began before it is shown, all the time is told.
        self.live.tasks[-1].start_time = started
        return Bar(self, title, total, task, done, started, _first=done)

    @contextmanager
    def late_bar(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar that appears only where the work takes longer than a look; what is yielded says that more parts are
        done."""
        done, started = 0, time.monotonic()
        bar: Bar | None = None

        def advance(parts: int) -> None:
            nonlocal bar, done
            done += parts
            if bar is None and time.monotonic() - started > _SECONDS_BEFORE_A_BAR:
                bar = self._bar(title, total, 0, started)
            if bar is not None:
                bar.reach(done)

        yield advance

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()
