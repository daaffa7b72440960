"""The whole configuration of a run as one frozen dataclass tree: what every setting means, its unit and where its
default comes from.

Hydra composes `conf/`, `rl/config/door.py` turns the result into a `Config` once, and behind that door there is no
DictConfig and no `.get(`. A default is the paper's (Fleming-VL, Sec 4 and Table 2) where it states one and ours where
it is silent. YAML files may only override.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from judges.settings import JudgeConfig  # its home, because `python -m judges.calibrate` reads it too
from rl.algo.estimators import ESTIMATORS
from rl.config.media import MediaConfig

if TYPE_CHECKING:
    LossType = str
else:
    # One of the estimators; a checker of types cannot read the dict.
    LossType = Literal[tuple(ESTIMATORS)]
ScaleRewards = Literal["group", "batch", "none"]
# Which parts learn (rl/policy/parts.py): all of the model; the language model (decoder, embeddings, head); vision tower
# and projector; low-rank adapters beside the decoder's layers.
Train = Literal["all", "language", "vision_projector", "lora"]
Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]
# What a control takes away (rl/config/controls.py).
Control = Literal["none", "blind", "random_reward", "format_only", "shuffled_gold"]
# The stages of the paper, in its order (Fleming-VL, Sec 3.2): interleaved pre-training, knowledge injection from
# captions, instruction tuning (the section `sft`) and RL (the section `grpo`).
Stage = Literal["interleaved", "captions", "instruction", "grpo"]


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (Hu et al., arXiv:2106.09685) with the names and meanings of PEFT; model.train=lora only."""

    # Rank: a layer from I to O inputs gets r * (I + O) weights. 32 and more equal full training in RL (TRL and verl say
    # so of text models), at about ten times its learning rate: set grpo.learning_rate and sft.learning_rate with it.
    r: int = 32
    # An adapter counts lora_alpha / r times.
    lora_alpha: int = 32
    # Must be 0: with dropout the trainer's distribution would not be the one that the engine draws from.
    lora_dropout: float = 0.0
    # "all-linear" = every linear layer of the decoder (never the head), or names such as [q_proj,v_proj].
    target_modules: str | tuple[str, ...] = "all-linear"


@dataclass(frozen=True)
class ModelConfig:
    """The vision-language model that is trained: a folder in Hugging Face format, or a Hub id where there is a
    network."""

    # The embedded tiny model, relative to the repository, or a path, or a Hub id.
    path: str = "examples/tiny/model"
    # Arithmetic of policy, reference and engine. float32 on CPU; bfloat16 on GPUs.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Longest prompt plus completion, in tokens, image tokens included.
    max_model_len: int = 512
    # Images a prompt may hold (slices of a volume count one each).
    max_images: int = 4
    # Tiles of an image at most, for families that cut images into tiles (InternVL): 1 = no tiles (Table 2: dynamic size
    # off in RL); more cost as many times the tokens, and bring a thumbnail along.
    max_tiles: int = 1
    # Pixels of an image at most, for families that take images of any size (Qwen2.5-VL, 784 pixels a token): larger
    # images are made smaller, for trainer and engine alike. None = what the model's processor was saved with.
    max_pixels: int | None = None
    # What learns, in SFT and in RL; the rest is frozen. The paper: all, and vision_projector in its stage 2 (Sec 3.2).
    train: Train = "all"
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass(frozen=True)
class DataConfig:
    """Where questions come from and how the RL set is drawn from them (Sec 3.2)."""

    # "phantoms" (embedded, generated), "vqa_rad" or "jsonl".
    name: Literal["phantoms", "vqa_rad", "jsonl"] = "phantoms"
    # Folder (vqa_rad) or file (jsonl) of the data; None = generated.
    root: str | None = None
    # Samples used for SFT / available to RL / held out for evaluation. None = all there are.
    num_sft: int | None = 4096
    num_rl: int | None = 2048
    num_eval: int | None = 640
    # Share of images held out, where the source has no split of its own (split by image, never by row).
    eval_fraction: float = 0.2
    # Share of SFT rationales that answer without looking (phantoms only; see examples/tiny/README.md).
    shortcut_fraction: float = 0.6
    # Share of multiple-choice RL items asked open, options kept in the record (Sec 3.2, ours: proportion).
    open_fraction: float = 0.25
    # yes/no items are at most this share of the final RL set: keep floor(f * M / (1 - f)) beside M others.
    max_yes_no_fraction: float = 0.05
    # The RL set holds rows from this difficulty to that one, both included: the share of a model's attempts that failed
    # (1 - pass rate), 0 = always solved, 1 = never. null = no bound; with a bound, rows without a difficulty are left
    # out.
    min_difficulty: float | None = None
    max_difficulty: float | None = None
    # "raise" lists every bad row with line or id and reason and stops; "skip" records them in bad_rows.jsonl and goes
    # on. A row that the model's processor does not take, or that is too long for it, is one, too.
    on_bad_row: Literal["raise", "skip"] = "raise"
    seed: int = 0
    # How volumes, videos and pictures in medical formats are read (jsonl only).
    media: MediaConfig = field(default_factory=MediaConfig)


