"""Checks data, template and rewards: pure functions from what a run would use to findings."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from rl.config import Config
from rl.data.encodable import check_rows, room_hint
from rl.data.sets import DataSplits, SftRow
from rl.protocols import Scoring
from rl.run.progress import Display
from rollouts.media import with_hash
from rollouts.prompt.lengths import LargestImage, largest_image
from rollouts.prompt.messages import Message, build_messages, num_frames, question_text, render_prompt, response
from rollouts.prompt.prefill import after_prefill, prefill_of
from rollouts.prompt.processing import Processor, media_token_ids
from rollouts.records import ACCURACY, Sample
from rollouts.texts.reading import shorten

NUM_SHOWN = 5
# The name of the reward that pays the form of a completion.
FORMAT = "format"


class Finding(NamedTuple):
    """One line of the doctor."""

    good: bool
    text: str
    # How to mend it; "" where nothing is wrong.
    fix: str = ""


def describe(samples: Sequence[Sample]) -> str:
    """`640 (mcq 288, open 192, yes_no 160; ct 160, ...)`."""
    parts = [", ".join(f"{name or 'no modality'} {count:,}" for name, count in sorted(counts.items())) for counts in (
        Counter(sample.answer_type for sample in samples), Counter(sample.modality for sample in samples)
    )]  # fmt: skip
    return f"{len(samples):,} ({'; '.join(parts)})"


def check_data(splits: DataSplits, config: Config) -> list[Finding]:
    """Counts of each split, and that no image is on both sides."""
    taught = [row.sample for row in splits.sft]
    findings = [Finding(bool(part), f"{name}: {describe(part)}",
    "" if part else "data.num_* and data.root leave nothing here") for name, part in (
        ("SFT rows", taught), ("RL questions", splits.rl), ("held-out items", splits.eval)
    )]  # fmt: skip
    asked = config.grpo.prompts_per_step
    if len(splits.rl) < asked:
        findings.append(
            Finding(False, f"a step asks {asked} prompts", f"lower grpo.prompts_per_step to at most {len(splits.rl)}")
        )
    findings += [Finding(True, f"{note}: {num_rows:,} rows") for note, num_rows in splits.notes.items()]
    if splits.bad_rows:
        findings.append(Finding(True, f"{len(splits.bad_rows)} bad rows are left out, because data.on_bad_row=skip"))
    shared = _images([*taught, *splits.rl]) & _images(splits.eval)
    text = f"images on both sides of the held-out split: {len(shared)}"
    findings.append(
        Finding(
            not shared, text, "split by image: the held-out accuracy would be remembered, not seen" if shared else ""
        )
    )
    twice = [id for id, count in Counter(sample.id for sample in splits.eval).items() if count > 1]
    twice += [id for id, count in Counter(sample.id for sample in splits.rl).items() if count > 1]
    if twice:
        findings.append(
            Finding(False, f"ids that occur twice: {', '.join(twice[:NUM_SHOWN])}", "give every row its own id")
        )
    return findings


def _images(samples: Iterable[Sample]) -> set[str]:
    return {with_hash(media).sha256 for sample in samples for media in sample.media}


def check_template(processor: Processor, splits: DataSplits, config: Config) -> list[Finding]:
    """That the tags survive the tokenizer, the prompt ends where the assistant begins, and everything fits."""
    samples = [*splits.rl, *splits.eval]
    if not samples:
        return [Finding(False, "no sample to show the model", "see the data above")]
    tokenizer = processor.tokenizer
    example = samples[0]
    answered = response("a thought", "an answer")
    read = tokenizer.decode(tokenizer(answered, add_special_tokens=False)["input_ids"], skip_special_tokens=True)
    same = "".join(read.split()) == "".join(answered.split())
    findings = [
        Finding(
            same, f"the tags survive the tokenizer: {read!r}", "" if same else "the tags must not be special tokens"
        )
    ]
    prompt = render_prompt(example, processor)
    named = "<think>" in prompt and "<answer>" in prompt
    findings.append(
        Finding(
            named, "the prompt asks for the tags", "" if named else "name <think> and <answer> in the chat template"
        )
    )
    findings.append(_assistant_begins(processor, example, prompt))
    if not (fit := frames_fit(samples, config)).good:
        findings.append(fit)
    if largest := largest_image(processor, samples):
        findings.append(_largest_fits(largest, config))
    if any(map(num_frames, samples)) and not media_token_ids(processor):
        findings.append(
            Finding(
                False, "no media token of this tokenizer is known", "see media_tokens in rollouts/prompt/families.py"
            )
        )
    return [
        *findings,
        rows_fit(processor, splits, config),
        _responses_fit(tokenizer, splits.sft, prefill_of(prompt), config),
    ]


def _largest_fits(largest: LargestImage, config: Config) -> Finding:
    """What the largest image costs, and the settings with which it would cost less."""
    text = f"the largest image has {largest.width} x {largest.height} pixels (sample {largest.sample_id!r})"
    if isinstance(largest.num_tokens, str):
        return Finding(False, f"{text}: {largest.num_tokens}", "leave the row out, or make its image smaller")
    room = config.model.max_model_len - config.grpo.max_completion_length
    text = f"{text}, {largest.num_tokens:,} tokens of {room:,} that a prompt may have"
    good = largest.num_tokens < room
    fix = "model.max_pixels=N makes large images smaller (Qwen2.5-VL: 784 pixels a token), or raise model.max_model_len"
    return Finding(good, text, "" if good else fix)


def frames_fit(samples: Iterable[Sample], config: Config) -> Finding:
    """That no prompt holds more images, slices and video frames than the engine is set up for."""
    frames = max(map(num_frames, samples), default=0)
    good = frames <= config.model.max_images
    text = f"a prompt holds up to {frames} images of model.max_images={config.model.max_images}"
    return Finding(
        good, text, "" if good else f"model.max_images={frames}, or fewer frames of each volume with data.max_frames"
    )


def _assistant_begins(processor: Processor, sample: Sample, prompt: str) -> Finding:
    """The prompt must be the beginning of the same conversation with the assistant's turn, and that turn must follow it
    at once."""
    answered = response("a thought", "an answer")
    turn: Message = {"role": "assistant", "content": [{"type": "text", "text": answered}]}
    whole = processor.render([*build_messages(sample), turn])
    # The instruction about the tags may stand before the conversation; what counts is the way from the question to the
    # answer.
    ending = prompt[prompt.rfind(question_text(sample).splitlines()[-1]) :]
    before = ending.removesuffix(prefill_of(prompt))
    forms = [answered]
    if before != ending:
        # Templates that open <think> leave the thoughts out of a finished turn (DeepSeek-R1, Qwen3).
        answer = answered.partition("</think>")[2]
        forms += [answer, answer.strip()]
    good = any(before + form in whole for form in forms)
    text = f"the prompt ends where the assistant begins: {ending[-40:]!r}"
    return Finding(
        good,
        text,
        "" if good else "the chat template opens the assistant's turn differently with add_generation_prompt",
    )


def rows_fit(processor: Processor, splits: DataSplits, config: Config) -> Finding:
    """That every row can be encoded, and every prompt fits with its completion."""
    num_rows = len(splits.sft) + len(splits.rl) + len(splits.eval)
    with Display(sys.stderr) as display, display.late_bar("check that every row can be encoded", num_rows) as advance:
        checked = check_rows(processor, splits, config, advance)
    needed = checked.longest + config.grpo.max_completion_length
    text = (
        f"the longest prompt has {checked.longest} tokens, with a completion of {config.grpo.max_completion_length}"
        f" {needed} of model.max_model_len={config.model.max_model_len}"
    )
    if not checked.bad_rows:
        return Finding(True, f"all {num_rows:,} rows can be encoded ({checked.num_encoded:,} were); {text}")
    if config.data.on_bad_row == "skip" and checked.splits.rl and checked.splits.eval:
        return Finding(
            True, f"{len(checked.bad_rows)} rows cannot be asked and are left out, because data.on_bad_row=skip; {text}"
        )
    hint = room_hint(checked, config).partition(" ")[0]
    fix = (f"{hint} or " if hint else "") + "correct these rows, or leave them out with data.on_bad_row=skip"
    shown = "; ".join(f"{shorten(row.id)}: {shorten(row.reason, 300)}" for row in checked.bad_rows[:NUM_SHOWN])
    return Finding(False, f"{len(checked.bad_rows)} rows cannot be asked: {shown}; {text}", fix)


def _responses_fit(tokenizer: PreTrainedTokenizerBase, rows: Sequence[SftRow], prefill: str, config: Config) -> Finding:
    """What SFT teaches must fit into what RL may say, the end token included, or every good answer is cut off."""
    if not rows:
        return Finding(True, "no SFT rows to measure")
    taught = [after_prefill(row.response, prefill) for row in rows]
    longest = max(len(ids) for ids in tokenizer(taught, add_special_tokens=False)["input_ids"]) + 1
    good = longest <= config.grpo.max_completion_length
    text = (
        f"the longest SFT response has {longest} tokens of"
        f" grpo.max_completion_length={config.grpo.max_completion_length}"
    )
    return Finding(good, text, "" if good else f"grpo.max_completion_length={longest}")


def gold_answer(sample: Sample) -> str:
    """The right answer as a model would write it: letters where there are options to choose from, the text
    elsewhere."""
    if sample.answer_type in ("mcq", "multi"):
        return ", ".join(sample.gold_letters or ())
    return sample.gold_text


def check_rewards(scorer: Scoring, samples: Sequence[Sample]) -> list[Finding]:
    """Gold answers must earn full accuracy; gold answers of other questions may earn what chance agreement earns."""
    values = score_answers(scorer, samples, [gold_answer(sample) for sample in samples])
    failing = [(sample, value, why) for sample, (value, why) in zip(samples, values, strict=True) if value != 1.0]
    text = f"{len(samples) - len(failing):,} of {len(samples):,} gold answers score 1"
    shown = "; ".join(
        f"{s.id} ({s.answer_type}) {gold_answer(s)!r}: {value} {why}".strip() for s, value, why in failing[:NUM_SHOWN]
    )
    findings = [
        Finding(not failing, text, f"correct these rows or their route in reward.routes: {shown}" if failing else "")
    ]
    partners = shuffle(samples)
    wrong = score_answers(scorer, [samples[i] for i in partners], [gold_answer(samples[j]) for j in partners.values()])
    scores = {i: value or 0.0 for i, (value, _) in zip(partners, wrong, strict=True)}
    return [*findings, _shuffle_finding(samples, scores)] if partners else findings


def check_taught(scorer: Scoring, rows: Sequence[SftRow]) -> list[Finding]:
    """What SFT teaches must be well-formed and earn the run's own format reward, or RL starts from a model that is paid
    0 for the form it was taught."""
    if not rows:
        return []
    futures = [scorer.submit(row.sample, row.response, f"doctor/sft/{place}") for place, row in enumerate(rows)]
    failing = []
    for row, future in zip(rows, futures, strict=True):
        scored = future.result()
        outcome = scored.outcomes.get(FORMAT)
        if not scored.parsed.well_formed or (outcome is not None and outcome.value != 1.0):
            failing.append(f"{shorten(row.sample.id)}: {shorten(row.response)}")
    text = (
        f"{len(rows) - len(failing):,} of {len(rows):,} SFT responses are well-formed, as the format reward reads them"
    )
    fix = f"take tags and thought marks out of these rows: {'; '.join(failing[:NUM_SHOWN])}" if failing else ""
    return [Finding(not failing, text, fix)]


def score_answers(scorer: Scoring, samples: Sequence[Sample], answers: Sequence[str]) -> list[tuple[float | None, str]]:
    """Accuracy and the reason for it of each answer, wrapped into a well-formed completion; None = it could not be
    judged."""
    futures = [
        scorer.submit(sample, response("This is what the reference says.", answer), f"doctor/{index}")
        for index, (sample, answer) in enumerate(zip(samples, answers, strict=True))
    ]
    outcomes = [future.result().outcomes.get(ACCURACY) for future in futures]
    return [
        (None, "no accuracy reward") if outcome is None else (outcome.value, outcome.reason) for outcome in outcomes
    ]


def shuffle(samples: Sequence[Sample], seed: int = 0) -> dict[int, int]:
    """Place of a sample -> place of another sample of the same answer type, whose gold answer it gets. Leaves out
    samples that are alone."""
    partners: dict[int, int] = {}
    for kind in sorted({sample.answer_type for sample in samples}):
        places = [place for place, sample in enumerate(samples) if sample.answer_type == kind]
        order = [places[i] for i in np.random.default_rng(seed).permutation(len(places))]
        if len(order) > 1:
            partners |= dict(zip(order, [*order[1:], order[0]], strict=True))
    return partners


def chance(samples: Sequence[Sample]) -> list[float]:
    """For each sample the share of the other samples of its answer type whose gold answer would be right here too,
    found without the parser."""
    counts = Counter((sample.answer_type, _fold(gold_answer(sample))) for sample in samples)
    sizes = Counter(sample.answer_type for sample in samples)
    found = []
    for sample in samples:
        accepted = {_fold(gold_answer(sample))}
        accepted |= set() if sample.answer_type in ("mcq", "multi") else {_fold(alias) for alias in sample.aliases}
        right = sum(counts[sample.answer_type, answer] for answer in accepted) - 1
        found.append(right / max(1, sizes[sample.answer_type] - 1))
    return found


def _shuffle_finding(samples: Sequence[Sample], scores: Mapping[int, float]) -> Finding:
    expected = chance(samples)
    kinds = sorted({samples[place].answer_type for place in scores})
    words, good = [], True
    for kind in kinds:
        places = [place for place in scores if samples[place].answer_type == kind]
        got, by_chance = (sum(values[place] for place in places) / len(places) for values in (scores, expected))
        words.append(f"{kind} {100 * got:.1f} (chance {100 * by_chance:.1f})")
        # Four standard errors, and a little for wordings that the parser unifies and plain equality does not.
        good &= abs(got - by_chance) <= 4 * math.sqrt(by_chance * (1 - by_chance) / len(places)) + 0.02
    fix = "" if good else "a reward pays for answers to other questions: see python -m rewards.check"
    return Finding(good, f"shuffled gold answers score, in %: {', '.join(words)}", fix)


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
