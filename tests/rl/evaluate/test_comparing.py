"""Evaluations beside each other: what both were asked is compared, what only one was asked is named, and what was asked
or read otherwise is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from rl.benchmarks.loading import Benchmark
from rl.benchmarks.questions import Item
from rl.compare.__main__ import main
from rl.evaluate.suite.comparing import NotTheSame, compare
from rl.report.evaluation.flips import compare_folders
from tests.bench.evaluation.stored import answer, write_set


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Benchmark, Path, Path]:
    """A set of 30 made-up items, and the folders of two models that were asked it."""
    folder = tmp_path_factory.mktemp("comparing")
    benchmark = write_set(folder / "set", 30)
    first, second = (answer(folder / name, benchmark, name, right, 1) for name, right in (("a", 0.2), ("b", 0.9)))
    return benchmark, first, second


def with_items(benchmark: Benchmark, items: Sequence[Item]) -> Benchmark:
    return dataclasses.replace(benchmark, items=tuple(items))


def second_set(folder: Path, new: Path, name: str) -> Path:
    """A copy of an evaluation whose benchmark has another name."""
    shutil.copytree(folder, new)
    facts = json.loads((new / "benchmarks/made_up.json").read_text())
    facts["card"]["name"] = name
    (new / "benchmarks/made_up.json").unlink()
    (new / f"benchmarks/{name}.json").write_text(json.dumps(facts))
    return new


def test_what_only_one_was_asked_is_named_and_the_rest_compared(
    asked: tuple[Benchmark, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first, second = asked
    both = second_set(second, tmp_path / "both", "another")
    shutil.copy(second / "benchmarks/made_up.json", both / "benchmarks/made_up.json")
    found = compare([first, both])
    assert list(found["others"][0]["benchmarks"]) == ["made_up"]
    assert found["others"][0]["not_compared"] == ["another: both was asked it, a was not"]
    assert main([str(first), str(both)]) == 0
    assert "not compared: another: both was asked it, a was not" in capsys.readouterr().out


def test_folders_with_nothing_in_common_are_refused(asked: tuple[Benchmark, Path, Path], tmp_path: Path) -> None:
    _, first, second = asked
    with pytest.raises(NotTheSame, match="it was asked another, a made_up: nothing in common"):
        compare([first, second_set(second, tmp_path / "b", "another")])


def test_one_item_less_is_refused_and_named(asked: tuple[Benchmark, Path, Path], tmp_path: Path) -> None:
    benchmark, first, _ = asked
    fewer = answer(tmp_path / "fewer", with_items(benchmark, benchmark.items[:-1]), "fewer", 0.9, 1)
    with pytest.raises(NotTheSame, match="1 items of made_up were not asked of both, such as made_up-29; ask the same"):
        compare([first, fewer])
    assert compare_folders(first, fewer)[0].reason == "30 and 29 items were asked, 29 of them the same ones"


def test_the_same_ids_with_another_gold_are_refused(asked: tuple[Benchmark, Path, Path], tmp_path: Path) -> None:
    """A file whose golds were changed has the ids of the published one."""
    benchmark, first, _ = asked
    last = benchmark.items[-1]
    changed = last._replace(sample=dataclasses.replace(last.sample, gold_text="spleen"))
    other = answer(tmp_path / "other", with_items(benchmark, [*benchmark.items[:-1], changed]), "other", 0.9, 1)
    with pytest.raises(NotTheSame, match="1 items of made_up have another question, other options or another gold"):
        compare([first, other])
    assert "another gold there" in compare_folders(first, other)[0].reason


def test_a_card_of_another_version_is_refused(asked: tuple[Benchmark, Path, Path], tmp_path: Path) -> None:
    _, first, second = asked
    shutil.copytree(second, tmp_path / "b")
    facts = json.loads((second / "benchmarks/made_up.json").read_text())
    facts["card"]["version"] = 2
    (tmp_path / "b/benchmarks/made_up.json").write_text(json.dumps(facts))
    with pytest.raises(NotTheSame, match="made_up@2, while a has made_up@1; ask one of the models again"):
        compare([first, tmp_path / "b"])
