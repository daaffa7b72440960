"""Where the thoughts end and the answer stands: marks of thoughts by model family, the answer tags, the format rule (rules 1, 2, 14, 21).

Positions are looked up in a lower-cased copy of equal length; no pattern here can backtrack, so 100,000 hostile characters cost a millisecond.
"""

from __future__ import annotations

import re
import unicodedata
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
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# What a template shows in place of a body: the words of an echo, which is not an answer.
_ECHO = re.compile(
    r"(?:insert|put|the|your|final|answer|reasoning|thinking|thoughts?|think|process|choice|option|letter|here|in| )+"
    r"|在?(?:此处?|这里)?(?:作答|填写|写)?(?:你的)?(?:推理|思考|答案)?(?:过程)?(?:写?在?这里)?"
)


class Span(NamedTuple):
    """A completion cut into its parts."""

    # Text of the thoughts; None = no closed thoughts.
    think: str | None
    # The bodies of the answer tags in order, or the whole text after the thoughts where no tag stands; () = there is no answer.
    bodies: tuple[str, ...]
    # Everything after the thoughts; boxes are looked for here (rule 11).
    tail: str
    # True where the bodies come from answer tags, an unclosed one included.
    tagged: bool
    # Why there is no answer; "" = there is one.
    reason: str
    # True where the last answer tag is never closed.
    unclosed: bool = False


def grade_format(completion: str, prefill: str = "") -> bool:
    """True if the text is `<think>..</think> <answer>..</answer>` and nothing else (rule 14).

    Exactly one each of the four lower-case tags, in order, only white space around and between them, neither body blank or a placeholder
    of the template. `prefill` is what the chat template already wrote of the answer (`<think>`); it is put back in front.
    """
    text = with_prefill(completion, prefill).strip()
    if not (text.startswith("<think>") and text.endswith("</answer>")):
        return False
    lowered = _lowered(text)
    if any(lowered.count(tag) != 1 or text.count(tag) != 1 for tag in _TAGS):
        return False
    think, _, rest = text[len("<think>") :].partition("</think>")
    between, _, body = rest.partition("<answer>")
    answer = body[: -len("</answer>")]
    if between.strip() or any(tag in part for tag in _TAGS for part in (think, answer)):
        return False
    return not is_blank(think) and not is_blank(answer)


def with_prefill(completion: str, prefill: str) -> str:
    """The completion with what the template prefilled in front, unless the model wrote it itself."""
    return completion if not prefill or completion.lstrip().startswith(prefill.strip()) else prefill + completion


def is_blank(body: str) -> bool:
    """True for a body of nothing but blanks, invisible characters, dots, or an echo of the template's placeholder."""
    if len(body) > 200:
        return not body.strip()
    visible = "".join(char for char in body if unicodedata.category(char) != "Cf").strip()
    core = visible.strip("[]{}<>()*_\"'` \n\t").casefold().rstrip(" .…")
    return not core or bool(_ECHO.fullmatch(core))


def cut(completion: str) -> Span:
    """The thoughts and the answer bodies of a completion (rules 1 and 2); tag case is ignored, nothing is judged yet."""
    lowered = _lowered(completion)
    end = start = -1
    for opening, closing in THOUGHTS.values():
        opened, closed = _rfind(lowered, opening), _rfind(lowered, closing)
        if opened > closed:
            return Span(None, (), "", False, "the thoughts are never closed: a truncated completion has no answer")
        if closed >= 0 and closed + len(closing) > end:
            first = lowered.find(opening)
            start, body_end, end = (first + len(opening) if 0 <= first < closed else 0), closed, closed + len(closing)
    think = completion[start:body_end] if end >= 0 else None
    tail, tail_lowered = completion[max(end, 0) :], lowered[max(end, 0) :]
    if tail_lowered.count("answer>") > 2 * MAX_ANSWER_TAGS:
        return Span(think, (), "", True, f"more than {MAX_ANSWER_TAGS} answer tags")
    bodies, tagged = _bodies(tail, tail_lowered)
    reason = "" if any(body.strip() for body in bodies) else "nothing stands in the answer"
    return Span(think, bodies if not reason else (), tail, tagged, reason, tagged and "</answer>" not in tail_lowered)


def _rfind(lowered: str, tag: str) -> int:
    """The last place of a tag; a heading counts only at the start of a line."""
    place = lowered.rfind(tag)
    while tag.startswith("#") and place > 0 and lowered[place - 1] != "\n":
        place = lowered.rfind(tag, 0, place)
    return place


def _bodies(tail: str, lowered: str) -> tuple[tuple[str, ...], bool]:
    """What stands inside answer tags. An unclosed tag reaches to the end; a missing opening tag means everything before the closing one."""
    tags = list(_ANSWER_TAG.finditer(lowered))
    if not tags:
        return (tail,), False
    if all(tag.group(1) for tag in tags):
        return (tail[: tags[0].start()],), True
    if len(tags) > 1 and not any(tag.group(1) for tag in tags) and not tail[tags[-1].end() :].strip():
        tags.pop()  # "<answer>B<answer>": a closing tag typed as an opening one
        tail = tail[: _ANSWER_TAG.search(lowered, tags[-1].end()).start()]  # type: ignore[union-attr]  # it was there
    bodies: list[str] = []
    depth = 0
    for index, tag in enumerate(tags):
        depth = max(0, depth - 1) if tag.group(1) else depth + 1
        end = tags[index + 1].start() if index + 1 < len(tags) else len(tail)
        body = tail[tag.end() : end]
        empty_pair = not tag.group(1) and (index + 1 == len(tags) or bool(tags[index + 1].group(1)))
        if depth and (body.strip() or empty_pair):
            bodies.append(body)
    return tuple(bodies), True


def _lowered(text: str) -> str:
    """Lower case of the same length, for looking up tags: the dotted capital I is the one letter whose lower case is longer."""
    return text.replace("\u0130", "i").lower() if not text.isascii() or any(sign in text for sign in "<[#") else text
