"""How rewards are found and given their arguments, and what is said before the first rollout where that cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from judges import RulesJudge
from rewards import Member, Rubric, Sample, Scorer, parse, registry
from rewards.binding import bind
from rewards.contract import Limits, RewardError, Source, describe_function
from tests.paths import PLUGINS, REPOSITORY

KIND = f"{PLUGINS}/kind.py"
OPEN = Sample("q", "What is it?", "open", "Pneumonia")
MCQ = Sample("m", "What is it?", "mcq", "Pneumonia", ("Asthma", "Pneumonia"), ("B",))


def plugin(folder: Path, text: str, name: str = "mine.py") -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


def refusal(spec: str, arguments: dict[str, object] | None = None) -> str:
    with pytest.raises(RewardError) as caught:
        bind(spec, arguments, RulesJudge())
    return str(caught.value)


def test_rewards_of_a_file_stand_under_their_own_names_in_outcomes_and_weights() -> None:
    weights = {f"{KIND}:says_please": 1.0, f"{KIND}:chars": 0.5, "format": 0.0}
    with Scorer(
        Rubric(weights, arguments={f"{KIND}:says_please": {"words": ["please", "thanks"], "scale": 2}})
    ) as scorer:
        (scored,) = scorer.score_group(OPEN, ["Please, thanks"])
    assert {name: outcome.value for name, outcome in scored.outcomes.items()} == {
        "polite": 4.0,
        "chars": 14.0,
        "format": 0.0,
    }
    assert scored.weights == {"polite": 1.0, "chars": 0.5, "format": 0.0}
    assert scored.total == 11.0


def test_a_registered_name_in_a_file_will_do_as_well() -> None:
    bound = bind(f"{KIND}:polite")
    assert (bound.reward.name, bound.reward.source) == ("polite", Source(KIND, None, "polite"))
    assert bound.reward.home.startswith(f"{KIND}:")
    assert bound.reward.home == bind(f"{KIND}:says_please").reward.home


def test_a_reward_may_ask_for_tokens_and_the_reason_it_ended() -> None:
    with Scorer(Rubric({f"{KIND}:tokens_and_end": 1.0})) as scorer:
        scored = scorer.score_group(OPEN, ["a", "b"], num_tokens=[7, 9], finish_reasons=["stop", "length"])
        assert [one.total for one in scored] == [7.0, -9.0]
        (unknown,) = scorer.score_group(OPEN, ["a"])
    assert unknown.outcomes["tokens_and_end"].status == "error"


def test_a_reward_can_measure_accuracy_on_a_route() -> None:
    rubric = Rubric({"accuracy": 1.0}, {"open": f"{KIND}:chars", "mcq": "option_match"})
    with Scorer(rubric) as scorer:
        assert scorer.submit(OPEN, "four", "a").result(30).outcomes["accuracy"].value == 4.0
        assert scorer.submit(MCQ, "<answer>B</answer>", "b").result(30).total == 1.0
    assert list(rubric.plugins()) == ["chars"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the search path of this process and of its children, as a package would be installed."""
    information = tmp_path / "bedside-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bedside\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[rounds.rewards]\nkindness = bedside:kind\nformat = bedside:kind\n")
    (tmp_path / "bedside.py").write_text("def kind(completion, pay: int = 3): return pay\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_an_installed_package_offers_rewards_by_entry_point(installed: Path) -> None:
    with Scorer(Rubric({"kindness": 1.0}, arguments={"kindness": {"pay": 5}})) as scorer:
        (scored,) = scorer.score_group(OPEN, ["x"])
    assert scored.outcomes["kindness"].value == 5.0
    assert "did you mean 'kindness'" in refusal("kindnes")


def test_an_entry_point_cannot_take_the_name_of_a_shipped_reward(installed: Path) -> None:
    message = refusal("format")
    assert "two rewards are named 'format'" in message
    assert "bedside:kind" in message
    assert "rewards/shipped/form.py:" in message


def test_a_reward_registered_outside_the_project_runs_in_a_child(tmp_path: Path) -> None:
    """A module that the caller imported: the child imports the same file, whose prints and crashes stay there."""
    plugin(
        tmp_path,
        "import os\nfrom rewards import reward\n@reward('where')\ndef where(completion): return os.getpid()\n",
        "here.py",
    )
    program = (
        "import os, here\nfrom rewards import Rubric, Sample, Scorer\nwith Scorer(Rubric({'where': 1.0})) as s:"
        " print(s.score_group(Sample('q','?','open','x'), ['a'])[0].total == os.getpid())"
    )
    environment = dict(os.environ, PYTHONPATH=f"{REPOSITORY}:{tmp_path}")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_reward_that_a_child_cannot_find_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @registry.reward("inner")
    def inner(completion):
        return 1.0

    message = refusal("inner")
    assert (
        "cannot be found by a child process: move it to the top level of a file, or register it with isolate=False"
        in message
    )
    assert __file__ in message
    registry._REGISTRY.pop("inner")
    registry.reward("inner", isolate=False)(inner)
    assert bind("inner").now(OPEN, [Member(parse("x"), "x")])[0].value == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "import nothing_of_that_name\n",
            ["mine.py:1 does not import: ModuleNotFoundError", "nothing_of_that_name", "Traceback"],
        ),
        ("def score(completion):\n    return (\n", ["mine.py:2 does not import: SyntaxError"]),
        ("x = 1\n\nraise ValueError('no weights')\n", ["mine.py:3 does not import: ValueError: no weights"]),
        ("import sys\nsys.exit('bye')\n", ["mine.py:2 does not import: SystemExit: bye"]),
        ("import os\nprint('so far so good')\nos._exit(7)\n", ["its process ended with exit code 7", "so far so good"]),
        ("import ctypes\nctypes.string_at(0)\n", ["its process was killed by SIGSEGV", "mine.py"]),
        ("def scor(completion): return 1\n", ["mine.py has no function 'score'; did you mean 'scor'? It has ['scor']"]),
        ("score = 3\n", ["mine.py has no function 'score'"]),
        ("def score(*texts): return 1\n", ["takes *args", "mine.py:1"]),
        ("def score(sample): return 1\n", ["sees no completion", "mine.py:1"]),
        ("def score(completion, judge): return 1\n", ["must be `async def`", "mine.py:1"]),
        ("def score(group, parsed): return 1\n", ["asks for the group and for 'parsed'", "mine.py:1"]),
        (
            "from rewards import reward\n@reward('format')\ndef score(parsed): return 1\n",
            ["two rewards are named 'format'", "mine.py:2"],
        ),
        (
            "def score(completion, size): return 1\n",
            ["needs the argument 'size'", "{score: {size: VALUE}}", "mine.py:1"],
        ),
        (
            "big = bytearray(6 << 30)\n",
            ["mine.py:1 does not import: MemoryError", "reward.plugin_memory_gib is its limit"],
        ),
    ],
)
def test_a_file_that_cannot_work_is_told_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refusal(f"{plugin(tmp_path, text)}:score")
    for word in words:
        assert word in message
    assert len(message.splitlines()) < 24


