"""The loop of supervised training: batches are encoded while the ranks are still at the one before, and a training that
was killed goes on from its last checkpoint with the same bits.

The process that runs this holds a processor and the rows, but no model. What is taught is a `Course`: SFT's rows here,
documents in rl/stages. Legend: an update is one batch.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from rl.algo.denominators import denominators
from rl.config import Config
from rl.data.sets import SftRow
from rl.data.sizes import images_of
from rl.policy.batching import Row
from rl.refusals import tell_refusal
from rl.run.progress import Bar, Display
from rl.sft.ranks import Ranks, Start, in_workers
from rl.sft.rows import batch_size, encode_row, training_order
from rl.step import TooManyFailures
from rollouts.engine.requests import Refusal
from rollouts.prompt.processing import Processor, load_processor

CHECKPOINTS, METRICS = "checkpoints", "sft_metrics.jsonl"
# The newest, and the one before in case the newest is damaged.
CHECKPOINTS_KEPT = 2


@dataclass
class Counts:
    """What has been trained on so far; kept in checkpoints."""

    # Prompt and response tokens of all rows, as TRL counts them.
    num_tokens: int = 0
    # Rows that the processor refused.
    num_refused: int = 0


# Numbers of what makes one row of the policy: a row of SFT, or the documents that share a sequence.
Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Course:
    """What is taught, in which order."""

    # In progress and errors: "SFT".
    title: str
    processor: Processor
    # Rows or documents of one epoch.
    num_rows: int
    # The rows of the policy of each update.
    updates: Sequence[Sequence[Numbers]]
    # Makes one of them. Raises what a processor raises.
    encode: Callable[[Numbers], Row]
    # Names one of them where it is refused.
    name_of: Callable[[Numbers], str]


@dataclass
class _Training:
    config: Config
    course: Course
    ranks: Ranks
    # Where checkpoints and numbers go.
    folder: Path
    bar: Bar
    # Rows or documents of the updates so far.
    num_seen: int = 0
    counts: Counts = field(default_factory=Counts)

    def run(self, done: int) -> None:
        """All updates after the first `done`."""
        every, num_updates = self.config.sft.save_steps, len(self.course.updates)
        self.num_seen = sum(_num_rows(update) for update in self.course.updates[:done])
        finish: Callable[[], None] = lambda: None  # noqa: E731 - nothing was started yet
        for step in range(done + 1, num_updates + 1):
            rows = self._encoded(step)
            started = self._start(step, rows)
            finish()
            finish = started
            if step % every == 0 and step < num_updates:
                finish()
                finish = lambda: None  # noqa: E731 - nothing is left to wait for
                self.ranks.checkpoint(self.folder / CHECKPOINTS, step, vars(self.counts), CHECKPOINTS_KEPT)
        finish()

    def _encoded(self, step: int) -> list[Row]:
        """The rows of an update; one that the processor refuses is named and left out.

        Raises:
            TooManyFailures: more of them than the share `grpo.max_failure_rate`.
        """
        update, course = self.course.updates[step - 1], self.course
        encoded: list[Row] = []
        refusals: list[Refusal] = []
        for numbers in update:
            try:
                encoded.append(course.encode(numbers))
            except Exception as error:  # a boundary: processors raise kinds of their own, and each means this row alone
                refusals.append(Refusal(course.name_of(numbers), f"{type(error).__name__}: {error}"))
        for refusal in refusals:
            tell_refusal(self.folder, self.bar, f"{course.title} update {step}", refusal)
        limit = self.config.grpo.max_failure_rate
        if len(refusals) > limit * len(update):
            shown = "\n".join(f"  {one.prompt_id}: {one.reason}" for one in refusals[:5])
            raise TooManyFailures(
                f"{course.title} update {step}: {len(refusals)} of {len(update)} rows were refused, more than"
                f" grpo.max_failure_rate={limit:g}:\n{shown}\nCorrect them; python -m rl.doctor names every such row"
            )
        self.counts.num_refused += len(refusals)
        return encoded

    def _start(self, step: int, rows: Sequence[Row]) -> Callable[[], None]:
        """Begin an update; the function that is returned waits for it and writes its numbers."""
        lengths = [len(row.completion_ids) for row in rows]
        self.counts.num_tokens += sum(row.num_tokens for row in rows)
        self.num_seen += _num_rows(self.course.updates[step - 1])
        numbers = {
            "step": step,
            "epoch": round(self.num_seen / self.course.num_rows, 4),
            "num_tokens": self.counts.num_tokens,
            "refused_rows": self.counts.num_refused,
        }
        wait = self.ranks.start_update(rows, denominators([lengths], max_completion_length=0)[0])
        return lambda: self._note({**numbers, **wait()})

    def _note(self, numbers: Mapping[str, Any]) -> None:
        if numbers["update/skipped"]:
            self.bar.warn(f"{self.course.title} update {numbers['step']} was not finite and is skipped")
        line = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.bar.reach(numbers["step"], numbers)


def _num_rows(update: Sequence[Numbers]) -> int:
    return sum(map(len, update))


def train_sft(
    config: Config,
    rows: Sequence[SftRow],
    out_dir: Path,
    display: Display | None = None,
    *,
    start: Start = in_workers,
) -> Counts:
    """Fine-tune `config.model` on the rows and write model, processor and `sft_metrics.jsonl` to `out_dir`; `display`
    shows how far it is. Where checkpoints of this very training lie in `out_dir`, it goes on after the newest.

    The same configuration, rows and number of threads give the same weights on CPU.

    Raises:
        ValueError: there are no rows.
        FileNotFoundError: the model's folder is missing.
        TooManyFailures: the processor refuses too many rows of an update.
        CheckpointError, ClusterUnavailable, NonFiniteUpdate, WorkerFailed.
    """
    if not rows:
        raise ValueError("SFT needs at least one row, got none; set data.num_sft above 0 or sft.enabled=false")
    processor = load_processor(config.model.path, images_of(config.model))
    batch, order = batch_size(rows, config), training_order(rows, config)
    course = Course(
        title="SFT",
        processor=processor,
        num_rows=len(rows),
        updates=[[(number,) for number in order[i : i + batch]] for i in range(0, len(order), batch)],
        encode=lambda numbers: encode_row(processor, rows[numbers[0]]),
        name_of=lambda numbers: rows[numbers[0]].sample.id,
    )
    return teach(config, course, out_dir, display, start=start)


def teach(
    config: Config, course: Course, out_dir: Path, display: Display | None = None, *, start: Start = in_workers
) -> Counts:
    """Train `config.model` on a course with the settings of `config.sft`, and write model, processor and
    `sft_metrics.jsonl` to `out_dir`, going on after the newest checkpoint there.

    Raises:
        FileNotFoundError: the model's folder is missing.
        TooManyFailures: the processor refuses too many rows of an update.
        CheckpointError, ClusterUnavailable, NonFiniteUpdate, WorkerFailed.
    """
    display = display or Display(sys.stderr)
    out_dir = out_dir.absolute()  # ranks may stand elsewhere
    out_dir.mkdir(parents=True, exist_ok=True)
    num_updates = len(course.updates)
    with start(config, config.model.path, num_updates) as ranks:
        checkpoint = ranks.restore(out_dir / CHECKPOINTS)
        done, counts = (0, Counts()) if checkpoint is None else (checkpoint[0], Counts(**checkpoint[1]))
        _forget_after(out_dir / METRICS, done)
        if done:
            display.say(f"{course.title} goes on after update {done} of {num_updates}")
        with display.bar("fine-tune" if course.title == "SFT" else course.title, num_updates, done) as bar:
            training = _Training(config, course, ranks, out_dir, bar, counts=counts)
            training.run(done)
        ranks.save(out_dir)
    _stop_at(out_dir, course.processor)
    return training.counts


def _forget_after(path: Path, step: int) -> None:
    """Drop the numbers of updates that will be done again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:step]
        path.write_text("".join(lines), encoding="utf-8")


def _stop_at(folder: Path, processor: Processor) -> None:
    """Make whoever draws from the model stop at the taught end of a turn and at the tokenizer's own: engines read them
    from generation_config.json."""
    here = (folder / "generation_config.json").is_file()
    settings = GenerationConfig.from_pretrained(folder) if here else GenerationConfig()
    stated = settings.eos_token_id
    before = stated if isinstance(stated, list) else [] if stated is None else [stated]
    ends = (processor.tokenizer.eos_token_id, processor.turn_end)
    settings.eos_token_id = [*dict.fromkeys([*before, *(end for end in ends if end is not None)])]
    if settings.pad_token_id is None:
        settings.pad_token_id = processor.tokenizer.pad_token_id
    settings.save_pretrained(folder)
