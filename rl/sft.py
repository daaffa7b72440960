"""Supervised fine-tuning with TRL's SFTTrainer: the loss is on the assistant's tokens only, the prompts are those of
RL.

The result becomes the policy's start and the frozen reference, so it is kept under a hash of everything it depends on
and reused by the next run with the same configuration. `python -m rl.sft [overrides]` trains it alone. Legend: B rows,
P prompt tokens, T tokens of a row.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollouts.terminal import accept_any_stdout, require

if __name__ == "__main__":
    require("python -m rl.sft", "train")

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel
from transformers.trainer_callback import PrinterCallback, TrainerCallback, TrainerControl, TrainerState
from transformers.utils import logging as transformers_logging
from trl import SFTConfig, SFTTrainer

from rl.config import Config
from rl.data.sets import SftRow
from rl.data.sizes import images_of
from rl.policy.token_model import load_model
from rl.run.progress import Bar, Display
from rollouts.media import with_hash
from rollouts.prompt.families import ONE_TILE
from rollouts.prompt.prefill import after_prefill
from rollouts.prompt.processing import (
    EncodedPrompt,
    Processor,
    collate_media,
    encode,
    load_processor,
    prompt_positions,
)
from rollouts.records import BadSample, stable_hash, to_dict
from rollouts.terminal import complain

# What the loss leaves out: prompt tokens and padding (the value PyTorch's cross entropy ignores).
IGNORED = -100
# Rows are dealt to batches from stretches of this many batches, sorted by length inside: little padding, and still a
# random order.
_BATCHES_PER_STRETCH = 16
# Settings of SFT that do not change its result.
_WITHOUT_EFFECT = ("enabled", "checkpoint", "cache_dir", "min_format_rate", "micro_batch_size")


@dataclass(frozen=True)
class TrainingRow:
    """One row as the model is trained on it."""

    prompt: EncodedPrompt
    # The response's tokens and the end-of-turn token; only these carry loss.
    completion_ids: tuple[int, ...]
    # Positions of all tokens: [T], or [3, T] for M-RoPE models.
    positions: torch.Tensor


def encode_row(processor: Processor, model: PreTrainedModel, row: SftRow) -> TrainingRow:
    """Encode a row with the same chat template as RL; of the response only what the template has not written already.

    Raises:
        BadSample: an image cannot be read, or the template opens a tag that the response does not begin with.
    """
    tokenizer = processor.tokenizer
    prompt = encode(processor, row.sample).for_trainer()
    try:
        taught = after_prefill(row.response, prompt.prefill)
    except ValueError as error:
        raise BadSample(f"sample {row.sample.id!r}: {error}") from error
    completion = tokenizer(taught, add_special_tokens=False)["input_ids"] + [processor.turn_end]
    before = prompt_positions(processor.family, model, prompt)
    after = before.max() + 1 + torch.arange(len(completion))
    positions = torch.cat([before, after.expand(*before.shape[:-1], -1)], dim=-1)
    return TrainingRow(prompt, tuple(completion), positions)


def collate(rows: Sequence[TrainingRow], pad_token_id: int) -> dict[str, torch.Tensor]:
    """A batch for the model: right-padded ids, mask, positions, labels [B, T] (IGNORED on prompt and padding), and the
    media unopened."""
    ids = [torch.tensor(row.prompt.token_ids + row.completion_ids) for row in rows]
    labels = [torch.tensor((IGNORED,) * len(row.prompt.token_ids) + row.completion_ids) for row in rows]
    # Time runs along dim 0 for padding; [T] and [3, T] both become batches with T last.
    positions = pad_sequence([row.positions.movedim(-1, 0) for row in rows], batch_first=True)
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_token_id),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        "position_ids": positions if positions.dim() == 2 else positions.permute(2, 0, 1).contiguous(),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        **collate_media([row.prompt.media for row in rows]),
    }


def training_order(rows: Sequence[SftRow], config: Config) -> list[int]:
    """Row numbers in the order they are trained on, epoch after epoch: a permutation from the seed, rows of similar
    length side by side.

    The last rows of an epoch that fill no whole batch are left for the next one, so every batch has `batch_size` rows.
    """
    order: list[int] = []
    batch = min(config.sft.batch_size, len(rows))
    for epoch in range(config.sft.num_epochs):
        generator = torch.Generator().manual_seed(stable_hash("sft order", config.seed, epoch))
        order += torch.randperm(len(rows), generator=generator).tolist()
    order = order[: len(order) // batch * batch]
    stretches = [
        order[i : i + batch * _BATCHES_PER_STRETCH] for i in range(0, len(order), batch * _BATCHES_PER_STRETCH)
    ]
    return [
        number
        for place, stretch in enumerate(stretches)
        for number in _by_length(rows, stretch, batch, config.seed, place)
    ]


def _by_length(rows: Sequence[SftRow], stretch: list[int], batch: int, seed: int, place: int) -> Iterator[int]:
    """The stretch in batches of similar length, the batches in random order."""
    by_length = sorted(stretch, key=lambda number: _rough_length(rows[number]))
    batches = [by_length[i : i + batch] for i in range(0, len(by_length), batch)]
    generator = torch.Generator().manual_seed(stable_hash("sft stretch", seed, place))
    for i in torch.randperm(len(batches), generator=generator).tolist():
        yield from batches[i]


def _rough_length(row: SftRow) -> int:
    """Characters, with a frame counted as 100: good enough to sort by, and no image is opened for it."""
    num_frames = sum(len(media.frames or (media,)) for media in row.sample.media)
    return 100 * num_frames + len(row.sample.question) + sum(map(len, row.sample.options or ())) + len(row.response)


def trainer_settings(config: Config, out_dir: Path, num_rows: int) -> SFTConfig:
    """TRL's settings for a run over `num_rows` rows (all epochs counted)."""
    sft = config.sft
    batch = min(sft.batch_size, num_rows)
    micro = min(sft.micro_batch_size, batch)
    num_updates = num_rows // batch
    return SFTConfig(
        output_dir=str(out_dir),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=batch // micro,
        # Counted here, because the rows handed over hold every epoch in its own order.
        max_steps=num_updates,
        learning_rate=sft.learning_rate,
        weight_decay=sft.weight_decay,
        lr_scheduler_type=sft.lr_scheduler_type,
        warmup_steps=round(sft.warmup_ratio * num_updates),
        max_grad_norm=sft.max_grad_norm,
        optim="adamw_torch",
        seed=config.seed,
        bf16=config.model.dtype == "bfloat16",
        use_cpu=config.compute.device == "cpu",
        completion_only_loss=True,
        max_length=None,
        packing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        # Recomputing activations pays on large models only; on a CPU it costs a third of the time.
        gradient_checkpointing=config.compute.device == "cuda",
        logging_steps=max(1, num_updates // 20),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


class _ToBar(TrainerCallback):
    """Each update, and the newest loss, go to our own bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._numbers: dict[str, float] = {}

    def on_log(self, _: Any, state: TrainerState, control: TrainerControl, logs: dict[str, float], **__: Any) -> None:
        self._numbers = {name: logs[name] for name in ("loss", "mean_token_accuracy") if name in logs}

    def on_step_end(self, _: Any, state: TrainerState, control: TrainerControl, **__: Any) -> None:
        self._bar.reach(state.global_step, self._numbers)


def _stop_at(model: PreTrainedModel, token_id: int) -> None:
    """Make whoever draws from the model stop at this token, too: engines read it from generation_config.json."""
    settings = model.generation_config
    stated = settings.eos_token_id
    before = stated if isinstance(stated, list) else [] if stated is None else [stated]
    if token_id not in before:
        settings.eos_token_id = [*before, token_id]


def train_sft(config: Config, rows: Sequence[SftRow], out_dir: Path, display: Display | None = None) -> Path:
    """Fine-tune `config.model` on the rows and write model, processor and `sft_metrics.jsonl` to `out_dir`; `display`
    shows how far it is.

    The same configuration, rows and number of threads give the same weights on CPU.

    Raises:
        ValueError: there are no rows, or the batch is no multiple of the micro-batch.
        FileNotFoundError: the model's folder is missing.
    """
    if not rows:
        raise ValueError("SFT needs at least one row, got none; set data.num_sft above 0 or sft.enabled=false")
    if config.compute.num_threads is not None:
        torch.set_num_threads(config.compute.num_threads)
    torch.manual_seed(config.seed)
    # Its bars for a second's work lie across ours.
    transformers_logging.disable_progress_bar()
    processor = load_processor(config.model.path, images_of(config.model))
    dtype = torch.float32 if config.compute.device == "cpu" else getattr(torch, config.model.dtype)
    # On a CPU the backward pass of PyTorch's fused attention takes a third of the whole step at these lengths; the
    # plain one is faster.
    attention = "eager" if config.compute.device == "cpu" else "sdpa"
    model = load_model(config.model.path, processor.family, dtype=dtype, attention=attention)
    order = training_order(rows, config)

    def collator(batch: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        encoded = [encode_row(processor, model, rows[one["row"]]) for one in batch]
        # Padding is masked, so any id will do where the tokenizer has none of its own.
        return collate(encoded, processor.tokenizer.pad_token_id or 0)

    trainer = SFTTrainer(
        model=model,
        args=trainer_settings(config, out_dir, len(order)),
        data_collator=collator,
        # Row numbers only: a row is encoded when its batch is made, so that the images never lie in memory together.
        train_dataset=Dataset.from_dict({"row": order}),
        processing_class=processor.source,
    )
    trainer.remove_callback(PrinterCallback)
    with (display or Display(sys.stderr)).bar("fine-tune", trainer.args.max_steps) as bar:
        trainer.add_callback(_ToBar(bar))
        trainer.train()
    _stop_at(trainer.model, processor.turn_end)
    trainer.model.save_pretrained(out_dir)
    processor.save_pretrained(out_dir)
    lines = (json.dumps(entry) + "\n" for entry in trainer.state.log_history)
    (out_dir / "sft_metrics.jsonl").write_text("".join(lines), encoding="utf-8")
    return out_dir


def sft_hash(config: Config, rows: Sequence[SftRow]) -> str:
    """Hex digest of everything the SFT model depends on: model files, settings, seed, and every row with its images."""
    digest = hashlib.sha256()
    folder = Path(config.model.path)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    settings = {k: v for k, v in dataclasses.asdict(config.sft).items() if k not in _WITHOUT_EFFECT}
    told = {
        "model": "" if files else config.model.path,
        "dtype": config.model.dtype,
        "sft": settings,
        "seed": config.seed,
    }
    # Left out at its default, so that models which were made before there was this setting are found.
    as_large_as = images_of(config.model)
    told |= {"images": dataclasses.asdict(as_large_as)} if as_large_as != ONE_TILE else {}
    digest.update(json.dumps(told, sort_keys=True).encode())
    for row in rows:
        asked = {k: v for k, v in to_dict(row.sample).items() if k != "media"}
        images = [with_hash(media).sha256 for media in row.sample.media]
        digest.update(json.dumps([asked, images, row.response], sort_keys=True).encode())
    return digest.hexdigest()


def ensure_sft(config: Config, rows: Sequence[SftRow], display: Display | None = None) -> Path:
    """The SFT model of this configuration: the given checkpoint, a finished one of the same hash, or a newly trained
    one. `display` says which.

    A model appears under its name only when it is complete, so an interrupted run leaves nothing half-written.

    Raises:
        FileNotFoundError: `sft.checkpoint` or the model's folder is missing.
    """
    display = display or Display(sys.stderr)
    if config.sft.checkpoint is not None:
        if not (Path(config.sft.checkpoint) / "config.json").is_file():
            raise FileNotFoundError(
                f"sft.checkpoint={config.sft.checkpoint} holds no model (no config.json); "
                "give the folder of a finished SFT model, or leave it out to train one"
            )
        return Path(config.sft.checkpoint)
    digest = sft_hash(config, rows)
    final = Path(config.sft.cache_dir) / digest[:16]
    if (final / "sft.json").is_file():
        display.say(f"{final} is reused (same model, data and settings)")
        return final
    display.say(f"training on {len(rows)} rows into {final}")
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        train_sft(config, rows, partial, display)
        (partial / "sft.json").write_text(json.dumps({"hash": digest, "num_rows": len(rows)}) + "\n", encoding="utf-8")
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def main(argv: Sequence[str]) -> int:
    """Train (or find) the SFT model of a configuration and print its folder."""
    from rl.config.door import ConfigError, compose
    from rl.data.load import load
    from rl.data.sets import BadRows

    try:
        config = compose(list(argv))
        # The folder is the only line on standard output.
        with Display(sys.stderr) as display:
            folder = ensure_sft(config, load(config.data).sft, display)
        print(folder)
    except (ConfigError, BadRows, FileNotFoundError, ValueError, OSError) as error:
        complain(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main(sys.argv[1:]))
