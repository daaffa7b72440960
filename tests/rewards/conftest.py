"""Other Pythons that tests of report metrics ask."""

from __future__ import annotations

import pytest

from tests.fakes import other_python


@pytest.fixture(scope="session")
def radeval_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with the stand-in for radeval."""
    return other_python.make(tmp_path_factory.mktemp("with radeval") / "venv", with_package=True)


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with nothing in it."""
    return other_python.make(tmp_path_factory.mktemp("bare") / "venv", with_package=False)
