"""Asks a model, or rules, whether an answer means the reference. Knows nothing of RL and imports no other package of this project."""

from __future__ import annotations

import os
from pathlib import Path

from judges.rules import RulesJudge
from judges.verdict import Decision, Failure, Judge, JudgeConfigError, JudgeError, JudgeUnreachable, Question, Verdict

__all__ = [
    "Decision",
    "Failure",
    "Judge",
    "JudgeConfigError",
    "JudgeError",
    "JudgeUnreachable",
    "Question",
    "RulesJudge",
    "Verdict",
    "make_judge",
]


def make_judge(
    kind: str,
    *,
    base_url: str | None = None,
    model: str | None = None,
    api_key_env: str = "OPENAI_API_KEY",
    timeout_seconds: float = 30.0,
    max_attempts: int = 14,
    max_concurrency: int = 32,
    deadline_seconds: float = 300.0,
    cache_path: str | Path | None = None,
    offline: bool = False,
) -> Judge:
    """The judge of a configuration. Raises JudgeConfigError where a setting is missing; nothing is asked yet (see `check`).

    `cache_path`: SQLite file for verdicts, None = no cache. `offline`: answer from the cache only; a miss is a failed judgement.
    """
    if kind == "rules":
        return RulesJudge()
    if kind != "openai":
        raise JudgeConfigError(f"judge.kind is {kind!r}, expected 'rules' or 'openai'")
    missing = [name for name, value in (("judge.base_url", base_url), ("judge.model", model)) if not value]
    if missing or not base_url or not model:
        raise JudgeConfigError(
            f"judge=openai needs {' and '.join(missing)}: for example judge.base_url=http://127.0.0.1:8000/v1 judge.model=NAME, or judge=rules"
        )
    if not base_url.startswith(("http://", "https://")):
        raise JudgeConfigError(f"judge.base_url is {base_url!r}, expected http://... or https://...")
    if offline and cache_path is None:
        raise JudgeConfigError("an offline judge answers from its cache only and needs cache_path")
    # Imported here: `import judges` and judge=rules stay light, and only this kind needs openai.
    from judges.client import ChatClient, Endpoint, missing_key
    from judges.llm import LlmJudge

    cache = None
    if not offline and not os.environ.get(api_key_env):
        raise JudgeConfigError(missing_key(api_key_env))
    if cache_path is not None:
        from judges.cache import VerdictCache

        cache = VerdictCache(cache_path)
    endpoint = Endpoint(base_url, model, api_key_env, timeout_seconds, deadline_seconds, max_attempts, max_concurrency)
    return LlmJudge(ChatClient(endpoint), cache=cache, offline=offline)
