"""The configuration door: what it composes, what it refuses and how it says so."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rl.config import Config, GrpoConfig
from rl.config import door as compose
from rl.config.build import leaves
from rl.config.door import ConfigError, config_hash, load, to_yaml
from rl.config.files import origin
from rl.config.help import comments, help_text
from tests.paths import REPOSITORY


@pytest.fixture
def model_path(tmp_path: Path) -> str:
    """An argument that names a model folder which exists, so that these tests need no model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return f"model.path={folder}"


def faults_of(*argv: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        compose.compose(argv)
    return caught.value.problems


def test_the_surface_is_frozen() -> None:
    """A new setting is a decision: it changes this list in the same commit."""
    expected = """
        out_dir seed resume allow_changes control controls wandb wandb_project
        model.path model.dtype model.max_model_len model.max_images model.max_tiles model.max_pixels model.train
        model.lora.r model.lora.lora_alpha model.lora.lora_dropout model.lora.target_modules
        data.name data.root data.num_sft data.num_rl data.num_eval data.eval_fraction data.shortcut_fraction
        data.open_fraction
        data.max_yes_no_fraction data.min_difficulty data.max_difficulty data.on_bad_row data.seed
        data.media.window data.media.window_by_modality data.media.plane data.media.max_frames
        data.media.max_frames_by_modality data.media.max_tokens data.media.square_pixels data.media.longest_side
        data.media.frame_labels data.media.on_gap data.media.on_cut data.media.cache_dir data.media.workers
        sft.enabled sft.train sft.max_tiles sft.checkpoint sft.cache_dir sft.learning_rate sft.weight_decay
        sft.warmup_ratio sft.lr_scheduler_type sft.batch_size
        sft.micro_batch_tokens sft.num_epochs sft.max_grad_norm sft.save_steps sft.min_format_rate
        stages.skip stages.evaluate {stages}
        grpo.num_steps grpo.num_epochs grpo.prompts_per_step grpo.num_generations grpo.num_minibatches
        grpo.micro_batch_tokens
        grpo.temperature grpo.max_completion_length grpo.learning_rate grpo.lr_scheduler_type
        grpo.warmup_ratio grpo.weight_decay
        grpo.max_grad_norm grpo.adam_beta1 grpo.adam_beta2 grpo.adam_epsilon grpo.beta grpo.epsilon grpo.epsilon_high
        grpo.loss_type grpo.old_logprobs grpo.max_staleness grpo.tis_cap
        grpo.scale_rewards grpo.multi_objective_aggregation grpo.refill grpo.refill_rounds
        grpo.min_valid grpo.max_failure_rate grpo.save_steps
        reward.weights reward.routes reward.arguments reward.gates reward.plugin_timeout_seconds
        reward.plugin_memory_gib
        reward.plugin_workers
        judge.kind judge.base_url judge.model judge.api_key_env judge.prompt judge.show_images judge.prechecks
        judge.timeout_seconds judge.deadline_seconds
        judge.max_attempts judge.max_reasks judge.max_concurrency judge.sampling judge.breaker_failures
        judge.breaker_pause_seconds
        judge.max_calls judge.max_tokens judge.price_input judge.price_output judge.cache judge.offline
        judge.second_opinion judge.second_base_url judge.second_model judge.second_api_key_env judge.second_prompt
        judge.panel judge.panel_rule judge.panel_quorum judge.canary_fraction judge.canaries judge.on_canary
        judge.calibration judge.min_kappa judge.min_sensitivity judge.min_specificity
        compute.ray_address compute.device compute.num_policy_workers compute.num_rollout_workers
        compute.tensor_parallel_size compute.max_num_seqs
        compute.gpu_memory_utilization compute.gpu_kv_cache_gib compute.cpu_kv_cache_gib compute.gpu_memory_gib
        compute.attention
        compute.activation_checkpointing compute.fsdp_size compute.gradient_sync compute.optimizer_state
        compute.reference compute.background_checkpoints compute.weight_transport compute.num_threads
        compute.worker_timeout_seconds
        eval.num_samples eval.blank_images eval.every_steps eval.quick_items
        eval.benchmarks eval.benchmark_root eval.benchmark_every_steps eval.benchmark_items eval.probes
        eval.on_mismatch metric.python metric.model_dir
    """
    of_stage = """data root num_documents packed train max_tiles learning_rate weight_decay warmup_ratio
        lr_scheduler_type batch_size micro_batch_tokens num_epochs max_grad_norm save_steps"""
    stages = [f"stages.{name}.{one}" for name in ("interleaved", "captions") for one in of_stage.split()]
    assert list(leaves()) == expected.replace("{stages}", " ".join(stages)).split()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.lora.r=0", "model.lora.r: got 0, expected >= 1"),
        ("model.lora.lora_alpha=0", "model.lora.lora_alpha: got 0, expected >= 1"),
        ("model.lora.lora_dropout=0.1", "got 0.1, expected 0, because with dropout the trainer's distribution"),
        ("model.lora.target_modules=q_proj", "got 'q_proj', expected all-linear or a list of names"),
        ("model.lora.target_modules=[]", "got (), expected all-linear or a list of names"),
    ],
)
def test_adapters_that_cannot_be_built_are_refused(setting: str, said: str, model_path: str) -> None:
    (fault,) = faults_of(model_path, "model.train=lora", setting)
    assert said in fault


