"""A step while it is drawn: its completions come one by one, go to their scorer at once, and become groups that can be
taken in the order of training.

One thread does all of it. Whoever waits for something (a group, the reference, a judge) takes in what arrives
meanwhile, so that engines, judges, reference and policy work at the same time; what is computed, and in which order,
never depends on who was faster.

Legend: P prompts of the step, N completions of each.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from rewards.rubric import Scored
from rl.algo.estimators import estimator_of
from rl.algo.order import plan, sampling_seed
from rl.algo.step_order import Part, asking_order, cuts_between, parts, training_order
from rl.config.schedule import in_flight, passes_together, pieces_may_be_cut, why_whole, work_at_once
from rl.policy.batching import Row
from rl.protocols import Pending, ScoringRun, StepRun
from rl.refusals import encode_or_refuse, no_completion, no_prompt, no_score
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import EncodedPrompt
from rollouts.records import Completion, Sample

# Seconds without a completion after which it is looked whether what is waited for is there.
PATIENCE = 0.02


class TooManyFailures(RuntimeError):
    """More rewards of a step failed than `grpo.max_failure_rate` allows; training on the rest would be training on
    luck."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class LostCompletions(RuntimeError):
    """The rollout workers returned fewer completions than were asked for."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


@dataclass(frozen=True)
class Group:
    """One prompt with its completions, on the way through the step."""

    sample: Sample
    prompt: EncodedPrompt
    completions: tuple[Completion, ...]
    # Scores in the order of the completions; judges may still be thinking.
    scores: tuple[Future[Scored], ...]
    # Seconds from when the step was asked until each completion was there.
    seconds: tuple[float, ...]
    # Log-probs of the tokens of each completion under the policy at the step's start, and under the reference; empty
    # until they are computed, the first also where the engine's own are the old ones (grpo.old_logprobs=engine).
    old_logprobs: tuple[Sequence[float], ...] = ()
    ref_logprobs: tuple[Sequence[float], ...] = ()
    # The processor or the engine did not take the row: there are no tokens, and nothing to record (rl/refusals.py).
    refused: bool = False
    # Failed scores have had their second try.
    settled: bool = False


class Questions(NamedTuple):
    """What a step asks, ready for the engines."""

    step: int
    samples: list[Sample]
    # Of the samples, in their order; a row that cannot be encoded any more is refused, and costs itself.
    prompts: list[EncodedPrompt | Refusal]


def samples_of(run: StepRun, step: int) -> list[Sample]:
    """What a step asks, in the order of the data. Depends on nothing but the step's number."""
    config = run.config
    size = config.grpo.prompts_per_step
    indices = plan(step, seed=config.seed, num_samples=len(run.samples), prompts_per_step=size)
    return [run.samples[index] for index in indices]


def must_wait(run: ScoringRun, samples: Sequence[Sample]) -> list[bool]:
    """Of each, whether its completions are scored by something that takes its time, such as a judge that asks a
    model."""
    return [any(bound.takes_time for bound in run.scorer.rubric.rewards_for(one).values()) for one in samples]


def encoded(run: StepRun, step: int, indices: Sequence[int]) -> Questions:
    """These rows of the RL set, in this order, as prompts of a step."""
    samples = [run.samples[index] for index in indices]
    return Questions(step, samples, [encode_or_refuse(run.processor, sample) for sample in samples])


def requests_for(prompts: Sequence[EncodedPrompt], num_generations: int, seed: int, step: int) -> list[Request]:
    """P x N requests in prompt order, each with a seed of its own that depends on nothing but its place."""
    return [
        Request(
            prompt.prompt_id,
            index,
            prompt.text,
            prompt.engine_media,
            sampling_seed(seed, step, prompt.prompt_id, index),
            prompt.token_ids,
            fingerprint=prompt.fingerprint,
        )
        for prompt in prompts
        for index in range(num_generations)
    ]


def sampling_settings(run: StepRun, version: int, in_flight: int | None = None) -> SamplingSettings:
    """How a training step draws, with the weights of `version`; so many at once in each engine."""
    grpo = run.config.grpo
    return SamplingSettings(
        grpo.temperature, grpo.max_completion_length, version, run.banned_token_ids, in_flight=in_flight
    )


def streams(run: StepRun) -> bool:
    """Whether the first mini-batches of a step are trained on while the rest is still drawn. It changes no bit of what
    is learnt (tests/rl/test_streaming.py)."""
    return run.cluster.side_by_side and not why_whole(run.config)


