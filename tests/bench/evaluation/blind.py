"""What blindness earns on public sets, against the numbers that were noted of them before there were cards:
`python -m tests.bench.evaluation.blind FOLDER ..`.

Each number is computed by the project's cards, loaders, baselines and metrics from the files of rows below the folders
(no images, no model), and stands beside the noted one. Where the project counts otherwise on purpose, its own number is
stated with the reason, and that is what is expected. A set whose files are not there is said to be missing. Exit code 1
where a number is another one. `python -m rl.doctor benchmark=[CARD] benchmark_root=FOLDER` prints the same numbers of
one card, with intervals.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rl.benchmarks import baselines
from rl.benchmarks.card import find
from rl.benchmarks.loading import Benchmark, BenchmarkError, load
from rl.benchmarks.overlap import overlap
from rl.doctor.cards.blind import constant_of_others, repeated
from rl.evaluate.suite.numbers.reports import rouge_l
from rollouts.records import Sample
from rollouts.terminal import open_console, table


class Read:
    """A benchmark that was read, with what is earned on it without looking, each computed once."""

    def __init__(self, benchmark: Benchmark, folders: Sequence[Path]) -> None:
        self.benchmark, self.folders = benchmark, folders
        self.samples = benchmark.samples
        self._values: dict[str, tuple[float, ...]] = {}

    def values(self, name: str) -> tuple[float, ...]:
        """A baseline's value on each item."""
        if name not in self._values:
            taught = self.benchmark.taught()
            make: dict[str, Callable[[], baselines.Blind]] = {
                "chance": lambda: baselines.chance(self.samples),
                "majority": lambda: baselines.majority(self.samples, taught),
                "options_only": lambda: baselines.options_only(self.samples, taught),
                "question_only": lambda: baselines.question_only(self.samples, taught),
                "question_exact": lambda: baselines.question_exact(self.samples, taught),
                "frequent": lambda: baselines.frequent_report(self.samples, taught, rouge_l),
            }
            self._values[name] = make[name]().values
        return self._values[name]

    @cached_property
    def constant(self) -> Mapping[str, Mapping[str, float]]:
        """Grader -> metric -> what the card's constant report earns."""
        return constant_of_others(self.benchmark)


Got = Callable[[Read], str]
# "open_i_1020" and "CXR1020_IM-0017" are one study.
_STUDY = re.compile(r"(?:open_i_|CXR)(\d+)")


class Noted(NamedTuple):
    """One number."""

    what: str
    # As it was noted, and how it is computed here.
    noted: str
    got: Got
    # The number of this project where it counts otherwise on purpose, and why.
    ours: str = ""
    why: str = ""


def percent(value: float) -> str:
    """A share in per cent with one decimal."""
    return f"{100 * value:.1f}"


def blind(name: str, kept: Callable[[Sample], bool] = lambda one: True) -> Got:
    """A baseline of all training rows that baselines learn from, on those items that are kept."""

    def got(read: Read) -> str:
        found = [value for value, one in zip(read.values(name), read.samples, strict=True) if kept(one)]
        return percent(sum(found) / len(found))

    return got


def constant(metric: str, grader: str = "") -> Got:
    """What the card's constant report earns, x 100."""
    return lambda read: percent(read.constant[grader][metric])


def shared(part: str, *, rows: bool = False) -> Got:
    """Images, or rows, that are in a training part, of how many."""

    def got(read: Read) -> str:
        found = overlap(read.samples, read.benchmark.training[part], part)
        if rows:
            return f"{found.num_shared_rows:,} of {found.num_rows:,}"
        return f"{found.num_shared_images:,} of {found.num_images:,}"

    return got


def word_for_word(read: Read) -> str:
    """Reports that stand word for word in training."""
    return repeated(read.benchmark)[0].partition(" reports")[0]


def parts_of_r2gen(read: Read) -> str:
    """Studies of MedEvalKit's file that are in R2Gen's validation, test and training part, told by Open-i's number."""
    val, test = (loaded(name, read.folders) for name in ("iu_xray_296, findings", "iu_xray"))
    if val is None or test is None:
        return "no annotation file"
    ours, *parts = (
        {found[1] for one in samples if (found := _STUDY.search(one.id))}
        for samples in (read.samples, val.samples, test.samples, test.taught())
    )
    return ", ".join(str(len(ours & part)) for part in parts)


def modality(prefix: str) -> Callable[[Sample], bool]:
    """Whether an item is of the modality of that name."""
    return lambda one: one.modality.lower().startswith(prefix)


def kinds(*names: str) -> Callable[[Sample], bool]:
    """Whether an item's answer is of one of these types."""
    return lambda one: one.answer_type in names


def when_shown(kept: Callable[[Sample], bool] = lambda one: True) -> Got:
    """The option that was right in the largest share of the training rows that showed it, those of all modalities
    together: as options alone were counted when they were noted."""

    def got(read: Read) -> str:
        right: Counter[str] = Counter(baselines.folded(one.gold_text) for one in read.benchmark.taught())
        shown = Counter(baselines.folded(option) for one in read.benchmark.taught() for option in one.options or ())
        values = []
        for one in filter(kept, read.samples):
            shares = [right[text] / max(1, shown[text]) for text in map(baselines.folded, one.options or ())]
            best = [place for place, share in enumerate(shares) if share == max(shares)]
            values.append((ord((one.gold_letters or ("A",))[0]) - ord("A") in best) / len(best))
        return percent(sum(values) / len(values))

    return got


