"""Asks a model, or rules, whether an answer means the reference. Knows nothing of RL and imports no other package of this project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from judges.cache import VerdictCache
from judges.rules import RulesJudge
from judges.verdict import (
    Assessment,
    Criteria,
    Decision,
    Failure,
    Judge,
    JudgeConfigError,
    JudgeError,
    JudgeMedia,
    JudgeUnreachable,
    Question,
    Verdict,
)

__all__ = [
    "Assessment",
    "Criteria",
    "Decision",
    "Failure",
    "Judge",
    "JudgeConfigError",
    "JudgeError",
    "JudgeMedia",
    "JudgeSettings",
    "JudgeUnreachable",
    "Question",
    "RulesJudge",
    "Verdict",
    "make_judge",
]


class JudgeSettings(Protocol):
    """The settings of a judge, by attribute; any record with these names will do."""

    @property
    def kind(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def api_key_env(self) -> str: ...
    @property
    def timeout_seconds(self) -> float: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def max_concurrency(self) -> int: ...


def make_judge(
    settings: JudgeSettings,
    *,
    cache_path: str | Path | None = None,
    offline: bool = False,
    deadline_seconds: float = 300.0,
    backoff_seconds: float = 0.5,
) -> Judge:
    """The judge of a configuration. Raises JudgeConfigError where a setting is missing; nothing is asked yet (see `check_now`).

    `cache_path`: SQLite file for verdicts, None = no cache. `offline`: answer from the cache only; a miss is a failed judgement.
    `deadline_seconds`: all attempts of one judgement together, waiting included. `backoff_seconds`: base of the full-jitter backoff.
    """
    if settings.kind == "rules":
        return RulesJudge()
    if settings.kind != "openai":
        raise JudgeConfigError(f"judge.kind is {settings.kind!r}, expected 'rules' or 'openai'")
    base_url, model = settings.base_url, settings.model
    if not base_url or not model:
        missing = [name for name, value in (("judge.base_url", base_url), ("judge.model", model)) if not value]
        raise JudgeConfigError(
            f"judge=openai needs {' and '.join(missing)}: for example judge.base_url=http://127.0.0.1:8000/v1 judge.model=NAME, "
            "or judge=rules"
        )
    if not base_url.startswith(("http://", "https://")):
        raise JudgeConfigError(f"judge.base_url is {base_url!r}, expected http://... or https://...")
    if offline and cache_path is None:
        raise JudgeConfigError("an offline judge answers from its cache only and needs cache_path")
    # Imported here: `import judges` and judge=rules stay light, and only this kind needs openai.
    from judges.client import ChatClient, Endpoint, missing_key
    from judges.llm import LlmJudge

    if not offline and not os.environ.get(settings.api_key_env):
        raise JudgeConfigError(missing_key(settings.api_key_env))
    limits = (settings.timeout_seconds, deadline_seconds, settings.max_attempts, settings.max_concurrency, backoff_seconds)
    cache = VerdictCache(cache_path) if cache_path is not None else None
    return LlmJudge(ChatClient(Endpoint(base_url, model, settings.api_key_env, *limits)), cache=cache, offline=offline)