class Drawing:
    """The completions of a step, drawn with the weights of one version. Each goes to the scorer the moment it
    arrives, so that judges think while engines draw; engines draw first what has to be waited for.

    Groups are numbered in the order of training, which depends on samples and rewards alone. A refused row is a group
    without tokens, neither recorded nor trained on.
    """

    def __init__(self, run: StepRun, questions: Questions, version: int) -> None:
        """Ask the engines, which begin as soon as they hold the weights of `version`; these must be on their way."""
        grpo = run.config.grpo
        waits = must_wait(run, questions.samples)
        self._whole_step = estimator_of(grpo.loss_type).needs_whole_step(grpo)
        self._run, self._step, self._version = run, questions.step, version
        self._at_once = streams(run)
        self._in_flight = in_flight(run.config) if self._at_once and not any(waits) else None
        self._samples = [questions.samples[place] for place in training_order(waits, self._whole_step)]
        self._by_id = {sample.id: sample for sample in self._samples}
        self._begun: set[int] = set()
        self._reference: dict[int, Pending[list[Sequence[float]]]] = {}
        in_order = [questions.prompts[place] for place in asking_order(waits)]
        self._prompts = {one.prompt_id: one for one in in_order if not isinstance(one, Refusal)}
        self._refused: dict[str, Refusal] = {}
        self._named: set[str] = set()
        # Completion, score and seconds since the start, by sample index, of groups that are not whole; None = refused.
        self._members: dict[str, dict[int, tuple[Completion, Future[Scored], float] | None]]
        self._members = {name: {} for name in self._prompts}
        self._groups: dict[str, Group] = {}
        for refusal in in_order:
            if isinstance(refusal, Refusal):
                self._refuse(refusal)
        # The next step, where it is drawn while this one is trained on.
        self.ahead: Drawing | None = None
        # Rows that the processor or the engine did not take.
        self.num_refused = 0
        # Numbers on how it was drawn, by the names of metrics.
        self.metrics: dict[str, float] = {}
        self._started = time.monotonic()
        self._arrivals = iter(self._ask())

    @cached_property
    def parts(self) -> list[Part]:
        """In which parts the step is trained on."""
        grpo, num_groups, cuts = self._run.config.grpo, len(self._samples), list[int]()
        if pieces_may_be_cut(self._run.config):
            longest = grpo.num_generations * grpo.max_completion_length
            prompts = [self._prompts.get(sample.id) for sample in self._samples]
            tokens = [longest + len(prompt.token_ids) if prompt else 0 for prompt in prompts]
            cuts = cuts_between(tokens, grpo.micro_batch_tokens)
        return parts(num_groups, grpo.num_generations, grpo.num_minibatches, self._whole_step, cuts)

    @cached_property
    def _passes(self) -> list[slice]:
        """On which groups the reference computes log-probs in one go: on all of them where it does so beside the
        policy's own pass, or alone with the machine."""
        config = self._run.config
        whole = passes_together(config) or not work_at_once(config)
        return [slice(0, len(self._samples))] if whole else [part.groups for part in self.parts]

    def _ask(self) -> Iterable[tuple[RequestKey, Completion | Refusal] | None]:
        config = self._run.config
        prompts = list(self._prompts.values())
        requests = requests_for(prompts, config.grpo.num_generations, config.seed, self._step)
        settings = sampling_settings(self._run, self._version, self._in_flight)
        return self._run.cluster.rollout.arrivals(requests, settings, PATIENCE)

    def _check_nothing_is_lost(self) -> None:
        size = self._run.config.grpo.num_generations
        if lost := sum(size - len(members) for members in self._members.values()):
            total = size * len(self._prompts)
            raise LostCompletions(
                f"step {self._step}: {total - lost} of {total} completions came back from the rollout workers"
            )

    def until(self, ready: Callable[[], bool]) -> None:
        """Take in what arrives, of this step and of the one ahead, until `ready` says so or nothing more comes.

        Raises:
            LostCompletions: some never came back.
        """
        while not ready():
            if not self._look() and (self.ahead is None or not self.ahead._look()):
                return

    def _look(self) -> bool:
        """Take in a completion, if one comes in time; False = nothing more comes."""
        try:
            arrival = next(self._arrivals)
        except StopIteration:
            self._check_nothing_is_lost()
            return False
        if arrival is not None:
            self._take_in(*arrival)
        return True

    def finish(self) -> None:
        """Wait for the last completion, and name the rows that were refused.

        Raises:
            LostCompletions: some never came back.
            TooManyFailures: every row of the step was refused.
        """
        while self._look():
            pass
        self._tell(self._samples)
        if len(self._refused) == self._run.config.grpo.prompts_per_step:
            reasons = [f"  {sample.id}: {self._refused[sample.id].reason}" for sample in self._samples[:5]]
            raise TooManyFailures(
                f"step {self._step}: all {len(self._samples)} rows were refused:\n" + "\n".join(reasons)
            )

    def wait_for_groups(self, part: Part) -> None:
        """Wait until the groups of a piece are whole; name the rows among them that were refused. With the last piece
        the step is finished."""
        if part == self.parts[-1]:
            self.finish()
        mine = self._samples[part.groups]
        self.until(lambda: all(sample.id in self._groups for sample in mine))
        self._tell(mine)

    def with_reference(self, part: Part) -> list[Group]:
        """The groups of a piece, in the order of training, with the reference's log-probs where there is a
        reference."""
        self._begin_reference()
        for place, groups in enumerate(self._passes):
            if place in self._reference and groups.start < part.groups.stop and part.groups.start < groups.stop:
                pending = self._reference.pop(place)
                self.until(pending.ready)
                self._keep("ref_logprobs", groups, pending())
        return self._groups_of(part.groups)

    def with_policy(self) -> None:
        """Compute the log-probs of all groups under the policy as it stands, while the reference does the same."""
        self._begin_reference()
        whole = slice(0, len(self._samples))
        self._keep("old_logprobs", whole, self._run.cluster.policy.log_probs(rows_of(self.groups)))

    @property
    def groups(self) -> list[Group]:
        """All groups, in the order of training; complete once the step is finished."""
        return self._groups_of(slice(0, len(self._samples)))

    def exchange(self, groups: Sequence[Group]) -> None:
        """Other groups in the places of these, before their log-probs are computed."""
        self._samples = [group.sample for group in groups]
        self._groups = {group.sample.id: group for group in groups}

    def wait_for_scores(self, part: Part) -> None:
        """Wait until every completion of a piece is scored, or has failed to be."""
        self.until(lambda: all(score.done() for group in self._groups_of(part.groups) for score in group.scores))

    def _groups_of(self, groups: slice) -> list[Group]:
        return [self._groups[sample.id] for sample in self._samples[groups]]

    def _take_in(self, key: RequestKey, completion: Completion | Refusal) -> None:
        members, prompt = self._members[key.prompt_id], self._prompts[key.prompt_id]
        if isinstance(completion, Refusal):
            self._refused[key.prompt_id] = completion
            members[key.sample_index] = None
        else:
            score = self._run.scorer.submit(
                self._by_id[key.prompt_id],
                completion.text,
                f"{self._run.name}/{self._step}/{key.prompt_id}",
                completion.finish_reason,
                num_tokens=len(completion.token_ids),
                group_size=self._run.config.grpo.num_generations,
                prefill=prompt.prefill,
            )
            members[key.sample_index] = completion, score, time.monotonic() - self._started
        if len(members) == self._run.config.grpo.num_generations:
            self._close(key.prompt_id)

    def _close(self, name: str) -> None:
        """A group is whole."""
        members = self._members.pop(name)
        if name in self._refused:
            self._refuse(self._refused[name])
        else:
            whole = [one for _, one in sorted(members.items()) if one is not None]
            completions, scores, seconds = zip(*whole, strict=True)
            self._groups[name] = Group(
                self._by_id[name], self._prompts[name].for_trainer(), completions, scores, seconds
            )
        if self._at_once:
            self._begin_reference()

    def _refuse(self, refusal: Refusal) -> None:
        """A group without tokens stands in the place of a refused row, so that the mini-batches stay what they are."""
        self._refused[refusal.prompt_id] = refusal
        size, seed = self._run.config.grpo.num_generations, self._run.config.seed
        seeds = [sampling_seed(seed, self._step, refusal.prompt_id, index) for index in range(size)]
        self._groups[refusal.prompt_id] = Group(
            self._by_id[refusal.prompt_id],
            no_prompt(refusal),
            tuple(no_completion(one, self._version) for one in seeds),
            tuple(no_score(refusal, self._run.scorer.rubric.weights) for _ in seeds),
            (0.0,) * size,
            refused=True,
        )

    def _tell(self, samples: Sequence[Sample]) -> None:
        for name in (sample.id for sample in samples if sample.id in self._refused):
            if name not in self._named:
                self._run.refuse(f"step {self._step}", self._refused[name])
                self._named.add(name)
                self.num_refused += 1

    def _begin_reference(self) -> None:
        """Hand to the reference what is whole and not handed over yet; nothing where there is none (grpo.beta=0)."""
        reference = self._run.cluster.reference
        for place, groups in enumerate(self._passes):
            whole = all(sample.id in self._groups for sample in self._samples[groups])
            if reference is not None and whole and place not in self._begun:
                self._begun.add(place)
                self._reference[place] = reference.start_log_probs(rows_of(self._groups_of(groups)))

    def _keep(self, name: str, groups: slice, values: Sequence[Sequence[float]]) -> None:
        """Log-probs of these groups, given as one list a row."""
        members = self._groups_of(groups)
        num_rows = sum(len(group.completions) for group in members)
        if num_rows != len(values):
            raise ValueError(f"log-probs of {len(values)} rows came back for {num_rows} completions")
        rows = iter(values)
        for group in members:
            logprobs = {name: tuple(islice(rows, len(group.completions)))}
            self._groups[group.sample.id] = dataclasses.replace(group, **logprobs)  # type: ignore[arg-type]


def rows_of(groups: Sequence[Group]) -> list[Row]:
    """P x N rows for the log-prob passes, in the order of the groups."""
    return [Row(group.prompt, completion.token_ids) for group in groups for completion in group.completions]
