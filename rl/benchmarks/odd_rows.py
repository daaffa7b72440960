"""Rows that are not made of plain columns, each turned into one that is; a card names the function (`function: mmmu`).

Each takes the row as the file has it and gives columns with the names of roles (`rl.benchmarks.card.ROLES`), beside
those that were there; or a list of such rows, where one of the file asks several questions, or none that is meant. A
row of a file has its name without ending as the column "file". Raises BadSample.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollouts.records import LETTERS, BadSample
from rollouts.texts.reading import quote

Row = Mapping[str, Any]
Made = dict[str, Any] | list[dict[str, Any]]
# "...?\nAnswer Choices: (A) one (B) two": the options as the question repeats them.
_TAIL = re.compile(r"\s*\n?Answer Choices:\s*(?=\(A\) )", re.IGNORECASE)
_MARK = re.compile(r"<image (\d)>")
_MMMU_IMAGES = tuple(f"image_{number}" for number in range(1, 8))
# "validation_Basic_Medical_Science_3": split, subject and number, which MMMU has in no column of their own.
_MMMU_ID = re.compile(r"(?:dev|validation|test)_(\w+?)_\d+")
MMMU_MEDICAL = ("Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
                "Public_Health")  # fmt: skip
# The letter of an answer in its tag (Med-R1).
_R1_ANSWER = re.compile(r"\s*<answer>\s*\(?([A-Za-z])\)?[.)]?\s*</answer>\s*")


def tail_options(row: Row) -> dict[str, Any]:
    """MedXpertQA's form: the question repeats its options behind "Answer Choices:", which must go before options are
    shown or shuffled. Without a column of options (MedQA, MedMCQA, MMLU of the same authors) they are read from
    there."""
    question = str(row.get("question") or "")
    cut = list(_TAIL.finditer(question))
    if not cut:
        raise BadSample("the question has no 'Answer Choices: (A) ..' behind it")
    stem, tail = question[: cut[-1].start()], question[cut[-1].end() :]
    options = row.get("options") or lettered(tail)
    return {**row, "question": stem, "options": options, "letter": row.get("label")}


def lettered(tail: str) -> list[str]:
    """The texts of "(A) one (B) two": each letter is looked for behind the one before; none where there is no (A)."""
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


def mmmu(row: Row) -> Made:
    """Options are the text of a list; "<image 1>" stands in question and options, and images are shown before the
    question here, so it becomes words; several accepted answers are the text of a list, too. The subject stands in the
    id; a row of another than the medical ones is not meant."""
    named = _MMMU_ID.fullmatch(str(row.get("id") or ""))
    if named and named[1] not in MMMU_MEDICAL:
        return []
    row = {"subject": named[1], **row} if named else row
    options = literal(row.get("options"))
    answer = literal(row.get("answer")) if str(row.get("answer")).startswith("[") else row.get("answer")
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


def literal(value: Any) -> Any:
    """The list that a text spells; any other value as it is. Raises BadSample."""
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
    pairs = [(str(turn.get("role")), str(turn.get("content"))) for turn in turns]
    if pairs[-1][0] != "user":
        raise BadSample(f"the last message is of {pairs[-1][0]!r}, expected user")
    text = pairs[0][1] if len(pairs) == 1 else "\n\n".join(f"{role.capitalize()}: {words}" for role, words in pairs)
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


def lxmert_label(row: Row) -> Made:
    """PathVQA as its authors trained LXMERT on it: one question a row (`sent`, `label`), or one image a row with all
    its questions (`sentf.pvqa`) and as many answers (`labelf.pvqa`); an answer is the one name of its object."""
    name = str(row.get("img_id") or "")
    image = name if "." in name[-5:] else f"{name}.jpg"
    if "sentf" not in row:
        answer = _one_name(row.get("label"))
        return {**row, "id": row.get("question_id"), "question": row.get("sent"), "answer": answer, "image": image}
    questions, labels = (_of_pathvqa(row, column) for column in ("sentf", "labelf"))
    if len(questions) != len(labels):
        raise BadSample(f"image {quote(name)} has {len(questions)} questions and {len(labels)} answers")
    return [
        {"id": f"{name}-{number}", "question": question, "answer": _one_name(label), "image": image}
        for number, (question, label) in enumerate(zip(questions, labels, strict=True), start=1)
    ]


def _of_pathvqa(row: Row, column: str) -> Sequence[Any]:
    value = row.get(column)
    entries = value.get("pvqa") if isinstance(value, Mapping) else value
    if not isinstance(entries, (list, tuple)):
        raise BadSample(f"{column} is {quote(value)}, expected a list under 'pvqa'")
    return entries


def _one_name(label: Any) -> str:
    if not isinstance(label, Mapping) or len(label) != 1:
        raise BadSample(f"label is {quote(label)}, expected one answer")
    return str(next(iter(label)))


def findings_and_impression(row: Row) -> Made:
    """MedEvalKit's form of IU-Xray: both sections in columns of their own. The reference is "Findings: F Impression:
    I.", which is asked for, with one full stop at its end."""
    parts = [" ".join(str(row.get(name) or "").split()) for name in ("findings", "impression")]
    if not any(parts):
        raise BadSample("neither findings nor an impression")
    question = 'Write the report of this study in the form "Findings: .. Impression: ..".'
    return {
        **row,
        "question": question,
        "answer": two_sections(*parts),
        "findings": parts[0],
        "impression": parts[1],
    }


