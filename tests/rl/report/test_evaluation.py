"""The report of an evaluation: one page without scripts, numbers as CSV and LaTeX, two models side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from rl.benchmarks.card import Expect, Form, find
from rl.benchmarks.loading import load
from rl.evaluate.suite.curve import curve
from rl.evaluate.suite.folder import sum_up
from rl.report.__main__ import main
from rl.report.evaluation.flips import MOST_SHOWN, compare_folders, summary_of
from rl.report.evaluation.numbers import as_csv, as_latex, headlines, latex, methods, rows
from rl.report.evaluation.page import write_evaluation_report
from rl.report.page import write_report
from rollouts.store.layout import DamagedStore
from tests.bench.evaluation.stored import answer, write_set
from tests.rl.report.test_report import Page


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two made-up models on the same 120 items of 12 images."""
    folder = tmp_path_factory.mktemp("evaluations")
    benchmark = write_set(folder / "set", 120)
    return tuple(answer(folder / name, benchmark, name, right, 1) for name, right in (("weak", 0.2), ("strong", 0.9)))  # type: ignore[return-value]


def test_one_page_without_scripts_in_which_model_text_is_text(folders):
    weak, strong = folders
    page = Page(write_evaluation_report(strong, weak).read_text())
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "form", "base", "link"}
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert sources and all(source.startswith("data:image/") for source in sources)
    addresses = {attributes["href"] for _, attributes in page.tags if "href" in attributes}
    assert all(re.fullmatch(r"#b-made_up|http://127\.0\.0\.1:\d+/#/g/1/made_up-\d+", one) for one in addresses)
    assert "something <b>else</b> & more" in page.words and not [tag for tag, _ in page.tags if tag == "script"]
    for said in (
        "Not comparable",
        "it has other rows",
        "Ten rows share an image.",
        "majority answer",
        "win",
        "Methods",
    ):
        assert said in page.words


def test_a_page_of_one_model_holds_no_flips(folders):
    page = Page(write_evaluation_report(folders[0]).read_text())
    assert "Flips" not in page.words and "blind" in page.words


def test_differences_and_flips_are_those_of_the_rows(folders):
    """The two share their draws, so the strong one is right wherever the weak one is: nothing is lost."""
    weak, strong = folders
    (found,) = compare_folders(weak, strong)
    before, after = (summary_of(one)["benchmarks"][0]["clean"]["value"] for one in folders)
    assert found.difference.value == pytest.approx(after - before)
    assert (found.num_gained, found.num_lost) == (round(120 * (after - before)), 0)
    assert len(found.gained) == MOST_SHOWN and found.gained[0].pictures[0]["uri"].startswith("data:image/")
    assert (found.difference.verdict, found.difference.num_clusters) == ("win", 12)
    assert found.adjusted == found.difference.p_value
    (back,) = compare_folders(strong, weak)
    assert (back.difference.value, back.num_lost) == (pytest.approx(before - after), found.num_gained)


def test_answers_that_were_read_by_other_rules_are_not_compared(folders, tmp_path):
    weak, strong = folders
    summary = summary_of(strong)
    (strong / "summary.json").write_text(json.dumps({**summary, "parser": "another"}))
    (found,) = compare_folders(weak, strong)
    page = Page(write_evaluation_report(strong, weak).read_text())
    (strong / "summary.json").write_text(json.dumps(summary))
    assert found.difference is None and "rules" in found.reason and "ask one of the models again" in found.reason
    assert "Not compared: answers were read by the rules" in page.words


def test_every_number_is_a_row_of_the_csv_and_texts_run_as_no_formula(folders):
    summary = summary_of(folders[1])
    summary["model"] = "=HYPERLINK(1)"
    made = list(csv.DictReader(io.StringIO(as_csv(summary))))
    assert made[0]["model"] == "'=HYPERLINK(1)"
    by_part = {(one["part"], one["name"]): one for one in made}
    clean = summary["benchmarks"][0]["clean"]
    assert float(by_part["headline", "accuracy, clean"]["value"]) == clean["value"]
    assert float(by_part["stratum", "organ=lung"]["num_items"]) == 30
    assert by_part["reference, A paper, Table 3", "Model X"]["note"] == "not comparable: it has other rows"
    assert by_part["model minus baseline", "chance"]["verdict"] == "win"
    assert len(made) == len(list(rows(summary)))


def test_the_latex_table_holds_the_headlines_and_escapes_texts(folders):
    summary = summary_of(folders[0])
    summary["benchmarks"][0]["title"] = r"50 % of A_B & \input{x}"
    table = as_latex(summary)
    assert r"50 \% of A\_B \& \textbackslash{}input\{x\}" in table
    (one,) = headlines(summary)
    assert f"{100 * one.score['value']:.1f} ({100 * one.score['low']:.1f}--" in table
    assert table.count("\\\\\n") == 2
    assert latex("a~b^c") == r"a\textasciitilde{}b\textasciicircum{}c"


def test_a_score_that_blindness_earns_is_marked(folders):
    summary = summary_of(folders[0])
    assert summary["benchmarks"][0]["touches_blind"]
    assert r"$^\dagger$" in as_latex(summary).splitlines()[5]
    assert "its interval reaches the best blind baseline" in as_csv(summary)


