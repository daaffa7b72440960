"""The judge that is a language model: prechecks first, then a model is asked under a versioned prompt (JUDGING.md,
layers 1 to 5)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from judges.gateway.client import ChatClient
from judges.gateway.redaction import redact
from judges.guards.prechecks import MAX_CANDIDATE_CHARS, precheck
from judges.guards.wording import clean
from judges.model import probe
from judges.model.asking import Answer, Asker, Task
from judges.model.cache import VerdictCache, cache_key
from judges.model.prompts import LANGUAGES, Prompt, load_prompt
from judges.model.reply import VERDICT_FORM, Form, criteria_form
from judges.verdict import Assessment, Criteria, Question, Verdict


class LlmJudge:
    """Asks an OpenAI-compatible endpoint. It asks again up to `max_reasks` times where a reply is not one valid object;
    then the judgement fails."""

    is_instant = False

    def __init__(
        self,
        client: ChatClient,
        prompt: str = "equivalence_1",
        cache: VerdictCache | None = None,
        offline: bool = False,
        max_reasks: int = 2,
        show_images: bool = False,
        nonce_in_schema: bool = False,
        prechecks: bool = True,
    ) -> None:
        """`prompt`: name of a shipped prompt for verdicts, or a path (`load_prompt`). `cache`: None = every question is
        asked. `offline`: nothing is asked. `show_images`: send the images that come with a question. `nonce_in_schema`:
        let a server that enforces schemas write the nonce, for models too small to copy it; then every call has a
        schema of its own.

        Raises JudgeConfigError for a prompt that does not exist or has slots.
        """
        self.name = f"openai:{client.endpoint.model}"
        self._client = client
        self._prompt = prompt
        self.shows_images = show_images
        self._cache = cache
        self._offline = offline
        self._prechecks = prechecks
        self._counts: Counter[str] = Counter()
        self._prompts: dict[tuple[str, str], Prompt] = {}
        for language in LANGUAGES:
            self._prompt_for(prompt, language, bool(show_images))
        self._asker = Asker(client, cache, offline, max_reasks, nonce_in_schema, self._counts)

    async def judge(self, question: Question) -> Verdict:
        """Return the verdict on one answer, with the seconds it took. Never raises for an answer or a reply; raises
        JudgeConfigError for a missing key."""
        began = time.monotonic()
        if not self.shows_images:
            question = replace(question, media=())
        verdict = precheck(question) if self._prechecks else None
        verdict = verdict or _verdict(await self._asker.answer(self._verdict_task(question)))
        self._count(verdict.layer, verdict.decision or f"failed_{verdict.failure}")
        return replace(verdict, seconds=time.monotonic() - began)

    async def assess(self, criteria: Criteria) -> Assessment:
        """Return one verdict per criterion. Never raises for a text or a reply; raises JudgeConfigError for a missing
        key and for an unknown task."""
        began = time.monotonic()
        if not self.shows_images:
            criteria = replace(criteria, media=())
        # The only text settled without a call: an empty one may rightly meet a criterion such as "does not claim a
        # fracture".
        if len(criteria.candidate) > MAX_CANDIDATE_CHARS:
            reason = f"the text is longer than {MAX_CANDIDATE_CHARS} characters"
            assessment = Assessment((False,) * len(criteria.criteria), reason=reason, layer="precheck")
        else:
            assessment = _assessment(await self._asker.answer(self._criteria_task(criteria)), len(criteria.criteria))
        self._count(assessment.layer, "assessed" if assessment.met is not None else f"failed_{assessment.failure}")
        return replace(assessment, seconds=time.monotonic() - began)

    def _verdict_task(self, question: Question) -> Task:
        # Question and reference are ours and go as they are. A model wrote the candidate.
        data = {
            "question": question.question,
            "reference": question.reference,
            "accepted_wordings": list(question.aliases),
            "candidate": clean(question.answer),
        }
        about = {"reference": question.reference, "answer": question.answer}
        return self._task(question, VERDICT_FORM, self._prompt, data, about)

    def _criteria_task(self, criteria: Criteria) -> Task:
        numbered = {str(i + 1): text for i, text in enumerate(criteria.criteria)}
        data = {"question": criteria.question, "criteria": numbered, "candidate": clean(criteria.candidate)}
        about = {"task": criteria.task, "criteria": list(criteria.criteria), "answer": criteria.candidate}
        return self._task(criteria, criteria_form(len(criteria.criteria)), f"{criteria.task}_1", data, about)

    def _task(
        self,
        request: Question | Criteria,
        form: Form,
        prompt_name: str,
        data: Mapping[str, Any],
        about: Mapping[str, Any],
    ) -> Task:
        prompt = self._prompt_for(prompt_name, request.language, bool(request.media))
        endpoint = self._client.endpoint
        key = cache_key(
            request,
            model=endpoint.model,
            prompt_version=prompt.version,
            schema_version=form.version,
            sampling=endpoint.sampling,
        )
        # The transcript is stored beside the rollout: no text in it may hold a key, whoever wrote it.
        about = redact({"judge": self.name, **about, "media": [one.sha256 for one in request.media]})
        return Task(form, prompt, redact(dict(data)), key, about, request.media, request.group_key)

    def _prompt_for(self, name: str, language: str, with_images: bool) -> Prompt:
        language = language if language in LANGUAGES else "en"
        where = (f"{name}{'+images' if with_images else ''}", language)
        if where not in self._prompts:
            prompt = load_prompt(name, language)
            self._prompts[where] = prompt.plus(load_prompt("images_1", language)) if with_images else prompt
        return self._prompts[where]

    def _count(self, layer: str, outcome: str) -> None:
        self._counts[outcome] += 1
        self._counts[f"by_{layer}"] += 1

    async def check(self) -> None:
        """Raise JudgeUnreachable or JudgeConfigError unless the endpoint answers a question (with a picture, where
        images are shown); JudgeProbeFailed where its reply breaks the schema."""
        if self._offline:
            return
        await self._client.check()
        question = replace(probe.PROBE, media=(probe.picture(),) if self.shows_images else ())
        with self._client.deadline(None) as until:
            soon = min(until, asyncio.get_running_loop().time() + probe.SECONDS)
            answer = await self._asker.converse(self._verdict_task(question), soon)
        if answer.content is None:
            raise probe.probe_error(self._client.endpoint, answer)

    def check_now(self) -> None:
        """Run `check` in an event loop of its own. The loop that judges opens its connections anew."""

        async def once() -> None:
            try:
                await self.check()
            finally:
                await self._client.close()

        asyncio.run(once())

    def describe(self) -> str:
        """Say which model decides, where, and under which prompt."""
        endpoint = self._client.endpoint
        version = self._prompt_for(self._prompt, "en", self.shows_images).version
        images = "; it is shown the images" if self.shows_images else ""
        kind = "local" if self.name.startswith("local:") else "openai"
        return (
            f"judge={kind}: open answers are judged by {endpoint.model} at {endpoint.base_url}, prompt"
            f" {version}{images}"
        )

    def metrics(self) -> dict[str, float]:
        """Return `judge/correct`, `judge/failed_timeout`, `judge/calls`, `judge/retries`, `judge/http_429`,
        `judge/cost_total`, .. since the start."""
        counts = {f"judge/{name}": float(count) for name, count in sorted((self._counts + self._client.counts).items())}
        return counts | {"judge/cost_total": self._client.cost}

    async def close(self) -> None:
        """Close connections and cache."""
        await self._client.close()
        if self._cache is not None:
            self._cache.close()


def _verdict(answer: Answer) -> Verdict:
    decision = None if answer.content is None else answer.content["decision"]
    costs = (answer.num_calls, answer.num_tokens, answer.cost)
    return Verdict(decision, answer.failure, answer.reason, answer.layer, answer.transcript, 0.0, *costs)


def _assessment(answer: Answer, count: int) -> Assessment:
    met = None if answer.content is None else tuple(answer.content["met"])
    if met is not None and len(met) != count:
        raise ValueError(
            f"a stored assessment has {len(met)} entries for {count} criteria: the judge's cache is damaged, remove it"
        )
    costs = (answer.num_calls, answer.num_tokens, answer.cost)
    return Assessment(met, answer.failure, answer.reason, answer.layer, answer.transcript, 0.0, *costs)
