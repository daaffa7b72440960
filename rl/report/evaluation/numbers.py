"""The numbers of an evaluation as rows: of headlines for the forest plot, and of everything for CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rl.evaluate.suite.numbers.published import reasons
from rl.evaluate.suite.table import NAMES, title_of

Estimate = Mapping[str, Any]


class Headline(NamedTuple):
    """One benchmark's number, on the scale of its metric divided by `scale`."""

    name: str
    title: str
    metric: str
    # What 1 on the axis is: 1 for shares, 10 for CIDEr.
    scale: float
    score: Estimate
    # Baseline or blind probe -> its estimate.
    blind: Mapping[str, Estimate]
    best: Mapping[str, Any] | None
    touches: bool


def scale_of(metric: str) -> float:
    """The top of a metric's scale."""
    return 10.0 if metric.startswith("cider") else 1.0


def headlines(summary: Mapping[str, Any]) -> list[Headline]:
    """Those of every benchmark that has a number, closed part before reports."""
    result = []
    for one in summary["benchmarks"]:
        if one.get("clean"):
            result.append(_headline(one, one, one["headline"], one["clean"]))
        if part := one.get("reports"):
            result.append(_headline(one, part, part["headline"], part["score"]))
    return result


def _headline(one: Mapping[str, Any], part: Mapping[str, Any], metric: str, score: Estimate) -> Headline:
    blind = {NAMES.get(name, name): made["score"] for name, made in (part.get("baselines") or {}).items()}
    for name in ("blank", "swapped", "text_only"):
        if name in (part.get("probes") or {}):
            blind[f"image {name}" if name != "text_only" else "text only"] = part["probes"][name]["score"]
    known = {name: made for name, made in blind.items() if made["value"] is not None}
    return Headline(
        one["name"], one["title"], metric, scale_of(metric), score, known, part.get("best_blind"),
        bool(part.get("touches_blind")),
    )  # fmt: skip


COLUMNS = (
    *("model", "benchmark", "version", "part", "name", "value", "low", "high", "se", "deff", "num_items"),
    *("num_clusters", "num_unscored", "p_value", "verdict", "signature", "method", "note"),
)


