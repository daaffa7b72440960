"""A recipe is checked before anything is opened; every fault is told with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.curate.__main__ import main
from rl.curate.recipe.door import read_recipe
from rl.curate.recipe.lines import RecipeError
from tests.rl.curate.small_sets import recipe

GOOD = """recipe: ward
sources:
  ward:
    read: ward.csv
    rules: {mcq: {}}
"""


def faults(folder: Path, text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read_recipe(recipe(folder, text))
    return str(caught.value)


def test_a_recipe_of_five_lines_has_the_papers_defaults(tmp_path: Path) -> None:
    plan = read_recipe(recipe(tmp_path, GOOD))
    assert plan.recipe.languages == ("en", "zh")
    assert plan.rules["ward"]["mcq"].distractors == (3, 3)
    assert plan.recipe.max_blind == 0.05


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD.replace("mcq", "mqc"), 5, "no rule 'mqc'; did you mean 'mcq'?"),
        (GOOD.replace("{mcq: {}}", "{mcq: {distractor: 2}}"), 5, "did you mean 'distractors'?"),
        (GOOD.replace("{mcq: {}}", "{mcq: {share: 2}}"), 5, "share is 2"),
        (GOOD.replace("{mcq: {}}", "{mcq: {distractors: [3, 1]}}"), 5, "distractors is [3, 1]"),
        (GOOD.replace("{mcq: {}}", "{mcq: {asks: diagnosys}}"), 5, "did you mean 'diagnosis'?"),
        (GOOD.replace("{mcq: {}}", "{synthesis: {}}"), 5, "asks a language model: give `llm:"),
        (GOOD + "languages: [en, de]\n", 6, "expected"),
        (GOOD + "seed: many\n", 6, "expected int"),
        (GOOD + "sedd: 1\n", 6, "no setting 'sedd'; did you mean 'seed'?"),
        (GOOD + "eval_fraction: 1.5\n", 6, "eval_fraction is 1.5"),
        (GOOD + "recipe: again\n", 6, "stands there twice, first on line 1"),
        (GOOD + "labels:\n  distractors:\n    melanoma: [nevus, Melanoma]\n", 8, "'melanoma' is its own distractor"),
        (GOOD + "labels:\n  synonyms: [[nevus, mole]]\n  distractors: {mole: [nevus]}\n", 8, "they are synonyms"),
        (GOOD + "labels:\n  tree: {a: [b]}\n  distractors: {b: [a]}\n", 8, "labels.tree sets one above the other"),
        (GOOD + "labels:\n  tree:\n    a: [b]\n    b: [a]\n", 8, "stands above itself"),
        (GOOD + "wordings: {finding: {en: ['What of {patient}?']}}\n", 6, "slot {patient}"),
        (GOOD + "a: &x [1]\nb: *x\n", 6, "anchors"),
        (GOOD + "a: [1\n", 7, "not YAML"),
        (GOOD.replace("rules: {mcq: {}}", "patient_pattern: '(a)(b)'\n    rules: {mcq: {}}"), 5, "has 2 groups"),
    ],
)  # fmt: skip
def test_a_fault_names_its_line_and_what_was_meant(tmp_path: Path, text: str, line: int, says: str) -> None:
    told = faults(tmp_path, text)
    assert f"recipe.yaml, line {line}: " in told and says in told


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    told = faults(tmp_path, GOOD.replace("mcq", "mqc") + "eval_fraction: 7\nmax_blind: 3\n").splitlines()
    assert [line.split("line ")[1][0] for line in told] == ["5", "6", "7"]


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    assert "sources.ward lacks 'rules'" in faults(tmp_path, "recipe: a\nsources:\n  ward: {read: a.csv}\n")


def test_yes_and_no_are_labels_and_no_truth_values(tmp_path: Path) -> None:
    plan = read_recipe(recipe(tmp_path, GOOD + "labels: {synonyms: [[no, none]], may_hold_beside: [no]}\n"))
    assert plan.ontology.name("none") == "no"


@pytest.mark.parametrize(
    "data", [b"\xff\xfea", b"PK\x03\x04", b"- a\n- b\n", b"", b"[" * 5000, b"a: !!python/name:os.system x\n"]
)
def test_what_is_no_recipe_is_told_in_one_line(tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(data)
    assert main([str(path), "--check"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("python -m rl.curate: ") and len(told.splitlines()) == 1, told


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no.yaml"), "--check"]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
