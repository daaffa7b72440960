"""PubMedQA's expert-labelled questions as the project's rows: `python -m examples.real_model.data --pubmedqa
ori_pqal.json --test test_ground_truth.json`.

Of the 1,000 questions the 500 of the official test are held out, the other 500 are trained on. The abstract is shown
without its conclusion, as the data set has it (CONTEXTS); the conclusion (LONG_ANSWER) is what the answer was read off,
so it is never in a question. It is the thought of supervised fine-tuning, of training rows only. Source: Jin et al.
2019, arXiv:1909.06146; MIT licence.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rollouts.terminal import Ending, accept_any_stdout, require

if __name__ == "__main__":
    require("python -m examples.real_model.data", "train")

from examples.real_model.prepare import HOME
from rollouts.prompt.processing import load_processor
from rollouts.texts.reading import TextFault, file_text, parse

DECISIONS = ("yes", "no", "maybe")
# Tokens of an abstract: its last whole sentences that fit; the results stand there. The median abstract has 323.
CONTEXT_TOKENS = 192
# Tokens of a thought: the conclusion's first whole sentences that fit. With tags and answer a response has 20 more.
THOUGHT_TOKENS = 48
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(\[\"'])")
# Counts the tokens of a text.
Counting = Callable[[str], int]


class BadData(ValueError):
    """A file that is not PubMedQA's. The text says what was got, what was expected and what to do."""


class Article(NamedTuple):
    """One question with its abstract."""

    pmid: str
    question: str
    # Heading and text of each section, the conclusion not among them.
    sections: tuple[tuple[str, str], ...]
    conclusion: str
    decision: str


def read_articles(path: Path) -> dict[str, Article]:
    """PMID -> article, of ori_pqal.json.

    Raises:
        BadData: the file is not there, no JSON, or an article is not as PubMedQA has it; the first such one is named.
    """
    articles = {}
    for pmid, raw in _object(path, "ori_pqal.json of PubMedQA").items():
        fault = _fault(raw)
        if fault:
            raise BadData(f"{path}: article {pmid[:20]!r} {fault}; expected ori_pqal.json as PubMedQA publishes it")
        sections = tuple(zip(raw["LABELS"], raw["CONTEXTS"], strict=True))
        shown = tuple(one for one in sections if not one[0].upper().startswith("CONCLUSION"))
        articles[pmid] = Article(pmid, raw["QUESTION"], shown, raw["LONG_ANSWER"], raw["final_decision"])
    return articles


def _fault(raw: Any) -> str:
    """What is wrong with an article; "" where nothing is."""
    names = {"QUESTION": str, "CONTEXTS": list, "LABELS": list, "LONG_ANSWER": str, "final_decision": str}
    if not isinstance(raw, Mapping):
        return f"is {type(raw).__name__}, expected an object"
    wrong = [name for name, kind in names.items() if not isinstance(raw.get(name), kind) or not raw[name]]
    if wrong:
        return f"has no {', '.join(wrong)}"
    if len(raw["CONTEXTS"]) != len(raw["LABELS"]):
        return f"has {len(raw['CONTEXTS'])} CONTEXTS and {len(raw['LABELS'])} LABELS"
    if raw["final_decision"] not in DECISIONS:
        return f"has the decision {raw['final_decision'][:40]!r}, expected one of {', '.join(DECISIONS)}"
    if any(raw["LONG_ANSWER"] in text for text in raw["CONTEXTS"]):
        return "shows its conclusion in its CONTEXTS"
    return ""


def read_test(path: Path, articles: Mapping[str, Article]) -> frozenset[str]:
    """PMIDs of the official test.

    Raises:
        BadData: the file is not there, no JSON, names an article that is not there or another answer than it has, or
            leaves nothing to train on.
    """
    answers = _object(path, "test_ground_truth.json of PubMedQA")
    absent = [pmid for pmid in answers if pmid not in articles]
    if absent:
        raise BadData(
            f"{path}: {len(absent)} of {len(answers)} articles are not in the data, the first is {absent[0][:20]!r};"
            " expected test_ground_truth.json beside the ori_pqal.json of the same release"
        )
    other = [pmid for pmid, answer in answers.items() if articles[pmid].decision != answer]
    if other:
        raise BadData(f"{path}: {len(other)} answers differ from the data's, the first is that of {other[0][:20]!r}")
    if not answers or len(answers) == len(articles):
        raise BadData(
            f"{path} names {len(answers)} of {len(articles)} articles; some must be tested and some trained on"
        )
    return frozenset(answers)


