"""The doctor passes exactly those of the tried set-ups that the run's own door lets in: set-ups of public bug reports,
rebuilt small, and what was found beside them.

The door is `make_ready`, all that a run does before its first minute is spent; so no set-up starts an engine here.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from judges import make_judge
from judges.local.judge import no_server_left
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import Config, JudgeConfig
from rl.config.door import compose
from rl.doctor.checks import examine
from rl.doctor.ready import make_ready
from rl.run.failures import EXPECTED
from rl.run.folder import RunFolder
from rl.run.progress import Display
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, always
from tests.fakes.tiny_models import make_llama, make_qwen25vl
from tests.paths import REPOSITORY

TINY = REPOSITORY / "examples/tiny/model"
BASE = (
    "+experiment=med_grpo", "wandb=off", "grpo.prompts_per_step=4", "grpo.num_generations=2", "grpo.num_minibatches=1",
    "grpo.num_steps=2",
)  # fmt: skip
# How the embedded model's template asks for the tags.
ASKS = "Think in <think></think>, then answer in <answer></answer>."
REFUSES = "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('no system turn') }}{%- endif -%}"
# Of a model whose every byte is a token.
BYTES = ("model.max_model_len=2048", "grpo.max_completion_length=128")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
QA = {"question": "Which organ is it?", "answer": "liver"}
MCQ = {"question": "Which?", "options": ["mass", "effusion", "nodule"], "answer": "B"}


class Setup(NamedTuple):
    """Writes what it needs into an empty folder and returns the arguments."""

    make: Callable[[Path], list[str]]
    # What the run says when it refuses; "" = it runs.
    refusal: str = ""


def rows(*more: Any, name: str = "rows.jsonl", encoding: str = "utf-8", end: str = "\n") -> Callable[[Path], list[str]]:
    """Twelve good rows and these, objects or raw lines."""

    def make(folder: Path) -> list[str]:
        good = [{"question": f"Which organ is number {i}?", "answer": ("liver", "spleen")[i % 2]} for i in range(12)]
        lines = [one if isinstance(one, str) else json.dumps(one) for one in (*good, *more)]
        (folder / name).write_bytes(end.join([*lines, ""]).encode(encoding, "surrogatepass"))
        return ["data=jsonl", f"data.root={folder / name}"]

    return make


def picture(save: Callable[[Path], None], name: str, **row: Any) -> Callable[[Path], list[str]]:
    """Good rows and one with this picture."""

    def make(folder: Path) -> list[str]:
        save(folder / name)
        return rows({**QA, **(row or {"image": name})})(folder)

    return make


def pixels(form: str, shape: tuple[int, ...] = (48, 64)) -> Callable[[Path], None]:
    values = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    scaled = {"uint16": values * 60000, "float32": values, "uint8": values * 255}[form].astype(form)
    return lambda path: Image.fromarray(scaled).save(path)


def square(path: Path) -> None:
    image = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 10, 30, 30))
    image.save(path)


def frames(path: Path) -> None:
    first, *others = (Image.new("L", (64, 48), 60 * i) for i in range(4))
    first.save(path, save_all=True, append_images=others)


def cut(path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 50).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def cmyk(path: Path) -> None:
    Image.new("CMYK", (64, 48), (0, 200, 200, 0)).save(path)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((64, 48), 50).convert("RGB").save(path, exif=exif)


def sliver(path: Path) -> None:
    Image.new("L", (1000, 2), 90).save(path)


def narrow(path: Path) -> None:
    Image.new("L", (27, 332), 90).save(path)


def point(path: Path) -> None:
    Image.new("L", (1, 1), 90).save(path)


def both(*makes: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    return lambda folder: [argument for make in makes for argument in make(folder)]


def skipping(make: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
    return both(make, lambda _: ["data.on_bad_row=skip"])


def qwen(folder: Path) -> list[str]:
    return [f"model.path={make_qwen25vl(folder / 'model')}", *BYTES]


def text_model(folder: Path) -> list[str]:
    return [f"model.path={make_llama(folder / 'model')}", *BYTES]


def template(change: Callable[[str], str | None]) -> Callable[[Path], list[str]]:
    """A copy of the embedded model with another chat template; None = without one."""

    def make(folder: Path) -> list[str]:
        copy = folder / "model"
        shutil.copytree(TINY, copy)
        changed = change((copy / "chat_template.jinja").read_text(encoding="utf-8"))
        (copy / "chat_template.jinja").unlink()
        if changed is not None:
            (copy / "chat_template.jinja").write_text(changed, encoding="utf-8")
        return [*rows()(folder), f"model.path={copy}"]

    return make


def opened(mark: str) -> Callable[[Path], list[str]]:
    return template(lambda text: text.replace("assistant\n{% endif %}", f"assistant\n{mark}{{% endif %}}"))


def file_cut(name: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        shutil.copytree(TINY, folder / "model")
        path = folder / "model" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return [*rows()(folder), f"model.path={folder / 'model'}"]

    return make


def vqa_rad(**entry: Any) -> Callable[[Path], list[str]]:
    """A folder of VQA-RAD with twelve good rows and one more."""

    def make(folder: Path) -> list[str]:
        (folder / "images").mkdir()
        good = []
        for i in range(12):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(folder / "images" / f"{i}.png")
            good.append({"qid": i, "image_name": f"{i}.png", "question": f"What is number {i}?", "answer": "liver"})
        whole = {"qid": "odd", "image_name": "0.png", "question": "What?", "answer": "lung", **entry}
        (folder / "trainset.json").write_text(json.dumps([*good, whole]), encoding="utf-8")
        return ["data=vqa_rad", f"data.root={folder}"]

    return make


def given(*arguments: str) -> Callable[[Path], list[str]]:
    return lambda folder: [*rows()(folder), *(one.replace("FOLDER", str(folder)) for one in arguments)]


def plugin(folder: Path) -> list[str]:
    code = "def halved(parsed, sample):\n    return 0.5 * (parsed.answer == sample.gold_text)\n"
    (folder / "mine.py").write_text(code)
    return given(f"reward.routes.open={folder / 'mine.py'}:halved")(folder)


SETUPS = {
    # Pictures (log rows 1 to 12).
    "16 bits of grey": Setup(picture(pixels("uint16"), "a.png")),
    "floats from 0 to 1": Setup(picture(pixels("float32"), "a.tif")),
    "black on clear ground": Setup(picture(square, "a.png")),
    "four frames as an image": Setup(picture(frames, "a.gif"), "frames"),
    "four frames as a video": Setup(picture(frames, "a.gif", video=["a.gif"])),
    "CMYK": Setup(picture(cmyk, "a.jpg")),
    "stored on its side": Setup(picture(turned, "a.jpg")),
    "cut short": Setup(picture(cut, "a.jpg"), "a.jpg"),
    "a sliver": Setup(both(qwen, picture(sliver, "a.png")), "1000 x 2"),
    "a sliver, skipped": Setup(skipping(both(qwen, picture(sliver, "a.png")))),
    "a narrow picture": Setup(both(qwen, picture(narrow, "a.png"))),
    "one pixel": Setup(picture(point, "a.png")),
    # Rows (13 to 36, 89).
    "an option that is NaN": Setup(rows('{"question":"W","options":["mass","effusion",NaN],"answer":"mass"}'), "NaN"),
    "a modality that is NaN": Setup(rows('{"question":"W","answer":"a","modality":NaN}'), "NaN"),
    "null as an id": Setup(rows({"id": None, **QA}, {"id": None, **QA})),
    "repeated ids": Setup(rows({"id": "a", **QA}, {"id": "a", **QA}), "the id is taken"),
    "repeated options": Setup(rows({**MCQ, "options": ["a", "b", "a"]}), "same text"),
    "yes with a full stop": Setup(rows({"question": "Is it?", "answer": "Yes."})),
    "a letter with a full stop": Setup(rows({**MCQ, "answer": "B."}), "'B.'"),
    "an index as the answer": Setup(rows({**MCQ, "answer": 1}), "'1'"),
    "labels in options": Setup(rows({**MCQ, "options": ["A. mass", "B. effusion", "C. nodule"]})),
    "labels in another order": Setup(rows({**MCQ, "options": ["B. mass", "A. effusion"]}), "label"),
    "a placeholder before the question": Setup(picture(point, "a.png", question="<image>\nWhich?", image="a.png")),
    "a placeholder without a picture": Setup(rows({**QA, "question": "<image>\nWhich organ?"}), "placeholder"),
    "a placeholder inside the question": Setup(rows({**QA, "question": "Is <image> the liver?"}), "<image>"),
    "a thought in its tags": Setup(rows({**QA, "think": "<think>I see.</think>"})),
    "tags inside a thought": Setup(rows({**QA, "think": "I <answer>see</answer>."}), "think"),
    "base64 as a path": Setup(rows({**QA, "image": "iVBORw0KGgo" + "A" * 4000}), "image"),
    "data: as a path": Setup(rows({**QA, "image": "data:image/png;base64,iVBORw0KGgo="}), "image"),
    "half a surrogate pair": Setup(rows('{"question":"Which? \\ud83d","answer":"liver"}'), "surrogate"),
    "half a pair in an id": Setup(rows('{"id":"\\ud83d","question":"Which?","answer":"liver"}'), "surrogate"),
    "a mark of byte order": Setup(rows(encoding="utf-8-sig")),
    "line ends of Windows": Setup(rows(end="\r\n")),
    "UTF-16": Setup(rows(encoding="utf-16"), "UTF-16"),
    "boxes from 0 to 1": Setup(
        picture(point, "a.png", image="a.png", answer_type="box", answer="[0.1, 0.2, 0.5, 0.6]",
                boxes=[[0.1, 0.2, 0.5, 0.6]]), "pixels"),
    "one long prompt": Setup(rows({**QA, "question": "肺" * 900}), "model.max_model_len"),
    "one long prompt, skipped": Setup(skipping(rows({**QA, "question": "肺" * 900}))),
    "VQA-RAD without an answer": Setup(vqa_rad(answer=None), "answer"),
    "VQA-RAD with a list": Setup(vqa_rad(answer=["a", "b"]), "answer"),
    "VQA-RAD with a qid twice": Setup(vqa_rad(qid=3), "the qid is taken"),
    "VQA-RAD with a number": Setup(vqa_rad(answer=4)),
    "no row is left": Setup(skipping(lambda folder: [
        *rows()(folder)[:1], f"data.root={(folder / 'x.jsonl').write_text('{}' + chr(10)) and folder / 'x.jsonl'}"]),
        "no usable row"),
    "only yes or no": Setup(lambda folder: [
        "data=jsonl",
        f"data.root={folder / 'x.jsonl'}"
        if (folder / "x.jsonl").write_text("".join(
            json.dumps({"question": f"Is it {i}?", "answer": "yes"}) + "\n" for i in range(12))) else ""],
        "yes/no questions"),
    # Templates and models (50 to 52).
    "a template that opens <think>": Setup(opened("<think>\n")),
    "a template that opens other thoughts": Setup(opened("<reason>\n"), "the assistant begins"),
    "a template that refuses a system turn": Setup(template(lambda text: REFUSES + text.replace(ASKS, ""))),
    "a template that drops the system turn": Setup(
        template(lambda text: text.replace(ASKS, "").replace("messages %}", "messages if message.role != 'system' %}")),
        "asks for the tags"),
    "no template": Setup(template(lambda text: None), "chat_template"),
    "a tokenizer cut short": Setup(file_cut("tokenizer.json"), "does not load"),
    "a processor cut short": Setup(file_cut("config.json"), "config.json"),
    "a text model and a picture": Setup(both(text_model, picture(point, "a.png")), "reads text only"),
    "a text model and a picture, skipped": Setup(skipping(both(text_model, picture(point, "a.png")))),
    "a text model": Setup(both(text_model, rows())),
    # Paths, folders, settings (78 to 92).
    "odd characters in paths": Setup(lambda folder: [
        *rows(name="ü (1) = a,b#.jsonl")(folder)[:1],
        f"data.root='{folder}/ü (1) = a,b#.jsonl'", f"out_dir='{folder}/o ü, [x]=#'"]),
    "a folder that cannot be made": Setup(given("out_dir=/proc/run"), "/proc/run"),
    "a folder in use": Setup(given("out_dir=FOLDER"), "not empty"),
    "a resume of nothing": Setup(given("resume=true")),
    "a resume of no run": Setup(given("resume=true", "out_dir=FOLDER"), "no run to resume"),
    "fewer rows than a step": Setup(given("grpo.prompts_per_step=64"), "grpo.prompts_per_step"),
    "no fine-tuning": Setup(given("sft.enabled=false")),
    "more pictures than the engine takes": Setup(
        both(picture(frames, "a.gif", video=["a.gif"]), lambda _: ["model.max_images=2"]), "model.max_images"),
    "short completions": Setup(given("grpo.max_completion_length=4"), "grpo.max_completion_length"),
    # Rewards.
    "no accuracy": Setup(given("~reward.weights.accuracy")),
    "a reward of one's own that pays half": Setup(plugin),
    "a route that cannot read the golds": Setup(given("reward.routes.open=numeric"), "gold"),
    "a type without a route": Setup(given("~reward.routes.open"), "no route"),
    # Judges (62 to 77) that are made and not asked.
    "a SOCKS proxy and a distant judge": Setup(
        given("judge=openai", "judge.base_url=https://judge.example/v1", "judge.model=m"), "SOCKS"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def config_of(folder: Path, arguments: list[str]) -> Config:
    judge = () if any(one.startswith("judge=") for one in arguments) else ("judge=rules",)
    out_dir = () if any(one.startswith("out_dir=") for one in arguments) else (f"out_dir={folder / 'run'}",)
    return compose([*BASE, *judge, *out_dir, *arguments])


def doctors_refusals(config: Config) -> list[str]:
    """As `python -m rl.doctor` asks."""
    with Scorer(make_rubric(config.reward, make_judge(JudgeConfig()))) as scorer:
        return [finding.text for _, findings in examine(config, scorer) for finding in findings if not finding.good]


def runs_refusal(config: Config) -> str:
    """What `python -m rl.train` says before it ends; "" = it goes on to SFT. Any other exception is a traceback."""
    try:
        with RunFolder(config) as folder, no_server_left(), Display(io.StringIO()) as display:
            make_ready(config, folder.path, display)
    except EXPECTED as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.hunt] if "template" in name else []) for name in SETUPS]
)
def test_the_doctor_passes_what_runs_and_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "SOCKS" in name:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    setup = SETUPS[name]
    config = config_of(tmp_path, setup.make(tmp_path))
    doctor, run = doctors_refusals(config), runs_refusal(config)
    assert setup.refusal in run and bool(run) == bool(setup.refusal), run
    assert bool(doctor) == bool(run), doctor


def test_the_same_of_a_run_that_goes_on(tmp_path: Path) -> None:
    arguments = rows()(tmp_path)
    assert runs_refusal(config_of(tmp_path, arguments)) == ""
    (tmp_path / "run/rollouts/step_000001").mkdir(parents=True)  # as of a run that was stopped after a step
    going_on = config_of(tmp_path, [*arguments, "resume=true"])
    assert doctors_refusals(going_on) == [] and runs_refusal(going_on) == ""
    other = config_of(tmp_path, [*arguments, "resume=true", "grpo.beta=0.5"])
    assert "grpo.beta" in doctors_refusals(other)[0] and "grpo.beta" in runs_refusal(other)
    path = tmp_path / "rows.jsonl"
    path.write_text(path.read_text().replace('"liver"', '"heart"'))
    assert "has changed since it began" in doctors_refusals(going_on)[0]
    assert "has changed since it began" in runs_refusal(going_on)
    allowed = config_of(tmp_path, [*arguments, "resume=true", "allow_changes=true"])
    assert doctors_refusals(allowed) == [] and runs_refusal(allowed) == ""


@pytest.fixture
def endpoint() -> Iterator[ScriptedJudge]:
    with ScriptedJudge(always("correct")) as server:
        yield server


@pytest.mark.parametrize("status", [200, 401, 404, 422, 500, 503])
@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_the_same_of_an_endpoint_of_this_machine(
    status: int, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY") if proxy else ():
        monkeypatch.setenv(name, proxy)
    refusal = Reply(status=status, raw=b'{"detail": "no"}')
    with ScriptedJudge(lambda body: refusal, answers_probe=status == 200) as server:
        judge = ["judge=openai", f"judge.base_url={server.url}", f"judge.model={MODEL}", "judge.max_attempts=1"]
        config = config_of(tmp_path, [*rows()(tmp_path), *judge, "judge.timeout_seconds=5"])
        doctor, run = doctors_refusals(config), runs_refusal(config)
    assert bool(doctor) == bool(run) == (status != 200), (doctor, run)


def test_the_same_of_metrics_that_go_to_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    config = config_of(tmp_path, [*rows()(tmp_path), "wandb=online"])
    assert "wandb=online needs an API key" in doctors_refusals(config)[0]
    assert "wandb=online needs an API key" in runs_refusal(config)