@dataclass(frozen=True)
class SftConfig:
    """Supervised fine-tuning (Sec 4, Table 2, stage 3). Its model becomes both the policy's start and the frozen
    reference."""

    enabled: bool = True
    # What learns in it; null = as in RL (model.train). The paper's stage 3: all.
    train: Train | None = None
    # Tiles of an image at most in it, for families that cut images into tiles; null = as in RL (model.max_tiles).
    # Table 2: dynamic size on here, off in RL.
    max_tiles: int | None = None
    # A finished SFT model to start from instead of training one; None = train, or reuse one of the same configuration.
    checkpoint: str | None = None
    # Where SFT models are kept for reuse, one folder per configuration hash.
    cache_dir: str = "runs/sft"
    learning_rate: float = 2e-5
    weight_decay: float = 0.05
    warmup_ratio: float = 0.03
    lr_scheduler_type: Literal["cosine", "constant"] = "cosine"
    batch_size: int = 128
    # Prompt plus response tokens per forward pass, padding included; results do not depend on it.
    micro_batch_tokens: int = 4096
    num_epochs: int = 1
    max_grad_norm: float = 1.0
    # A checkpoint every so many updates, in the folder that the model will be in: a training that was interrupted goes
    # on there. 500 is Hugging Face's; a checkpoint takes three times the model's size in float32.
    save_steps: int = 500
    # Below this share of well-formed completions RL cannot start well: a warning is printed (VLM-R1 #173).
    min_format_rate: float = 0.2


@dataclass(frozen=True)
class StageConfig:
    """One stage before instruction tuning, trained on documents: texts and images in order, the loss on all text (the
    paper, Sec 3.2, says what is read and not how; documents go without chat template, ours)."""

    # "phantoms" (embedded, generated), "interleaved" (JSON lines of documents) or "captions" (JSON lines of images
    # with captions); see examples/stages.md.
    data: Literal["phantoms", "interleaved", "captions"] = "phantoms"
    # The file of documents; null = generated.
    root: str | None = None
    # Documents used, drawn by seed; null = all there are (phantoms: 2,048).
    num_documents: int | None = None
    # Whether documents share a sequence of model.max_model_len tokens, without seeing each other; a batch then counts
    # sequences.
    packed: bool = False
    # What learns.
    train: Train = "all"
    # Tiles of an image at most, for families that cut images into tiles; others have no such setting and take none.
    # Table 2: dynamic size is on; how many tiles is not said, 12 is InternVL's own.
    max_tiles: int = 12
    learning_rate: float = 1e-5
    weight_decay: float = 0.05
    warmup_ratio: float = 0.03
    lr_scheduler_type: Literal["cosine", "constant"] = "cosine"
    batch_size: int = 128
    # Tokens per forward pass, padding included; results do not depend on it.
    micro_batch_tokens: int = 4096
    num_epochs: int = 1
    # The paper states none for these stages; ours is that of SFT.
    max_grad_norm: float = 1.0
    # A checkpoint every so many updates; a stage that was interrupted goes on there.
    save_steps: int = 500


@dataclass(frozen=True)
class InterleavedConfig(StageConfig):
    """Stage 1, interleaved pre-training (Sec 3.2, Table 2): documents with many images, packed."""

    packed: bool = True


@dataclass(frozen=True)
class CaptionsConfig(StageConfig):
    """Stage 2, medical knowledge injection (Sec 3.2, Table 2): captions, the language model frozen."""

    train: Train = "vision_projector"