def two_sections(findings: str, impression: str) -> str:
    """A report of two sections in one line, as MedEvalKit writes it, with one full stop at its end."""
    text = f"Findings: {findings} Impression: {impression}".strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."


def options_in_problem(row: Row) -> Made:
    """OmniMedVQA as Med-R1 passes it around: the options stand behind the question ("..? A)CT, B)MRI"), the answer's
    letter in its tag, and the modality in the file's name ("X-Ray_test.json")."""
    stem, options = _behind(str(row.get("problem") or ""))
    answer = _R1_ANSWER.fullmatch(str(row.get("solution") or ""))
    if answer is None:
        raise BadSample(f"solution is {quote(row.get('solution'))}, expected <answer> A </answer>")
    modality = re.sub(r"_(test|train)$", "", str(row.get("file") or ""))
    return {**row, "question": stem, "options": options, "letter": answer[1].upper(), "modality": modality}


def _behind(problem: str) -> tuple[str, list[str]]:
    """A question and the options behind it: each letter is looked for behind the one before."""
    start = problem.find(" A)")
    if start < 0:
        raise BadSample(f"problem is {quote(problem)}, expected a question with its options A).. B).. behind it")
    texts: list[str] = []
    place = start + len(" A)")
    for letter in (*LETTERS[1:], ""):
        at = problem.find(f", {letter})", place) if letter else -1
        texts.append(problem[place : at if at >= 0 else None].strip())
        if at < 0:
            break
        place = at + len(f", {letter})")
    return problem[:start].strip(), texts


def lettered_columns(row: Row) -> Made:
    """VLMEvalKit's form: index, question, options in the columns A, B, .. as far as there are any, the letter or the
    text of the answer, and the images in base64, one or the text of a list of them."""
    letters = [letter for letter in LETTERS if letter in row]
    texts = [_MARK.sub(r"image \1", str(row[one])) if _has_text(row[one]) else None for one in letters]
    while texts and texts[-1] is None:
        texts.pop()
    held = row.get("image") or row.get("image_path")
    images = literal(held) if isinstance(held, str) and held.startswith("['") else held
    hint = f"{row['hint']}\n" if _has_text(row.get("hint")) else ""
    question = _MARK.sub(r"(image \1)", hint + str(row.get("question") or ""))
    made = {**row, "id": row.get("index"), "question": question, "images": images, "image": None}
    return {**made, "options": texts, "letter": row.get("answer")} if texts else {**made, "options": None}


def _has_text(cell: Any) -> bool:
    """Whether a cell of a table holds a text; pandas writes an empty one as nan."""
    return cell is not None and cell == cell and str(cell).strip().lower() not in ("", "nan")


def mediconfusion(row: Row) -> Made:
    """MediConfusion: one question about two images that look alike, each with another right option. Both are asked, as
    one pair. The captions hold the answers and are not taken along."""
    name = str(row.get("key") or row.get("id") or "")
    if not name:
        raise BadSample("the pair has no id")
    pair = []
    for number in ("1", "2"):
        local = row.get(f"im_{number}_local")
        pair.append({
            "id": f"{name}-{number}", "pair": name, "question": row.get("question"),
            "options": [row.get("option_A"), row.get("option_B")], "letter": row.get(f"im_{number}_correct"),
            "image": f"{_whole(local)}.jpg" if _has_text(local) else row.get(f"im_{number}"),
            "category": row.get(f"category_{number}"),
        })  # fmt: skip
    if pair[0]["letter"] == pair[1]["letter"]:
        raise BadSample(f"both images of the pair have the right option {quote(pair[0]['letter'])}, expected two")
    return pair


def _whole(number: Any) -> str:
    """A number as programs name files by it: "20192", not "20192.0"."""
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number).removesuffix(".0")


# What each kind of question of ProbMed is asked about; "entity_gt_2" and "entity_hallu_2" are of the second entity.
_PROBED = ("modality", "body_part", "abnormality", "entity", "grounding")


def probmed(row: Row) -> Made:
    """ProbMed: yes/no questions about an image, each with an adversarial one beside it. All questions about one image
    in one dimension (its modality, its entities ..) are a group, and right only together."""
    kind, image_id = str(row.get("qa_type") or ""), str(row.get("id") or row.get("image") or "")
    dimension = next((one for one in _PROBED if kind.startswith(one)), "")
    if not dimension or not image_id:
        raise BadSample(f"qa_type is {quote(kind)} of image {quote(image_id)}, expected one of {', '.join(_PROBED)}")
    answer = str(row.get("answer") or row.get("gt_ans") or "").strip()
    return {
        **row, "id": f"{image_id}-{kind}", "pair": f"{image_id} {dimension}", "answer": answer, "dimension": dimension,
        "modality": str(row.get("image_type") or "").replace("_", " "),
    }  # fmt: skip


FUNCTIONS: dict[str, Callable[[Row], Made]] = {
    one.__name__: one
    for one in (
        tail_options, pubmedqa, mmmu, healthbench, lxmert_label, findings_and_impression, options_in_problem,
        lettered_columns, mediconfusion, probmed,
    )
}  # fmt: skip
