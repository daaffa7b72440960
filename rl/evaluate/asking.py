"""How often a model is right on held-out items: greedily, sampled as in training, and with every image blanked. Also a
command.

Accuracy goes through the parser and the rubric of training (one extractor): a completion is right when its accuracy
reward is 1. A completion that could not be judged is counted apart and never as wrong. The comparison of two models is
`rl/evaluate/comparison.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from rewards.rubric import Scored
from rl.algo.order import sampling_seed
from rl.config import Config
from rl.drawing import TooManyFailures
from rl.evaluate.clusters import clusters_of
from rl.evaluate.ways import MODES, Mode
from rl.protocols import Engines, Scoring
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import EncodedPrompt, Processor, encode, media_fault, media_token_ids
from rollouts.records import ACCURACY, BadSample, Completion, Sample

# Training steps count from 1, so evaluation draws with seeds that no step uses; two models get the same ones.
EVALUATION_STEP = 0
# 128 MiB as PIL holds RGB. Two such chunks and their grey twins are on their way to the engine at a time, and as many
# are there.
MAX_PIXELS = 1 << 25


# Called as each completion arrives and goes to its judge: which way of asking, how many so far, how many in all.
Progress = Callable[[str, int, int], None]


def _silent(mode: str, done: int, total: int) -> None:
    """The progress nobody watches."""


@dataclass(frozen=True)
class HeldOut:
    """The held-out items, and how they are encoded when their turn comes: decoded images of all of them need not fit
    into memory."""

    samples: tuple[Sample, ...]
    # A sample as the model is asked it; True = with every image mid-grey.
    encode: Callable[[Sample, bool], EncodedPrompt]
    # Whether the items are asked with blanked images, too.
    blank: bool
    banned_token_ids: tuple[int, ...]
    # Pixels that are decoded at the same time.
    max_pixels: int = MAX_PIXELS

    def chunks(self, refused: dict[str, Refusal]) -> Iterator[list[tuple[Sample, EncodedPrompt]]]:
        """The items in order, as many at a time as hold about `max_pixels`. An item that cannot be encoded any more
        goes into `refused`."""
        chunk: list[tuple[Sample, EncodedPrompt]] = []
        num_pixels = 0
        for sample in self.samples:
            prompt = self.encode_or_refuse(sample, False, refused)
            if prompt is None:
                continue
            chunk.append((sample, prompt))
            num_pixels += prompt.num_pixels
            if num_pixels >= self.max_pixels:
                yield chunk
                chunk, num_pixels = [], 0
        if chunk:
            yield chunk

    def blanked(
        self, chunk: Sequence[tuple[Sample, EncodedPrompt]], refused: dict[str, Refusal]
    ) -> list[tuple[Sample, EncodedPrompt]]:
        """The same items with every image mid-grey."""
        pairs = ((sample, self.encode_or_refuse(sample, True, refused)) for sample, _ in chunk)
        return [(sample, prompt) for sample, prompt in pairs if prompt is not None]

    def encode_or_refuse(self, sample: Sample, blanked: bool, refused: dict[str, Refusal]) -> EncodedPrompt | None:
        """The item's prompt; None = it cannot be encoded any more and stands in `refused`."""
        try:
            return self.encode(sample, blanked)
        except Exception as error:  # a boundary: processors raise kinds of their own, each about this row alone
            refused[sample.id] = Refusal(sample.id, f"{type(error).__name__}: {error}")
            return None


class Answer(NamedTuple):
    """One completion of a held-out item, judged."""

    # None = could not be judged, or the engine gave up: no verdict, and not a wrong answer.
    correct: bool | None
    well_formed: bool
    num_tokens: int
    text: str


_UNASKED = Answer(None, False, 0, "")


@dataclass(frozen=True)
class EvalResult:
    """All answers of one model."""

    name: str
    samples: tuple[Sample, ...]
    # Way of asking -> for each sample, in order, its judged completions.
    answers: Mapping[Mode, tuple[tuple[Answer, ...], ...]]
    seconds: float
    # Items that the processor or the engine did not take; they have no verdict in any way of asking.
    refused: tuple[Refusal, ...] = ()

    @cached_property
    def clusters(self) -> list[str]:
        """The cluster of each sample, in order."""
        return clusters_of(self.samples)

    def item_means(self, mode: Mode) -> list[float | None]:
        """Share of right answers of each item over its judged completions; None = none of them could be judged."""
        verdicts = ([float(one.correct) for one in item if one.correct is not None] for item in self.answers[mode])
        return [sum(item) / len(item) if item else None for item in verdicts]


