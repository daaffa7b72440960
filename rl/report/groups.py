"""Chooses the groups that a report shows: few of the first step, more of the last, every kind, mixed rewards first."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rollouts.media import evenly_spaced, frames, has_frames, single_frames
from rollouts.records import BadSample, Media, Outcome, Rollout
from rollouts.store.layout import NotARun, StoreError, list_steps
from rollouts.store.reader import read_step

# Shown frames of a volume or video, and the longer side of a picture in pixels.
_MAX_FRAMES, _MAX_SIDE = 6, 448
# Small pictures stay exact; larger ones are shown as JPEG.
_EXACT_PIXELS = 160 * 160

Group = list[Rollout]


def choose_groups(run_dir: Path, wanted: int = 8) -> tuple[list[Group], list[str]]:
    """Up to `wanted` groups in order of step, a quarter of them from the first step, and a sentence for each step that
    cannot be read."""
    try:
        steps = list_steps(run_dir)
    except NotARun as error:
        return [], [str(error)]
    troubles: list[str] = []

    def groups_of(places: Sequence[int]) -> list[Group]:
        groups: list[Group] = []
        for place in places:
            try:
                members = list(read_step(run_dir, steps[place]))
            except StoreError as error:
                troubles.append(f"Step {steps[place].step} is not shown: {error}")
                continue
            groups += [list(group) for _, group in itertools.groupby(members, key=lambda one: one.key[:3])]
        return groups

    early = _pick_unlike(groups_of([0]), max(1, wanted // 4)) if len(steps) > 1 else []
    late = _pick_unlike(
        groups_of(range(len(steps) - 1, max(0, len(steps) - 3) - 1, -1)[: max(1, len(steps) - 1)]), wanted - len(early)
    )
    return sorted(early + late, key=lambda group: group[0].key), troubles


def _pick_unlike(groups: list[Group], wanted: int) -> list[Group]:
    """The best group of each (answer type, modality) in turn, until there are enough."""
    by_kind: dict[tuple[str, str], list[Group]] = {}
    for group in sorted(groups, key=_interest, reverse=True):
        by_kind.setdefault((group[0].sample.answer_type, group[0].sample.modality), []).append(group)
    turns = itertools.zip_longest(*by_kind.values())
    return [group for turn in turns for group in turn if group is not None][:wanted]


def _interest(group: Group) -> tuple[bool, bool, int]:
    """Mixed rewards teach most; then failed judgements; then the later step."""
    totals = {one.total for one in group if one.total is not None}
    return len(totals) > 1, any(one.total is None for one in group), group[0].step


def describe_group(group: Group) -> dict[str, Any]:
    """Everything the template shows of one group; text is raw and escaped there."""
    sample = group[0].sample
    ranked = sorted(group, key=lambda one: (one.total is None, -(one.total or 0.0), one.sample_index))
    letters = itertools.zip_longest(sample.letters, sample.options or ())
    return {
        "step": group[0].step,
        "prompt_id": group[0].prompt_id,
        "question": sample.question,
        "answer_type": sample.answer_type,
        "modality": sample.modality,
        "options": [
            {"letter": letter, "text": text, "gold": letter in (sample.gold_letters or ())} for letter, text in letters
        ],
        "gold": sample.gold_text,
        "aliases": list(sample.aliases),
        "pictures": [picture for medium in sample.media for picture in pictures(medium)],
        "totals": [one.total for one in ranked],
        "completions": [_describe_completion(one) for one in ranked],
    }


def _describe_completion(one: Rollout) -> dict[str, Any]:
    return {
        "index": one.sample_index,
        "total": one.total,
        "advantage": one.advantage,
        "finish_reason": one.completion.finish_reason,
        "num_tokens": len(one.completion.token_ids),
        "version": one.completion.policy_version,
        "think": one.parsed.think if one.parsed.well_formed else None,
        "answer": one.parsed.answer if one.parsed.well_formed else None,
        "text": one.completion.text,
        "rewards": [_describe_outcome(name, outcome, one.weights.get(name)) for name, outcome in one.outcomes.items()],
    }


def _describe_outcome(name: str, outcome: Outcome, weight: float | None) -> dict[str, Any]:
    evidence = None if outcome.evidence is None else json.dumps(outcome.evidence, indent=2, ensure_ascii=False)
    share = None if outcome.value is None else min(max(outcome.value, 0.0), 1.0)
    return {
        "name": name,
        "value": outcome.value,
        "share": share,
        "status": outcome.status,
        "reason": outcome.reason,
        "weight": weight,
        "evidence": evidence,
    }


def pictures(medium: Media) -> list[dict[str, Any]]:
    """The frames of a medium as data URIs, a few of a volume; a frame that does not open is an entry without one."""
    files = single_frames(medium)
    shown = evenly_spaced(len(files), _MAX_FRAMES)
    return [{"uri": _data_uri(files[place]), "caption": _caption(medium, place, len(files))} for place in shown]


def _caption(medium: Media, place: int, count: int) -> str:
    if not has_frames(medium):
        return ""
    index = f" (index {medium.frame_indices[place]})" if medium.frame_indices is not None else ""
    return f"{'slice' if medium.kind == 'volume' else 'frame'} {place + 1} of {count}{index}"


def _data_uri(file: Media) -> str | None:
    try:
        image = frames(file)[0]
    except BadSample:
        return None
    form = "PNG" if image.width * image.height <= _EXACT_PIXELS else "JPEG"
    image.thumbnail((_MAX_SIDE, _MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format=form, **({"quality": 85} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
