"""Rows that are not made of plain columns, each turned into one that is; a card names the function (`function: mmmu`).

Each takes the row as the file has it and gives columns with the names of roles (`rl.benchmarks.card.ROLES`), beside
those that were there. Raises BadSample.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from rollouts.records import BadSample
from rollouts.texts.reading import quote

Row = Mapping[str, Any]
# "...?\nAnswer Choices: (A) one (B) two": the options as the question repeats them.
_TAIL = re.compile(r"\s*\n?Answer Choices:\s*(?=\(A\) )", re.IGNORECASE)
_MARK = re.compile(r"<image (\d)>")
_MMMU_IMAGES = tuple(f"image_{number}" for number in range(1, 8))


def tail_options(row: Row) -> dict[str, Any]:
    """MedXpertQA's form: the question repeats its options behind "Answer Choices:", which must go before options are
    shown or shuffled. Without a column of options (MedQA, MedMCQA, MMLU of the same authors) they are read from
    there."""
    question = str(row.get("question") or "")
    cut = list(_TAIL.finditer(question))
    if not cut:
        raise BadSample("the question has no 'Answer Choices: (A) ..' behind it")
    stem, tail = question[: cut[-1].start()], question[cut[-1].end() :]
    options = row.get("options") or _lettered(tail)
    return {**row, "question": stem, "options": options, "letter": row.get("label")}


def _lettered(tail: str) -> list[str]:
    """The texts of "(A) one (B) two": each letter is looked for behind the one before."""
    texts: list[str] = []
    place, tail = 0, f"{tail} "  # the last option may be empty
    for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        mark = f"({letter}) " if not texts else f" ({letter}) "
        at = tail.find(mark, place)
        if at < 0:
            break
        if texts:
            texts[-1] = tail[place:at].strip()
        place = at + len(mark)
        texts.append(tail[place:].strip())
    return texts


def pubmedqa(row: Row) -> dict[str, Any]:
    """The abstract without its conclusion, then the question; yes, no and maybe are shown. Both the labelled file
    (QUESTION, CONTEXTS, final_decision) and the Hub's copy (question, context.contexts)."""
    context = row.get("CONTEXTS") or row.get("contexts") or row.get("context") or []
    if isinstance(context, Mapping):
        context = context.get("contexts") or []
    if not isinstance(context, (list, tuple)) or not all(isinstance(part, str) for part in context) or not len(context):
        raise BadSample(f"the abstract is {quote(context)}, expected a list of its parts")
    question = row.get("QUESTION") or row.get("question")
    answer = str(row.get("final_decision") or "").strip().lower()
    return {
        **row,
        "id": row.get("key") or row.get("pubid") or row.get("id"),
        "question": "\n".join([*(part.strip() for part in context), "", str(question or "")]).strip(),
        "options": ["yes", "no", "maybe"],
        "answer": answer,
    }


def mmmu(row: Row) -> dict[str, Any]:
    """Options are the text of a list; "<image 1>" stands in question and options, and images are shown before the
    question here, so it becomes words; several accepted answers are the text of a list, too."""
    options = _literal(row.get("options"))
    answer = _literal(row.get("answer")) if str(row.get("answer")).startswith("[") else row.get("answer")
    answers = answer if isinstance(answer, list) else [answer]
    plain = {
        **row,
        "question": _MARK.sub(r"(image \1)", str(row.get("question") or "")),
        "options": [_MARK.sub(r"image \1", str(one)) for one in options] if isinstance(options, list) else [],
        "images": [row[name] for name in _MMMU_IMAGES if row.get(name) is not None],
    }
    if plain["options"]:
        return {**plain, "letter": answers[0]}
    if len(answers) == 1 and re.fullmatch(r"[A-Z]", str(answers[0]).strip()):
        raise BadSample(f"an open question whose answer is the letter {answers[0]!r} of options that are not there")
    return {**plain, "answer": answers[0], "aliases": [str(one) for one in answers[1:]]}


def _literal(value: Any) -> Any:
    """The list that a text spells; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return list(value) if hasattr(value, "tolist") else value
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise BadSample(f"got {quote(value)}, expected the text of a list") from None


def healthbench(row: Row) -> dict[str, Any]:
    """A conversation and its criteria (HealthBench, arXiv:2505.08775). The last turn is the user's; those before it are
    written out with who says them."""
    turns = row.get("prompt")
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadSample(f"prompt is {quote(turns)}, expected a list of messages")
    said = [(str(turn.get("role")), str(turn.get("content"))) for turn in turns]
    if said[-1][0] != "user":
        raise BadSample(f"the last message is of {said[-1][0]!r}, expected user")
    text = said[0][1] if len(said) == 1 else "\n\n".join(f"{role.capitalize()}: {words}" for role, words in said)
    rubrics = row.get("rubrics")
    if not isinstance(rubrics, list) or not all(isinstance(one, Mapping) for one in rubrics):
        raise BadSample(f"rubrics is {quote(rubrics)}, expected a list of criteria")
    themes = [str(tag).removeprefix("theme:") for tag in row.get("example_tags") or [] if str(tag).startswith("theme:")]
    return {
        **row,
        "id": row.get("prompt_id"),
        "question": text,
        "rubric": [{"criterion": one.get("criterion"), "points": one.get("points")} for one in rubrics],
        "theme": ", ".join(themes),
    }


def lxmert_label(row: Row) -> dict[str, Any]:
    """PathVQA as its authors trained LXMERT on it: the question is `sent`, the answer the one name in `label`."""
    label = row.get("label")
    if not isinstance(label, Mapping) or len(label) != 1:
        raise BadSample(f"label is {quote(label)}, expected one answer")
    name = str(row.get("img_id") or "")
    image = name if "." in name[-5:] else f"{name}.jpg"
    return {
        **row,
        "id": row.get("question_id"),
        "question": row.get("sent"),
        "answer": next(iter(label)),
        "image": image,
    }


def findings_and_impression(row: Row) -> dict[str, Any]:
    """MedEvalKit's form of IU-Xray: both sections in columns of their own, each with a full stop that is no second
    one."""
    parts = [" ".join(str(row.get(name) or "").split()) for name in ("findings", "impression")]
    if not any(parts):
        raise BadSample("neither findings nor an impression")
    text = " ".join(part if part.endswith((".", "?", "!")) else f"{part}." for part in parts if part)
    return {**row, "answer": text, "findings": parts[0], "impression": parts[1]}


FUNCTIONS: dict[str, Callable[[Row], dict[str, Any]]] = {
    one.__name__: one for one in (tail_options, pubmedqa, mmmu, healthbench, lxmert_label, findings_and_impression)
}