def prepare(samples: Sequence[Sample], processor: Processor, *, blank: bool) -> HeldOut:
    """Held-out items for `evaluate`; `blank`: they are to be asked with blanked images, too, where there are any.

    Raises:
        BadSample: the model reads text only and samples hold images.
    """
    if fault := media_fault(processor.family, samples):
        raise BadSample(fault)

    def encoded(sample: Sample, blanked: bool) -> EncodedPrompt:
        return encode(processor, sample, blank=blanked)

    return HeldOut(
        tuple(samples), encoded, blank and any(sample.media for sample in samples), media_token_ids(processor)
    )


def evaluate(
    rollout: Engines,
    scorer: Scoring,
    held_out: HeldOut,
    config: Config,
    *,
    name: str,
    policy_version: int,
    modes: Sequence[Mode] = MODES,
    progress: Progress = _silent,
) -> EvalResult:
    """Ask every held-out item in each of `modes` and judge the answers. An item that is refused has no verdict.

    Args:
        rollout: draws completions; it must hold the weights `policy_version`. Items come to it in one stream of chunks,
            see `HeldOut`.
        scorer: the parser and rubric of training. Judging overlaps with sampling.
        held_out: see `prepare`.
        config: `grpo` gives temperature and length; `eval` the number of samples and whether to blank; `seed`
            the sampling seeds.
        name: of the model, for the table and the judge's groups ("SFT", "GRPO").
        policy_version: version of the weights to draw with.
        modes: which ways of asking; "blank" is left out where eval.blank_images is off, "sampled" where
            eval.num_samples is 0.
        progress: called as each completion arrives.

    Raises:
        TooManyFailures: more items were refused than grpo.max_failure_rate allows.
        whatever the engine or the scorer raise; a reward that fails on one completion does not raise but leaves it
            without a verdict.
    """
    started = time.monotonic()
    counts = {mode: count for mode in modes if (count := _num_completions(mode, config, held_out))}
    ways: dict[Mode, _Way] = {}
    for mode, count in counts.items():
        start = sum(len(way.places) for way in ways.values())
        ways[mode] = _Way(f"eval/{name}/{mode}", range(start, start + count), len(held_out.samples), progress)
    refused: dict[str, Refusal] = {}
    settings = {mode: _settings(mode, config, policy_version, held_out.banned_token_ids) for mode in ways}
    batches = _batches(held_out, ways, settings, config.seed, refused)
    # One stream for all chunks and ways: engines that ran empty after each would wait for its longest answer each time.
    for key, completion in rollout.sample_stream(batches, next(iter(settings.values()))) if ways else ():
        way = next(way for way in ways.values() if key[1] in way.places)
        way.take(key, completion, scorer, refused)
    for way in ways.values():
        way.raise_if_lost(refused)
    _refuse_too_many(name, refused, len(held_out.samples), config.grpo.max_failure_rate)
    answers = {mode: way.collect(held_out.samples, refused) for mode, way in ways.items()}
    return EvalResult(name, held_out.samples, answers, time.monotonic() - started, tuple(refused.values()))


def _refuse_too_many(name: str, refused: Mapping[str, Refusal], num_items: int, limit: float) -> None:
    if len(refused) > limit * num_items:
        shown = "\n".join(f"  {one.prompt_id}: {one.reason}" for one in list(refused.values())[:5])
        raise TooManyFailures(
            f"evaluation of {name}: {len(refused)} of {num_items} items were refused by the processor or the engine, at"
            f" most {limit:.0%} may be (grpo.max_failure_rate):\n{shown}"
        )


def _num_completions(mode: Mode, config: Config, held_out: HeldOut) -> int:
    """Completions of one item; 0 = the items are not asked this way."""
    if mode == "sampled":
        return config.eval.num_samples
    return int(mode != "blank" or held_out.blank)