@dataclass(frozen=True)
class StagesConfig:
    """The stages of the paper. Each begins with the model of the one before; a stage of the same model, data and
    settings is found again in sft.cache_dir."""

    # Stages that are left out, of interleaved, captions, instruction and grpo. The quick recipe is the last two.
    skip: tuple[Stage, ...] = ("interleaved", "captions")
    # Ask every stage's model the held-out items greedily, and the model before the first stage; only where a stage
    # stands before instruction tuning.
    evaluate: bool = True
    interleaved: InterleavedConfig = field(default_factory=InterleavedConfig)
    captions: CaptionsConfig = field(default_factory=CaptionsConfig)


@dataclass(frozen=True)
class GrpoConfig:
    """GRPO (DeepSeekMath, arXiv:2402.03300) with the names of TRL."""

    # None = one epoch over the RL set.
    num_steps: int | None = None
    num_epochs: int = 1
    # P prompts x N completions a step, consumed in num_minibatches optimiser updates.
    prompts_per_step: int = 16
    num_generations: int = 8
    num_minibatches: int = 4
    # Prompt plus completion tokens per forward pass, padding included; results do not depend on it.
    micro_batch_tokens: int = 4096
    temperature: float = 0.9
    max_completion_length: int = 64
    learning_rate: float = 1e-6
    lr_scheduler_type: Literal["cosine", "constant"] = "cosine"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    # Weight of the k3 KL to the SFT model, in the loss.
    beta: float = 0.04
    # Clip range of the ratio: 1 - epsilon .. 1 + epsilon_high (None = the same as epsilon).
    epsilon: float = 0.2
    epsilon_high: float | None = None
    # The estimator, a file of rl/algo/estimators each. gspo has one ratio for a whole completion, which moves little:
    # its paper clips at epsilon=3e-4, epsilon_high=4e-4.
    loss_type: LossType = "grpo"
    # Whose log-probs stand under the ratio. "engine": those that the engine drew with, which costs no pass and corrects
    # for the gap between engine and trainer (1e-6 in float32, more in bfloat16); the step then streams: a mini-batch is
    # trained on as soon as it is drawn and scored, while engines draw the rest. "policy": a pass of the policy before
    # the first update, once everything is drawn; for ratios clipped closer than that gap, as gspo's in bfloat16.
    # Nothing streams where an update needs the whole step (dapo, scale_rewards=batch, normalize_then_sum) or engines
    # share the policy's GPUs.
    old_logprobs: Literal["engine", "policy"] = "engine"
    # 1 = a step is drawn with the weights before the last step's, while that one is trained on; needs
    # old_logprobs=policy. Each token then counts min(policy / engine, tis_cap) times, under the policy at the step's
    # start. What follows a checkpoint is drawn with its weights, so that a resumed run gives the same bits.
    max_staleness: Literal[0, 1] = 0
    tis_cap: float = 2.0
    scale_rewards: ScaleRewards = "group"
    # "sum_then_normalize": the weighted sum becomes an advantage. "normalize_then_sum": each reward is normalised in
    # its group first, then summed by weight and normalised over the batch, so that a reward of small range is not
    # drowned (GDPO, arXiv:2601.05242).
    multi_objective_aggregation: Aggregation = "sum_then_normalize"
    # "next": a group whose valid members were all paid the same teaches nothing; another prompt replaces it, drawn
    # with the same weights, in at most refill_rounds rounds a step (DAPO's dynamic sampling, arXiv:2503.14476). The
    # step does not stream then.
    refill: Literal["none", "next"] = "none"
    refill_rounds: int = 2
    # Fewer valid members than this and a group is scored again, then dropped and counted.
    min_valid: int = 2
    # The run stops with an error when a larger share of a step's rewards failed, or of its rows was refused by the
    # processor or the engine; so does SFT when the processor refuses a larger share of an update's rows.
    max_failure_rate: float = 0.5
    # A checkpoint every so many steps; the last step always saves the model.
    save_steps: int = 20


