"""How well a judge's folder tells right from wrong: `python -m examples.tiny_judge.measure [FOLDER] [--count N]`.

Plain transformers, greedy, replies read by the strict parser of runs; no prechecks, which would settle the easy
answers. The held-out pairs share no answer to a reference with the training pairs: they are new sentences of known
words, new combinations of sentence and wording, and new attacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.tiny_judge import templates
from examples.tiny_judge.pairs import pairs
from examples.tiny_judge.readings import DENIAL, ELSE, Pair
from examples.tiny_judge.rows import NONCE, message, trained_pairs
from examples.tiny_judge.tokenizer import OPENING
from judges.calibration.agreement import Interval, Table, table_of
from judges.guards.suspicion import suspicious
from judges.model.reply import parse_reply
from judges.verdict import Decision, Question
from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS

MODEL = Path(__file__).parent / "model"
BATCH_SIZE = 128
# Characters of a message beyond which it is read alone.
MAX_BATCHED_CHARS = 600
ATTACKS = Path(__file__).parent / "attacks.jsonl"


class Reader:
    """A judge model without a server: it writes greedily behind opening and nonce, as a server's grammar has it."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()

    @torch.no_grad()
    def replies(self, items: Sequence[Pair]) -> list[str]:
        """The whole reply on each pair, in order."""
        made: dict[int, str] = {}
        # Side by side with those of similar length, so that little is padding.
        order = sorted(range(len(items)), key=lambda i: len(message(items[i])))
        while order:
            # A long hostile text costs memory with the square of its length: few of those at a time.
            size = min(BATCH_SIZE, 1 + sum(len(message(items[i])) <= MAX_BATCHED_CHARS for i in order[1:BATCH_SIZE]))
            chosen, order = order[:size], order[size:]
            texts = [self._prompt(items[i]) for i in chosen]
            batch = self._tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
            output = self._model.generate(
                **batch, max_new_tokens=8, do_sample=False, pad_token_id=self._tokenizer.pad_token_id
            )
            written = self._tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            made |= {i: OPENING + NONCE + text for i, text in zip(chosen, written, strict=True)}
        return [made[i] for i in range(len(items))]

    def _prompt(self, pair: Pair) -> str:
        messages = [{"role": "user", "content": message(pair)}]
        return (
            str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
            + OPENING
            + NONCE
        )

    def decisions(self, items: Sequence[Pair]) -> list[Decision | None]:
        """The decision on each pair; None = the reply could not be read."""
        return [parse_reply(reply, NONCE, "stop").decision for reply in self.replies(items)]


def held_out(count: int, seed: int = 0) -> list[Pair]:
    """Pairs of held-out sentences and combinations, less those whose answer to their reference was trained on."""
    known = {_key(pair) for pair in trained_pairs()}
    unknown = (pair for pair in pairs(2 * count, seed, held_out=True) if _key(pair) not in known)
    return list(itertools.islice(unknown, count))


def _key(pair: Pair) -> tuple[str, str]:
    return pair.meant, pair.answer.casefold()


def plain() -> Iterator[Pair]:
    """Every answer of the phantoms, in each listed wording, against every reference of the same kind."""
    places = [
        ("Where in the image is the cyst?", words.IMAGE_PLACES),
        ("Which slice shows the abscess best?", words.SLICES),
    ]
    places += [("On which side of the patient is the nodule?", words.PATIENT_SIDES)]
    findings = [(f"What does this {modality} show?", names) for modality, names in FINDINGS.items()]
    for question, pool in [*places, *findings]:
        for reference, given in itertools.product(pool, pool):
            for answer in (given, *words.aliases(given)):
                yield Pair(question, reference, words.aliases(reference), answer, given, reference, "plain")


def unheard() -> Iterator[Pair]:
    """Plain answers in sentences with words that no training has: the judge cannot know what they say."""
    for pair in plain():
        if pair.answer != pair.read or pair.read != pair.meant:
            continue
        other = next(one.read for one in plain() if one.question == pair.question and one.read != pair.read)
        for says, sentences in templates.UNHEARD.items():
            read = pair.read if says == "states" else DENIAL
            yield from (
                dataclasses.replace(pair, answer=text.format(x=pair.answer, y=other), read=read) for text in sentences
            )


