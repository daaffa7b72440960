"""What the loop (`rl/grpo.py`) and its verbs (`rl/step.py`) need of a run, which `rl.run.run.Run` has. Tests put
fakes in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

from rewards.rubric import Rubric, Scored
from rl.algo.denominators import Denominators
from rl.config import Config
from rl.policy.batching import Row
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import Processor
from rollouts.records import Completion, Rollout, Sample

Answer = TypeVar("Answer", covariant=True)


class Pending(Protocol[Answer]):
    """An answer on its way: `rl.workers.groups.Pending`."""

    def ready(self) -> bool:
        """Whether it is there."""

    def __call__(self) -> Answer:
        """Wait for it."""


class Engines(Protocol):
    """Draw completions: `rl.workers.groups.RolloutGroup`, or one engine."""

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterable[tuple[RequestKey, Completion | Refusal]]:
        """Completions as they finish, in any order."""

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterable[tuple[RequestKey, Completion | Refusal]]:
        """The same for requests that come in batches, each of them asked for when there is room for it."""


class Streams(Engines, Protocol):
    """Engines whose caller has other work meanwhile: `rl.workers.groups.RolloutGroup`."""

    def arrivals(
        self, requests: Sequence[Request], settings: SamplingSettings, patience: float
    ) -> Iterable[tuple[RequestKey, Completion | Refusal] | None]:
        """The same as `sample`, and None whenever nothing came for `patience` seconds. Engines begin when this
        returns, with the weights that they are given last."""

    def prepare(self, requests: Sequence[Request], settings: SamplingSettings) -> None:
        """Begin to render the prompts of the next call, given by one request each in the order in which it asks
        them."""


class Learner(Protocol):
    """The policy that learns: `rl.workers.groups.PolicyGroup`."""

    def log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """Log-prob of every completion token, in nats, one list a row."""

    def start_piece(self, rows: Sequence[Row], alone: bool = False) -> None:
        """Begin to add up the gradients of rows of a mini-batch that is not at its end."""

    def start_update(
        self, rows: Sequence[Row], totals: Denominators, alone: bool = False
    ) -> Callable[[], dict[str, float]]:
        """Begin the optimiser update of the mini-batch that ends with these rows; the function that is returned waits
        for its metrics. `alone`: no engine is expected to draw meanwhile."""


class Frozen(Protocol):
    """The reference: `rl.workers.groups.Group`."""

    def start_log_probs(self, rows: Sequence[Row]) -> Pending[list[Sequence[float]]]:
        """Begin to compute log-probs, one list a row."""


class Workers(Protocol):
    """Everything that draws or learns: `rl.workers.cluster.Cluster`."""

    @property
    def rollout(self) -> Streams: ...
    @property
    def policy(self) -> Learner: ...
    @property
    def reference(self) -> Frozen | None:
        """None = nothing holds the policy back (grpo.beta=0)."""

    @property
    def side_by_side(self) -> bool:
        """Whether engines can draw while the policy learns; not where both need one GPU's memory."""

    def start_sync(self, version: int) -> Callable[[], None]:
        """Begin to give the policy's weights, as every update started so far leaves them, to the engines as `version`;
        the function that is returned waits. A version that they hold, or are being given, is not sent again."""


class Scoring(Protocol):
    """Scores completions: `rewards.scorer.Scorer`, or a fake of it."""

    def submit(
        self,
        sample: Sample,
        completion: str,
        group_key: str,
        finish_reason: str = "stop",
        *,
        num_tokens: int | None = None,
        group_size: int | None = None,
        prefill: str = "",
    ) -> Future[Scored]:
        """Begin to score one completion."""


class RubricScoring(Scoring, Protocol):
    """Scores completions, and says by which rewards."""

    @property
    def rubric(self) -> Rubric: ...


class Store(Protocol):
    """Keeps rollouts: `rollouts.store.writer.RunWriter`."""

    def append_group(self, rollouts: Sequence[Rollout]) -> None:
        """Keep the completions of one prompt."""

    def finish_step(self, step: int) -> object:
        """Nothing more comes for this step."""


class ScoringRun(Protocol):
    """What scoring needs of a run."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Config: ...
    @property
    def scorer(self) -> RubricScoring: ...


class StepRun(ScoringRun, Protocol):
    """What all verbs need of a run; `rl.run.run.Run` is one."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The RL set."""

    @property
    def processor(self) -> Processor:
        """Chat template, tokenizer, images."""

    @property
    def banned_token_ids(self) -> tuple[int, ...]:
        """Tokens that no completion may hold."""

    @property
    def cluster(self) -> Workers: ...
    @property
    def writer(self) -> Store: ...

    def refuse(self, when: str, refusal: Refusal) -> None:
        """Name a row that the processor or the engine did not take."""


class TrainingRun(StepRun, Protocol):
    """What the loop needs of a run beyond the verbs."""

    @property
    def start_step(self) -> int:
        """First step to do: 1, or the one after the checkpoint that the run resumes from."""

    @property
    def num_steps(self) -> int:
        """Last step to do."""

    def evaluate(self, step: int) -> dict[str, float]:
        """`eval/*` of the weights after this step and `timing_s/eval`, where the settings want them; else nothing."""

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the numbers of a step."""

    def save(self, step: int) -> None:
        """Write a checkpoint."""
