"""D8: a language model writes a multiple-choice question on a clip from its caption; letters are never its business."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rl.curate.items import Item, Made
from rl.curate.llm.replies import clip_choice_form
from rl.curate.llm.synthesis import personal, tags_of
from rl.curate.llm.writer import Request
from rl.curate.recipe.schema import ClipChoiceRule
from rl.curate.rules.asking import Result, Work, dropped
from rl.curate.rules.cleaning import clean_caption
from rl.curate.text import fold
from rollouts.records import stable_hash

PROMPT = "video_mcq_1"
# The gold may be the longest option in so much more than its share of the questions.
_LONGEST_BEYOND = 0.05


def clip_choice_rule(work: Work, rule: str, settings: ClipChoiceRule, items: Sequence[Item]) -> Iterator[Result]:
    """One question a clip, in English; the number of distractors is drawn before anybody is asked."""
    requests: list[tuple[Item, Request]] = []
    for item in items:
        if not work.drawn(item, rule, settings.share):
            continue
        cleaned = clean_caption(item.caption, min_words=8, clip=True)
        if item.kind != "video" or cleaned.reason:
            yield dropped(item, rule, cleaned.reason if item.kind == "video" else "no video")
        elif personal(item, [cleaned.text]):
            yield dropped(item, rule, "a fact may name or date somebody, so nothing was sent")
        else:
            count = work.number(item, rule, settings.distractors)
            data = {"facts": [cleaned.text], "num_distractors": count}
            requests.append((item, Request(clip_choice_form(cleaned.text, count), PROMPT, data)))
    written = work.ask("questions on clips written", [request for _, request in requests])
    made: list[Made] = []
    for (item, _), one in zip(requests, written, strict=True):
        if one.content is None:
            yield dropped(item, rule, one.problem, "en")
            continue
        options = (one.content["answer"], *one.content["distractors"])
        made.append(
            Made(
                item=item,
                rule=rule,
                language="en",
                question=one.content["question"],
                wording=PROMPT,
                answer_type="mcq",
                gold=options[0],
                gold_key=fold(options[0]),
                options=options,
                option_keys=tuple(map(fold, options)),
                tags=tags_of(work, PROMPT),
            )
        )
    surplus = too_long(made, work.seed)
    for row in made:
        yield dropped(row.item, rule, "the gold is the longest option too often", "en") if row.id in surplus else row


def too_long(rows: Sequence[Made], seed: int) -> set[str]:
    """Ids of questions to drop, by hash, until the gold is the longest option in at most one over the number of
    options of the questions, and five points."""
    longest = [row for row in rows if len(row.gold) > max(len(one) for one in row.options if one != row.gold)]
    longest.sort(key=lambda row: stable_hash(seed, "longest", row.id))
    out: set[str] = set()
    left = {row.id: row for row in rows}
    while longest and left:
        fair = sum(1 / len(row.options) for row in left.values()) / len(left)
        if len(longest) <= (fair + _LONGEST_BEYOND) * len(left):
            break
        row = longest.pop()
        out.add(row.id)
        del left[row.id]
    return out
