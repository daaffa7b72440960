"""The groups of workers and their verbs: thin, no maths. They speak to Ray only through the session they are given
(rl/workers/cluster.py)."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rl.algo.denominators import Denominators
from rl.policy.batching import Row, split_rows
from rl.workers.failures import WorkerFailed, last_log_lines
from rl.workers.parcels import Parcels
from rl.workers.worker_setup import WorkerInfo
from rollouts.engine.requests import PrefixHits, Refusal, Request, RequestKey, SamplingSettings, StaleWeights, Stream
from rollouts.records import Completion

log = logging.getLogger(__name__)


class Gone(RuntimeError):
    """The process behind a call is not there any more. Becomes WorkerFailed where the worker's name is known."""


class Session(Protocol):
    """What groups need of Ray."""

    # Seconds without any answer after which a worker counts as failed.
    timeout: float
    # The prompts that workers were sent.
    parcels: Parcels

    def first_ready(self, references: Sequence[Any], seconds: float) -> Any | None:
        """One of the references whose answer is there; None after so many seconds."""

    def fetch(self, reference: Any, seconds: float | None = None) -> Any:
        """The answer; raises what the worker raised, or Gone."""

    def log_files(self, pid: int) -> list[Path]:
        """Where a worker's output went; empty for other machines."""


Answer = TypeVar("Answer")


class Pending(Generic[Answer]):
    """An answer that some workers are working on; a call waits for it."""

    def __init__(self, group: Group, references: Sequence[Any], put_together: Callable[[list[Any]], Answer]) -> None:
        self._group = group
        self._references = references
        self._put_together = put_together

    def ready(self) -> bool:
        """Whether every worker has answered, or failed."""
        return self._group.answered(self._references)

    def __call__(self) -> Answer:
        """Raises what `Group.wait` raises."""
        return self._put_together(self._group.wait(self._references))


class Group:
    """Workers of one kind, in the order of their ranks."""

    def __init__(self, name: str, verl_group: Any, session: Session) -> None:
        self.name = name
        self.size = verl_group.world_size
        self._verl = verl_group
        self.session = session
        self.workers: list[Any] = verl_group.workers
        self._pids = self.ask("pid")
        self._started = self.ask("start")
        self.infos: list[WorkerInfo] = []
        # Called before every pass and update: engines on the same GPUs go to sleep first.
        self.before_work: Callable[[], None] = lambda: None

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """Start the same call on every worker. Lists are handed over as tuples, because verl would deal them out
        silently."""
        frozen = [tuple(one) if isinstance(one, list) else one for one in arguments]
        return self._verl.execute_all_async(method, *frozen)

    def ask_each(self, method: str, parts: Sequence[Any]) -> list[Any]:
        """Start a call with one part for each worker."""
        if len(parts) != self.size:
            raise ValueError(f"{len(parts)} parts for the {self.size} workers of {self.name}")
        return self._verl.execute_all_async(method, list(parts))

    def _ask_with_rows(self, method: str, parts: Sequence[Sequence[Row]], *rest: Any) -> list[Any]:
        """Start a call with rows for each worker; their prompts travel once, whoever is asked about them."""
        self.before_work()
        packed = [self.session.parcels.packed(rows) for rows in parts]
        return [
            getattr(worker, method).remote(letter, rest, *prompts)
            for worker, (letter, prompts) in zip(self.workers, packed, strict=True)
        ]

    def wait(self, references: Sequence[Any]) -> list[Any]:
        """The answers to one `ask`, worker by worker; the first failure ends the wait.

        Raises:
            WorkerFailed: a worker died, or was silent for longer than compute.worker_timeout_seconds.
            Exception: whatever a worker raised, as it raised it.
        """
        return wait_together((self, references))[0]

    def answered(self, references: Sequence[Any]) -> bool:
        """Whether every answer to one `ask` is there, or will never come."""
        return all(self.session.first_ready([reference], 0.0) is not None for reference in references)

    def wait_until_ready(self) -> None:
        self.infos = self.wait(self._started)

    def fetch(self, rank: int, reference: Any) -> Any:
        """One answer of one worker; its death as WorkerFailed."""
        try:
            return self.session.fetch(reference, self.session.timeout)
        except Gone as error:
            raise self.failed(rank, str(error)) from None
        except Exception as error:
            error.add_note(f"raised in worker {self.name}-{rank}")
            raise

    def failed(self, rank: int, what: str) -> WorkerFailed:
        return WorkerFailed(f"worker {self.name}-{rank} {what}\nIts last words:\n{last_log_lines(self._logs(rank))}")

    def _logs(self, rank: int) -> list[Path]:
        try:
            return self.session.log_files(self.session.fetch(self._pids[rank], 1.0))
        except Gone:
            return []

    def log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """Log-prob of every completion token, one list a row in the order given, under this group's model."""
        return self.start_log_probs(rows)()

    def start_log_probs(self, rows: Sequence[Row], method: str = "log_probs") -> Pending[list[Sequence[float]]]:
        """The same without waiting, so that two groups work at the same time."""
        places = split_rows(rows, self.size)
        references = self._ask_with_rows(method, [[rows[place] for place in part] for part in places])

        def in_order(answers: list[list[Sequence[float]]]) -> list[Sequence[float]]:
            values: list[Sequence[float]] = [()] * len(rows)
            for part, answer in zip(places, answers, strict=True):
                for place, value in zip(part, answer, strict=True):
                    values[place] = value
            return values

        return Pending(self, references, in_order)


