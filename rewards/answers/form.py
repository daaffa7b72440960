"""The format reward's question: four tags in order, two bodies, nothing else (ANSWERS.md, rule 14)."""

from __future__ import annotations

import re
import unicodedata

from rewards.answers.span import lowered, with_prefill

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
# What a template shows in place of a body; echoing it is not an answer.
_ECHO = re.compile(
    r"(?:insert|put|the|your|final|answer|reasoning|thinking|thoughts?|think|process|choice|option|letter|here| )+"
    r"|在?(?:此处?|这里)?(?:作答|填写|写)?(?:你的)?(?:推理|思考|答案)?(?:过程)?(?:填写|写在|写)?(?:答案)?(?:这里)?"
)


def grade_format(completion: str, prefill: str = "") -> bool:
    """True if the text is `<think>..</think> <answer>..</answer>` and nothing else.

    Exactly one each of the four lower-case tags, in order, only white space around and between them, neither body blank
    or a placeholder of the template. `prefill` is what the chat template already wrote of the answer (`<think>`).
    """
    text = with_prefill(completion, prefill).strip()
    if not (text.startswith("<think>") and text.endswith("</answer>")):
        return False
    folded = lowered(text)
    if any(folded.count(tag) != 1 or text.count(tag) != 1 for tag in _TAGS):
        return False
    think, _, rest = text[len("<think>") :].partition("</think>")
    between, _, body = rest.partition("<answer>")
    answer = body[: -len("</answer>")]
    out_of_order = between.strip() or any(tag in part for tag in _TAGS for part in (think, answer))
    return not (out_of_order or _is_blank(think) or _is_blank(answer))


def _is_blank(body: str) -> bool:
    """True for nothing but blanks, invisible characters and dots, and for an echo of the template's placeholder."""
    if len(body) > 200:
        return not body.strip()
    visible = body if body.isascii() else "".join(char for char in body if unicodedata.category(char) != "Cf")
    core = visible.strip().strip("[]{}<>()*_\"'` \n\t").casefold().rstrip(" .…")
    return not core or bool(_ECHO.fullmatch(core))
