"""Rewards of written reports: overlap of words with a reference, and negated RadCliQ-v1, which another Python computes
(`rewards/metrics/door.py`)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from pathlib import Path

from rewards.answers.text import normalise
from rewards.metrics.bleu import sacre
from rewards.metrics.cutting import words
from rewards.metrics.door import NotComputed, door
from rewards.metrics.overlap import rouge_l as longest_common
from rewards.registry import Member, RewardError, reward
from rollouts.records import Outcome, Parsed, Sample


def bleu(answer: str, references: tuple[str, ...], language: str = "en") -> float:
    """Sentence BLEU-4 with sacrebleu's exponential smoothing, 0 to 1; Chinese is cut into characters."""
    metric = sacre("zh" if language == "zh" else "13a")
    score = metric.sentence_score(normalise(answer), [normalise(reference) for reference in references]).score
    return min(1.0, max(0.0, score / 100))


@reward("report")
def report(parsed: Parsed, sample: Sample, rouge_l: float = 0.5, bleu_4: float = 0.5) -> Outcome:
    """Weighted mean of ROUGE-L F1 (best of gold text and aliases) and BLEU-4 (against all of them); 0 without an
    answer. Range [0, 1].

    `rouge_l`, `bleu_4`: weights, at least 0, scaled to sum to 1. Overlap of words is no clinical judgement: "no
    effusion" and "effusion" share most of theirs. Put `rubric_judge`, `judge` or, where its models are there, `radcliq`
    beside it. Source: sacrebleu (Post 2018); the mix is ours.
    """
    if min(rouge_l, bleu_4) < 0 or not 0 < rouge_l + bleu_4 < float("inf"):
        raise RewardError(
            f"report needs weights of at least 0 that do not sum to 0, got rouge_l={rouge_l} and bleu_4={bleu_4}"
        )
    if not parsed.answer or len(parsed.answer) > MAX_CHARS:
        return Outcome(0.0, reason="no answer" if not parsed.answer else f"longer than {MAX_CHARS} characters")
    references = (sample.gold_text, *sample.aliases)
    parts = {
        "rouge_l": max(overlap(parsed.answer, reference) for reference in references),
        "bleu_4": bleu(parsed.answer, references, sample.language),
    }
    value = (rouge_l * parts["rouge_l"] + bleu_4 * parts["bleu_4"]) / (rouge_l + bleu_4)
    return Outcome(value, reason=f"ROUGE-L {parts['rouge_l']:.3f}, BLEU-4 {parts['bleu_4']:.3f}", parts=parts)


# Longer than any report; a text that goes on past it is no report, and its overlap is not worth computing.
MAX_CHARS = 20_000


def overlap(answer: str, reference: str) -> float:
    """ROUGE-L F1 of two texts, 0 to 1: words case-folded without stemming, a decimal one word, each Chinese character
    one; 0 if one is empty."""
    return longest_common(words(answer), words(reference)).f1


@reward("rouge_l")
def rouge_l(parsed: Parsed, sample: Sample) -> Outcome:
    """ROUGE-L F1 of the answer with the gold text or, where that is higher, an alias; 0 without an answer. Range [0,
    1].

    Source: Lin 2004, "ROUGE", Sec 3.1, with beta = 1. Not `rouge-score`: that one drops every letter beyond a-z, so a
    Chinese report scores 0.
    """
    if not parsed.answer or len(parsed.answer) > MAX_CHARS:
        return Outcome(0.0, reason="no answer" if not parsed.answer else f"longer than {MAX_CHARS} characters")
    value = max(overlap(parsed.answer, reference) for reference in (sample.gold_text, *sample.aliases))
    return Outcome(value, reason="longest common subsequence of words")


MIN_BACKGROUND = 20


def _radcliq_ready(background: str, python: str, model_dir: str = "", empty: float = -4.0) -> None:
    """Raise RewardError before a run where there are too few reports to compare with, or no such Python."""
    _reports(background)
    try:
        door(python, model_dir)
    except NotComputed as error:
        raise RewardError(f"radcliq: {error}".replace("metric.", "")) from None


@reward("radcliq", ready=_radcliq_ready)
async def radcliq(
    group: Sequence[Member], sample: Sample, background: str, python: str, model_dir: str = "", empty: float = -4.0
) -> list[Outcome]:
    """-RadCliQ-v1 of each answer against the gold text; `empty` without an answer. Range: unbounded.

    RadCliQ counts errors, so lower is better and the reward is its negative: its inverse 1/RadCliQ explodes near 0 and
    turns its sign there. `background`: a text file of reference reports, one a line, at least 20, scored along with
    each group. RadCliQ's BERTScore weighs words by how rare they are among the references of one call; the members of a
    group share one reference, which alone would weigh every word 0. `python`: of an environment with radeval 2.2 or
    later, which this one need not be; `model_dir`: the folder of its weights. `empty`: what no report is paid; keep it
    below what bad reports get. English chest radiographs only.
    Source: Yu et al. 2023 (Patterns 4, 100802), as implemented by RadEval (arXiv:2509.18030).
    """
    answers = [" ".join((member.parsed.answer or "").split()) for member in group]
    texts = [text for text in answers if text]
    try:
        scores = await asyncio.to_thread(_score, texts, sample.gold_text, background, python, model_dir)
    except NotComputed as error:
        raise RewardError(f"radcliq: {error}") from None
    values = iter(scores)
    return [_negated(next(values)) if text else Outcome(empty, reason="no answer") for text in answers]


def _negated(score: float | None) -> Outcome:
    if score is None:
        return Outcome(None, "error", "RadCliQ gave no finite score")
    return Outcome(-score, reason="negated RadCliQ-v1")


def _score(texts: list[str], reference: str, background: str, python: str, model_dir: str) -> list[float | None]:
    if not texts:
        return []
    common = _reports(background)
    refs = [*common, *[" ".join(reference.split())] * len(texts)]
    columns, _ = door(python, model_dir).ask("radcliq", refs, [*common, *texts])
    if "radcliq_v1" not in columns:
        raise RewardError(f"radcliq: radeval gives {sorted(columns)}, expected radcliq_v1")
    return columns["radcliq_v1"][len(common) :]


@functools.cache
def _reports(background: str) -> tuple[str, ...]:
    path = Path(background)
    if not path.is_file():
        raise RewardError(
            f"radcliq: background={background} is no file; give a text file of reference reports, one a line"
        )
    reports = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if len(set(reports)) < MIN_BACKGROUND:
        raise RewardError(
            f"radcliq: {background} holds {len(set(reports))} different reports, at least {MIN_BACKGROUND} are needed"
        )
    return reports