class PolicyGroup(Group):
    """The ranks of the policy that learns."""

    def __init__(self, name: str, verl_group: Any, session: Session) -> None:
        super().__init__(name, verl_group, session)
        # Pieces of the mini-batch that has no end yet.
        self._pieces: list[list[Any]] = []

    def start_piece(self, rows: Sequence[Row], alone: bool = False) -> None:
        """Begin to add up the gradients of the first rows of a minibatch, or of some more; one rank only. `alone` is as
        in `start_update`."""
        self._pieces.append(self._ask_with_rows("accumulate", [rows], alone))

    def start_update(
        self, rows: Sequence[Row], totals: Denominators, alone: bool = False
    ) -> Callable[[], dict[str, float]]:
        """Begin the update of a minibatch that ends with these rows, dealt out over the ranks: the function that is
        returned waits for the metrics of the whole. Updates are made in the order in which they were started. `alone`:
        no engine is expected to draw meanwhile; on CPU the ranks then take all cores."""
        parts = [[rows[place] for place in part] for part in split_rows(rows, self.size)]
        calls = [*self._pieces, self._ask_with_rows("update", parts, totals, alone)]
        self._pieces = []
        return lambda: wait_together(*((self, references) for references in calls))[-1][0]

    def export_weights(self) -> tuple[Any, list[Any]]:
        """References to the weights in the object store and to their checksum (of the first rank, the one that counts,
        first)."""
        pairs = [worker.export_weights.options(num_returns=2).remote() for worker in self.workers]
        return pairs[0][0], [checksum for _, checksum in pairs]

    def begin_line(self, size: int) -> Any:
        """The address of a line with so many ends, of which the first rank is one."""
        return self.wait(self.ask("serve_line", size))[0]

    def lend_weights(self) -> list[tuple[Any, Any]]:
        """References to every rank's weights, as handles of its GPU's memory, and to their checksum."""
        return [tuple(worker.lend_weights.options(num_returns=2).remote()) for worker in self.workers]

    def save(self, path: str | Path) -> None:
        """Model and processor in Hugging Face format, written by the first rank."""
        self.wait(self.ask("save_pretrained", str(path)))

    def checkpoint(self, root: str | Path, step: int, extra: Mapping[str, Any], keep: int | None = None) -> None:
        """Weights, optimiser and random state after `step` as a checkpoint under `root` (rl/policy/checkpoints.py),
        with `extra` (JSON) beside them. It may still be being written when this returns; `save`, `restore` and the next
        `checkpoint` wait for it."""
        self.wait(self.ask("checkpoint", str(root), step, dict(extra), keep))

    def restore(self, root: str | Path) -> tuple[int, dict[str, Any]] | None:
        """Take up the newest checkpoint under `root` that verifies: its step and `extra`; None where there is none."""
        return self.wait(self.ask("restore", str(root)))[0]


def wait_together(*calls: tuple[Group, Sequence[Any]]) -> list[list[Any]]:
    """The answers of several groups whose workers wait for one another, group by group; the first failure of any of
    them ends the wait. Raises what `Group.wait` raises."""
    owners = {reference: (place, rank) for place, (_, refs) in enumerate(calls) for rank, reference in enumerate(refs)}
    answers: list[list[Any]] = [[None] * len(references) for _, references in calls]
    session = calls[0][0].session
    deadline = time.monotonic() + session.timeout
    while owners:
        ready = session.first_ready(list(owners), max(0.0, deadline - time.monotonic()))
        if ready is None:
            place, rank = min(owners.values())
            raise calls[place][0].failed(rank, f"gave no answer for {session.timeout:g} s")
        place, rank = owners.pop(ready)
        answers[place][rank] = calls[place][0].fetch(rank, ready)
    return answers