def _object(path: Path, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise BadData(f"there is no file {path}; expected {what} (github.com/pubmedqa/pubmedqa, folder data)")
    try:
        value = parse(file_text(path), whole_file=True)
    except TextFault as error:
        raise BadData(f"{path}: {error}; expected {what}") from error
    if not isinstance(value, dict) or not value:
        raise BadData(f"{path} holds a {type(value).__name__}, expected an object that names articles: {what}")
    return value


def shortened(sections: Sequence[tuple[str, str]], budget: int, count: Counting) -> str:
    """The abstract's last whole sentences of at most `budget` tokens together, each section behind its heading; "..."
    stands where something was left out. At least one sentence is kept, cut to the budget by words."""
    sentences = [(label, one) for label, text in sections for one in _SENTENCE_END.split(text.strip())]
    for first in range(len(sentences)):
        text = _joined(sentences[first:], whole=first == 0)
        if count(text) <= budget:
            return text
    label, words = sentences[-1][0], sentences[-1][1].split()
    while len(words) > 1 and count(_joined([(label, " ".join(words))], whole=False)) > budget:
        words = words[1:]
    return _joined([(label, " ".join(words))], whole=False)


def _joined(sentences: Sequence[tuple[str, str]], *, whole: bool) -> str:
    parts: list[str] = []
    heading = None
    for label, sentence in sentences:
        parts.append(sentence if label == heading else f"{label}: {sentence}")
        heading = label
    return " ".join(parts if whole else ["...", *parts])


def thought(conclusion: str, budget: int, count: Counting) -> str:
    """The conclusion's first whole sentences of at most `budget` tokens together; of a longer first one its first
    words, and "..."."""
    first, *others = _SENTENCE_END.split(conclusion.strip())
    if count(first) > budget:
        words = first.split()
        while len(words) > 1 and count(" ".join([*words, "..."])) > budget:
            words = words[:-1]
        return " ".join([*words, "..."])
    kept = first
    for sentence in others:
        if count(f"{kept} {sentence}") > budget:
            break
        kept = f"{kept} {sentence}"
    return kept


def rows(
    articles: Mapping[str, Article], test: frozenset[str], *, context_tokens: int, count: Counting
) -> Iterator[dict[str, Any]]:
    """One row an article, in the file's order. With `context_tokens` 0 the question alone is asked: what a model scores
    then, it scores without reading."""
    for article in articles.values():
        held_out = article.pmid in test
        context = shortened(article.sections, context_tokens, count) + "\n\n" if context_tokens else ""
        yield {
            "id": f"pubmedqa-{article.pmid}",
            "question": context + article.question,
            "options": list(DECISIONS),
            "answer": article.decision,
            "split": "eval" if held_out else "train",
            "source": "pubmedqa",
            **({} if held_out else {"think": thought(article.conclusion, THOUGHT_TOKENS, count)}),
        }


def write(path: Path, lines: Iterator[dict[str, Any]]) -> Counter[str]:
    """Write rows as JSON lines; returns how many there are of each split and answer ("train yes")."""
    kept = list(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
    return Counter(f"{line['split']} {line['answer']}" for line in kept)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pubmedqa", type=Path, required=True, help="ori_pqal.json")
    parser.add_argument("--test", type=Path, required=True, help="test_ground_truth.json")
    parser.add_argument("--out", type=Path, default=HOME, help="the folder to write into (%(default)s)")
    parser.add_argument("--model", type=Path, default=HOME / "smollm2_135m", help="whose tokens count (%(default)s)")
    parser.add_argument("--context-tokens", type=int, default=CONTEXT_TOKENS, help="of an abstract (%(default)s)")
    arguments = parser.parse_args(argv)
    with Ending("python -m examples.real_model.data", BadData, OSError) as ending:
        if arguments.context_tokens < 1:
            raise BadData(f"--context-tokens is {arguments.context_tokens}, expected at least 1")
        articles = read_articles(arguments.pubmedqa)
        test = read_test(arguments.test, articles)
        tokenizer = load_processor(arguments.model.resolve()).tokenizer

        def count(text: str) -> int:
            return len(tokenizer(text, add_special_tokens=False)["input_ids"])

        for name, budget in (("pubmedqa.jsonl", arguments.context_tokens), ("question_only.jsonl", 0)):
            counts = write(arguments.out / name, rows(articles, test, context_tokens=budget, count=count))
            summary = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
            print(f"{arguments.out / name}: {summary}")
    return ending.code


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
