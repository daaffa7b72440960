"""`python -m examples.curate.make FOLDER`: drawn pictures with labels, captions and masks, as a ward might keep them.

Nothing in them is real. A table names each picture's label, caption, mask and patient; labels have natural frequencies,
so that a guesser who never looks would do well if nobody took care.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rl.data.phantoms.draw import FINDINGS, draw
from rl.data.phantoms.words import image_place, with_article
from rollouts.records import stable_hash
from rollouts.terminal import CANNOT, DONE, complain

# Of four pictures with and without a finding, how many are normal.
_NORMAL = 0.6
_MODALITIES = ("radiograph", "dermoscopy", "ultrasound")


def row(folder: Path, index: int) -> dict[str, str]:
    """Draw one picture and its mask into the folder; its row of the table."""
    rng = np.random.default_rng(stable_hash("curate example", index))
    modality = _MODALITIES[index % len(_MODALITIES)]
    normal, *findings = FINDINGS[modality]
    finding = normal if rng.random() < _NORMAL else str(rng.choice(findings))
    phantom = draw(modality, finding, index)
    name = f"{index:04d}.png"
    Image.fromarray(phantom.frames[0]).save(folder / "images" / name)
    made = {"image": f"images/{name}", "label": finding, "modality": modality, "patient": f"patient {index // 2}"}
    if finding == normal:
        return {**made, "mask": "", "caption": f"Fig. {index + 1}. This {modality} shows normal tissue."}
    Image.fromarray(phantom.masks[0].astype(np.uint8) * 255).save(folder / "masks" / name)
    place = image_place(phantom.masks[0])
    caption = f"Fig. {index + 1}. This {modality} shows {with_article(finding)} in the {place} (arrow)."
    return {**made, "mask": f"masks/{name}", "caption": caption}


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.curate.make", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to make; it must not be there yet")
    parser.add_argument("--count", type=int, default=300, help="pictures (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        for part in ("images", "masks"):
            (arguments.folder / part).mkdir(parents=True)
    except OSError as error:
        complain(
            f"python -m examples.curate.make: {arguments.folder}: {error.strerror}; name a folder that is not there yet"
        )
        return CANNOT
    rows = [row(arguments.folder, index) for index in range(arguments.count)]
    with (arguments.folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    shutil.copy(Path(__file__).with_name("recipe.yaml"), arguments.folder / "recipe.yaml")
    print(f"{len(rows)} pictures in {arguments.folder}; now:")
    print(f"python -m rl.curate {arguments.folder}/recipe.yaml --out {arguments.folder}/data.jsonl")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