def test_an_import_that_hangs_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.plugins.handshake.LOAD_SECONDS", 5.0)
    file = plugin(tmp_path, "import time\ntime.sleep(600)\n")
    message = refusal(f"{file}:score")
    assert "it was still importing after 5 s at " in message
    assert "mine.py:2 in <module>" in message


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (
            "says_please",
            {"scal": 2},
            ["has no argument 'scal'; it takes ['case', 'scale', 'words']; did you mean 'scale'?", "kind.py:"],
        ),
        ("says_please", {"scale": "big"}, ["argument 'scale': got 'big' (str), expected float", "kind.py:"]),
        ("says_please", {"scale": True}, ["argument 'scale': got True (bool), expected float"]),
        ("says_please", {"words": [1]}, ["argument 'words': got 1 (int), expected str under '0'"]),
        ("says_please", {"words": "please"}, ["argument 'words': got 'please' (str), expected list of str"]),
        ("says_please", {"case": "upper"}, ["argument 'case': got 'upper' (str), expected one of any, same"]),
        ("needs", {}, ["needs the argument 'threshold'", "kind.py:"]),
        ("chars", {"x": object()}, ["its arguments must be values that YAML can hold"]),
    ],
)
def test_wrong_arguments_are_told_with_the_rewards_line(
    function: str, arguments: dict[str, object], words: list[str]
) -> None:
    message = refusal(f"{KIND}:{function}", arguments)
    for word in words:
        assert word in message