def test_a_text_model_has_no_vision_to_train(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    (fault,) = faults_of(f"model.path={tmp_path}", "model.train=vision_projector")
    assert fault.startswith("model.train: got vision_projector, but a model of the family qwen2 reads text only")


def test_the_defaults_are_the_papers_values(model_path: str) -> None:
    """Table 2, stage 4, and Sec 4: what a real model is trained with."""
    grpo = compose.compose(["model=internvl3_8b"]).grpo
    assert (grpo.num_generations, grpo.temperature, grpo.beta, grpo.num_minibatches) == (8, 0.9, 0.04, 4)
    assert (grpo.learning_rate, grpo.weight_decay, grpo.warmup_ratio, grpo.lr_scheduler_type) == (
        1e-6,
        0.0,
        0.1,
        "cosine",
    )
    sft = compose.compose(["model=internvl3_8b"]).sft
    assert (sft.learning_rate, sft.weight_decay, sft.warmup_ratio, sft.batch_size) == (2e-5, 0.05, 0.03, 128)


def test_the_experiment_picks_the_embedded_run(model_path: str) -> None:
    config = compose.compose(["+experiment=med_grpo", model_path])
    assert (config.data.name, config.judge.kind, config.compute.device, config.compute.ray_address) == (
        "phantoms",
        "local",
        "cpu",
        None,
    )
    assert config.reward.weights == {"accuracy": 0.9, "format": 0.1}
    assert config.grpo.num_generations == 8


def test_groups_and_settings_override_the_experiment(tmp_path: Path, model_path: str) -> None:
    arguments = [
        "+experiment=med_grpo",
        "data=vqa_rad",
        f"data.root={tmp_path}",
        "judge=rules",
        model_path,
        "grpo.beta=0.02",
        "grpo.num_steps=20",
    ]
    config = compose.compose(arguments)
    assert (config.data.name, config.data.root, config.grpo.beta, config.grpo.num_steps) == (
        "vqa_rad",
        str(tmp_path),
        0.02,
        20,
    )


def test_the_plus_before_a_group_is_no_stumbling_block(model_path: str) -> None:
    assert compose.compose(["experiment=med_grpo", "+data=phantoms", model_path]) == compose.compose(
        ["+experiment=med_grpo", model_path]
    )


def test_no_setting_of_the_experiment_hides_one_that_a_model_or_data_file_demands() -> None:
    """Hydra lets the experiment win over the group files; so it must not state what they state."""

    def stated(values: object, prefix: str = "") -> set[str]:
        if not isinstance(values, dict):
            return {prefix}
        return set().union(
            *(stated(value, f"{prefix}.{name}".strip(".")) for name, value in values.items() if name != "defaults")
        )

    experiment = stated(yaml.safe_load((compose.CONF_DIR / "experiment/med_grpo.yaml").read_text()))
    for file in compose.CONF_DIR.glob("*/*.yaml"):
        # Files of stages state the paper's values once more, for runs that have four of them.
        if file.parent.name not in ("experiment", "stage"):
            package = "" if "@package _global_" in file.read_text() else file.parent.name
            assert not experiment & stated(yaml.safe_load(file.read_text()), package), file


@pytest.mark.parametrize("option", [f"{group}={name}" for group, names in compose.groups().items() for name in names])
def test_every_file_of_conf_holds_known_settings_of_the_right_type(
    option: str, model_path: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    needs = {"data=vqa_rad": [f"data.root={tmp_path}"], "data=jsonl": [f"data.root={tmp_path / 'rows.jsonl'}"]}
    needs["experiment=real_model"] = needs["data=pubmedqa"] = needs["data=hospital"] = needs["data=jsonl"]
    documents = [f"stages.{stage}.root={tmp_path / 'rows.jsonl'}" for stage in ("interleaved", "captions")]
    needs["experiment=hospital"] = [*needs["data=jsonl"], *documents]
    needs["judge=openai"] = needs["judge=panel"] = ["judge.base_url=http://localhost:1/v1", "judge.model=m"]
    assert isinstance(compose.compose([option, model_path, *needs.get(option, [])]), Config)


def test_texts_are_taken_as_they_stand(model_path: str) -> None:
    """No quotes are needed for what Hydra's grammar would read as numbers, lists of values or syntax errors."""
    assert compose.compose([model_path, "out_dir=2024"]).out_dir == "2024"
    assert compose.compose([model_path, "out_dir=a,b (1)/~c=d"]).out_dir == "a,b (1)/~c=d"
    assert compose.compose([model_path, "out_dir='quoted'"]).out_dir == "quoted"
    assert compose.compose([model_path, "out_dir=runs/${data.name}"]).out_dir == "runs/phantoms"
    assert compose.compose([model_path, "data.root=null"]).data.root is None


def test_mappings_grow_and_shrink(model_path: str) -> None:
    reward = compose.compose([model_path, "reward.weights.numeric=0.2", "~reward.routes.open"]).reward
    assert reward.weights == {"accuracy": 0.9, "format": 0.1, "numeric": 0.2}
    assert "open" not in reward.routes


def test_ranks_that_do_not_divide_into_copies_are_told_what_would_do(model_path: str) -> None:
    (fault,) = faults_of(model_path, "compute.num_policy_workers=8", "compute.fsdp_size=3")
    assert "expected a divisor of compute.num_policy_workers=8" in fault and "2 or 4 would do" in fault


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("grpo.num_generation=8", ["grpo.num_generation (command line)", "did you mean 'grpo.num_generations'"]),
        ("temperature=0.5", ["did you mean 'grpo.temperature'"]),
        ("modle=tiny", ["did you mean 'model'"]),
        ("model=internvl3", ["did you mean 'internvl3_8b'", "available: ", "tiny", "model.path="]),
        ("--foo", ["'--foo'", "expected GROUP=OPTION or SETTING=VALUE"]),
        ("seed=true", ["got True (bool), expected int"]),
        ("seed=1.5", ["got 1.5 (float), expected int"]),
        ("grpo.beta=big", ["got 'big' (str), expected float"]),
        ("grpo.beta=nan", ["expected a finite number"]),
        ("grpo.num_steps=many", ["expected int | null"]),
        ("wandb=offf", ["expected one of offline, online, off"]),
        ("grpo.beta=0.1,0.2", ["got several values", "a command is one run"]),
        ("reward.weights.format=high", ["reward.weights (command line)", "expected float under 'format'"]),
        ("reward.routes.opne=judge", ["there is no such answer type", "did you mean 'open'"]),
        ("reward.routes.open=juge", ["there is no reward named 'juge'", "did you mean 'judge'"]),
        (
            "reward.arguments.formt.x=1",
            ["reward.arguments.formt", "no weight, gate or route names this reward", "did you mean 'format'"],
        ),
        ("reward.gates.formt=1", ["reward.gates.formt", "no reward named 'formt'", "did you mean 'format'"]),
        ("reward.routes.open=no/such.py:polite", ["reward.routes.open", "there is no file", "no/such.py"]),
        ("reward.arguments.format=1", ["expected value by name under 'format'"]),
        ("reward.weights.politeness=1", ["reward.weights.politeness", "no reward named 'politeness'"]),
        ("~grpo.beta", ["only a name under a mapping can be removed"]),
        ("grpo=3", ["expected a section"]),
        ("grpo.num_generations=1", ["GRPO needs at least two completions a prompt"]),
        (
            "grpo.num_minibatches=5",
            ["16 prompts x 8 = 128 completions do not divide into 5 mini-batches; 4 or 8 would"],
        ),
        ("sft.micro_batch_size=24", ["sft.micro_batch_size", "it is now sft.micro_batch_tokens"]),
        ("grpo.epsilon=0", ["grpo.epsilon: got 0.0, expected > 0 and < 1"]),
        ("grpo.temperature=0", ["grpo.temperature: got 0.0, expected > 0"]),
        ("grpo.old_logprobs=both", ["grpo.old_logprobs"]),
        ("grpo.min_valid=9", ["a group has only grpo.num_generations=8"]),
        ("model.train=vision", ["model.train", "expected one of all, language, vision_projector, lora"]),
        ("model.lora.rank=8", ["model.lora.rank", "did you mean 'model.lora.r'"]),
        # The policy would be trained on another distribution than the engine drew from.
        ("grpo.top_p=0.9", ["grpo.top_p", "there is no such setting"]),
        ("grpo.max_completion_length=512", ["expected less than model.max_model_len=512"]),
        ("data.num_rl=8", ["data.num_rl=8 leaves fewer questions"]),
        ("data.max_difficulty=0.9", ["setting it has no effect", "only rows of data=jsonl carry a difficulty"]),
        ("compute.attention=flex", ["compute.device is cpu", "no backward pass", "compute.attention=auto"]),
        ("compute.fsdp_size=1", ["setting it has no effect", "compute.num_policy_workers is 1"]),
        ("compute.optimizer_state=cpu", ["setting it has no effect", "in the host's memory anyway"]),
        ("compute.gradient_sync=micro_batch", ["setting it has no effect", "compute.num_policy_workers is 1"]),
        ("compute.attention=dense", ["setting it has no effect", "attention is dense"]),
        ("data=vqa_rad", ["data.root: data=vqa_rad needs the folder"]),
        ("sft.checkpoint=/no/such", ["sft.checkpoint: there is no folder /no/such"]),
        ("sft.checkpoint=tests", ["sft.checkpoint: tests holds no config.json, so it is no model"]),
        ("reward.weights={accuracy:0,format:0}", ["sum to 0"]),
        ("out_dir=", ["out_dir: got an empty text"]),
    ],
)
def test_one_wrong_argument_is_told_with_got_expected_and_fix(argument: str, words: list[str], model_path: str) -> None:
    arguments = [model_path, "model.max_model_len=512", "grpo.prompts_per_step=16", "sft.batch_size=128", argument]
    (fault,) = faults_of(*dict.fromkeys(arguments))
    for word in words:
        assert word in fault