def rows(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number of an evaluation, a row each, in COLUMNS; shares are 0 to 1."""
    for one in summary["benchmarks"]:
        about = {"model": summary.get("model", ""), "benchmark": one["name"], "version": one["version"]}
        for row in _of_benchmark(one):
            yield {**about, **row}
    if macro := summary.get("macro"):
        yield {"model": summary.get("model", ""), "benchmark": "macro mean", "part": "headline", **_flat(macro)}


def _of_benchmark(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("clean", "official"):
        if one.get(name):
            note = _blind_note(one) if name == "clean" else ""
            yield {"part": "headline", "name": f"{one['headline']}, {name}", **_flat(one[name]), "note": note}
    if part := one.get("reports"):
        yield {"part": "headline", "name": part["headline"], **_flat(part["score"]), "note": _blind_note(part)}
    for part in (one, one.get("reports") or {}):
        yield from _of_part(part)
    for stratum, values in (one.get("strata") or {}).items():
        for value, estimate in values.items():
            yield {"part": "stratum", "name": f"{stratum}={value}", **_flat(estimate)}
    groups = one.get("groups") or {}
    of_groups = {name: groups[name] for name in ("all_right", "confused") if groups.get(name)}
    for part_name, estimates in (("groups", of_groups), ("sampled", one.get("sampled") or {})):
        yield from ({"part": part_name, "name": name, **_flat(estimate)} for name, estimate in estimates.items())
    for grader, metric, made in foreign(one):
        note = f"a constant report: {made['constant']:.4f}" if "constant" in made else ""
        yield {"part": f"as in {grader}", "name": metric, **_flat(made), "note": note}
    for reference in one.get("references") or ():
        for model, value in reference["values"].items():
            note = "comparable" if reference["comparable"] else f"not comparable: {reference['why']}"
            yield {"part": f"reference, {reference['source']}", "name": model, "value": value, "note": note}


def foreign(one: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Grader, metric and value of the same answers as other projects grade them."""
    grades = [(grader, "accuracy", made) for grader, made in (one.get("as_in") or {}).items()]
    written = (one.get("reports") or {}).get("as_in") or {}
    none = {"low": None, "high": None}
    return [*grades, *((grader, name, {**none, **made}) for grader, of in written.items() for name, made in of.items())]


class Table(NamedTuple):
    """A published table's columns of one benchmark."""

    source: str
    # Fields of `numbers.published.published`, one a column.
    columns: Sequence[Mapping[str, Any]]
    # Model -> its number in each column, and whether it is not above what blindness earns there; best first.
    models: Mapping[str, Sequence[tuple[float | None, bool]]]
    # Why columns may not be compared -> their metrics.
    why: Mapping[str, Sequence[str]]


def tables(one: Mapping[str, Any]) -> list[Table]:
    """The published tables beside one benchmark."""
    values = {(ref["source"], ref["metric"]): ref["values"] for ref in one.get("references") or ()}
    beside = one.get("published") or ()
    result = []
    for title in dict.fromkeys(title_of(row["source"]) for row in beside):
        columns = [row for row in beside if title_of(row["source"]) == title]
        of = [values[row["source"], row["metric"]] for row in columns]
        models = {
            model: [
                (there.get(model), _is_blind(there.get(model), row)) for row, there in zip(columns, of, strict=True)
            ]
            for model in sorted(dict.fromkeys(name for there in of for name in there), key=lambda m: -of[0].get(m, 0.0))
        }
        result.append(Table(title, columns, models, reasons(columns)))
    return result


def _is_blind(value: float | None, column: Mapping[str, Any]) -> bool:
    return value is not None and column["blind"] is not None and value <= round(100 * column["blind"], 1)


def _blind_note(part: Mapping[str, Any]) -> str:
    return "its interval reaches the best blind baseline" if part.get("touches_blind") else ""


def _of_part(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Metrics, baselines and probes of the closed items of a benchmark, or of its reports."""
    for name, metric in (part.get("metrics") or {}).items():
        yield {"part": "metric", "name": name, **_flat(metric), "note": metric.get("not_computed", "")}
    for name, blind in (part.get("baselines") or {}).items():
        yield {"part": "baseline", "name": name, **_flat(blind["score"]), "note": blind["what"]}
        yield {"part": "model minus baseline", "name": name, **_flat(blind["difference"])}
    for name, probe in (part.get("probes") or {}).items():
        yield {"part": "probe", "name": name, **_flat(probe["score"])}
        yield {"part": "probe minus plain", "name": name, **_flat(probe["difference"])}
        if probe.get("retained"):
            yield {"part": "probe retained", "name": name, **_flat(probe["retained"])}


def _flat(estimate: Estimate) -> dict[str, Any]:
    return {name: estimate[name] for name in COLUMNS if estimate.get(name) is not None}


# A spreadsheet takes a cell that begins so for a formula; numbers of ours are written by us.
_FORMULA = re.compile(r"^[=+\-@\t\r]")


def as_csv(summary: Mapping[str, Any]) -> str:
    """Every number as CSV with a head; a text that a spreadsheet would run as a formula has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows(summary):
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        text = " ".join(value.split())
        return f"'{text}" if _FORMULA.match(text) else text
    return value


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def latex(text: str) -> str:
    """A text as LaTeX prints it."""
    return "".join(_LATEX.get(char, char) for char in " ".join(text.split()))


def as_latex(summary: Mapping[str, Any]) -> str:
    """The headlines as a table of booktabs: score with its interval beside the best blind baseline, in per cent. A
    score that blindness may have earned is marked with a dagger."""
    lines = [
        r"% \usepackage{booktabs}", r"\begin{tabular}{lrrrl}", r"\toprule",
        r"Benchmark & $n$ & Clusters & Score (95\,\% CI) & Best blind baseline \\", r"\midrule",
    ]  # fmt: skip
    for one in headlines(summary):
        score, metric = one.score, "" if one.metric == "accuracy" else f", {one.metric}"
        best = (
            "--"
            if one.best is None
            else f"{NAMES.get(one.best['name'], one.best['name'])} {_percent(one, one.best['value'])}"
        )
        mark = r"$^\dagger$" if one.touches else ""
        cells = (
            latex(one.title + metric), f"{score['num_items']:,}", f"{score['num_clusters']:,}",
            f"{with_interval(one, score)}{mark}", latex(best),
        )  # fmt: skip
        lines.append(" & ".join(cells) + r" \\")
    if macro := summary.get("macro"):
        value = f"{100 * macro['value']:.1f} ({100 * macro['low']:.1f}--{100 * macro['high']:.1f})"
        lines += [r"\midrule", rf"Macro mean & & & {value} & \\"]
    note = (
        r"% $^\dagger$: the interval reaches the best blind baseline; the score does not show that anything was seen."
    )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", note, ""])


def with_interval(one: Headline, score: Estimate) -> str:
    """ "71.2 (68.0--74.1)" in hundredths of the scale."""
    if score["value"] is None:
        return "not scored"
    if score["low"] is None:
        return _percent(one, score["value"])
    return f"{_percent(one, score['value'])} ({_percent(one, score['low'])}--{_percent(one, score['high'])})"


def _percent(one: Headline, value: float) -> str:
    return f"{100 * value:.1f}"


def methods(summary: Mapping[str, Any], compared: Sequence[Any] = ()) -> str:
    """A paragraph on how the numbers were made, to be pasted into a paper."""
    records = summary["benchmarks"]
    names = ", ".join(f"{one['title']} ({one['num_asked']:,} items, card version {one['version']})" for one in records)
    scored = [one["clean"] or one["reports"]["score"] for one in records if one.get("clean") or one.get("reports")]
    how = sorted({_kind(one["method"]) for one in scored})
    signed = sorted({m["signature"] for one in records for m in _metrics(one).values() if m.get("signature")})
    parts = [
        f"We evaluated {summary.get('model', 'the model')} on {names}. Each item was asked once with greedy decoding;"
        " answers were read by the same parser and scored by the same rules as in training"
        f" (parser {summary.get('parser', 'unknown')}; {summary.get('judge') or 'no judge'}).",
        "Items whose reference answer is in doubt are left out of the score and counted; the official score counts"
        " every row as the authors of the set do. Items without a verdict leave the mean and are reported.",
        "All intervals are 95 % intervals over clusters (items that share an image, video, patient or article):"
        f" {'; '.join(how)}. Differences between models are paired by item, with a bootstrap of whole clusters (2,000"
        " draws) and p values of sign flips of the clusters' sums (McNemar's mid-p where every cluster is one item),"
        " corrected over benchmarks after Holm. A difference is a win or a loss where its interval excludes 0.",
        "Beside each score stand the answers that can be given without looking: "
        + ", ".join(sorted({name for one in headlines(summary) for name in one.blind}) or ["none was computed"])
        + ". A score whose interval reaches the best of them is marked.",
    ]
    if signed:
        parts.append("Report metrics: " + "; ".join(signed) + ".")
    if compared:
        detect = [one.difference.detectable for one in compared if one.difference and one.difference.detectable]
        if detect:
            ends = " to ".join(dict.fromkeys(f"{100 * end:.1f}" for end in (min(detect), max(detect))))
            parts.append(f"The smallest differences detectable with 80 % power are {ends} points.")
    return " ".join(parts)


def _metrics(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(one.get("metrics") or {}), **((one.get("reports") or {}).get("metrics") or {})}


def _kind(method: str) -> str:
    """The family of a method, without the numbers of one set."""
    if method.startswith("Wilson on"):
        return "Wilson's interval on the effective number of rows"
    return "Student's t of the clustered standard error" if method.startswith("Student") else method
