"""The same GRPO work through TRL's GRPOTrainer with Hugging Face generate: `python -m tests.bench.step.trl RUN SFT
STEPS` prints seconds a step.

Same model, prompts, images, number of completions, lengths, updates a step and beta; a reward that costs nothing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value
from transformers import AutoModelForImageTextToText, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from rl.algo.order import plan
from rl.config import Config
from rl.config.door import load
from rl.data.load import load as load_data
from rollouts.media import frames
from rollouts.prompt.messages import build_messages, question_text
from rollouts.prompt.processing import load_processor


def reward_format(completions: list[Any], **_: Any) -> list[float]:
    """1.0 for a completion with an answer tag; both sides pay next to nothing for rewards here."""
    return [float("<answer>" in completion[0]["content"]) for completion in completions]


def dataset(config: Config, num_steps: int) -> Dataset:
    """The prompts of the run's first steps, in the run's order."""
    samples = load_data(config.data).rl
    chosen = [
        samples[index]
        for step in range(1, num_steps + 1)
        for index in plan(
            step, seed=config.seed, num_samples=len(samples), prompts_per_step=config.grpo.prompts_per_step
        )
    ]
    rows = [
        {
            "prompt": [{"role": build_messages(sample)[0]["role"], "content": question_text(sample)}],
            "images": [frame for medium in sample.media for frame in frames(medium)],
        }
        for sample in chosen
    ]
    features = Features(
        {"prompt": List({"role": Value("string"), "content": Value("string")}), "images": List(Image())}
    )
    return Dataset.from_list(rows, features=features)


class StepSeconds(TrainerCallback):
    """Wall seconds between the ends of whole GRPO steps (one generation and all of its updates)."""

    def __init__(self, updates_per_step: int) -> None:
        self.updates_per_step = updates_per_step
        self.marks = [time.monotonic()]

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.marks = [time.monotonic()]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self.updates_per_step == 0:
            self.marks.append(time.monotonic())


def main(run: Path, sft: Path, num_steps: int) -> list[float]:
    config = load(run / "config.yaml")
    grpo = config.grpo
    rows = grpo.prompts_per_step * grpo.num_generations // grpo.num_minibatches
    arguments = GRPOConfig(
        output_dir=str(run / "trl"),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=rows,
        steps_per_generation=grpo.num_minibatches,
        num_generations=grpo.num_generations,
        max_completion_length=grpo.max_completion_length,
        temperature=grpo.temperature,
        beta=grpo.beta,
        learning_rate=grpo.learning_rate,
        loss_type=grpo.loss_type,
        max_steps=num_steps * grpo.num_minibatches,
        gradient_checkpointing=False,
        shuffle_dataset=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=grpo.num_minibatches,
    )
    clock = StepSeconds(grpo.num_minibatches)
    trainer = GRPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(str(sft)),
        reward_funcs=reward_format,
        args=arguments,
        train_dataset=dataset(config, num_steps),
        processing_class=load_processor(sft).source,
        callbacks=[clock],
    )
    trainer.train()
    return [after - before for before, after in zip(clock.marks[:-1], clock.marks[1:], strict=True)]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