def test_groups_cannot_be_replaced_where_advantages_span_the_step(model_path: str) -> None:
    (fault,) = faults_of(model_path, "grpo.refill=next", "grpo.scale_rewards=batch")
    assert fault.startswith("grpo.refill: next replaces groups before") and "grpo.scale_rewards=group" in fault


def test_staleness_does_not_go_with_what_needs_the_step_as_one_policy_drew_it(model_path: str) -> None:
    stale = [model_path, "grpo.max_staleness=1", "grpo.old_logprobs=policy"]
    compose.compose(stale)
    for more, word in (
        ("grpo.loss_type=dapo", "needs the whole step"),
        ("grpo.scale_rewards=batch", "needs the whole step"),
        ("grpo.refill=next", "use one of the two"),
    ):
        (fault,) = faults_of(*stale, more)
        assert fault.startswith("grpo.max_staleness: got 1") and word in fault
    (fault,) = faults_of(*stale[:2])
    assert "grpo.old_logprobs=policy" in fault


def test_a_narrow_clip_does_not_go_with_the_engines_log_probs_in_bfloat16(model_path: str) -> None:
    gspo = [model_path, "model.dtype=bfloat16", "grpo.loss_type=gspo", "grpo.epsilon=3e-4", "grpo.epsilon_high=4e-4"]
    (fault,) = faults_of(*gspo)
    assert fault.startswith("grpo.old_logprobs: ") and "use grpo.old_logprobs=policy" in fault
    compose.compose([*gspo, "grpo.old_logprobs=policy"])


