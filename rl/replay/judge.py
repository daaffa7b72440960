"""The judge of a replay: it takes the run's own verdicts from a copy of its cache, and asks a model only for what is
missing there."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from judges import Assessment, Criteria, Judge, JudgeError, Question, Verdict, make_judge
from judges.settings import CACHE_OFF, JudgeConfig
from rl.config import Config
from rl.replay.config import same_verdicts
from rl.replay.filters import ReplayError

CACHE = "judge.sqlite"


class StoredFirst:
    """Answers from `stored`, a judge that asks nobody. What that one lacks is asked of the judge that `live` makes when
    it is first needed.

    A judgement that is `known` to have failed in the run is not asked again: then nothing is asked that the run did not
    ask.
    """

    is_instant = False

    def __init__(self, stored: Judge, live: Callable[[], Judge]) -> None:
        self.name = stored.name
        self.shows_images = stored.shows_images
        # (group key, text that was judged) of judgements that failed in the run and are to stay so.
        self.known: set[tuple[str, str]] = set()
        self._stored = stored
        self._make_live = live
        self._live: Judge | None = None
        # Why the live judge cannot be asked; None = it can, or was not needed. A replay stops on it.
        self.broken: Exception | None = None
        self._lock = asyncio.Lock()

    async def judge(self, question: Question) -> Verdict:
        """Return the stored verdict, else a new one. Raises JudgeError where the live judge cannot be asked."""
        stored = await self._stored.judge(question)
        if stored.failure is None or (question.group_key, question.answer) in self.known:
            return stored
        return await (await self._live_judge()).judge(question)

    async def assess(self, criteria: Criteria) -> Assessment:
        """Return the stored assessment, else a new one. Raises JudgeError where the live judge cannot be asked."""
        stored = await self._stored.assess(criteria)
        if stored.failure is None or (criteria.group_key, criteria.candidate) in self.known:
            return stored
        return await (await self._live_judge()).assess(criteria)

    async def _live_judge(self) -> Judge:
        async with self._lock:
            if self.broken is not None:
                raise self.broken
            if self._live is None:
                try:
                    live = await asyncio.to_thread(self._make_live)
                    await live.check()
                except JudgeError as error:
                    self.broken = error
                    raise
                self._live = live
        return self._live

    async def check(self) -> None:
        """Check nothing: whether the model can be asked shows when it is first needed."""

    def check_now(self) -> None:
        """As `check`."""

    def describe(self) -> str:
        """Say who decided in the run, and that its verdicts are used."""
        return f"{self._stored.describe()} (its stored verdicts; asked only for what is not among them)"

    def metrics(self) -> dict[str, float]:
        """Return the counters of both judges, added up."""
        total = dict(self._stored.metrics())
        for name, value in (self._live.metrics() if self._live else {}).items():
            total[name] = total.get(name, 0.0) + value
        return total

    async def close(self) -> None:
        """Close both judges."""
        await self._stored.close()
        if self._live is not None:
            await self._live.close()


def replay_judge(before: Config, config: Config, run_dir: Path, out: Path, *, times: int) -> Judge:
    """The judge that scores a replay into `out`, its cache beginning as a copy of the run's. No canaries, no
    calibration: nothing is trained.

    `times` above 1 asks every time anew, from no cache. Raises JudgeConfigError, JudgeUnreachable, and ReplayError for
    a damaged cache.
    """
    settings = dataclasses.replace(config.judge, canary_fraction=0.0, calibration=None)
    if settings.kind == "rules":
        return make_judge(settings)
    if times > 1:
        settings = dataclasses.replace(settings, cache=CACHE_OFF)
    cache = None if settings.cache == CACHE_OFF else out / CACHE
    if cache is not None:
        copy_cache(config.judge, run_dir, cache)
        settings = dataclasses.replace(settings, cache=None)

    def live() -> Judge:
        return make_judge(settings, cache_path=cache)

    if cache is not None and not settings.offline and same_verdicts(before, config):
        return StoredFirst(make_judge(dataclasses.replace(settings, offline=True), cache_path=cache), live)
    judge = live()
    judge.check_now()
    return judge


def copy_cache(judge: JudgeConfig, run_dir: Path, cache: Path) -> None:
    """Copy the verdicts of a run, the write-ahead log included, so that opening them changes no file of the run.
    Nothing where there are none."""
    source = Path(judge.cache) if judge.cache not in (None, CACHE_OFF) else run_dir / CACHE
    if cache.exists() or not source.is_file():
        return
    beside = cache.with_name(f".{cache.name}.copy")
    for ending in ("", "-wal"):
        beside.with_name(beside.name + ending).unlink(missing_ok=True)
        if (part := source.with_name(source.name + ending)).is_file():
            shutil.copyfile(part, beside.with_name(beside.name + ending))
    try:
        with sqlite3.connect(beside) as database:
            # Takes the log in, so that one file is left.
            database.execute("PRAGMA journal_mode=DELETE")
            (verdict,) = database.execute("PRAGMA quick_check").fetchone()
        database.close()
    except sqlite3.Error as error:
        verdict = str(error)
    if verdict != "ok":
        raise ReplayError(
            f"the judge's cache {source} cannot be read ({verdict}). If the run is still going on, try again in a"
            " moment; if the file is damaged, judge.cache=off asks every judgement anew."
        )
    os.replace(beside, cache)
