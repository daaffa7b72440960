"""Checks data, template and rewards: pure functions from what a run would use to findings."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from rewards.contract import Member, Reward
from rewards.rubric import Rubric
from rl.config import Config
from rl.data import split
from rl.data.encodable import check_rows, room_hint
from rl.data.sets import DataSplits, SftRow
from rl.protocols import Scoring
from rl.run.progress import Display
from rollouts.prompt.lengths import LargestImage, largest_image
from rollouts.prompt.messages import Message, build_messages, num_frames, question_text, render_prompt, response
from rollouts.prompt.prefill import after_prefill, prefill_of
from rollouts.prompt.processing import Processor, media_fault, media_token_ids
from rollouts.records import ACCURACY, Outcome, Sample
from rollouts.texts.reading import shorten

NUM_SHOWN = 5


class Finding(NamedTuple):
    """One line of the doctor."""

    good: bool
    text: str
    # How to mend it; "" where nothing is wrong.
    fix: str = ""
    # False = it could not be looked at: nothing is known to be wrong, and nothing to be right.
    checked: bool = True


def describe(samples: Sequence[Sample]) -> str:
    """`640 (mcq 288, open 192, yes_no 160; ct 160, ...)`."""
    parts = [", ".join(f"{name or 'no modality'} {count:,}" for name, count in sorted(counts.items())) for counts in (
        Counter(sample.answer_type for sample in samples), Counter(sample.modality for sample in samples)
    )]  # fmt: skip
    return f"{len(samples):,} ({'; '.join(parts)})"


def trains_sft(config: Config) -> bool:
    """Whether the run trains, or takes up, an SFT model of its own."""
    return config.sft.enabled and config.sft.checkpoint is None


def check_data(splits: DataSplits, config: Config) -> list[Finding]:
    """Counts of each split, and that no image is on both sides. That no id occurs twice is seen by `load`."""
    taught = [row.sample for row in splits.sft]
    parts = (
        ("SFT rows", taught, trains_sft(config)),
        ("RL questions", splits.rl, True),
        ("held-out items", splits.eval, True),
    )
    findings = [
        Finding(good, f"{name}: {describe(part)}", "" if good else "data.num_* and data.root leave nothing here")
        for name, part, needed in parts
        for good in [bool(part) or not needed]
    ]
    num_prompts = config.grpo.prompts_per_step
    if len(splits.rl) < num_prompts:
        findings.append(
            Finding(
                False, f"a step asks {num_prompts} prompts", f"lower grpo.prompts_per_step to at most {len(splits.rl)}"
            )
        )
    findings += [Finding(True, f"{note}: {num_rows:,} rows") for note, num_rows in splits.notes.items()]
    if splits.bad_rows:
        findings.append(Finding(True, f"{len(splits.bad_rows)} bad rows are left out, because data.on_bad_row=skip"))
    return [*findings, _overlap([*taught, *splits.rl], splits.eval)]


def _overlap(taught: Iterable[Sample], held_out: Iterable[Sample]) -> Finding:
    """That no source, however it is shown, no patient and no pair stands on both sides."""
    shared = _keys(taught) & _keys(held_out)
    counts = Counter(map(split.in_words, shared))
    words = ", ".join(f"{counts[kind]} {kind}s" for kind in ("image", "patient", "pair") if counts[kind]) or "none"
    fix = "split by image and patient: the held-out accuracy would be remembered, not seen" if shared else ""
    return Finding(not shared, f"images, patients or pairs on both sides of the held-out split: {words}", fix)


def _keys(samples: Iterable[Sample]) -> set[str]:
    keys = (key for sample in samples for key in split.image_keys(sample))
    return {key for key in keys if split.in_words(key) != "question"}


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
    if labelled := next((one for one in samples if any(media.labels for media in one.media)), None):
        findings.append(_labels_interleave(labelled, processor))
    if largest := largest_image(processor, samples):
        findings.append(_largest_fits(largest, config))
    if any(map(num_frames, samples)) and not media_token_ids(processor):
        findings.append(
            Finding(
                False, "no media token of this tokenizer is known", "see media_tokens in rollouts/prompt/families.py"
            )
        )
    taught = splits.sft if trains_sft(config) else []
    return [*findings, _responses_fit(tokenizer, taught, prefill_of(prompt), config)]


def _labels_interleave(sample: Sample, processor: Processor) -> Finding:
    """That the chat template leaves each label before its frame: some write all images first."""
    labels = [label for media in sample.media for label in media.labels or ()]
    rest, between = render_prompt(sample, processor), []
    for label in labels:
        before, match, rest = rest.partition(label)
        between.append(before.strip() if match else "")
    # What stands before the first label is the turn's beginning; between two labels there must be a frame.
    good = all(between[1:]) and labels[-1] in render_prompt(sample, processor)
    fix = "" if good else "the chat template moves images before the text: data.media.frame_labels=false"
    return Finding(good, f"each frame has its label before it: {', '.join(labels[:2])} ..", fix)


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
        good,
        text,
        "" if good else f"model.max_images={frames}, or fewer frames of each volume with data.media.max_frames",
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


class RowsFit(NamedTuple):
    """Whether every row can be asked, and the rows that can."""

    finding: Finding
    splits: DataSplits


def rows_fit(processor: Processor, splits: DataSplits, config: Config) -> RowsFit:
    """That every row can be encoded, and every prompt fits with its completion; where rows cannot and are not to be
    left out, the splits are as given."""
    everything = [*(row.sample for row in splits.sft), *splits.rl, *splits.eval]
    if media_fault(processor.family, everything) and config.data.on_bad_row == "raise":
        return RowsFit(Finding(False, "rows hold images, see the model below"), splits)
    num_rows = len(splits.sft) + len(splits.rl) + len(splits.eval)
    with Display(sys.stderr) as display, display.late_bar("check that every row can be encoded", num_rows) as advance:
        checked = check_rows(processor, splits, config, advance)
    needed = checked.longest + config.grpo.max_completion_length
    text = (
        f"the longest prompt has {checked.longest} tokens, with a completion of {config.grpo.max_completion_length}"
        f" {needed} of model.max_model_len={config.model.max_model_len}"
    )
    if not checked.bad_rows:
        line = f"all {num_rows:,} rows can be encoded ({checked.num_encoded:,} were); {text}"
        return RowsFit(Finding(True, line), splits)
    if config.data.on_bad_row == "skip":
        line = f"{len(checked.bad_rows)} rows cannot be asked and are left out, because data.on_bad_row=skip; {text}"
        return RowsFit(Finding(True, line), checked.splits)
    hint = room_hint(checked, config).partition(" ")[0]
    fix = (f"{hint} or " if hint else "") + "correct these rows, or leave them out with data.on_bad_row=skip"
    shown = "; ".join(f"{shorten(row.id)}: {shorten(row.reason, 300)}" for row in checked.bad_rows[:NUM_SHOWN])
    return RowsFit(Finding(False, f"{len(checked.bad_rows)} rows cannot be asked: {shown}; {text}", fix), splits)


def _responses_fit(tokenizer: PreTrainedTokenizerBase, rows: Sequence[SftRow], prefill: str, config: Config) -> Finding:
    """What SFT teaches must fit into what RL may say, the end token included, or good answers are cut off: a few are
    told, half of them are too many."""
    if not rows:
        return Finding(True, "no SFT rows to measure")
    try:
        taught = [after_prefill(row.response, prefill) for row in rows]
    except ValueError as error:
        return Finding(False, str(error), "model.path=A_MODEL_WHOSE_TEMPLATE_OPENS_NOTHING, or sft.enabled=false")
    lengths = [len(ids) + 1 for ids in tokenizer(taught, add_special_tokens=False)["input_ids"]]
    limit = config.grpo.max_completion_length
    num_long = sum(length > limit for length in lengths)
    text = f"the longest SFT response has {max(lengths)} tokens of grpo.max_completion_length={limit}"
    if not num_long:
        return Finding(True, text)
    text += f", {num_long} of {len(rows)} are longer than that"
    good = 2 * num_long < len(rows)
    return Finding(good, text, "" if good else f"grpo.max_completion_length={max(lengths)}")


def gold_answer(sample: Sample) -> str:
    """The right answer as a model would write it: letters where there are options to choose from, the text
    elsewhere."""
    if sample.answer_type in ("mcq", "multi"):
        return ", ".join(sample.gold_letters or ())
    return sample.gold_text


def check_golds(rubric: Rubric, samples: Sequence[Sample]) -> list[Finding]:
    """Gold answers must earn full accuracy of the rewards of this project. A reward of others may pay as it likes, and
    may hang: it is not asked. What only a model can judge is not refused."""
    if ACCURACY not in rubric.weights:
        return [Finding(True, "no accuracy reward: gold answers are not scored")]
    ours = [sample for sample in samples if _is_ours(rubric.rewards_for(sample)[ACCURACY].reward)]
    outcomes = asyncio.run(_gold_outcomes(rubric, ours))
    failing = [(sample, outcome) for sample, outcome in zip(ours, outcomes, strict=True) if outcome.value != 1.0]
    text = f"{len(ours) - len(failing):,} of {len(ours):,} gold answers score 1"
    text += f"; {len(samples) - len(ours):,} are scored by rewards of your own" if len(ours) < len(samples) else ""
    faults = [
        f"{sample.id} ({sample.answer_type}) {gold_answer(sample)!r}: {outcome.value} {outcome.reason}".strip()
        for sample, outcome in failing
        if outcome.value is not None or "judge" not in rubric.rewards_for(sample)[ACCURACY].reward.supplied
    ]
    fix = f"correct these rows or their route in reward.routes: {'; '.join(faults[:NUM_SHOWN])}" if faults else ""
    return [Finding(not faults, text, fix)]


def _is_ours(reward: Reward) -> bool:
    return reward.source is None and not reward.is_group


async def _gold_outcomes(rubric: Rubric, samples: Sequence[Sample]) -> list[Outcome]:
    outcomes = []
    for sample in samples:
        bound, completion = rubric.rewards_for(sample)[ACCURACY], as_completion(gold_answer(sample))
        members = [Member(rubric.parse(sample, completion), completion)]
        outcomes += await bound.later(sample, members) if bound.waits else bound.now(sample, members)
    return outcomes


def check_shuffled(scorer: Scoring, samples: Sequence[Sample]) -> list[Finding]:
    """Gold answers of other questions may earn what chance agreement earns."""
    partners = shuffle(samples)
    if not partners:
        return []
    wrong = score_answers(scorer, [samples[i] for i in partners], [gold_answer(samples[j]) for j in partners.values()])
    return [_shuffle_finding(samples, {i: value or 0.0 for i, (value, _) in zip(partners, wrong, strict=True)})]


def check_taught(rubric: Rubric, rows: Sequence[SftRow]) -> list[Finding]:
    """What SFT teaches must be well-formed, which the format reward pays, or RL starts from a model that is paid 0 for
    the form it was taught."""
    if not rows:
        return []
    failing = [
        f"{shorten(row.sample.id)}: {shorten(row.response)}"
        for row in rows
        if not rubric.parse(row.sample, row.response).well_formed
    ]
    text = (
        f"{len(rows) - len(failing):,} of {len(rows):,} SFT responses are well-formed, as the format reward reads them"
    )
    fix = f"take tags and thought marks out of these rows: {'; '.join(failing[:NUM_SHOWN])}" if failing else ""
    return [Finding(not failing, text, fix)]


def as_completion(answer: str) -> str:
    """An answer as a well-formed completion."""
    return response("This is what the reference says.", answer)


def score_answers(scorer: Scoring, samples: Sequence[Sample], answers: Sequence[str]) -> list[tuple[float | None, str]]:
    """Accuracy and the reason for it of each answer, wrapped into a well-formed completion; None = it could not be
    judged."""
    futures = [
        scorer.submit(sample, as_completion(answer), f"doctor/{index}")
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
    shares = []
    for sample in samples:
        accepted = {_fold(gold_answer(sample))}
        accepted |= set() if sample.answer_type in ("mcq", "multi") else {_fold(alias) for alias in sample.aliases}
        right = sum(counts[sample.answer_type, answer] for answer in accepted) - 1
        shares.append(right / max(1, sizes[sample.answer_type] - 1))
    return shares


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
