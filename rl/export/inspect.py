"""A stored run as logs of inspect_ai, one a step: `inspect view --log-dir OUT` opens them. Written without inspect_ai,
as plain JSON (log version 2).

A prompt is a sample, each of its completions an epoch of it. A reward without a value is inspect's own sign for "not
scored", NaN, which its readers know; every other number is finite.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rl.benchmarks.questions import CARD
from rl.probes.probe import PROBE
from rollouts.media import pngs
from rollouts.records import BadSample, Media, Outcome, Rollout
from rollouts.store.disk import write_atomically
from rollouts.store.layout import StepFiles

LOG_VERSION = 2
_STOP = {"stop": "stop", "length": "max_tokens", "abort": "unknown"}


def parts_of(rollouts: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    """The rollouts of a step by what their mean is of: all of them for a step of training (""); for a benchmark its
    greedy answers ("slake_en@1"), those that were sampled ("slake_en@1 sampled"), and each probe's
    ("slake_en@1 blank")."""
    parts: dict[str, list[Rollout]] = {}
    for one in rollouts:
        card, probe = one.sample.tags.get(CARD, ""), one.sample.tags.get(PROBE, "")
        way = probe or ("sampled" if one.sample_index else "")
        parts.setdefault(f"{card} {way}".strip() if card else "", []).append(one)
    return parts


def write_inspect_log(out: Path, stored: StepFiles, rollouts: Sequence[Rollout], *, task: str, images: bool) -> Path:
    """Write a part of one step as `OUT/TIME_step-000001_ID.json`, an existing log of it replaced. Returns the file.
    Raises DiskFull.

    `task`: the name of the part (`parts_of`), "" = the whole step of a run's policy. `images`: put them into the log,
    as PNG; an image that is missing is named in the text instead.
    """
    created = datetime.fromtimestamp(stored.folder.stat().st_mtime, UTC).replace(microsecond=0).isoformat()
    name = f"{rollouts[0].run}-step-{stored.step:06d}"
    model = rollouts[0].run if task else "policy"
    ids = {kind: hashlib.sha256(f"{kind}/{name}{task}".encode()).hexdigest()[:22] for kind in ("eval", "run", "task")}
    prompts = list(dict.fromkeys(one.prompt_id for one in rollouts))
    first = min(one.sample_index for one in rollouts)
    epochs = max(one.sample_index for one in rollouts) - first + 1
    source = rollouts[0].sample.source or "rollouts"
    log = {
        "version": LOG_VERSION,
        "status": "success",
        "eval": {
            "eval_id": ids["eval"], "run_id": ids["run"], "task_id": ids["task"], "created": created,
            "task": task or name, "task_args": {},
            "dataset": {"name": source, "samples": len(prompts), "sample_ids": prompts, "shuffled": False},
            "model": model, "model_args": {}, "config": {"epochs": epochs}, "packages": {},
            "metadata": {"step": stored.step},
        },
        "plan": {"name": "rollouts", "steps": [], "config": {}},
        "results": _results(rollouts),
        "stats": {"started_at": created, "completed_at": created, "model_usage": {}},
        "samples": [_sample(one, one.sample_index - first + 1, model, images) for one in rollouts],
    }  # fmt: skip
    path = out / f"{created.replace(':', '-')}_step-{stored.step:06d}_{ids['task']}.json"
    for older in out.glob(f"*_step-{stored.step:06d}_{ids['task']}.json"):
        older.unlink()
    write_atomically(path, json.dumps(log, ensure_ascii=False).encode("utf-8", "replace"))
    return path


def _results(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    scores = []
    for name in ("total", *dict.fromkeys(name for one in rollouts for name in one.outcomes)):
        column = [
            one.total if name == "total" else one.outcomes[name].value
            for one in rollouts
            if name == "total" or name in one.outcomes
        ]
        values = [value for value in column if value is not None]
        mean = sum(values) / len(values) if values else float("nan")
        counts = {"scored_samples": len(values), "unscored_samples": len(column) - len(values)}
        scores.append(
            {"name": name, "scorer": name, **counts, "params": {}, "metrics": {"mean": {"name": "mean", "value": mean}}}
        )
    return {"total_samples": len(rollouts), "completed_samples": len(rollouts), "scores": scores}


def _sample(one: Rollout, epoch: int, model: str, images: bool) -> dict[str, Any]:
    attachments: dict[str, str] = {}
    content = [
        *(_images(one.sample.media, attachments) if images else ()),
        {"type": "text", "text": one.sample.question},
    ]
    prompt = {"role": "user", "content": content}
    answer = {"role": "assistant", "content": _message_parts(one), "model": model}
    scores = {
        "total": _score(
            Outcome(one.total) if one.total is not None else Outcome(None, "abstain", "a required reward has no value"),
            one,
        )
    }
    scores |= {name: _score(outcome, one) for name, outcome in one.outcomes.items()}
    metadata = {
        "step": one.step, "advantage": one.advantage, "trained_on": one.valid, "modality": one.sample.modality,
        "answer_type": one.sample.answer_type,
        "policy_version": one.completion.policy_version, "seed": str(one.completion.seed),
        "tags": dict(one.sample.tags),
    }  # fmt: skip
    num_tokens = len(one.completion.token_ids)
    return {
        "id": one.prompt_id, "epoch": epoch, "input": [prompt],
        "choices": list(one.sample.options) if one.sample.options else None,
        "target": list(one.sample.gold_letters or ()) if one.sample.answer_type in ("mcq",
        "multi") else one.sample.gold_text,
        "messages": [prompt, answer],
        "output": {
            "model": model, "choices": [{"message": answer, "stop_reason": _STOP[one.completion.finish_reason]}],
            "usage": {"input_tokens": 0, "output_tokens": num_tokens, "total_tokens": num_tokens},
        },
        "scores": scores, "metadata": metadata, "store": {}, "events": [], "model_usage": {},
        "attachments": attachments,
        "uuid": hashlib.sha256("/".join(map(str, one.key)).encode()).hexdigest()[:22],
    }  # fmt: skip


def _message_parts(one: Rollout) -> list[dict[str, Any]]:
    """Thoughts and answer apart where the completion keeps to the tags, else the text as it came."""
    if not one.parsed.well_formed:
        return [{"type": "text", "text": one.completion.text}]
    return [
        {"type": "reasoning", "reasoning": one.parsed.think or ""},
        {"type": "text", "text": one.parsed.answer or ""},
    ]


def _score(outcome: Outcome, one: Rollout) -> dict[str, Any]:
    metadata = {
        "status": outcome.status,
        "parts": dict(outcome.parts),
        "evidence": outcome.evidence,
        "cost": outcome.cost,
    }
    value = float("nan") if outcome.value is None else outcome.value
    reason = outcome.reason if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"
    return {"value": value, "answer": one.parsed.answer, "explanation": reason, "metadata": metadata}


def _images(media: Sequence[Media], attachments: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every image, slice or frame in order, its bytes once in `attachments`."""
    for medium in media:
        try:
            files = pngs(medium)
        except BadSample:
            files = [b""]
        for data in files:
            if not data:
                yield {"type": "text", "text": f"({medium.kind} {medium.sha256[:12]} is missing)"}
                continue
            key = hashlib.sha256(data).hexdigest()[:32]
            attachments[key] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            yield {"type": "image", "image": f"attachment://{key}"}
