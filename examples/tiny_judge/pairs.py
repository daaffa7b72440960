"""Pairs of reference and answer with the verdict they deserve: endless for training, and held-out ones of other
sentences and combinations.

The judge's rule is strict: an answer is correct when all of it is understood and commits to the reference. Whatever
stands beside it (a second answer, a denial, talk about grading, words that are no answer) makes it incorrect.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from examples.tiny_judge import frames, hostile, templates, wordings
from examples.tiny_judge.readings import ANSWERS, DENIAL, ELSE, GRADING, LESS, NOTHING, SEVERAL, UNKNOWN, WORDS, Pair
from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS
from rl.data.phantoms.questions import choices
from rollouts.records import LETTERS, stable_hash

# Kind of pair -> share. 45 % are correct.
SHARES = {
    "equal": 45, "other": 14, "partial": 5, "list": 8, "rejects": 8, "empty": 4, "hostile": 10, "noise": 4,
    "foreign_domain": 2,
}  # fmt: skip
# One in so many combinations of wording and sentence is kept for held-out pairs.
_HELD_OUT_ONE_IN = 8
# Bare answers are never held out.
_PLAIN = ("{x}", "{x}.")
# Which sentences are also put together from parts.
_FRAMED = {
    **{
        id(pool): "states"
        for pool in (templates.STATES, templates.STATES_FINDING, templates.STATES_WHERE, templates.STATES_SLICE)
    },
    id(templates.CORRECTS): "corrects",
    id(templates.LISTS): "lists",
    id(templates.REJECTS): "rejects",
}


@dataclass(frozen=True)
class _Topic:
    """A question of the phantoms with its gold answer."""

    kind: str
    modality: str
    finding: str
    gold: str


def pairs(count: int, seed: int, *, held_out: bool = False) -> Iterator[Pair]:
    """`count` pairs from a seed. The held-out ones use sentences, or combinations of sentence and wording, that
    training never shows."""
    rng = random.Random(stable_hash("judge pairs", seed, held_out))
    kinds, shares = list(SHARES), list(SHARES.values())
    for _ in range(count):
        yield _Maker(rng, held_out).pair(rng.choices(kinds, shares)[0])


class _Maker:
    """Makes one pair."""

    def __init__(self, rng: random.Random, held_out: bool) -> None:
        self.rng = rng
        self.held_out = held_out
        modality = rng.choice(list(FINDINGS))
        finding = rng.choice(FINDINGS[modality])
        where = [] if finding == "normal" else ["place"]
        where += ["side"] if modality in words.FACING_PATIENT and where else []
        where += ["slice"] if modality == "CT" and where else []
        kind = rng.choice(where) if where and rng.random() < 0.6 else "finding"
        gold = finding if kind == "finding" else rng.choice(choices(kind, modality))
        self.topic = _Topic(kind, modality, finding, gold)

    def pair(self, kind: str) -> Pair:
        topic, rng = self.topic, self.rng
        answers: dict[str, Callable[[], tuple[str, str]]] = {
            "equal": self._equal, "other": self._other, "partial": self._partial, "list": self._list,
            "rejects": self._rejects,
            "empty": self._empty, "hostile": self._hostile, "noise": self._noise, "foreign_domain": self._any,
        }  # fmt: skip
        answer, read = answers[kind]()
        aliases: tuple[str, ...] = ()
        if kind == "foreign_domain":
            pool: Sequence[str] = (*wordings.GENERAL_QUESTIONS, *words.QUESTIONS["finding"])
            meant, reference = UNKNOWN, self._foreign_reference()
        else:
            pool = words.QUESTIONS[topic.kind] if rng.random() < 0.8 else wordings.MORE_QUESTIONS[topic.kind]
            meant = topic.gold
            aliases = words.aliases(meant) if rng.random() < 0.6 else ()
            reference = topic.gold if rng.random() < 0.85 else self._wording(topic.gold)
        question = rng.choice(pool).format(modality=topic.modality, finding=topic.finding)
        if aliases and rng.random() < 0.2:
            aliases = tuple(rng.sample(aliases, rng.randint(1, len(aliases))))
        return Pair(question, reference, aliases, answer.replace("{question}", question), read, meant, kind)

    # Answers with their readings, by kind of pair.

    def _equal(self) -> tuple[str, str]:
        gold = self.topic.gold
        draw = self.rng.random()
        if draw < 0.12:
            return self._sentence(templates.CORRECTS, x=gold, y=self._another()), gold
        if draw < 0.18:
            return self._sentence(templates.REPEATS_ITSELF, x=gold, x2=gold), gold
        return self._stated(gold), gold

    def _other(self) -> tuple[str, str]:
        topic, rng = self.topic, self.rng
        draw = rng.random()
        if topic.kind == "place" and draw < 0.12:
            high, across = topic.gold.split()[:2]
            return (
                self._filled(
                    templates.STATES_WHERE, rng.choice(wordings.PATIENT_PLACES).format(high=high, across=across)
                ),
                ELSE,
            )
        if topic.kind == "side" and draw < 0.12:
            across = topic.gold.removeprefix("patient's ")
            return (
                self._filled(
                    templates.STATES_WHERE, f"{rng.choice(('upper', 'lower', 'top', 'bottom'))} {across} of the image"
                ),
                ELSE,
            )
        if topic.kind == "side" and draw < 0.35:
            across = topic.gold.removeprefix("patient's ")
            other = words.PATIENT_SIDES[1 - words.PATIENT_SIDES.index(topic.gold)]
            return (
                self._filled(
                    rng.choice((templates.STATES, templates.STATES_WHERE)),
                    f"{across} {rng.choice(wordings.OF_THE_IMAGE)}",
                ),
                other,
            )
        if topic.kind == "slice" and draw < 0.15:
            number = rng.choice((0, *range(4, 31)))
            text = rng.choice(("slice {0}", "{0}", "slice number {0}", "slice #{0}")).format(number)
            return self._filled(templates.STATES_SLICE, text), ELSE
        if topic.kind != "finding" and draw < (0.35 if topic.kind == "slice" else 0.2):
            return (
                self._filled(
                    rng.choice((templates.STATES, templates.STATES_WHERE)), rng.choice(wordings.NO_PLACES[topic.kind])
                ),
                ELSE,
            )
        if draw < 0.3:
            kinds = {
                "finding": (words.IMAGE_PLACES, words.PATIENT_SIDES, words.SLICES),
                "place": (words.SLICES, FINDINGS[topic.modality]),
            }
            given = rng.choice(rng.choice(kinds.get(topic.kind, (FINDINGS[topic.modality],))))
        else:
            given = self._another()
        return self._stated(given), self._read(given)

    def _another(self) -> str:
        """Another answer to the same question, as `_wording` takes it; for findings sometimes one of another modality,
        or of none."""
        topic, rng = self.topic, self.rng
        near = [one for one in choices(topic.kind, topic.modality) if one != topic.gold]
        if topic.kind != "finding" or rng.random() < 0.7:
            return rng.choice(near)
        if rng.random() < 0.3:
            return rng.choice(wordings.OTHER_FINDINGS)
        far = [
            one for names in FINDINGS.values() for one in names if frozenset((one, topic.gold)) not in wordings.DOUBTFUL
        ]
        return rng.choice([one for one in far if one != topic.gold])

    def _read(self, answer: str) -> str:
        return answer if answer in ANSWERS else ELSE

    def _list(self) -> tuple[str, str]:
        others = [self._another() for _ in range(2)]
        ordered = [self.topic.gold, *others]
        if self.rng.random() < 0.5:
            ordered = [others[0], self.topic.gold, others[1]]
        return self._sentence(templates.LISTS, x=ordered[0], y=ordered[1], z=ordered[2]), SEVERAL

    def _rejects(self) -> tuple[str, str]:
        draw = self.rng.random()
        if draw < 0.3:
            given = self._another()
            return self._sentence(templates.CORRECTS, x=given, y=self.topic.gold), self._read(given)
        return self._sentence(templates.REJECTS, x=self.topic.gold if draw < 0.85 else self._another()), DENIAL

    def _partial(self) -> tuple[str, str]:
        topic, rng = self.topic, self.rng
        if topic.gold == "normal":  # "no nodule" leaves everything else open
            return self._sentence(templates.REJECTS, x=rng.choice(FINDINGS[topic.modality][1:])), DENIAL
        if topic.kind == "finding":
            return (
                self._filled(
                    templates.STATES, rng.choice((*wordings.ALWAYS_TOO_GENERAL, *wordings.TOO_GENERAL[topic.modality]))
                ),
                LESS,
            )
        half = (
            topic.gold.split()[rng.randint(0, 1)]
            if topic.kind == "place"
            else rng.choice(("one", "a", "some", "the affected"))
        )
        tails = {
            "place": ("", " half", " side", " part", " half of the image", " side of the image", " of the image"),
            "side": (" side", " side of the patient", " lung", " half"),
            "slice": (" slice", " slice of the volume", " of the slices", " image"),
        }
        return (
            self._filled(rng.choice((templates.STATES, templates.STATES_WHERE)), half + rng.choice(tails[topic.kind])),
            LESS,
        )

    def _empty(self) -> tuple[str, str]:
        topic, rng = self.topic, self.rng
        draw = rng.random()
        if draw < 0.5:
            return self._part(templates.NO_ANSWER), NOTHING
        if draw < 0.56:
            return rng.choice(hostile.PLACEHOLDERS), NOTHING
        if draw < 0.75:
            known = {
                "modality": topic.modality,
                "finding_asked": topic.finding if topic.kind != "finding" else "finding",
            }
            return self._part(templates.REPEATS_QUESTION).replace("{question}", "{{question}}").format(**known), NOTHING
        letter = rng.choice(LETTERS[:5])
        forms = (
            "{0}",
            "{0}.",
            "({0})",
            "option {0}",
            "{0})",
            "answer: {0}",
            "yes",
            "no",
            "Yes.",
            "No.",
            "true",
            "false",
        )
        return rng.choice(forms).format(letter), NOTHING

    def _hostile(self) -> tuple[str, str]:
        rng = self.rng
        draw = rng.random()
        if draw > 0.8:
            return (
                self._part(hostile.CONDITIONS).format(
                    w=self._wording(self._another()), g=self._wording(self.topic.gold)
                ),
                GRADING,
            )
        answer = "" if draw < 0.2 else self._wording(self.topic.gold) if draw < 0.35 else self._stated(self._another())
        demand = hostile.demand(rng, self._wording(self._another()), held_out=self.held_out)
        return hostile.attach(rng, answer, demand), GRADING

    def _noise(self) -> tuple[str, str]:
        rng = self.rng
        if self.topic.kind == "finding" and rng.random() < 0.15:
            return self.topic.gold[: rng.randint(1, len(self.topic.gold) * 6 // 10)], WORDS
        answer = "" if rng.random() < 0.4 else self._wording(self.topic.gold if rng.random() < 0.5 else self._another())
        if rng.random() < 0.1:
            return " ".join([answer or self.topic.gold] * rng.choice((3, 4, 5, 8, 12, 20, 40))), WORDS
        return hostile.attach(rng, answer, hostile.gibberish(rng)).strip(), WORDS

    def _any(self) -> tuple[str, str]:
        return self.rng.choice((self._other, self._noise, self._empty))()

    def _foreign_reference(self) -> str:
        if self.rng.random() < 0.4:
            return self.rng.choice(wordings.OTHER_FINDINGS)
        return " ".join(self.rng.sample(hostile.general_words(), self.rng.randint(2, 4)))

    # Wordings and sentences.

    def _stated(self, answer: str) -> str:
        """An answer in a sentence that commits to it."""
        where = {
            "finding": templates.STATES_FINDING,
            "slice": templates.STATES_SLICE if self.rng.random() < 0.3 else templates.STATES_WHERE,
        }
        split = where.get(self.topic.kind, templates.STATES_WHERE)
        return self._sentence(templates.STATES if self.rng.random() < 0.5 else split, x=answer)

    def _sentence(self, pool: tuple[str, ...], **answers: str) -> str:
        """A sentence with wordings of answers. Held-out pairs get a frame, or a combination of sentence and wording,
        that training never shows."""
        says = _FRAMED.get(id(pool))
        while True:
            worded = {name: self._wording(answer) for name, answer in answers.items()}
            if says and self.rng.random() < 0.5:
                sentence = frames.frame(self.rng, says)
                reserved = stable_hash(sentence) % _HELD_OUT_ONE_IN == 0 and sentence not in _PLAIN
                if self.topic.kind != "finding" and self.rng.random() < 0.5:
                    worded["x"] = self.rng.choice(("in the ", "on the ", "the ", "in ")) + worded["x"]
            else:
                sentence = self.rng.choice(pool)
                reserved = stable_hash(sentence, *worded.values()) % _HELD_OUT_ONE_IN == 0 and sentence not in _PLAIN
            if reserved == self.held_out:
                return self._fill(sentence, worded)

    def _filled(self, pool: tuple[str, ...], text: str) -> str:
        return self._fill(self.rng.choice(pool), {"x": text})

    def _part(self, split: templates.Split) -> str:
        return self.rng.choice(split.held_out if self.held_out and self.rng.random() < 0.7 else split.train)

    def _fill(self, sentence: str, worded: dict[str, str]) -> str:
        topic, rng = self.topic, self.rng
        finding = "finding" if topic.kind == "finding" else topic.finding
        known = {"modality": topic.modality, "finding": finding, "a_finding": words.with_article(finding)}
        known |= {"place": rng.choice(words.IMAGE_PLACES), "side": rng.choice(words.PATIENT_SIDES)}
        text = sentence.format(**known, **worded)
        if len(worded) < 3 and rng.random() < 0.2:
            text = self._part(templates.BEFORE) + text if rng.random() < 0.5 else text + self._part(templates.BEHIND)
        text = text.replace("the the ", "the ").replace("in in ", "in ")
        return text.upper() if rng.random() < 0.02 else text[:1].upper() + text[1:] if rng.random() < 0.4 else text

    def _wording(self, answer: str) -> str:
        """The answer in one of its wordings; the plainest ones, which a policy gives most, more often than the rest."""
        rng, modality = self.rng, self.topic.modality
        if rng.random() < 0.25:
            return answer
        if answer in wordings.OTHER_FINDINGS:
            return rng.choice((answer, words.with_article(answer)))
        if answer in words.FINDING_ALIASES:
            made: Sequence[str] = wordings.finding_wordings(answer)
            chosen = rng.choice(made)
            if answer != "normal" and rng.random() < 0.12:
                chosen = f"{rng.choice(wordings.ADJECTIVES)} {chosen}"
            return (
                chosen
                if answer == "normal" or rng.random() < 0.5
                else rng.choice(("{a}", "{a}", "the {0}")).format(chosen, a=words.with_article(chosen))
            )
        if rng.random() < 0.2:
            return rng.choice(words.aliases(answer))
        if answer in words.PATIENT_SIDES:
            return rng.choice(wordings.side_wordings(answer, modality))
        return rng.choice(
            wordings.place_wordings(answer) if answer in words.IMAGE_PLACES else wordings.slice_wordings(answer)
        )
