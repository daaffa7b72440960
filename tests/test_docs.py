"""What the pages name exists: files, folders, modules, commands, names in modules, and targets of links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.test_house import PACKAGES, report

PAGES = sorted(
    [*(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "rewards/ANSWERS.md", "judges/JUDGING.md")),
     *(REPOSITORY / "examples").rglob("*.md"), *(REPOSITORY / ".github").rglob("*.md")]
)  # fmt: skip
TOPS = "|".join((*PACKAGES, "tests", "examples", "requirements"))
PATH = re.compile(rf"(?<![\w./-])(?:\.\./)*(?:{TOPS})/[\w./*-]*[\w*/]")
DOTTED = re.compile(rf"(?<![\w./-])(?:{TOPS})(?:\.\w+)+(?![\w/])")
BARE = re.compile(r"`(\w+\.py)`")
COMMAND = re.compile(r"-m ((?:\w+\.)*\w+)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FOREIGN = {"pytest", "pip", "ruff", "mypy"}
# A word in capitals stands for a name of the reader's own: rl/data/NAME.py.
PLACEHOLDER = re.compile(r"\b[A-Z]{4,}\b")


# Steps of a run, which lie in its folder under the name of a package.
OF_A_RUN = "rollouts/step_"


def has_path(text: str) -> bool:
    below = text.replace("../", "").strip("/")
    return below.startswith(OF_A_RUN) or bool(PLACEHOLDER.search(text)) or any(REPOSITORY.glob(below))


def has_name(text: str) -> bool:
    """Whether a dotted name is a module, a file of that name, or something that its module's text names."""
    if (REPOSITORY / text).exists():
        return True
    parts = text.split(".")
    for cut in range(len(parts), 0, -1):
        place = REPOSITORY.joinpath(*parts[:cut])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                words = set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
                return cut == len(parts) or (cut > 0 and parts[cut] in words)
    return False


def is_command(module: str) -> bool:
    place = REPOSITORY.joinpath(*module.split("."))
    file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    return module in FOREIGN or (file.is_file() and "__main__" in file.read_text() + file.name)


def faults_of(text: str, folder: Path) -> list[str]:
    """What a page in `folder` names and the checkout does not hold."""
    faults = [f"path {name}" for name in PATH.findall(text) if not has_path(name)]
    faults += [f"file {name}" for name in BARE.findall(text) if not any(REPOSITORY.glob(f"*/**/{name}"))]
    faults += [f"name {name}" for name in DOTTED.findall(text) if not has_name(name)]
    faults += [f"command -m {name}" for name in COMMAND.findall(text) if not is_command(name)]
    links = (target for target in LINK.findall(text) if "://" not in target)
    return faults + [f"link {target}" for target in links if not (folder / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(REPOSITORY).as_posix() for page in PAGES])
def test_what_a_page_names_exists(page: Path) -> None:
    report(faults_of(page.read_text(encoding="utf-8"), page.parent), "named and not there")


def test_what_is_not_there_is_noticed() -> None:
    """The test above proves something only if each kind of name can fail."""
    text = (
        "`rl/losses.py`, `rl/algo/losses.py`, `gone.py`, `losses.py`, `rl/data/NAME.py`, `rewards.trl`,"
        " `rewards.adapters.trl.as_trl_reward`,"
        " `rewards.adapters.trl.gone`, `python -m rl.train`, `python -m rl.recipes`, `python -m rl.algo`, [a](gone.md)"
    )
    assert faults_of(text, REPOSITORY) == [
        "path rl/losses.py",
        "file gone.py",
        "name rewards.trl",
        "name rewards.adapters.trl.gone",
        "name rl.recipes",
        "command -m rl.recipes",
        "command -m rl.algo",
        "link gone.md",
    ]