def _settings(mode: Mode, config: Config, version: int, banned_token_ids: tuple[int, ...]) -> SamplingSettings:
    """Sampled as in training, everything else greedily."""
    return SamplingSettings(
        temperature=config.grpo.temperature if mode == "sampled" else 0.0,
        max_completion_length=config.grpo.max_completion_length,
        policy_version=version,
        banned_token_ids=banned_token_ids,
    )


def _batches(
    held_out: HeldOut, ways: Mapping[Mode, _Way], settings: Mapping[Mode, SamplingSettings], seed: int,
    refused: dict[str, Refusal],
) -> Iterator[list[Request]]:  # fmt: skip
    """The requests of each chunk, in every way of asking."""
    for chunk in held_out.chunks(refused):
        requests: list[Request] = []
        for mode, way in ways.items():
            for sample, prompt in held_out.blanked(chunk, refused) if mode == "blank" else chunk:
                way.questions[sample.id] = sample, prompt.prefill
                requests += _requests(prompt, way.places, settings[mode], seed)
        chunk.clear()  # what is handed over holds the images; here nothing may while the next ones are decoded
        yield requests
        del requests


def _requests(prompt: EncodedPrompt, places: range, settings: SamplingSettings, seed: int) -> list[Request]:
    """One way of asking an item. Its places among all completions of the item tell the ways apart; seeds depend on the
    run's seed, the item and the place in its way alone, so that two models are drawn with the same ones."""
    return [
        Request(
            prompt_id=prompt.prompt_id,
            sample_index=place,
            text=prompt.text,
            media=prompt.engine_media,
            seed=sampling_seed(seed, EVALUATION_STEP, prompt.prompt_id, index),
            token_ids=prompt.token_ids,
            settings=settings,
        )
        for index, place in enumerate(places)
    ]


@dataclass
class _Way:
    """One way of asking: what came back so far, with verdicts that may still be thought about."""

    group: str
    # Places of its completions among all of an item: as many as it asks for.
    places: range
    num_items: int
    progress: Progress
    # Item -> the item, and what the template has written of its answer.
    questions: dict[str, tuple[Sample, str]] = field(default_factory=dict)
    pending: dict[RequestKey, tuple[Completion, Future[Scored]]] = field(default_factory=dict)

    def take(
        self, key: RequestKey, completion: Completion | Refusal, scorer: Scoring, refused: dict[str, Refusal]
    ) -> None:
        """Hand a completion to its judge as it arrives; what the engine refuses goes into `refused`."""
        if isinstance(completion, Refusal):
            refused[key[0]] = completion
            return
        sample, prefill = self.questions[key[0]]
        future = scorer.submit(
            sample,
            completion.text,
            f"{self.group}/{key[0]}",
            completion.finish_reason,
            num_tokens=len(completion.token_ids),
            group_size=len(self.places),
            prefill=prefill,
        )
        self.pending[RequestKey(key[0], key[1] - self.places.start)] = completion, future
        self.progress(self.group.rpartition("/")[2], len(self.pending), self.num_items * len(self.places))

    def raise_if_lost(self, refused: Mapping[str, Refusal]) -> None:
        """Raise RuntimeError where completions of items that were not refused never came."""
        came = sum(key.prompt_id not in refused for key in self.pending)
        expected = sum(name not in refused for name in self.questions) * len(self.places)
        if came != expected:
            raise RuntimeError(
                f"{self.group}: {expected - came} of {expected} completions never came back from the engine"
            )

    def collect(self, samples: Sequence[Sample], refused: Mapping[str, Refusal]) -> tuple[tuple[Answer, ...], ...]:
        """The verdicts, in the order of the items; a refused one has none."""
        answers = {key: _verdict(completion, future.result()) for key, (completion, future) in self.pending.items()}
        indices = range(len(self.places))
        answers |= {RequestKey(name, index): _UNASKED for name in refused for index in indices}
        return tuple(tuple(answers[RequestKey(sample.id, index)] for index in indices) for sample in samples)


def _verdict(completion: Completion, scored: Scored) -> Answer:
    outcome = scored.outcomes.get(ACCURACY)
    unjudged = completion.finish_reason == "abort" or outcome is None or outcome.value is None
    correct = None if unjudged or outcome is None else outcome.value == 1.0
    return Answer(correct, scored.parsed.well_formed, len(completion.token_ids), completion.text)
