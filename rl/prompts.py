"""The prompts of the next step are encoded by threads while this one is drawn and trained on, and handed to the engines
before it ends, which render them while the last update is made: the first token waits for no image."""

from __future__ import annotations

import copy
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from rl.algo.step_order import asking_order
from rl.drawing import Questions, must_wait, requests_for, samples_of, sampling_settings
from rl.protocols import TrainingRun
from rl.refusals import encode_or_refuse
from rollouts.engine.requests import Refusal
from rollouts.prompt.processing import EncodedPrompt
from rollouts.records import Sample

# Threads that decode and encode, of which each has a processor of its own (tokenizers are not to be shared): a share of
# the cores, because policy, reference and engines work at the same time.
MAX_THREADS = 8
CORES_PER_THREAD = 4


class Prompts:
    """The prompts of one step ahead. A context manager; what is being encoded at the end is dropped.

    A prompt depends on its row alone, so the number of threads changes no bit.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        count = min(MAX_THREADS, (os.cpu_count() or 1) // CORES_PER_THREAD)
        self._threads = ThreadPoolExecutor(max_workers=max(1, count), thread_name_prefix="prompts")
        self._own = threading.local()
        # The step that was begun last, its prompts on their way, and whether nobody has asked for them yet.
        self._step = 0
        self._samples: list[Sample] = []
        self._encoded: list[Future[EncodedPrompt | Refusal]] = []
        self._wanted = False

    def begin(self, step: int) -> None:
        """Begin to encode the prompts of a step, where the run has it and they were not begun before."""
        if self._step != step <= self._run.num_steps:
            self._step, self._samples, self._wanted = step, samples_of(self._run, step), True
            self._encoded = [self._threads.submit(self._encode, sample) for sample in self._samples]

    def take(self, step: int) -> Questions:
        """The prompts of a step, begun now where they were not."""
        self.begin(step)
        self._wanted = False
        return self._questions()

    def hand_over(self) -> None:
        """Give the prompts that were begun last to the engines, which render them when they have drawn what they were
        asked before."""
        if self._wanted:
            questions = self._questions()
            order = asking_order(must_wait(self._run, questions.samples))
            prompts = [one for one in (questions.prompts[place] for place in order) if isinstance(one, EncodedPrompt)]
            requests = requests_for(prompts, 1, self._run.config.seed, questions.step)
            self._run.cluster.rollout.prepare(requests, sampling_settings(self._run, questions.step - 1))

    def _questions(self) -> Questions:
        return Questions(self._step, self._samples, [one.result() for one in self._encoded])

    def _encode(self, sample: Sample) -> EncodedPrompt | Refusal:
        if not hasattr(self._own, "processor"):
            self._own.processor = copy.deepcopy(self._run.processor)
        return encode_or_refuse(self._own.processor, sample)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
