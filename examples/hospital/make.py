"""`python -m examples.hospital.make --out FOLDER` writes the made-up hospital and the data of all four stages:

FOLDER/studies/      DICOM, NIfTI, mp4 and JPEG files
FOLDER/NAME.jsonl    a table a modality: what is read, label, caption, patient
FOLDER/questions.jsonl, card.md      by `python -m rl.curate` and recipe.yaml, split by patient
FOLDER/documents.jsonl, captions.jsonl      for the stages before instruction tuning

The same arguments write the same pixels and rows. With --train the four stages run on them:
`python -m rl.train +experiment=hospital`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.hospital.files import write
from examples.hospital.patients import MODALITIES, studies
from rl.run.progress import Display
from rollouts.records import stable_hash
from rollouts.terminal import CANNOT, DONE, accept_any_stdout, complain

RECIPE = Path(__file__).with_name("recipe.yaml")


def write_studies(folder: Path, each: int, seed: int, display: Display) -> list[dict[str, Any]]:
    """Write the files of every patient, and a table a modality; returns the rows."""
    (folder / "studies").mkdir(parents=True)
    rows = []
    with display.bar("write the files of patients", each * len(MODALITIES)) as bar:
        for place, one in enumerate(studies(each, seed)):
            read = write(one, folder / "studies", place % each)
            rows.append(
                {name: f"studies/{path}" for name, path in read.items()}
                | {"label": one.finding, "caption": one.caption, "patient": one.patient, "modality": one.modality}
            )
            bar.advance()
    for modality in MODALITIES:
        _write_lines(folder / f"{modality}.jsonl", (row for row in rows if row["modality"] == modality))
    return rows


def caption_rows(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each study with what it shows in words."""
    for row in rows:
        facts = {"caption": f"{row['modality']}: {row['caption']}", "patient": row["patient"]}
        yield {"id": row["patient"], **_shown(row), "modality": row["modality"], **facts}


def document_rows(rows: Sequence[dict[str, Any]], seed: int) -> Iterator[dict[str, Any]]:
    """Two patients a document, in a seeded order: a study, a sentence on it, the next study, and one on that."""
    mixed = sorted(rows, key=lambda row: stable_hash("documents", seed, row["patient"]))
    for first, second in zip(mixed[::2], mixed[1::2], strict=False):
        content = [
            _shown(first),
            f"This {first['modality']} shows {first['caption']}.",
            _shown(second),
            f"The next one, a {second['modality']}, shows {second['caption']}.",
        ]
        yield {"id": f"{first['patient']}+{second['patient']}", "content": content}


def with_thoughts(questions: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each question with the thought that instruction tuning teaches for it: what the study shows, then the answer, as
    in data=phantoms; with a neutral sentence instead the embedded model forgets to look."""
    seen = {next(iter(_shown(row).values())): row["caption"] for row in rows}
    for one in questions:
        # The letter behind the text, as the embedded model was taught: "so the answer is nodule B."
        options = one.get("options")
        gold = f"{options['ABCD'.index(one['answer'])]} {one['answer']}" if options else one["answer"]
        caption = seen[next(iter(_shown(one).values()))]
        yield {**one, "think": f"I see {caption}, so the answer is {gold}."}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("image", "volume", "video") if name in row}


def _write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.hospital.make",
        description="Write a made-up hospital as files, and the data of all four stages.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/hospital"), metavar="FOLDER")
    parser.add_argument("--patients", type=int, default=160, metavar="N", help="of each of five modalities")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="run the four stages on it when it is written")
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="settings of that run")
    arguments = parser.parse_args(argv)
    if arguments.settings and not arguments.train:
        parser.error(f"{arguments.settings[0]}: settings are those of the run that --train starts")
    if arguments.out.exists() and any(arguments.out.iterdir()):
        complain(f"{arguments.out} is not empty; remove it, or choose another --out")
        return CANNOT
    with Display(sys.stderr) as display:
        rows = write_studies(arguments.out, arguments.patients, arguments.seed, display)
    _write_lines(arguments.out / "captions.jsonl", caption_rows(rows))
    _write_lines(arguments.out / "documents.jsonl", document_rows(rows, arguments.seed))
    shutil.copyfile(RECIPE, arguments.out / "recipe.yaml")
    # Here, because whoever only wants the files needs none of it.
    from rl.curate.__main__ import main as curate
    from rl.train import main as train

    code = curate([str(arguments.out / "recipe.yaml"), "--out", str(arguments.out / "questions.jsonl")])
    if code:
        return code
    questions = arguments.out / "questions.jsonl"
    lines = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()]
    _write_lines(questions, with_thoughts(lines, rows))
    if not arguments.train:
        return DONE
    skipped = " ".join(one for one in arguments.settings if one.startswith("stages.skip="))
    return train(["+experiment=hospital", *places(arguments.out, skipped), *arguments.settings])


def places(folder: Path, skipped: Container[str] = ()) -> list[str]:
    """The settings that say where the hospital lies, but those of the stages in `skipped`, where they would be an
    error."""
    settings = {
        "data.root": "questions.jsonl",
        "data.media.cache_dir": "frames",
        "stages.interleaved.root": "documents.jsonl",
        "stages.captions.root": "captions.jsonl",
    }
    # The second part of a name: the stage, where there is one.
    return [f"{name}={folder / where}" for name, where in settings.items() if name.split(".")[1] not in skipped]


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