def test_the_methods_say_how_numbers_were_made(folders):
    said = methods(summary_of(folders[1]), compare_folders(*folders))
    assert "Made-up chest images (120 items, card version 1)" in said
    assert "Student's t of the clustered standard error" in said  # 12 clusters are few
    assert "corrected over benchmarks after Holm" in said and "detectable with 80 % power" in said


def test_the_command_writes_page_and_export_and_refuses_what_is_none(folders, tmp_path, capsys):
    weak, strong = folders
    assert main([str(strong), "--against", str(weak), "--export", "csv"]) == 0
    assert (strong / "report.html").is_file() and (strong / "results.csv").is_file()
    assert main([str(strong), "--export", "latex"]) == 0 and (strong / "results.tex").is_file()
    assert main([str(strong), "--against", str(tmp_path)]) == 2
    assert "is no evaluation on benchmarks" in capsys.readouterr().err
    assert main([str(tmp_path), "--export", "csv"]) == 2
    assert "--against and --export are for evaluations" in capsys.readouterr().err


def test_a_curve_has_a_page_with_each_model_linked_and_its_change(folders, tmp_path, capsys):
    """Two steps of a run: a chart over steps, a row each with a link into its own page, the change against the
    first."""
    for name, folder in zip(("step_000010", "step_000020"), folders, strict=True):
        shutil.copytree(folder, tmp_path / name)
    curve(tmp_path, ["step_000010", "step_000020"])
    assert main([str(tmp_path)]) == 0
    page = Page((tmp_path / "report.html").read_text())
    addresses = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert addresses == [f"step_0000{n}0/report.html#b-made_up" for n in (1, 2)]
    assert "win" in page.words and "Made-up chest images" in page.words and "No changes" not in page.words
    assert [tag for tag, _ in page.tags].count("svg") == 1
    summary = json.loads((tmp_path / "step_000020/summary.json").read_text())
    (tmp_path / "step_000020/summary.json").write_text(json.dumps({**summary, "parser": "another"}))
    assert main([str(tmp_path)]) == 0
    assert "read by the rules another" in (tmp_path / "report.html").read_text()
    (tmp_path / "curve.json").write_text("{")
    assert main([str(tmp_path)]) == 2 and "curve.json cannot be read" in capsys.readouterr().err


def test_a_card_of_reports_alone_has_a_page_with_its_constant_and_what_is_not_computed(tmp_path):
    """As rl.evaluate writes it, without a Python for the metrics of models: IU-Xray's card on three reports."""
    studies = [{"id": f"CXR{n}", "report": f"the heart is normal in study {n}"} for n in range(3)]
    (tmp_path / "annotation.json").write_text(json.dumps({"test": studies}))
    card = dataclasses.replace(
        find(["iu_xray"])[0], expect=Expect(), needs_media=False, forms=(Form({"id": "id", "findings": "report"}),)
    )
    folder = answer(tmp_path / "model", load(card, str(tmp_path)), "model", 0.5, 1)
    page = Page(write_evaluation_report(folder, folder).read_text())
    for said in (
        "constant report",
        "rouge_l as in medevalkit",
        "not computed",
        "Fleming-VL, Table 4",
        "r2gen",
        "Flips",
    ):
        assert said in page.words, said
    assert as_csv(summary_of(folder)) and r"rouge\_l" in as_latex(summary_of(folder))


def test_published_tables_stand_beside_the_model_with_what_is_blind(folders):
    """The card prints 61.5 for Model X; the weak model's best blind baseline earns less."""
    page = Page(write_evaluation_report(folders[0]).read_text())
    assert "Beside published tables" in page.words and "0 of 1" in page.words and "A paper, Table 3" in page.words


def test_a_summary_that_cannot_be_read_is_told(folders, tmp_path, capsys):
    weak, _ = folders
    kept = (weak / "summary.json").read_text()
    (weak / "summary.json").write_text("{")
    assert main([str(weak)]) == 2
    assert "--from-rows" in capsys.readouterr().err
    (weak / "summary.json").write_text('{"benchmarks": 1}')
    with pytest.raises(DamagedStore, match="of no evaluation"):
        summary_of(weak)
    (weak / "summary.json").write_text(kept)
    assert sum_up(weak)["benchmarks"][0]["clean"]["num_items"] == 120


def test_a_runs_report_links_to_the_pages_of_its_evaluations(folders, tmp_path):
    for name, folder in zip(("SFT", "GRPO"), folders, strict=True):
        shutil.copytree(folder, tmp_path / "run/evaluations" / name)
    (tmp_path / "run/evaluations/step_000010").mkdir()
    (tmp_path / "run/evaluations/step_000010/summary.json").write_text("{")
    page = Page(write_report(tmp_path / "run").read_text())
    addresses = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert addresses == ["evaluations/SFT/report.html", "evaluations/GRPO/report.html"]
    assert all((tmp_path / "run" / address).is_file() for address in addresses)
    assert "Flips" in (tmp_path / "run/evaluations/GRPO/report.html").read_text()
    assert "The evaluation step_000010 is not shown" in page.words