@dataclass(frozen=True)
class RewardConfig:
    """reward = format_weight * format + accuracy_weight * accuracy, accuracy routed by the sample's answer_type.

    A reward is named by its name, as path/to/file.py:function, or as an installed entry point.
    """

    # Reward -> weight in the total. "accuracy" stands for the routed one. 0 = measured, not paid.
    weights: dict[str, float] = field(default_factory=lambda: {"accuracy": 0.9, "format": 0.1})
    # answer_type -> name of the reward that measures accuracy there.
    routes: dict[str, str] = field(
        default_factory=lambda: {
            "mcq": "option_match",
            "multi": "option_match",
            "yes_no": "yes_no",
            "open": "judge",
            "numeric": "numeric",
            "report": "report",
            "box": "box_iou",
        }
    )
    # Reward -> its arguments, such as {option_match: {partial: true}}.
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Reward -> the least value that opens its gate; below it the completion is paid 0, whatever the other rewards say.
    gates: dict[str, float] = field(default_factory=dict)
    # Rewards that are not shipped run in child processes: wall seconds of one call (a judge's time not counted),
    # address space of one child in GiB, and children of each such reward.
    plugin_timeout_seconds: float = 10.0
    plugin_memory_gib: float = 4.0
    plugin_workers: int = 2


@dataclass(frozen=True)
class ComputeConfig:
    """Where the workers run."""

    # None = start a Ray of our own on this machine and stop it at the end; "auto" or host:port = join an existing
    # cluster.
    ray_address: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    num_policy_workers: int = 1
    num_rollout_workers: int = 1
    # GPUs of one engine.
    tensor_parallel_size: int = 1
    # Completions that an engine draws at once (vLLM's name); null = 64 on CPU, where more draw hardly faster and what
    # was asked first would finish as late as the rest, and 512 on GPUs. On CPU a step that streams and waits for no
    # judge that asks a model then draws those of one mini-batch at once, so that the policy can begin.
    max_num_seqs: int | None = None
    # Share of its GPU's memory that an engine of its own GPU may take (cuda), and its KV cache in GiB (cpu).
    gpu_memory_utilization: float = 0.5
    # KV cache in GiB of an engine that shares a GPU with the policy (cuda), where nothing can be measured. InternVL3-8B
    # needs 57 KB a token: 10 GiB are 180,000 tokens, 128 completions of 1,400 with their prompts.
    gpu_kv_cache_gib: float = 10.0
    cpu_kv_cache_gib: float = 0.5
    # Memory of one GPU that a program may use, in GiB: an H200 has 139, an H100 79. null = not said; else a run that
    # needs more is refused before it starts, with settings that would fit (python -m rl.doctor prints the table).
    gpu_memory_gib: float | None = None
    # How policy and reference attend over a prompt with its completions behind it (cuda). "dense" computes every pair
    # of tokens, "flex" (FlexAttention) only blocks in which somebody looks, a sixth to a tenth of them, after a
    # compilation of seconds; "auto" takes flex for trees of 1,024 tokens and more. On CPU it is dense.
    attention: Literal["auto", "dense", "flex"] = "auto"
    # Whether the policy computes the activations of a layer again in the backward pass instead of keeping them: a third
    # more arithmetic, a tenth of the memory. null = on GPUs, where memory is what runs out, and not on CPU.
    activation_checkpointing: bool | None = None
    # Ranks of the policy that share one copy of weights and moments (FSDP2); null = all of them. On several machines
    # the GPUs of one, so that only gradients cross the network (HSDP).
    fsdp_size: int | None = None
    # When ranks add up their gradients. "update" sends each once an update and holds a whole float32 gradient on every
    # rank meanwhile; "micro_batch" holds only shards and sends them as often as there are micro-batches.
    gradient_sync: Literal["update", "micro_batch"] = "update"
    # The two moments of AdamW, 8 bytes a parameter: in float32; in bfloat16, rounded up or down by chance so that small
    # changes are not lost on average, 4 bytes; or in the host's memory ("cpu"), moved in and out at each update.
    optimizer_state: Literal["float32", "bfloat16", "cpu"] = "float32"
    # Where the frozen reference lies (cuda): "whole" on every rank's GPU; "sharded", a part on each, as the policy is
    # (fsdp_size), gathered layer by layer for a pass; or "cpu", the same parts in the host's memory, from where each
    # layer is brought in. In the dtype of model.dtype, but for norms and embeddings.
    reference: Literal["whole", "sharded", "cpu"] = "whole"
    # Whether threads write checkpoints while the ranks go on learning. These then wait only until their part is copied
    # into the memory of their machine, 12 bytes a parameter that learns, over all ranks; a run that is killed before a
    # checkpoint is whole goes on from the one before. null = on GPUs, and not on CPU.
    background_checkpoints: bool | None = None
    # How weights come from the policy to the engines. "direct": by handles where an engine stands on the policy's GPU,
    # and over NCCL (gloo on CPU), a bucket at a time, where it has its own. "store": all of them through Ray's object
    # store and the memory of the machines, by estimate a minute a step at 8 B parameters; but an engine that dies is
    # started again. "auto" = direct on GPUs, store on CPU.
    weight_transport: Literal["auto", "store", "direct"] = "auto"
    # Threads of each worker on CPU; None = all cores, or half of them where groups work at once (grpo.old_logprobs);
    # all again for the second half of the updates of a step that streams.
    num_threads: int | None = None
    # No answer of a worker for so long ends the run with an error.
    worker_timeout_seconds: float = 600.0