class Drawing:
    """What engines have still to draw of one call, and which calls of theirs will bring it. Prompt number i goes to
    engine i modulo their number, over all batches."""

    def __init__(self, num_engines: int, batches: Iterator[Sequence[Request]], stream: Stream | None) -> None:
        self._batches = batches
        self._places: dict[str, int] = {}
        self._ended = False
        # Which part of a stream the next call is; None = the batch is all there is.
        self.part = stream
        # What each engine has still to hand over.
        self.left: list[dict[RequestKey, Request]] = [{} for _ in range(num_engines)]
        # Each call that is being answered or waits behind another one, and whose it is.
        self.calls: dict[Any, int] = {}

    def wants_more(self) -> bool:
        """Whether an engine would have nothing to do, or none has a batch that waits behind the one it draws."""
        counts = [list(self.calls.values()).count(rank) for rank in range(len(self.left))]
        return not self._ended and (min(counts) == 0 or max(counts) < 2)

    def next_batch(self) -> list[tuple[int, list[Request]]]:
        """The next batch, dealt out: engines with what each is asked. At the end those that still draw are asked for
        nothing more, which tells them that this is the end."""
        batch = next(self._batches, None)
        if batch is None or self.part is None:
            self._ended = True
            self.part = self.part.end() if self.part is not None else None
        dealt: list[list[Request]] = [[] for _ in self.left]
        for request in batch or ():
            rank = self._places.setdefault(request.prompt_id, len(self._places)) % len(self.left)
            self.left[rank][request.key] = request
            dealt[rank].append(request)
        return [(rank, part) for rank, part in enumerate(dealt) if part or (self._ended and self.left[rank])]

    def forget_calls(self, rank: int) -> None:
        """No answer will come to the calls of an engine that died."""
        self.calls = {call: its for call, its in self.calls.items() if its != rank}

    def num_lost(self, rank: int) -> int:
        """Completions that no call of this engine can bring any more."""
        return len(self.left[rank]) if self._ended and rank not in self.calls.values() else 0


