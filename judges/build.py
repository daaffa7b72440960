"""Turns settings into a judge: one model or a panel, a second opinion, canaries. They share one client for each model,
one budget and one cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from judges.cases import SHIPPED_CANARIES, Case, read_labelled
from judges.gateway.endpoint import Budget, Endpoint, Prices, key_fault
from judges.gateway.route import proxy_for
from judges.guards.canaries import CanaryJudge
from judges.guards.panel import PanelJudge
from judges.guards.prechecks import precheck
from judges.guards.second_opinion import SecondOpinionJudge
from judges.local.judge import LocalJudge, take_server
from judges.model.cache import VerdictCache
from judges.rules import RulesJudge
from judges.settings import (
    CACHE_OFF,
    SHIPPED_MODEL,
    JudgeConfig,
    Seat,
    faults,
    first_seat,
    locate,
    panel_seats,
    second_seat,
)
from judges.verdict import Judge, JudgeConfigError

if TYPE_CHECKING:
    from judges.gateway.client import ChatClient
    from judges.local.server import JudgeServer


def make_judge(
    settings: JudgeConfig,
    *,
    cache_path: str | Path | None = None,
    backoff_seconds: float = 0.5,
    start: bool = False,
    calls: int = 0,
    tokens: int = 0,
) -> Judge:
    """Build the judge of a configuration. It asks nothing yet (see `check_now`).

    `cache_path`: file of verdicts unless `settings.cache` names another; None = no cache. `backoff_seconds`: base of
    the full-jitter backoff, in seconds. `start`: start a server of ours (judge=local) now and not with the first
    question; its log lies beside the cache. `calls`, `tokens`: what a resumed run has spent of its budget before.
    Raises JudgeConfigError with everything that is missing, contradictory or unreadable.
    """
    problems = list(faults(settings))
    if problems:
        raise JudgeConfigError("\n".join(problems))
    if settings.kind == "rules":
        return RulesJudge()
    path = {None: cache_path, CACHE_OFF: None}.get(settings.cache, settings.cache)
    if settings.offline and path is None:
        raise JudgeConfigError(
            "judge.offline: an offline judge answers from its cache only; name its file with judge.cache=PATH"
        )
    server = None
    if settings.kind == "local":
        settings, server = _local(settings, cache_path)
        if start and server is not None:
            server.start()
    canaries = read_canaries(settings.canaries) if settings.canary_fraction > 0 and not settings.offline else ()
    clients = _Clients(settings, backoff_seconds, Budget(settings.max_calls, settings.max_tokens, calls, tokens))
    live = _stack(settings, clients, VerdictCache(path) if path is not None else None, server)
    if not canaries:
        return live
    return CanaryJudge(
        live, _stack(settings, clients, None, server), canaries, settings.canary_fraction, settings.on_canary
    )


def _local(settings: JudgeConfig, cache_path: str | Path | None) -> tuple[JudgeConfig, JudgeServer | None]:
    """Return the settings with the address of our server, and the server, not started yet; None where nothing is asked
    (judge.offline)."""
    from judges.local.server import KEY_ENV, served_name

    model = locate(settings.model or SHIPPED_MODEL)
    if settings.offline:
        return replace(settings, model=served_name(model), base_url="http://127.0.0.1:0/v1"), None
    server = take_server(model, Path(cache_path).parent if cache_path is not None else None)
    return replace(settings, model=server.served_name, base_url=server.base_url, api_key_env=KEY_ENV), server


def read_canaries(path: str | None) -> tuple[Case, ...]:
    """Read the known answers of a file; None = the shipped file. Raises JudgeConfigError for a row that no model would
    be asked about, and for one with tags."""
    cases = read_labelled(path or SHIPPED_CANARIES, "judge.canaries")
    for case in cases:
        where = f"judge.canaries: line {case.line} of {path or SHIPPED_CANARIES}"
        if "<answer>" in case.completion or "<think>" in case.completion:
            raise JudgeConfigError(f"{where} holds tags; a canary's completion is the bare answer")
        verdict = precheck(case.as_question())
        if verdict is not None:
            raise JudgeConfigError(f"{where} never reaches a model ({verdict.reason}); word the answer differently")
    return cases


class _Clients:
    """One client for each model, so that one limiter serves all prompts that ask it; and one budget for all clients."""

    def __init__(self, settings: JudgeConfig, backoff_seconds: float, budget: Budget) -> None:
        self._settings = settings
        self._backoff_seconds = backoff_seconds
        self._budget = budget
        self._clients: dict[tuple[str, str, str], ChatClient] = {}

    def of(self, seat: Seat) -> ChatClient:
        """Return the client of a seat. Raises JudgeConfigError where no request can carry its key, and for a proxy of
        the environment that cannot work."""
        # Imported here: `import judges` and judge=rules stay light, and only this kind needs openai.
        from judges.gateway.client import ChatClient

        settings = self._settings
        if not settings.offline:
            if fault := key_fault(seat.api_key_env):
                raise JudgeConfigError(fault)
            proxy_for(str(seat.base_url), os.environ)
        where = (str(seat.base_url), str(seat.model), seat.api_key_env)
        if where not in self._clients:
            endpoint = Endpoint(
                *where,
                timeout_seconds=settings.timeout_seconds,
                deadline_seconds=settings.deadline_seconds,
                max_attempts=settings.max_attempts,
                max_concurrency=settings.max_concurrency,
                backoff_seconds=self._backoff_seconds,
                sampling=settings.sampling,
                breaker_failures=settings.breaker_failures,
                breaker_pause_seconds=settings.breaker_pause_seconds,
                prices=Prices(settings.price_input, settings.price_output),
            )
            self._clients[where] = ChatClient(endpoint, budget=self._budget)
        return self._clients[where]

    def traffic(self) -> dict[str, float]:
        """Add up calls, tokens, retries, faults and cost of all clients, each counted once."""
        names = sorted({name for client in self._clients.values() for name in client.counts})
        counts = {f"judge/{name}": float(sum(one.counts[name] for one in self._clients.values())) for name in names}
        return counts | {"judge/cost_total": sum(one.cost for one in self._clients.values())}


def _stack(settings: JudgeConfig, clients: _Clients, cache: VerdictCache | None, server: JudgeServer | None) -> Judge:
    """Build the judges of the settings over shared clients. `cache` None: every question is asked. `server`: the first
    judge's, where it is ours."""
    from judges.model.judge import LlmJudge

    def judge_of(seat: Seat) -> Judge:
        ours = settings.kind == "local" and seat == first_seat(settings)
        judge = LlmJudge(
            clients.of(seat),
            seat.prompt,
            cache,
            settings.offline,
            settings.max_reasks,
            settings.show_images,
            # A model of that size does not copy a nonce reliably; its server's grammar leaves it no choice.
            nonce_in_schema=ours,
            prechecks=settings.prechecks,
        )
        if ours:  # transcripts name it as what it is
            judge.name = f"local:{seat.model}"
        return LocalJudge(judge, server) if ours and server is not None else judge

    first = _panel(settings, judge_of, clients) if settings.panel else judge_of(first_seat(settings))
    if settings.second_opinion == "off":
        return first
    return SecondOpinionJudge(first, judge_of(second_seat(settings)), settings.second_opinion, clients.traffic)


def _panel(settings: JudgeConfig, judge_of: Callable[[Seat], Judge], clients: _Clients) -> PanelJudge:
    members = {name: judge_of(seat) for name, seat in panel_seats(settings).items()}
    return PanelJudge(members, settings.panel_rule, settings.panel_quorum, clients.traffic, settings.prechecks)
