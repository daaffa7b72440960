"""The model and the rows that tests of SFT share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.data.sets import SftRow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.fakes.tiny_models import make_internvl  # here, because the fast lane reads this file too

    return make_internvl(tmp_path_factory.mktemp("model") / "internvl")


@pytest.fixture(scope="module")
def rows() -> list[SftRow]:
    from tests.rl.sft.sft_cases import seeing_rows

    return seeing_rows()
