"""Another Python with a package of its own: a small stand-in for `radeval` 2.2.1, with its interface and its faults."""

from __future__ import annotations

import sys
import sysconfig
import venv
from pathlib import Path

STAND_IN = '''
import gc, os, time
from types import SimpleNamespace


class RadEval:
    """The score of a pair is the number of words that only one of the two has, minus 1, and 0.01 for each pair of the
    call. Prints, as models do, and reads a weight from the folder of weights. Like the package it keeps something under
    the address of a list of references (RadCliQ), counts a reply that it cannot read as 0 (GREEN), gives NaN for one
    (CRIMSON), and loses a pair of texts without a sentence (RaTEScore)."""

    def __init__(self, metrics=None, per_sample=False, show_progress=True):
        print("loading", metrics)
        assert per_sample and not show_progress and len(metrics) == 1
        self.metric = metrics[0]
        if self.metric == "green":
            folder = os.environ.get("HF_HOME", "")
            if not os.path.isfile(os.path.join(folder, "green.bin")):
                raise OSError(f"no file green.bin in {folder or 'any cache'}")
            self.green_scorer = SimpleNamespace(completions=[])
        open("beside.txt", "w").close()
        self.key = self.weight = None

    def __call__(self, refs, hyps):
        print("scoring " * 1000)
        if "die" in hyps:
            os._exit(7)
        if self.metric == "ratescore":
            return {"ratescore": [0.5 for ref, hyp in zip(refs, hyps) if len(ref) > 2 and len(hyp) > 2]}
        if self.metric == "crimson":
            return {"crimson": [float("nan") if "mumble" in hyp else 0.25 for hyp in hyps]}
        if "wait" in hyps:
            time.sleep(60)
        if self.key is not None:
            told = "a list that is gone may share its address with a later one"
            assert any(id(one) == self.key and len(one) == self.size for one in gc.get_objects()), told
        if self.key != id(refs):
            self.key, self.size, self.weight = id(refs), len(refs), 0.01 * len(refs)
        scores = [len(set(a.split()) ^ set(b.split())) - 1 + self.weight for a, b in zip(refs, hyps)]
        if self.metric == "green":
            read = "[Clinically Significant Errors]:\\n(a) x: 1. y\\n\\n[Matched Findings]:\\n1. z"
            self.green_scorer.completions = ["I cannot tell" if "mumble" in hyp else read for hyp in hyps]
            scores = [0 if "mumble" in hyp else score for hyp, score in zip(hyps, scores)]
        column = {"radcliq": "radcliq_v1", "green": "green", "radgraph": "radgraph_renamed"}[self.metric]
        return {column: scores, "keys": [float("OPENAI_API_KEY" in os.environ)] * len(refs)}
'''
# A label is stated where its word is said.
CHEXBERT = """
class F1CheXbert:
    TARGET_NAMES = ["Edema", "Fracture"]

    def __init__(self, *, device="cuda"):
        assert device == "cpu", "CUDA is asked for and not there"

    def get_labels(self, reports, mode="rrg"):
        return [[int(name.lower() in text or not text) for name in self.TARGET_NAMES] for text in reports]
"""
TORCH = """
class cuda:
    @staticmethod
    def is_available():
        return False
"""


def make(folder: Path, *, with_package: bool) -> str:
    """An environment of its own without pip; returns its interpreter."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    if with_package:
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        (packages / "radeval").mkdir(parents=True)
        (packages / "radeval/__init__.py").write_text(STAND_IN)
        (packages / "radeval/metrics/f1chexbert").mkdir(parents=True)
        (packages / "radeval/metrics/__init__.py").touch()
        (packages / "radeval/metrics/f1chexbert/__init__.py").write_text(CHEXBERT)
        (packages / "torch.py").write_text(TORCH)
        (packages / "radeval-2.2.1.dist-info").mkdir()
        (packages / "radeval-2.2.1.dist-info/METADATA").write_text(
            "Metadata-Version: 2.1\nName: radeval\nVersion: 2.2.1\n"
        )
    return str(folder / "bin" / Path(sys.executable).name)