def test_more_frames_than_a_prompt_may_hold_are_refused(tmp_path: Path, model_path: str) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    jsonl = [model_path, "data=jsonl", f"data.root={tmp_path / 'rows.jsonl'}"]
    (fault,) = faults_of(*jsonl, "data.media.max_frames=8", "model.max_images=6")
    assert "data.media.max_frames: got 8" in fault and "model.max_images=6" in fault
    # The default of 4 frames is a limit on volumes; data without any may do with fewer images.
    assert compose.compose([*jsonl, "model.max_images=1"]).data.media.max_frames == 4


def test_cuda_on_a_machine_without_a_gpu_is_refused_unless_a_cluster_is_joined(model_path: str) -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        assert compose.compose([model_path, "compute.device=cuda"]).compute.device == "cuda"
    else:
        assert "no NVIDIA GPU" in faults_of(model_path, "compute.device=cuda")[0]
    assert compose.compose([model_path, "compute=cluster"]).compute.ray_address == "auto"


def test_all_faults_are_told_at_once(model_path: str) -> None:
    faults = faults_of(
        model_path,
        "grpo.num_generations=1",
        "grpo.bta=1",
        "seed=x",
        "judge.base_url=http://x",
        "model=nano",
        "grpo.epsilon=2",
    )
    assert [fault.split(":")[0].split(" ")[0] for fault in faults] == [
        "grpo.bta", "model=nano", "seed", "grpo.epsilon", "grpo.num_generations", "judge.base_url",
    ]  # fmt: skip


