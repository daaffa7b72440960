"""Every setting is read by something outside the configuration: a promise that nobody keeps is found here.

The syntax trees of the packages are walked. An attribute read counts for a leaf only where the record it is read from
is known: `config.grpo.beta`, `grpo.beta` after `grpo = run.config.grpo`, `settings.kind` of a parameter annotated with
JudgeConfig. A name that another record has as well does not count for this one.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_type_hints

import pytest

from rl.config import Config
from rl.config.build import leaves
from tests.paths import REPOSITORY

PACKAGES = ("judges", "rollouts", "rewards", "rl")
# Where settings are defined, checked and explained; to be read there keeps no promise.
CONFIGURATION = "rl/config/"
# It defines settings and checks them (`faults` and what is private), and its other functions hand them on.
SETTINGS_OF_JUDGES = "judges/settings.py"

Names = dict[str, str]


def records(cls: type = Config, path: str = "") -> dict[str, str]:
    """Class name of each record of the tree -> its section ("" is the whole)."""
    hints = get_type_hints(cls)
    inner = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    found = {cls.__name__: path}
    for name, hint in inner.items():
        found |= records(hint, f"{path}.{name}".strip("."))  # type: ignore[arg-type]
    return found


def heirs(cls: type = Config) -> dict[str, list[str]]:
    """Class name of a record that others inherit from -> their names: what reads it reads each of them."""
    found: dict[str, list[str]] = {}
    for hint in get_type_hints(cls).values():
        if dataclasses.is_dataclass(hint):
            for base in hint.__mro__[1:-1]:  # type: ignore[union-attr]
                found.setdefault(base.__name__, []).append(hint.__name__)  # type: ignore[union-attr]
            for name, classes in heirs(hint).items():  # type: ignore[arg-type]
                found[name] = [*found.get(name, []), *classes]
    return found


RECORDS = records()
SECTIONS = {section: name for name, section in RECORDS.items()}
HEIRS = heirs()


def protocols(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Protocols that name settings of one record only, by which pure maths takes it without knowing the class."""
    members = {
        section: {path.rpartition(".")[2] for path in leaves() if path.rpartition(".")[0] == section}
        for section in SECTIONS
    }
    found: dict[str, str] = {}
    for node in (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)):
        if any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
            names = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            owners = [section for section, settings in members.items() if len(names) > 1 and names <= settings]
            found |= {node.name: owners[0]} if len(owners) == 1 else {}
    return found


def annotated(annotation: ast.expr | None) -> str | None:
    """The record that an annotation names, `X | None` and texts included."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    for node in ast.walk(annotation) if annotation is not None else ():
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if (name in RECORDS or name in HEIRS) and not isinstance(annotation, ast.Subscript):
            return name
    return None


class Reads(ast.NodeVisitor):
    """The leaves that one file reads. `attributes`: names of attributes that hold a record, wherever they are."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self.attributes = dict(attributes)
        self.scopes: list[Names] = [{}]
        self.found: set[str] = set()

    def record_of(self, node: ast.expr) -> str | None:
        """The record that an expression gives, as far as that can be told."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self.scopes) if node.id in scope), None)
        if isinstance(node, ast.Attribute):
            owner = self.record_of(node.value)
            if owner in RECORDS:
                return SECTIONS.get(f"{RECORDS[owner]}.{node.attr}".strip("."))
            return self.attributes.get(node.attr)
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "replace" and node.args:
                return self.record_of(node.args[0])
            return name if name in RECORDS else None
        return None

    def read(self, owner: str | None, name: str) -> None:
        for record in HEIRS.get(owner or "", [owner] if owner else []):
            self.found.add(f"{RECORDS[record]}.{name}".strip("."))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(self.record_of(node.value), node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if getattr(node.func, "id", "") == "getattr" and isinstance(node.args[1], ast.Constant):
            self.read(self.record_of(node.args[0]), str(node.args[1].value))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                record = self.record_of(value)
                if isinstance(name, ast.Name):
                    self.scopes[-1].pop(name.id, None)
                    if record is not None:
                        self.scopes[-1][name.id] = record
                elif isinstance(name, ast.Attribute) and record is not None:
                    self.attributes[name.attr] = record

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        # A parameter hides what its name meant outside.
        self.scopes.append({argument.arg: annotated(argument.annotation) or "" for argument in given})
        self.scopes[-1] = {name: record for name, record in self.scopes[-1].items() if record}
        self.generic_visit(node)
        self.scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815


def attributes_of(trees: Iterable[ast.Module]) -> Names:
    """Attributes that classes declare to hold a record: fields, properties, and `self.name = parameter`."""
    found: Names = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    found |= {item.target.id: record} if (record := annotated(item.annotation)) else {}
                if isinstance(item, ast.FunctionDef) and (record := annotated(item.returns)):
                    found[item.name] = record
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    reads = Reads({})
                    reads.visit_FunctionDef(item)
                    found |= reads.attributes
    return found


def trees_of(root: Path) -> Iterator[ast.Module]:
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(CONFIGURATION):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if name == SETTINGS_OF_JUDGES:
                tree.body = [item for item in tree.body if isinstance(item, ast.FunctionDef)
                             and item.name != "faults" and not item.name.startswith("_")]  # fmt: skip
            yield tree


def leaves_read(root: Path) -> set[str]:
    """The leaves that some file of the packages reads, and whatever else is read of the records."""
    trees = list(trees_of(root))
    RECORDS.update(protocols(trees))
    attributes = attributes_of(trees)
    found: set[str] = set()
    for tree in trees:
        reads = Reads(attributes)
        reads.visit(tree)
        found |= reads.found
    return found


@pytest.fixture(scope="module")
def read() -> set[str]:
    return leaves_read(REPOSITORY)


def test_every_setting_is_read_outside_the_configuration(read: set[str]) -> None:
    assert [leaf for leaf in leaves() if leaf not in read] == []


@pytest.mark.parametrize(
    "leaf",
    # Names that no record has; and some that other records have, whose readers read theirs.
    [
        "grpo.made_up",
        "made_up",
        "judge.made_up",
        "eval.learning_rate",
        "model.temperature",
        "compute.kind",
        "data.beta",
    ],
)
def test_a_leaf_that_nobody_reads_is_found(read: set[str], leaf: str) -> None:
    assert [name for name in [*leaves(), leaf] if name not in read] == [leaf]


def test_reads_are_told_from_writes_and_by_the_record_they_belong_to(tmp_path: Path) -> None:
    (tmp_path / "rl").mkdir()
    (tmp_path / "rl" / "some.py").write_text(
        "class Run:\n"
        "    def __init__(self, settings: 'GrpoConfig', other: Other) -> None:\n"
        "        self.settings, self.other = settings, other\n"
        "class Scaling(Protocol):\n"
        "    def scale_rewards(self): ...\n"
        "    def min_valid(self): ...\n"
        "def one(config: Config, data: Any) -> None:\n"
        "    sft, rest = config.sft, data.root\n"
        "    sft.batch_size\n"
        "def two(run: Run, sft: Other) -> None:\n"
        "    run.settings.beta + run.other.epsilon + sft.num_epochs\n"
        "def three(config: Config | None, scaling: Scaling) -> None:\n"
        "    getattr(config.eval, 'num_samples') + scaling.min_valid\n"
        "    config.seed = 1\n"
    )
    found = leaves_read(tmp_path)
    assert {"sft.batch_size", "grpo.beta", "eval.num_samples", "grpo.min_valid"} <= found
    assert not {"data.root", "grpo.epsilon", "sft.num_epochs", "seed", "grpo.scale_rewards"} & found
