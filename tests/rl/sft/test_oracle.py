"""TRL's SFTTrainer on the same rows in the same order, image rows included: the same losses, update by update.

The one home of trl. Its schedule wastes the first update at a learning rate of 0 (Hugging Face's), so both walk at a
constant rate here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from rl.config import Config
from rl.data.sets import SftRow
from rl.policy.token_model import load_model
from rl.sft.ranks import in_this_process
from rl.sft.rows import encode_row, training_order
from rl.sft.train import METRICS, train_sft
from rollouts.prompt.processing import load_processor
from tests.fakes.tiny_models import make_internvl, make_llama
from tests.rl.sft.sft_cases import config, padded, seeing_rows, without_images


class _Noting(SFTTrainer):
    """Keeps what Hugging Face rounds in its log."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.losses: list[float] = []

    def training_step(self, *arguments: object, **options: object) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*arguments, **options)  # type: ignore[arg-type]
        self.losses.append(loss.item())
        return loss


def trl_trainer(settings: Config, rows: list[SftRow], out_dir: Path) -> _Noting:
    """TRL's trainer with the settings of SFT: the loss on the response only, as we taught it before it was our own."""
    processor = load_processor(settings.model.path)
    order, sft = training_order(rows, settings), settings.sft
    arguments = SFTConfig(
        output_dir=str(out_dir),
        per_device_train_batch_size=sft.batch_size,
        max_steps=len(order) // sft.batch_size,
        learning_rate=sft.learning_rate,
        weight_decay=sft.weight_decay,
        lr_scheduler_type=sft.lr_scheduler_type,
        max_grad_norm=sft.max_grad_norm,
        optim="adamw_torch",
        seed=settings.seed,
        bf16=False,
        use_cpu=True,
        completion_only_loss=True,
        max_length=None,
        packing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = _Noting(
        model=load_model(settings.model.path, processor.family, dtype=torch.float32, attention="eager"),
        args=arguments,
        data_collator=lambda batch: padded(
            [encode_row(processor, rows[one["row"]]) for one in batch], processor.tokenizer.pad_token_id or 0
        ),
        train_dataset=Dataset.from_dict({"row": order}),
        processing_class=processor.source,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


@pytest.mark.parametrize(
    ("make", "rows"),
    [(make_internvl, seeing_rows(16)), (make_llama, without_images(seeing_rows(16)))],
    ids=["images", "text"],
)
def test_losses_are_those_of_trl(make: Callable[[Path], Path], rows: list[SftRow], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = config(
        make(tmp_path / "model"), learning_rate=1e-4, lr_scheduler_type="constant", warmup_ratio=0.0, num_epochs=2
    )
    trainer = trl_trainer(settings, rows, tmp_path / "trl")
    trainer.train()
    train_sft(settings, rows, tmp_path / "ours", start=in_this_process)
    ours = [json.loads(line) for line in (tmp_path / "ours" / METRICS).read_text().splitlines()]
    assert len(trainer.losses) == len(ours) == 8
    assert [line["loss"] for line in ours] == pytest.approx(trainer.losses, abs=1e-5)
    theirs = [line for line in trainer.state.log_history if "loss" in line]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["step"] == other["step"] and mine["epoch"] == pytest.approx(other["epoch"] * 2, abs=1e-3)
        assert mine["num_tokens"] == other["num_tokens"] and mine["learning_rate"] == other["learning_rate"]
        for name in ("mean_token_accuracy", "grad_norm"):
            assert mine[name] == pytest.approx(other[name], rel=1e-3), name
    # The loss moved by far more than the two differ.
    assert ours[0]["loss"] - ours[-1]["loss"] > 0.01
