"""`python -m tests.bench.make_run OUT --groups 7500`: a made-up run of any size, as training would have stored it.

Questions and images are those of the embedded data set (further answer types added), answers are made up, and
everything after that is the real
thing: the configured rewards, the LLM judge's own code asking a scripted server over HTTP, advantages, the store, the
metrics, the judge's cache. So the folder can be looked at, replayed, compared and exported like any other. What is not
there: checkpoints, a model, W&B files.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from judges import make_judge
from rewards.rubric import Rubric
from rewards.scorer import Scored, Scorer
from rl.algo.advantages import group_advantages
from rl.config import Config
from rl.config.door import compose, to_yaml
from rl.run.metrics import step_metrics
from rl.run.tracking import Tracker
from rollouts.prompt.messages import SYSTEM_INSTRUCTION, question_text
from rollouts.records import Completion, Rollout, Sample, stable_hash
from rollouts.store.writer import RunWriter
from tests.fakes import made_up
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, data_of, honest
from tests.paths import REPOSITORY

_KEY_VARIABLE = "ROUNDS_MADE_UP_KEY"
_TINY = REPOSITORY / "examples/tiny/model"


def make_run(
    out: Path,
    *,
    groups: int,
    prompts_per_step: int = 50,
    size: int = 8,
    seed: int = 0,
    image_size: int = 128,
    judge: str = "scripted",
) -> Path:
    """Write a run of `groups` prompts with `size` completions each into `out`, which must not exist. Returns it."""
    os.environ.setdefault(_KEY_VARIABLE, "made-up")
    out.mkdir(parents=True)
    with ScriptedJudge(_script) as server:
        config = _config(out, server.url, judge, size, prompts_per_step, seed, -(-groups // prompts_per_step))
        (out / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        (out / "model").mkdir()
        shutil.copy(_TINY / "tokenizer.json", out / "model")
        tokenizer = Tokenizer.from_file(str(_TINY / "tokenizer.json"))
        verdicts = make_judge(config.judge, cache_path=out / "judge.sqlite", backoff_seconds=0.01)
        rubric = Rubric(config.reward.weights, config.reward.routes, verdicts)
        writer = RunWriter(out)
        asked = made_up.questions(groups, seed, image_size)
        with Scorer(rubric) as scorer, Tracker(out, "off") as tracker:
            for step in itertools.count(1):
                prompts = list(itertools.islice(asked, prompts_per_step))
                if not prompts:
                    break
                skill = 0.3 + 0.5 * step * prompts_per_step / max(groups, prompts_per_step)
                everyone = _step(scorer, config, out.name, step, prompts, skill, tokenizer)
                for group in everyone:
                    writer.append_group(group)
                writer.finish_step(step)
                flat = [one for group in everyone for one in group]
                tracker.log(
                    step,
                    {**verdicts.metrics(), **step_metrics(flat, [{"kl": 0.001 * step, "loss": 0.01}], {"step": 1.0})},
                )
    return out


def _config(out: Path, url: str, judge: str, size: int, prompts_per_step: int, seed: int, num_steps: int) -> Config:
    asked = ["judge=rules"]
    if judge == "scripted":
        asked = [
            "judge=openai",
            f"judge.base_url={url}",
            f"judge.model={MODEL}",
            f"judge.api_key_env={_KEY_VARIABLE}",
            "judge.canary_fraction=0",
        ]
    return compose(
        [
            "+experiment=med_grpo", f"out_dir={out}", *asked, f"seed={seed}", "wandb=off",
            "reward.routes={mcq: option_match, yes_no: yes_no, open: judge, numeric: numeric, report: rouge_l}",
            f"grpo.num_generations={size}", f"grpo.prompts_per_step={prompts_per_step}", f"grpo.num_steps={num_steps}",
            "grpo.num_minibatches=1", "data.num_rl=null",
        ]
    )  # fmt: skip


def _script(body: dict[str, object]) -> Reply:
    data = data_of(body)
    return Reply("I would say it depends.") if made_up.is_unreadable(data) else honest(made_up.truth)(body)


def _step(
    scorer: Scorer, config: Config, run: str, step: int, prompts: Sequence[Sample], skill: float, tokenizer: Tokenizer
) -> list[list[Rollout]]:
    """All groups of one step: drawn, scored while others are drawn, with advantages."""
    size = config.grpo.num_generations
    completions = [[_completion(sample, step, index, skill, tokenizer) for index in range(size)] for sample in prompts]
    futures = [
        [
            scorer.submit(
                sample,
                one.text,
                f"{run}/{step}/{sample.id}",
                one.finish_reason,
                num_tokens=len(one.token_ids),
                group_size=size,
            )
            for one in group
        ]
        for sample, group in zip(prompts, completions, strict=True)
    ]
    scored = [[future.result() for future in group] for group in futures]
    totals = torch.tensor(
        [[float("nan") if one.total is None else one.total for one in group] for group in scored], dtype=torch.float64
    )
    valid = torch.tensor([[one.valid for one in group] for group in scored])
    result = group_advantages(totals, valid, scale=config.grpo.scale_rewards, min_valid=config.grpo.min_valid)
    return [
        [
            _rollout(
                run,
                step,
                index,
                sample,
                completion,
                one,
                bool(result.trained[place, index]),
                float(result.advantages[place, index]),
            )
            for index, (completion, one) in enumerate(zip(completions[place], scored[place], strict=True))
        ]
        for place, sample in enumerate(prompts)
    ]


def _completion(sample: Sample, step: int, index: int, skill: float, tokenizer: Tokenizer) -> Completion:
    seed = stable_hash("completion", step, sample.id, index)
    rng = random.Random(seed)
    text, finish_reason = made_up.said(sample, skill, rng)
    token_ids = tuple(tokenizer.encode(text).ids)
    logprobs = tuple(round(-rng.expovariate(3.0), 6) for _ in token_ids)
    return Completion(token_ids, text, finish_reason, logprobs, seed, step - 1, "made-up")  # type: ignore[arg-type]


def _rollout(
    run: str,
    step: int,
    index: int,
    sample: Sample,
    completion: Completion,
    scored: Scored,
    trained: bool,
    advantage: float,
) -> Rollout:
    rng = random.Random(completion.seed + 1)
    frames = sum(len(medium.frames) if medium.frames else 1 for medium in sample.media)
    prompt = f"<|system|>{SYSTEM_INSTRUCTION}<|user|>{'<image>' * frames}{question_text(sample)}<|assistant|>"
    return Rollout(
        run=run,
        step=step,
        prompt_id=sample.id,
        sample_index=index,
        sample=sample,
        prompt_text=prompt,
        completion=completion,
        parsed=scored.parsed,
        outcomes=scored.outcomes,
        weights=scored.weights,
        total=scored.total,
        valid=trained,
        advantage=advantage,
        old_logprobs=tuple(value + 1e-7 for value in completion.logprobs),
        ref_logprobs=tuple(round(value + rng.gauss(0.0, 0.05), 6) for value in completion.logprobs),
        timings={"gen": round(rng.random(), 3), "reward": sum(one.seconds for one in scored.outcomes.values())},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.make_run", description=__doc__.split("\n\n")[1])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make; must not exist")
    parser.add_argument("--groups", type=int, default=7500, help="prompts (default: %(default)s)")
    parser.add_argument("--prompts-per-step", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--size", type=int, default=8, help="completions of a prompt (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=128, help="pixels on a side (default: %(default)s)")
    parser.add_argument(
        "--judge",
        choices=("scripted", "rules"),
        default="scripted",
        help="who judges open answers (default: %(default)s)",
    )
    asked = parser.parse_args(argv)
    if asked.out.exists():
        parser.error(f"{asked.out} exists already; name a folder that does not")
    started = time.monotonic()
    make_run(**vars(asked))
    count, seconds = asked.groups * asked.size, time.monotonic() - started
    print(f"{count} completions in {seconds:.0f} s ({count / seconds:.0f}/s): {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
