"""Where the thoughts end and the answer stands: the four tags, and the format rule (ANSWERS.md, rules 1, 2 and 14).

Positions are looked up in a lower-cased copy of equal length; no pattern here can backtrack, so 100,000 hostile
characters cost a millisecond.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# More answer tags than this are no answer but a flood of them.
MAX_ANSWER_TAGS = 64
_ANSWER_TAG = re.compile(r"<(/?)answer>")
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# What a template shows in place of a body; echoing it is not an answer.
_PLACEHOLDERS = frozenset(
    """reasoning process here|your reasoning here|reasoning here|your reasoning|reasoning process
    |thinking process here|thinking process|your thinking process here|your thoughts here|thoughts here|your thoughts|think here|answer here
    |your answer here|your answer|final answer here|your final answer here|your final answer|the answer here|insert answer here
    |put your answer here|answer letter here|the final answer here|your choice here|option letter here|the reasoning process here|insert reasoning here
    |reasoning|answer|the answer|final answer|the final answer|think|thinking
    |推理过程|思考过程|在此作答|你的答案|答案|推理|思考|你的思考过程|此处填写答案|答案写在这里|推理过程写在这里|在这里写答案|在这里写推理过程""".replace(
        "\n", ""
    ).split("|")
)
_PLACEHOLDERS = frozenset(text.strip() for text in _PLACEHOLDERS)


class Span(NamedTuple):
    """A completion cut into its parts."""

    # Text of the thoughts; None = no closed think block.
    think: str | None
    # The bodies of the answer tags in order, or the whole text after the thoughts where no tag stands; () = there is no
    # answer.
    bodies: tuple[str, ...]
    # Everything after the thoughts; boxes are looked for here (rule 11).
    tail: str
    # True where the bodies come from answer tags, an unclosed one included.
    tagged: bool
    # Why there is no answer; "" = there is one.
    reason: str


def grade_format(completion: str, prefill: str = "") -> bool:
    """True if the text is `<think>..</think> <answer>..</answer>` and nothing else (rule 14).

    Exactly one each of the four lower-case tags, in order, only white space around and between them, neither body blank
    or a placeholder of the template. `prefill` is what the chat template already wrote of the answer (`<think>`); it is
    put back in front.
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
    return not core or core in _PLACEHOLDERS


def cut(completion: str) -> Span:
    """The thoughts and the answer bodies of a completion (rules 1 and 2); tag case is ignored, nothing is judged
    yet."""
    lowered = _lowered(completion)
    opened, closed = lowered.rfind("<think>"), lowered.rfind("</think>")
    if opened > closed:
        return Span(None, (), "", False, "the thoughts are never closed: a truncated completion has no answer")
    think, tail, tail_lowered = None, completion, lowered
    if closed >= 0:
        start = lowered.find("<think>")
        think = completion[(start + len("<think>") if 0 <= start < closed else 0) : closed]
        tail, tail_lowered = completion[closed + len("</think>") :], lowered[closed + len("</think>") :]
    if tail_lowered.count("answer>") > 2 * MAX_ANSWER_TAGS:
        return Span(think, (), "", True, f"more than {MAX_ANSWER_TAGS} answer tags")
    bodies, tagged = _bodies(tail, tail_lowered)
    reason = "" if any(body.strip() for body in bodies) else "nothing stands in the answer"
    return Span(think, bodies if not reason else (), tail, tagged, reason)


def _bodies(tail: str, lowered: str) -> tuple[tuple[str, ...], bool]:
    """What stands inside answer tags. An unclosed tag reaches to the end; a missing opening tag means everything before
    the closing one."""
    tags = list(_ANSWER_TAG.finditer(lowered))
    if not tags:
        return (tail,), False
    if all(tag.group(1) for tag in tags):
        return (tail[: tags[0].start()],), True
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
    """Lower case of the same length, for looking up tags: the dotted capital I is the one letter whose lower case is
    longer."""
    return text.replace("\u0130", "i").lower() if "<" in text else text
