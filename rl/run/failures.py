"""The boundary of the commands: an expected failure becomes one screen of text and an exit code, anything else keeps
its traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from judges import JudgeError
from rewards.registry import RewardError
from rl.algo.order import TooFewSamples
from rl.data.sets import UnusableData
from rl.drawing import LostCompletions, TooManyFailures
from rl.policy.checkpoints import CheckpointError
from rl.policy.loading.files import WrongWeights
from rl.policy.lora import NoSuchLayer
from rl.policy.parts import NothingLearns
from rl.policy.policy import NonFiniteUpdate
from rl.run.folder import RunFolderError
from rl.run.tracking import TrackingError
from rl.workers import interrupts
from rl.workers.failures import ClusterUnavailable, WorkerFailed
from rollouts.engine.requests import EngineDead, PromptMismatch, StaleWeights, WeightsRejected
from rollouts.prompt.families import BadImageSettings, UnknownFamily
from rollouts.prompt.messages import BadTemplate
from rollouts.records import BadSample
from rollouts.store.layout import StoreError
from rollouts.terminal import Ending, complain


class NotReady(RuntimeError):
    """The machine cannot do the run. Raised before the first minute is spent."""


# Failures that a person can mend; each message says what was got, what was expected and what to do.
EXPECTED = (
    # OSError: a file that is not there, and what transformers says of a model folder or Hub id that it cannot load.
    *(UnusableData, BadSample, OSError, JudgeError, RewardError, TooFewSamples),
    *(CheckpointError, RunFolderError, StoreError, TrackingError),
    *(ClusterUnavailable, NotReady, WorkerFailed, EngineDead, PromptMismatch, StaleWeights, WeightsRejected),
    *(BadImageSettings, BadTemplate, NoSuchLayer, NothingLearns, UnknownFamily, WrongWeights),
    *(LostCompletions, NonFiniteUpdate, TooManyFailures),
)


STOPPED = "interrupted; what was written stays, resume=true goes on from the last checkpoint"


@contextmanager
def exit_on_failure(command: str) -> Iterator[None]:
    """End the process where a run cannot go on. `command` is named in what is printed to standard error.

    An expected failure prints its message and gives the exit code of its kind (`rollouts.terminal`); Ctrl-C gives 130,
    `kill` 143. Other exceptions are bugs and keep their traceback.
    """
    handlers = interrupts.install()
    ending = Ending(command, *EXPECTED, stopped=STOPPED)
    try:
        with ending:
            yield
    except interrupts.Interrupted:
        complain(f"{command}: {STOPPED}")
        raise
    finally:
        interrupts.restore(handlers)
    if ending.code:
        sys.exit(ending.code)
