"""What a judge is asked and what it says. A failed judgement is a verdict without a decision, never a number (JUDGING.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

Decision = Literal["correct", "incorrect", "unsure"]
# timeout: no answer before the deadline. unavailable: the endpoint failed on every attempt. unreadable: no reply was one valid verdict.
# refused: the endpoint rejects the request itself (key, model, schema). offline: not in the cache and asking is switched off.
Failure = Literal["timeout", "unavailable", "unreadable", "refused", "offline"]


class JudgeError(RuntimeError):
    """A judge that cannot work, found before the run starts: what was got, what was expected, how to mend it."""


class JudgeConfigError(JudgeError, ValueError):
    """The settings of a judge are incomplete or contradict each other."""


class JudgeUnreachable(JudgeError):
    """The endpoint does not answer, rejects the key, or does not serve the model."""


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
    # SHA-256 of the media shown to the judge; part of the cache key. () = the judge sees text only.
    media_sha256: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of one judgement. Exactly one of `decision` and `failure` is set."""

    decision: Decision | None
    failure: Failure | None = None
    # One sentence for the reader: which check decided, or what went wrong.
    reason: str = ""
    # Which layer decided: "precheck", "rules", "cache" or "judge".
    layer: str = "judge"
    # Everything that was said, JSON-ready; never holds a key.
    transcript: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    num_calls: int = 0
    num_tokens: int = 0

    def __post_init__(self) -> None:
        if (self.decision is None) == (self.failure is None):
            raise ValueError(
                f"verdict has decision {self.decision!r} and failure {self.failure!r}: exactly one of them must be set"
            )
        if self.decision is not None and self.decision not in get_args(Decision):
            raise ValueError(f"decision is {self.decision!r}, expected one of {get_args(Decision)}")


class Judge(Protocol):
    """Anything that can compare an answer with a reference."""

    # What the log and the transcript call it: "rules", "openai:MODEL".
    name: str

    async def judge(self, question: str, reference: str, aliases: tuple[str, ...], answer: str, language: str = "en") -> Verdict:
        """Compare; never raises on any answer."""
        ...

    async def check(self) -> None:
        """Raise JudgeUnreachable if judging cannot work; called once before a run starts."""
        ...

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        ...

    def describe(self) -> str:
        """One line that says plainly who decides."""
        ...

    def metrics(self) -> dict[str, float]:
        """Counters since the start, named `judge/..`."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...
