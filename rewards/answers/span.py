"""Where the thoughts end and the answer stands: marks of thoughts by family, and the answer tags (rules 1, 2, 21)."""

from __future__ import annotations

import re
from typing import NamedTuple

# How models mark their thoughts: family -> (opening, closing), lower case. The opening one may stand in the prompt.
THOUGHTS = {
    "Qwen, DeepSeek-R1, GLM, InternVL": ("<think>", "</think>"),
    "MedGemma": ("<unused94>", "<unused95>"),
    "Kimi-VL": ("◁think▷", "◁/think▷"),
    "HuatuoGPT-o1": ("## thinking", "## final response"),
    "Gemini distillates": ("<thought>", "</thought>"),
    "Magistral": ("[think]", "[/think]"),
    "OpenThinker": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "Seed": ("<seed:think>", "</seed:think>"),
    "gpt-oss": ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
}
# More answer tags than this are no answer but a flood of them.
MAX_ANSWER_TAGS = 64
_ANSWER_TAG = re.compile(r"<(/?)answer>")


class Span(NamedTuple):
    """A completion cut into its parts."""

    think: str | None  # the thoughts; None = no closed ones
    # The bodies of the answer tags in order, or the text after the thoughts where no tag stands; () = no answer.
    bodies: tuple[str, ...]
    tail: str  # everything after the thoughts; boxes are looked for here (rule 11)
    tagged: bool  # the bodies come from answer tags, an unclosed one included
    reason: str  # why there is no answer; "" = there is one
    unclosed: bool = False  # no answer tag is closed


def with_prefill(completion: str, prefill: str) -> str:
    """The completion with what the template prefilled in front, unless the model wrote it itself."""
    return completion if not prefill or completion.lstrip().startswith(prefill.strip()) else prefill + completion


def lowered(text: str) -> str:
    """The text of equal length in which tags are looked up: ASCII letters small, other signs of no meaning; fast."""
    if not any(sign in text for sign in "<[#◁"):
        return ""
    return text.replace("◁", "«").replace("▷", "»").encode("latin-1", "replace").lower().decode("latin-1")


# As they are looked up.
_MARKS = tuple((lowered(opening), lowered(closing)) for opening, closing in THOUGHTS.values())


def cut(completion: str) -> Span:
    """The thoughts and the answer bodies of a completion (rules 1 and 2); tag case is ignored."""
    folded = lowered(completion)
    think, end = None, 0
    for opening, closing in _MARKS:
        opened, closed = _last(folded, opening), _last(folded, closing)
        if opened > closed:
            return Span(None, (), "", False, "the thoughts are never closed: a truncated completion has no answer")
        if closed >= 0 and closed + len(closing) > end:
            first = folded.find(opening)
            think, end = completion[first + len(opening) if 0 <= first < closed else 0 : closed], closed + len(closing)
    tail, folded = completion[end:], folded[end:]
    if folded.count("answer>") > 2 * MAX_ANSWER_TAGS:
        return Span(think, (), "", True, f"more than {MAX_ANSWER_TAGS} answer tags")
    tags = list(_ANSWER_TAG.finditer(folded))
    bodies = tuple(_bodies(tail, tags)) if tags else (tail,)
    if not any(body.strip() for body in bodies):
        return Span(think, (), tail, bool(tags), "nothing stands in the answer")
    return Span(think, bodies, tail, bool(tags), "", bool(tags) and not any(tag[1] for tag in tags))


def _last(folded: str, tag: str) -> int:
    """The last place of a tag; a heading counts only at the start of a line."""
    place = folded.rfind(tag)
    while tag.startswith("#") and place > 0 and folded[place - 1] != "\n":
        place = folded.rfind(tag, 0, place)
    return place


def _bodies(tail: str, tags: list[re.Match[str]]) -> list[str]:
    """What stands inside answer tags. An unclosed tag reaches to the end, a missing opening one to the start."""
    if all(tag[1] for tag in tags):
        return [tail[: tags[0].start()]]
    ends = [tag.start() for tag in tags[1:]] + [len(tail)]
    if len(tags) > 1 and not any(tag[1] for tag in tags) and not tail[tags[-1].end() :].strip():
        tags = tags[:-1]  # "<answer>B<answer>": a closing tag typed as an opening one
    bodies: list[str] = []
    depth = 0
    for index, tag in enumerate(tags):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        body = tail[tag.end() : ends[index]]
        empty_pair = not tag[1] and (index + 1 == len(tags) or bool(tags[index + 1][1]))
        if depth and (body.strip() or empty_pair):
            bodies.append(body)
    return bodies