def test_the_origin_of_a_value_is_the_last_file_that_states_it() -> None:
    choices = {"judge": "rules", "experiment": "med_grpo", "model": "internvl3_8b"}
    assert origin("judge.kind", choices, set()) == "conf/judge/rules.yaml"
    assert origin("grpo.beta", choices, set()) == "conf/experiment/med_grpo.yaml"
    assert origin("grpo.micro_batch_tokens", choices, set()) == "conf/model/internvl3_8b.yaml"
    assert origin("grpo.beta", choices, {"grpo.beta"}) == "command line"


def test_a_config_survives_its_own_yaml(tmp_path: Path) -> None:
    config = dataclasses.replace(Config(), wandb="off", grpo=GrpoConfig(learning_rate=3e-7, num_steps=None))
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config


def test_a_stored_config_with_an_unknown_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("grpo: {betta: 1}")
    with pytest.raises(ConfigError, match=r"did you mean 'grpo\.beta'"):
        load(tmp_path / "config.yaml")


def test_the_hash_depends_on_values_alone() -> None:
    assert config_hash(GrpoConfig()) == config_hash(GrpoConfig(beta=0.04))
    assert config_hash(GrpoConfig()) != config_hash(GrpoConfig(beta=0.05))
    assert config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
    assert len(config_hash(Config(), "x", 3)) == 12


