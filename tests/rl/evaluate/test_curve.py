"""Several models on the same benchmarks: what cannot be asked is told before the first model is, and an older
evaluation is never taken for the one that is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rl.config.door import compose, to_yaml
from rl.data.sets import UnusableData
from rl.evaluate.suite.curve import evaluate_models
from tests.paths import REPOSITORY

TINY = str(REPOSITORY / "examples/tiny/model")


def test_a_model_that_is_not_there_is_told_before_the_first_is_asked(tmp_path: Path) -> None:
    arguments = ["benchmark=[phantoms]", "judge=rules", f"out_dir={tmp_path}/curve"]
    with pytest.raises(UnusableData, match=r"nowhere cannot be asked: 1 problem in the configuration:\n.*no folder"):
        evaluate_models([TINY, f"{tmp_path}/nowhere"], arguments, compose(arguments))
    assert not (tmp_path / "curve").exists()
    with pytest.raises(UnusableData, match="two of them are the same"):
        evaluate_models([TINY, TINY], arguments, compose(arguments))


def test_an_evaluation_with_other_settings_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """The folder of the label holds medqa's evaluation of another model."""
    folder = tmp_path / "curve" / "tiny"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text("{}")
    arguments = ["judge=rules", f"out_dir={tmp_path}/curve"]
    other = shutil.copytree(TINY, tmp_path / "other")
    before = compose(["benchmark=[medqa]", f"benchmark_root={tmp_path}", f"model.path={other}", *arguments])
    (folder / "config.yaml").write_text(to_yaml(before))
    now = ["benchmark=[phantoms]", *arguments]
    with pytest.raises(UnusableData) as caught:
        evaluate_models([TINY], now, compose(now))
    said = str(caught.value)
    assert f"with other settings of eval, model.path ({other} there); give another out_dir" in said
