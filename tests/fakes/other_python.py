"""Another Python with a package of its own: a small stand-in for `radeval` 2.2 that speaks its interface."""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

STAND_IN = '''
import os, time


class RadEval:
    """The score of a pair is the number of words that only one of the two has, minus 1, and 0.01 for each pair of the
    call. Prints, as models do, and reads a weight from the folder of weights."""

    def __init__(self, metrics=None, per_sample=False, show_progress=True):
        print("loading", metrics)
        assert per_sample and not show_progress and len(metrics) == 1
        self.metric = metrics[0]
        if self.metric == "green":
            folder = os.environ.get("HF_HOME", "")
            if not os.path.isfile(os.path.join(folder, "green.bin")):
                raise OSError(f"no file green.bin in {folder or 'any cache'}")
        open("beside.txt", "w").close()

    def __call__(self, refs, hyps):
        print("scoring " * 1000)
        if self.metric == "crimson":
            os._exit(7)
        if self.metric == "ratescore":
            return {"ratescore": [float("nan") for _ in refs]}
        if self.metric == "f1chexbert":
            return {"f1chexbert_sample_acc_5": [1.0]}
        if "wait" in hyps:
            time.sleep(60)
        scores = [len(set(a.split()) ^ set(b.split())) - 1 + 0.01 * len(refs) for a, b in zip(refs, hyps)]
        column = {"radcliq": "radcliq_v1", "green": "green", "radgraph": "radgraph_renamed"}[self.metric]
        return {column: scores, "keys": [float("OPENAI_API_KEY" in os.environ)] * len(refs)}
'''


def make(folder: Path, *, with_package: bool) -> str:
    """An environment of its own without pip; returns its interpreter."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    if with_package:
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        (packages / "radeval").mkdir(parents=True)
        (packages / "radeval/__init__.py").write_text(STAND_IN)
        (packages / "radeval-2.2.1.dist-info").mkdir()
        (packages / "radeval-2.2.1.dist-info/METADATA").write_text(
            "Metadata-Version: 2.1\nName: radeval\nVersion: 2.2.1\n"
        )
    return str(folder / "bin" / Path(sys.executable).name)