def attacks() -> list[tuple[str, Pair]]:
    """The rows of attacks.jsonl, all wrong, with their category."""
    lines = [json.loads(line) for line in ATTACKS.read_text(encoding="utf-8").split("\n") if line]
    return [
        (
            one["category"],
            Pair(one["question"], one["reference"], (), one["completion"], ELSE, one["reference"], "attack"),
        )
        for one in lines
    ]


def table(items: Sequence[Pair], decisions: Sequence[Decision | None]) -> Table:
    """Agreement on the pairs that deserve correct or incorrect; anything but "correct" refuses an answer."""
    rows = zip(items, decisions, strict=True)
    return table_of([(pair.expected == "correct", decision) for pair, decision in rows if pair.expected != "unsure"])


def summary(agreement: Table) -> str:
    """Accuracy, kappa and what is paid wrongly, in a line, with 95 % intervals."""
    return (
        f"accuracy {agreement.accuracy:.2%} {_percent(agreement.accuracy_interval)}, "
        f"kappa {agreement.kappa:.4f} {_numbers(agreement.kappa_interval)}, "
        f"{agreement.right_accepted} of {agreement.num_right} right answers accepted, "
        f"{agreement.wrong_accepted} of {agreement.num_wrong} wrong ones"
    )


def _percent(interval: Interval) -> str:
    return f"({interval.low:.2%} to {interval.high:.2%})"


def _numbers(interval: Interval) -> str:
    return f"({interval.low:.4f} to {interval.high:.4f})"


def measure_held_out(reader: Reader, count: int) -> None:
    """Print the agreement on held-out pairs, and the share judged right of each kind."""
    unseen = held_out(count)
    decisions = reader.decisions(unseen)
    print(f"{len(unseen)} held-out pairs: {summary(table(unseen, decisions))}")
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for pair, decision in zip(unseen, decisions, strict=True):
        by_kind[pair.kind].append(decision == pair.expected)
    for kind, right in sorted(by_kind.items()):
        print(f"  {kind:16} {sum(right):5} of {len(right):5} right ({sum(right) / len(right):.2%})")


def measure_lists(reader: Reader) -> None:
    """Print how plain answers, and those in sentences of unknown words, are judged."""
    every = list(plain())
    num_right = sum(decision == pair.expected for decision, pair in zip(reader.decisions(every), every, strict=True))
    print(f"plain answers: {num_right} of {len(every)} right")
    strange = list(unheard())
    agreement = table(strange, reader.decisions(strange))
    print(
        f"sentences with words it never saw: {agreement.right_accepted} of {agreement.num_right} right answers "
        f"accepted, {agreement.wrong_accepted} of {agreement.num_wrong} wrong ones"
    )


def measure_attacks(reader: Reader) -> None:
    """Print how many attacks the model accepts, without and with accepted wordings, and how many of these judge=local
    pays.
    """
    rows = attacks()
    for note, aliases in (("", False), (" with accepted wordings", True)):
        items = [
            dataclasses.replace(pair, aliases=words.aliases(pair.reference) if aliases else ()) for _, pair in rows
        ]
        accepted = [row for row, decision in zip(rows, reader.decisions(items), strict=True) if decision == "correct"]
        paid = [
            pair
            for _, pair in accepted
            if not suspicious(Question(pair.question, pair.reference, pair.answer, pair.aliases))
        ]
        print(f"attacks{note}: {len(accepted)} of {len(rows)} accepted by the model, {len(paid)} paid by judge=local")
        for category, pair in accepted:
            print(f"  {category}: {json.dumps([pair.reference, pair.answer], ensure_ascii=False)}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=MODEL, help="a judge model's folder (the shipped one)")
    parser.add_argument("--count", type=int, default=6000, help="held-out pairs (%(default)s)")
    arguments = parser.parse_args(argv)
    reader = Reader(arguments.folder)
    measure_held_out(reader, arguments.count)
    measure_lists(reader)
    measure_attacks(reader)


if __name__ == "__main__":
    main()
