"""The real rows of public benchmarks: counts, traps and blind numbers as they were measured once (skipped where the
files are not beside the checkout)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rl.benchmarks import baselines as blind
from rl.benchmarks.card import find
from rl.benchmarks.loading import Benchmark, load
from rl.benchmarks.overlap import overlap
from rl.evaluate.suite.numbers.reports import rouge_l
from rl.probes.unseen import strata


def real(real_data: Path, name: str, file: str, root: str = "benchmarks") -> Benchmark:
    if not (real_data / root / file).exists():
        pytest.skip(f"no rows of {name}: {real_data / root / file} is not there")
    benchmark = load(find([name])[0], str(real_data / root))
    assert benchmark.mismatches == () and benchmark.unusable == ()
    return benchmark


def percent(found: blind.Blind) -> float:
    return round(100 * found.mean, 1)


@pytest.mark.parametrize(
    ("name", "rows", "images", "num_exact", "of_classes", "of_combinations"),
    [
        ("slake_en", 781, 72, 52.9, (355, 60), {"seen": 1059, "recombined": 2}),
        ("slake_zh", 736, 70, 56.0, (347, 72), {"seen": 1032, "recombined": 1}),
    ],
)
@pytest.mark.full_run_only(reason="reads 14,000 rows, some ten seconds")
def test_slake_leaks_across_languages_and_is_half_answered_by_its_questions(
    real_data: Path,
    name: str,
    rows: int,
    images: int,
    num_exact: float,
    of_classes: tuple[int, int],
    of_combinations: dict[str, int],
) -> None:
    """72 of 96 English test images (781 of 1,061 rows) are in Chinese training; question only 52.9 and 55.9 % by exact
    words (56.0 here: blanks at the ends of a question do not count)."""
    benchmark = real(real_data, name, "slake_test.json")
    (other,) = (taught for part, taught in benchmark.training.items() if part not in _own(benchmark))
    found = overlap(benchmark.samples, other, "the other language")
    assert (found.num_shared_rows, found.num_shared_images, found.num_images) == (rows, images, 96)
    assert percent(blind.question_exact(benchmark.samples, benchmark.taught())) == num_exact
    kinds = [one.answer_type for one in benchmark.samples]
    assert (kinds.count("yes_no"), kinds.count("mcq")) == of_classes
    assert len(benchmark.items) - benchmark.num_clean == 1
    # Nearly every combination of modality, place and kind of question stands in training: unseen ones cannot be asked
    # of this set.
    seen = strata(benchmark.taught(), benchmark.samples, benchmark.card.combination)
    assert Counter(seen.values()) == of_combinations


def _own(benchmark: Benchmark) -> set[str]:
    return {part.name for part in benchmark.card.training if part.baselines}


def test_a_constant_report_beats_most_models_on_iu_xray(real_data: Path) -> None:
    """ROUGE-L 36.7 on R2Gen's 590 (Fleming-VL's table has 22.9 for InternVL3-8B); the most frequent training report
    26.2."""
    benchmark = real(real_data, "iu_xray", "iu_xray_annotation.json")
    assert percent(blind.constant_report(benchmark.samples, benchmark.card.constant, rouge_l)) == 36.7
    assert percent(blind.frequent_report(benchmark.samples, benchmark.taught(), rouge_l)) == 26.2
    of_training = {one.gold_text for one in benchmark.taught()}
    assert sum(one.gold_text in of_training for one in benchmark.samples) == 274


def test_medxpertqa_has_no_tail_left_and_81_rows_of_letters_and_of_figures(real_data: Path) -> None:
    benchmark = real(real_data, "medxpertqa_mm", "medxpertqa_mm.jsonl")
    kinds = [one.tags["letter_options"] for one in benchmark.samples]
    # Beside 81 rows of "Figure X" there is MM-11, whose options say more ("Figure D (post-reduction)").
    assert (kinds.count("letters"), kinds.count("figures")) == (81, 82)
    assert not any("Answer Choices" in one.question for one in benchmark.samples)
    assert sum(len(one.media) > 1 for one in benchmark.samples) == 419


def test_text_sets_have_their_majorities(real_data: Path) -> None:
    """Always A on MedQA 27.7 %, always D on MMLU 32.3 %, always yes on PubMedQA's 500 55.2 %; 78 questions of MMLU
    stand in two subjects."""
    medqa = real(real_data, "medqa", "medqa.jsonl").samples
    assert percent(blind.majority(medqa, [])) == 27.7
    mmlu = real(real_data, "mmlu_med", "mmlu_medical.jsonl")
    assert percent(blind.majority(mmlu.samples, [])) == 32.3
    assert len(mmlu.items) - mmlu.num_clean == 78
    pubmedqa = real(real_data, "pubmedqa", "pubmedqa/ori_pqal.json", "")
    assert percent(blind.majority(pubmedqa.samples, pubmedqa.taught())) == 55.2
