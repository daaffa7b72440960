"""What a judge is asked and what it answers. A judgement that fails is a verdict without a decision, never a number
(JUDGING.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

Decision = Literal["correct", "incorrect", "unsure"]
# timeout: no answer came before the deadline. unavailable: the endpoint failed on every attempt. unreadable: no reply
# was one valid verdict. refused: the endpoint rejects the request itself (key, model, schema). offline: the cache does
# not hold it and asking is switched off. budget: the run has spent its calls or tokens and asks nothing more.
Failure = Literal["timeout", "unavailable", "unreadable", "refused", "offline", "budget"]


class JudgeError(RuntimeError):
    """A judge cannot work. The run has not started; the message says what was got, what was expected and how to mend
    it."""


class JudgeConfigError(JudgeError, ValueError):
    """The settings of a judge are incomplete or contradict each other."""


class JudgeUnreachable(JudgeError):
    """The endpoint does not answer, refuses a question, rejects the key, or does not serve the model."""


class JudgeProbeFailed(JudgeUnreachable):
    """The endpoint serves the model, but its reply to one question breaks the schema: a run would get no verdicts."""


@dataclass(frozen=True)
class JudgeMedia:
    """One image that a judge may see. It is sent only where `show_images` is on."""

    # SHA-256 of the source file in hex: stands for the image in the cache key and in the transcript.
    sha256: str
    # The encoded image, PNG.
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Question:
    """One judgement to make: does `answer` mean `reference`?"""

    question: str
    # The reference answer; `aliases` are further wordings that mean exactly the same.
    reference: str
    answer: str
    aliases: tuple[str, ...] = ()
    # Language of the prompt; another one falls back to English.
    language: str = "en"
    # The images that go with the question; () = text only.
    media: tuple[JudgeMedia, ...] = ()
    # Judgements under one key that wait at the same time share one deadline; None = a deadline of its own.
    group_key: str | None = None


@dataclass(frozen=True)
class Criteria:
    """Several yes/no criteria about one text, for one call. Raises ValueError for no criterion and for a blank one."""

    # What is asked for: names the prompt file `TASK_1.LANGUAGE.md` ("rubric", "keypoints", "perception").
    task: str
    # What the candidate text is an answer to.
    question: str
    candidate: str
    # Each is met or not met by the candidate, independently of the others; at least one.
    criteria: tuple[str, ...]
    # Language of the prompt; another one falls back to English.
    language: str = "en"
    media: tuple[JudgeMedia, ...] = ()
    # As in `Question`.
    group_key: str | None = None

    def __post_init__(self) -> None:
        if not self.criteria or not all(isinstance(text, str) and text.strip() for text in self.criteria):
            raise ValueError(f"criteria are {self.criteria!r}, expected at least one and each a text that is not blank")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one judgement. Exactly one of `decision` and `failure` is set; anything else raises ValueError."""

    decision: Decision | None
    failure: Failure | None = None
    # One sentence for the reader: which check decided, or what went wrong.
    reason: str = ""
    # Which layer decided: "precheck", "rules", "cache", "judge", "second_opinion" or "panel".
    layer: str = "judge"
    # All that was asked and answered, JSON-ready. It never holds a key.
    transcript: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    num_calls: int = 0
    num_tokens: int = 0
    # Money, in the currency of the configured prices; 0 where none are configured.
    cost: float = 0.0

    def __post_init__(self) -> None:
        if (self.decision is None) == (self.failure is None):
            raise ValueError(
                f"verdict has decision {self.decision!r} and failure {self.failure!r}: exactly one of them must be set"
            )
        if self.decision is not None and self.decision not in get_args(Decision):
            raise ValueError(f"decision is {self.decision!r}, expected one of {get_args(Decision)}")


@dataclass(frozen=True)
class Assessment:
    """The outcome of judging criteria. Exactly one of `met` and `failure` is set; anything else raises ValueError."""

    # One entry per criterion, in order: met, not met, or None where the judge is unsure about that one. None = judging
    # failed.
    met: tuple[bool | None, ...] | None
    failure: Failure | None = None
    reason: str = ""
    # As in `Verdict`.
    layer: str = "judge"
    transcript: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    num_calls: int = 0
    num_tokens: int = 0
    cost: float = 0.0

    def __post_init__(self) -> None:
        if (self.met is None) == (self.failure is None):
            raise ValueError(
                f"assessment has met {self.met!r} and failure {self.failure!r}: exactly one of them must be set"
            )


class Judge(Protocol):
    """Anything that can compare an answer with a reference."""

    # What the log and the transcript call it: "rules", "openai:MODEL".
    name: str
    # Whether it has its verdicts at once, because it asks nobody: then nothing is gained by asking it early.
    is_instant: bool

    @property
    def shows_images(self) -> bool:
        """Whether it looks at `media`; a caller need not open images for a judge that does not."""
        ...

    async def judge(self, question: Question) -> Verdict:
        """Compare one answer with its reference. Never raises for any answer: a failure is a verdict with `failure`
        set."""
        ...

    async def assess(self, criteria: Criteria) -> Assessment:
        """Judge several criteria about one text, one entry each and in their order. Never raises for any text."""
        ...

    async def check(self) -> None:
        """Raise JudgeUnreachable if judging cannot work. A run calls it once before it starts."""
        ...

    def check_now(self) -> None:
        """Do what `check` does, for callers without an event loop."""
        ...

    def describe(self) -> str:
        """Return one line that says who decides."""
        ...

    def metrics(self) -> dict[str, float]:
        """Return the counters since the start, named `judge/..`."""
        ...

    async def close(self) -> None:
        """Close connections and files."""
        ...
