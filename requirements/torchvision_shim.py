"""Lets torchvision's Python part load beside a torch its compiled extension does not fit (CPU torch, PyPI's CUDA
torchvision).

Image and video processors need only the Python part, but importing it registers fake kernels for `torchvision::nms` and
`torchvision::qnms`, which exist only where the extension has loaded. This hook waits for that very import and defines
the two operator schemas if, and only if, they are missing: where the extension loads by itself the hook does nothing.

`python requirements/torchvision_shim.py` copies this file into site-packages, beside a `.pth` file that installs the
hook in every process of the environment, the ones included that vLLM starts to inspect model classes. `make setup`
calls it. The copy imports nothing of the project: a `.pth` that did would pin the project to the installed checkout
before Python looks at the current folder, and a second checkout with the same environment would run a mixture of both.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

TRIGGERS = ("torchvision._autograd_registrations", "torchvision._meta_registrations")
SCHEMAS = ("nms", "qnms")
PTH_NAME = "rounds_torchvision.pth"
_libraries: list[object] = []  # a torch Library unregisters its operators when it is collected


class TorchvisionHook(importlib.abc.MetaPathFinder):
    """Finds nothing itself; it only notices that torchvision is about to register its fake kernels."""

    def __init__(self) -> None:
        # The hook stays in sys.meta_path: removing it while the list is walked would make this very import skip the
        # next finder.
        self.done = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in TRIGGERS and not self.done:
            self.done = True
            define_missing_operators()
        return None


def define_missing_operators() -> list[str]:
    """Define the schemas that no extension has defined, and return their names: empty where torchvision's extension has
    loaded."""
    import torch  # here because this file is imported at every start of Python

    missing = [name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
    return missing


def install() -> None:
    """Put the hook first, once."""
    if not any(isinstance(finder, TorchvisionHook) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionHook())


# The name of the copy in site-packages. It must not be the name of anything else there.
MODULE_NAME = "rounds_torchvision_shim"
# Runs at every start of this environment's Python. It must never disturb one: whatever goes wrong (the copy is gone, or
# broken), the start stays silent, and torchvision then fails in its own words.
PTH_LINE = rf"""import sys; exec("try:\n import {MODULE_NAME} as shim\n shim.install()\nexcept Exception:\n pass")"""


def write_hook(site_packages: Path) -> Path:
    """Make every Python of this environment install the hook at its start: a copy of this file and the `.pth` that
    loads it.

    Returns the `.pth`. Raises OSError.
    """
    (site_packages / f"{MODULE_NAME}.py").write_bytes(Path(__file__).read_bytes())
    pth = site_packages / PTH_NAME
    pth.write_text(PTH_LINE + "\n")
    return pth


if __name__ == "__main__":
    print(f"torchvision shim: wrote {write_hook(Path(sysconfig.get_path('purelib')))}")