def test_shipped_rewards_check_their_arguments_too() -> None:
    message = refusal("option_match", {"partial": "yes"})
    assert "argument 'partial': got 'yes' (str), expected bool" in message
    assert "rewards/shipped/choice.py:" in message


def test_two_rewards_of_one_name_in_a_rubric_name_both_files(tmp_path: Path) -> None:
    first = plugin(tmp_path, "def score(completion): return 1\n", "a.py")
    second = plugin(tmp_path, "\n\ndef score(completion): return 1\n", "b.py")
    with pytest.raises(RewardError, match=r"two rewards are named 'score': .*/a\.py:1 and .*/b\.py:3\. Rename one"):
        Rubric({f"{first}:score": 1.0, f"{second}:score": 1.0})
    plugin(tmp_path, "def accuracy(completion): return 1\n", "a.py")
    with pytest.raises(RewardError, match=r"two rewards are named 'accuracy': the routed reward and .*/a\.py:1"):
        Rubric({f"{first}:accuracy": 1.0})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no/such/file.py:score", ["there is no file", "no/such/file.py"]),
        ("polite", ["there is no reward named 'polite'", "path/to/file.py:function"]),
        (f"{KIND}:", ["names no function"]),
    ],
)
def test_what_is_not_found_is_told(spec: str, words: list[str]) -> None:
    message = refusal(spec)
    for word in words:
        assert word in message


def test_gates_pay_nothing_below_their_value_and_are_measured_without_a_weight() -> None:
    rubric = Rubric({f"{KIND}:chars": 1.0}, gates={"format": 1.0})
    good = "<think>It is dense.</think><answer>Pneumonia</answer>"
    with Scorer(rubric) as scorer:
        open_gate, closed = scorer.score_group(OPEN, [good, "Pneumonia"])
    assert (open_gate.total, open_gate.gated) == (float(len(good)), False)
    assert (closed.total, closed.gated, closed.valid) == (0.0, True, True)
    assert closed.outcomes["chars"].value == 9.0
    assert rubric.weights == {"chars": 1.0, "format": 0.0}


def test_a_gate_is_required_a_failed_one_leaves_the_group() -> None:
    with Scorer(
        Rubric({"format": 1.0}, gates={f"{PLUGINS}/hostile.py:hostile": 0.5}, limits=Limits(workers=1))
    ) as scorer:
        paid, failed = scorer.score_group(OPEN, ["fine", "raises"])
    assert (paid.total, paid.valid) == (0.0, True)
    assert (failed.total, failed.valid, failed.gated) == (None, False, False)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"weights": {"format": 1.0}, "gates": {"format": float("nan")}}, "the gate of 'format' is nan"),
        ({"weights": {"format": 1.0}, "gates": {"formt": 1.0}}, "did you mean 'format'"),
        ({"weights": {"format": 1.0}, "gates": {"accuracy": 1.0}}, "routes are empty"),
        (
            {"weights": {"format": 1.0}, "arguments": {"formt": {}}},
            "arguments are given for 'formt'.*did you mean 'format'",
        ),
    ],
)
def test_gates_and_arguments_that_cannot_work_are_told(settings: dict[str, object], match: str) -> None:
    with pytest.raises(RewardError, match=match):
        Rubric(**settings)  # type: ignore[arg-type]


def test_the_same_function_twice_is_no_second_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    def twice(completion):
        return 1.0

    registry.reward("twice", isolate=False)(twice)
    registry.reward("twice", isolate=False)(twice)
    assert describe_function("twice", twice).home == registry.get("twice").home