@dataclass(frozen=True)
class EvalConfig:
    """The comparison of SFT and GRPO model on the held-out items."""

    # Sampled completions per item beside the greedy one (temperature as in training).
    num_samples: int = 4
    # Also ask greedily with every image blanked, so that a gain is seen to come from looking.
    blank_images: bool = True
    # Evaluate a quick greedy subset every so many steps, and the SFT model as step 0: eval/* in metrics.jsonl, in the
    # curves and in the progress line; 0 = only at the end. Each time costs one sync of the weights, quick_items
    # completions and their judge calls (timing_s/eval), which count in judge/* and judge.max_calls as well.
    every_steps: int = 0
    # Held-out items of that subset, the same ones in every run on the same data. 64 tell differences of some 20 points.
    quick_items: int = 64
    # Cards of conf/benchmark, or files of one's own, as [slake_en,vqa_rad]; `benchmark=[..]` says the same. rl.evaluate
    # measures a model on them instead of the held-out items, rl.doctor checks them, rl.train ends with them.
    benchmarks: tuple[str, ...] = ()
    # The folder below which the files of these benchmarks are, or "hub"; null = the cards say it themselves.
    # `benchmark_root=FOLDER` says the same.
    benchmark_root: str | None = None
    # During training, ask the benchmarks greedily every so many steps, too; 0 = at the end only.
    benchmark_every_steps: int = 0
    # At most so many items of a benchmark, the same ones for every model; null = all. A subset is marked as one.
    benchmark_items: int | None = None
    # Probes asked beside the items (python -m rl.evaluate lists them); null = those of the card. `probes=[..]` says the
    # same.
    probes: tuple[str, ...] | None = None
    # "raise" stops where rows differ from the published set in number or content, "tell" scores them, marked.
    on_mismatch: Literal["raise", "tell"] = "raise"


@dataclass(frozen=True)
class MetricConfig:
    """Report metrics that need a model (radgraph, chexbert, radcliq, ratescore, green, crimson), where a card names
    them. They run in another Python, with local weights, and are "not computed" where something is missing."""

    # Its interpreter, of an environment with radeval 2.2 or later, as /path/to/venv/bin/python; null = not computed.
    python: str | None = None
    # Folder of their weights, as the Hugging Face hub lays them out; null = what that environment's caches hold.
    model_dir: str | None = None


@dataclass(frozen=True)
class Config:
    """One run."""

    # Folder of the run; must not exist yet, unless resume is set.
    out_dir: str = "runs/med_grpo"
    seed: int = 0
    resume: bool = False
    # Go on although rows, images, files of rewards, the judge's prompts or the model changed since the run began; what
    # changed is kept in the run's contents.json.
    allow_changes: bool = False
    # A run that is a control takes one thing away that a gain may come from, and keeps seeds, steps and SFT model:
    # "blind" greys every training image (the held-out items keep theirs), "random_reward" pays by a coin, "format_only"
    # pays the form and no right answer, "shuffled_gold" grades each prompt by another one's answer.
    control: Control = "none"
    # Controls to run after the recipe, such as [blind,random_reward], each in out_dir/controls/NAME; then the gain is
    # compared with theirs (python -m rl.compare). With resume=true they are added to a run that is done.
    controls: tuple[Control, ...] = ()
    # "offline" writes W&B files without a network, "online" needs WANDB_API_KEY, "off" writes none.
    wandb: Literal["offline", "online", "off"] = "offline"
    wandb_project: str = "rounds"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    stages: StagesConfig = field(default_factory=StagesConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    metric: MetricConfig = field(default_factory=MetricConfig)