# Card -> the numbers of its set. Of IU-Xray's 296 studies there are two files.
NOTED: dict[str, list[Noted]] = {
    "iu_xray": [
        Noted("constant report, ROUGE-L", "36.7", constant("rouge_l")),
        Noted("constant report, CIDEr-D", "43.5", constant("cider_d")),
        Noted("constant report, BLEU-4", "16.5", constant("bleu_4_coco")),
        Noted("most frequent training report, ROUGE-L", "26.2", blind("frequent")),
        Noted("test reports word for word in training", "274 of 590", word_for_word),
    ],
    "iu_xray_296, findings": [Noted("constant report, findings alone, ROUGE-L", "35.3", constant("rouge_l"))],
    "iu_xray_296, both sections": [
        Noted("studies in R2Gen's validation, test, training", "296, 0, 0", parts_of_r2gen),
        Noted("constant report, ROUGE-L", "39.7", constant("rouge_l")),
        Noted("the same as MedEvalKit grades", "47.1", constant("rouge_l", "medevalkit")),
        Noted(
            "constant report, plain CIDEr", "71.6", constant("cider", "medevalkit"), "71.7",
            "cut by the Penn rules, there by a regular expression",
        ),
    ],
    "slake_en": [
        Noted("test images in Chinese training", "72 of 96", shared("SLAKE train, Chinese")),
        Noted("test rows with such an image", "781 of 1,061", shared("SLAKE train, Chinese", rows=True)),
        Noted("question alone, exact words", "52.9", blind("question_exact")),
    ],
    "slake_zh": [
        Noted("test rows with an image of English training", "736 of 1,033", shared("SLAKE train, English", rows=True)),
        Noted("question alone, exact words", "55.9", blind("question_exact"), "56.0", "outer blanks do not count"),
    ],
    "medqa": [Noted("always A", "27.7", blind("majority"))],
    "mmlu_med": [Noted("always D", "32.3", blind("majority"))],
    "pubmedqa": [Noted("always yes", "55.2", blind("majority"))],
    "medmcqa": [Noted("always A", "32.2", blind("majority"))],
    "pathvqa": [
        Noted("question alone", "40.5", blind("question_only")),
        Noted("question alone, yes/no", "68.1", blind("question_only", kinds("yes_no"))),
        Noted("question alone, open", "12.6", blind("question_only", kinds("open")), "12.7", "4 of 3,370 rows"),
    ],
    "omnimedvqa": [
        Noted("chance", "27.0", blind("chance")),
        Noted(
            "options alone, the baseline", "72.6", blind("options_only"), "72.7",
            "the option that was right most often in its modality, not in the largest share of the rows that showed it",
        ),
        Noted("options alone, by that share", "72.6", when_shown()),
        *(
            Noted(f"the same, {name}", noted, when_shown(modality(prefix)), ours, why)
            for name, prefix, noted, ours, why in (
                ("OCT", "oct", "100.0", "", ""), ("CT", "ct", "99.0", "", ""), ("microscopy", "micro", "98.6", "", ""),
                ("fundus", "fundus", "94.6", "94.9", "3 of 1,098 rows"), ("MR", "mr", "37.0", "", ""),
                ("dermoscopy", "derm", "91.3", "", ""), ("X-ray", "x-ray", "87.1", "", ""),
                ("ultrasound", "ultra", "80.9", "", ""),
            )
        ),
        Noted("test images in training", "1,836", lambda read: shared("rows of a training split")(read).split()[0]),
    ],
}  # fmt: skip


def loaded(name: str, folders: Sequence[Path]) -> Benchmark | None:
    """The benchmark of an entry from the first folder that has its files; None = none has."""
    card, _, part = name.partition(", ")
    for folder in folders:
        try:
            found = load(find([card])[0], str(folder))
        except BenchmarkError:
            continue
        both = any("impression" in one.tags for one in found.samples)
        if not part or both == (part == "both sections"):
            return found
    return None


def main() -> int:
    """Print the table. Exit code 0 = every number that could be computed is as expected."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.evaluation.blind", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="where files of rows are")
    folders = parser.parse_args().folders
    rows: list[Sequence[str]] = []
    others, missing = 0, []
    for name, numbers in NOTED.items():
        benchmark = loaded(name, folders)
        if benchmark is None:
            missing.append(name)
            continue
        read = Read(benchmark, folders)
        for one in numbers:
            got = one.got(read)
            is_other = got != (one.ours or one.noted)
            others += is_other
            rows.append((name, one.what, one.noted, f"{got}{' OTHER' if is_other else ''}", one.why))
    console = open_console()
    console.print(table("noted before, and computed now", ("set", "number", "noted", "now", "why another"), rows))
    if missing:
        console.print(f"not computed, because no folder holds their files: {'; '.join(missing)}")
    console.print(f"{len(rows)} numbers, {others} of them other than expected")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