def test_the_help_tells_every_setting_group_and_option() -> None:
    text = help_text("python -m rl.train", "Trains.", compose.groups())
    for path in leaves():
        assert f"  {path}  " in text
    assert " | internvl3_8b | " in text and " | tiny" in text
    assert "Weight of the k3 KL to the SFT model, in the loss." in " ".join(text.split())
    assert comments()["GrpoConfig.beta"] == "Weight of the k3 KL to the SFT model, in the loss."


def test_a_command_leaves_with_2_and_one_screen_and_writes_nothing(tmp_path: Path) -> None:
    program = "import sys; from rl.config.door import from_command_line; from_command_line(sys.argv[1:], 'x', 'y')"
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY))
    arguments = [sys.executable, "-c", program, "model.path=/no/such/model", "grpo.num_generations=1"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "there is no folder /no/such/model" in done.stderr
    assert "GRPO needs at least two completions" in done.stderr
    assert len(done.stderr.splitlines()) < 24
    assert list(tmp_path.iterdir()) == []


def test_cfg_prints_yaml_and_help_prints_help(model_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--cfg", "--help"):
        with pytest.raises(SystemExit) as left:
            compose.from_command_line([model_path, "grpo.beta=0.5", flag], "python -m rl.train", "Trains.")
        assert left.value.code == 0
        output = capsys.readouterr().out
        assert yaml.safe_load(output)["grpo"]["beta"] == 0.5 if flag == "--cfg" else "python -m rl.train" in output


def test_a_reward_in_a_file_is_set_like_any_other(tmp_path: Path, model_path: str) -> None:
    file = tmp_path / "my.reward.py"
    file.write_text("def polite(completion): return 1.0\n")
    spec = f"{file}:polite"
    reward = compose.compose([model_path, f"reward.weights.{spec}=0.5", f"reward.arguments.{spec}.words=[a, b]"]).reward
    assert reward.weights == {"accuracy": 0.9, "format": 0.1, spec: 0.5}
    assert reward.arguments == {spec: {"words": ["a", "b"]}}
    (fault,) = faults_of(model_path, f"reward.weights.{tmp_path}/none.py:polite=0.5")
    assert f"there is no file {tmp_path}/none.py" in fault
    (fault,) = faults_of(model_path, f"reward.weights.{spec}=much")
    assert "expected float under" in fault


def test_a_path_that_begins_with_a_tilde_is_in_the_users_home(
    model_path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Behind a `=` no shell expands it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = compose.compose([model_path, "out_dir=~/runs/a", "sft.cache_dir='~/sft'"])
    assert (config.out_dir, config.sft.cache_dir) == (f"{tmp_path}/runs/a", f"{tmp_path}/sft")
    assert compose.compose([model_path, "out_dir=runs/~a"]).out_dir == "runs/~a"


def test_a_stored_run_of_an_earlier_version_is_read_without_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 3\nsft: {micro_batch_size: 16, batch_size: 64}\n")
    config = load(tmp_path / "config.yaml")
    assert (config.seed, config.sft.batch_size) == (3, 64)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["controls=[blnd]"], "controls (command line): got 'blnd' (str), expected one of none, blind"),
        (["controls=[none]"], "controls: got none, which takes nothing away"),
        (["controls=[blind,blind]"], "controls: got blind twice"),
        (["control=blind", "controls=[random_reward]"], "in a run that is itself control=blind"),
        (["control=random_reward", "reward.weights.format=0.3"], "the control pays something else"),
        (["controls=[format_only]", "reward.weights={accuracy: 0.0, format: 1.0}"], "would be the recipe again"),
    ],
)
def test_controls_that_take_nothing_away_are_refused(arguments: list[str], said: str, model_path: str) -> None:
    assert any(said in fault for fault in faults_of("+experiment=med_grpo", model_path, *arguments))


def test_a_control_of_the_reward_says_what_it_pays(model_path: str) -> None:
    config = compose.compose(["+experiment=med_grpo", model_path, "control=random_reward", "seed=4"])
    assert config.reward.weights == {"accuracy": 0.0, "format": 0.0, "coin": 1.0}
    assert config.reward.arguments == {"coin": {"seed": 4}}