class RolloutGroup(Group):
    """The engines. Prompt number i of a call goes to engine i modulo their number, so that a run can be repeated."""

    def __init__(self, name: str, verl_group: Any, session: Session) -> None:
        super().__init__(name, verl_group, session)
        # Version of the last sync and references to weights and checksum, for an engine that had to be started again.
        self._weights: tuple[int, Any, Any] | None = None
        self._restarted: set[int] = set()
        self._asleep = False
        # What each engine was told to render ahead: one request of each prompt, and how it will be drawn.
        self._prepared: list[tuple[list[Request], SamplingSettings | None]] = [([], None)] * self.size
        self._num_streams = 0
        # Of all completions so far.
        self.hits = PrefixHits()

    def start_sync(self, version: int, weights_ref: Any, checksum_ref: Any) -> Callable[[str], None]:
        """Give every engine these weights. The function that is returned waits and takes the checksum that each engine
        must confirm.

        Raises (the returned function):
            StaleWeights: an engine confirmed others.
            WeightsRejected: they arrived damaged or were not taken over.
        """
        self._weights = version, weights_ref, checksum_ref
        self._asleep = False
        return self._confirming(version, [self._load(rank) for rank in range(self.size)])

    def start_borrowing(self, version: int, pairs: Sequence[tuple[Any, Any]]) -> Callable[[str], None]:
        """The same for weights that every engine opens on the GPU it shares with a rank of the policy."""
        self._weights = None
        self._asleep = False
        loading = [
            worker.borrow_weights.remote(version, *pair) for worker, pair in zip(self.workers, pairs, strict=True)
        ]
        return self._confirming(version, loading)

    def start_hearing(self, version: int) -> list[Any]:
        """Begin to take over what the policy sends over the line; references to what each engine confirms. An engine
        that dies later is not started again: nothing keeps the weights for it."""
        self._weights = None
        self._asleep = False
        return self.ask("hear_weights", version)

    def _confirming(self, version: int, references: list[Any]) -> Callable[[str], None]:
        return lambda checksum: self.confirm(version, checksum, self.wait(references))

    def confirm(self, version: int, checksum: str, answers: Sequence[Any]) -> None:
        """Raise StaleWeights unless every engine answered that it holds exactly these weights."""
        for rank, answer in enumerate(answers):
            if answer != (version, checksum):
                raise StaleWeights(f"{self.name}-{rank} holds {answer}, wanted {(version, checksum)}; it must not draw")

    def sleep(self) -> None:
        """Engines give the memory of their GPUs back, once they have drawn what they were asked for; the next sync, or
        the next completions asked for, wake them."""
        if not self._asleep:
            self.wait(self.ask("sleep"))
            self._asleep = True

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        """Completions as they finish, from all engines. An engine that dies is started again once and draws the same
        completions again.

        Raises:
            StaleWeights: an engine does not hold `settings.policy_version`.
            WorkerFailed: an engine died twice, lost completions, or was silent for too long.
        """
        return (one for one in self._drawn(iter([requests]), settings, None) if one is not None)

    def arrivals(
        self, requests: Sequence[Request], settings: SamplingSettings, patience: float
    ) -> Iterator[tuple[RequestKey, Completion | Refusal] | None]:
        """The same, and None whenever nothing came for `patience` seconds, so that the caller can look after other
        things. Engines are asked now, and go on whether or not somebody takes what they drew."""
        return self._drawn(iter([requests]), settings, None, patience)

    def prepare(self, requests: Sequence[Request], settings: SamplingSettings) -> None:
        """Let engines render the prompts of the next call, given by one request each in the order in which it asks
        them; media travel now, and not again. They begin when they have drawn what they were asked before; this does
        not wait."""
        self._prepared = [(list(requests[rank :: self.size]), settings) for rank in range(self.size)]
        for rank in range(self.size):
            self._prepare(rank)

    def _prepare(self, rank: int) -> Any:
        return self.workers[rank].prepare.remote(*self._prepared[rank])

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        """The same for requests that come in batches. A batch is asked for while an engine draws the one before it;
        engines run on from one to the next, and are empty once, at the end."""
        self._num_streams += 1
        drawn = self._drawn(iter(batches), settings, Stream(f"stream {self._num_streams}"))
        return (one for one in drawn if one is not None)

    def _drawn(
        self,
        batches: Iterator[Sequence[Request]],
        settings: SamplingSettings,
        stream: Stream | None,
        patience: float = 1.0,
    ) -> Iterator[tuple[RequestKey, Completion | Refusal] | None]:
        """None whenever nothing came for `patience` seconds. The first batches are asked for at once."""
        self._asleep = False
        drawing = Drawing(self.size, batches, stream)
        self._ask_more(drawing, settings)
        return self._coming(drawing, settings, patience)

    def _ask_more(self, drawing: Drawing, settings: SamplingSettings) -> None:
        while drawing.wants_more():
            for rank, requests in drawing.next_batch():
                drawing.calls[self._draw(rank, requests, settings, drawing.part)] = rank

    def _coming(
        self, drawing: Drawing, settings: SamplingSettings, patience: float
    ) -> Iterator[tuple[RequestKey, Completion | Refusal] | None]:
        heard = time.monotonic()
        while True:
            self._ask_more(drawing, settings)
            if not drawing.calls:
                return
            call = self._with_something(drawing, heard, patience)
            if call is None:
                yield None
                continue
            heard = time.monotonic()
            rank = drawing.calls[call]
            try:
                together = self.fetch(rank, next(call))
            except StopIteration:
                del drawing.calls[call]
                if num_lost := drawing.num_lost(rank):
                    raise self.failed(rank, f"lost {num_lost} completions") from None
                continue
            except WorkerFailed as error:
                self._start_again(rank, error)
                drawing.forget_calls(rank)
                again = list(drawing.left[rank].values())
                drawing.calls[self._draw(rank, again, settings, drawing.part)] = rank
                continue
            if isinstance(together, PrefixHits):
                self.hits += together
                continue
            for key, completion in together:
                del drawing.left[rank][key]
                yield key, completion

    def _with_something(self, drawing: Drawing, heard: float, patience: float) -> Any | None:
        """A call whose engine has something to say; None after `patience` seconds. `heard`: when one last had, by
        time.monotonic()."""
        call = self.session.first_ready(list(drawing.calls), patience)
        if call is None and time.monotonic() - heard >= self.session.timeout:
            raise self.failed(min(drawing.calls.values()), f"drew nothing for {self.session.timeout:g} s")
        return call

    def _draw(self, rank: int, requests: Sequence[Request], settings: SamplingSettings, stream: Stream | None) -> Any:
        there = {one.fingerprint for one in self._prepared[rank][0]}
        light = [dataclasses.replace(one, media=None) if one.fingerprint in there else one for one in requests]
        return self.workers[rank].sample.options(num_returns="streaming").remote(light, settings, stream)

    def _load(self, rank: int) -> Any:
        return self.workers[rank].load_weights.remote(*(self._weights or ()))

    def _start_again(self, rank: int, error: WorkerFailed) -> None:
        """Ray starts a dead engine's process once more; here it gets its weights. The second death is final."""
        if rank in self._restarted or self._weights is None:
            raise error
        self._restarted.add(rank)
        log.warning("%s\nIt is started again.", error)
        deadline = time.monotonic() + self.session.timeout
        while time.monotonic() < deadline:
            try:
                self._pids[rank] = self.workers[rank].pid.remote()
                self.session.fetch(self._pids[rank], self.session.timeout)
                break
            except Gone:  # not up again yet
                time.sleep(0.2)
        self.fetch(rank, self._load(rank))
        self.fetch(rank, self._prepare(rank))
