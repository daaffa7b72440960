"""Rewards both ways between this project and TRL; nothing of TRL is imported.

    from rewards.adapters.trl import as_trl_reward
    GRPOTrainer(..., reward_funcs=[as_trl_reward("format"), as_trl_reward("option_match")])

and in a configuration here `weights: {"trl:path/to/file.py:function": 1.0}` for a reward function that was written for
TRL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from judges import Judge
from rewards.adapters.one_reward import Group, OneReward
from rewards.contract import RewardError
from rollouts.records import Outcome

# Fields of a message in which TRL, its tokenizers' response schemas and servers keep thoughts apart from the content.
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
# Types of a content's parts that hold thoughts.
THOUGHT_PARTS = ("thinking", "reasoning")


class TrlReward:
    """A reward of this project as a reward function of TRL; made by `as_trl_reward`."""

    def __init__(self, one: OneReward, num_generations: int | None) -> None:
        if one.is_group and not num_generations:
            raise RewardError(
                f"reward {one.name!r} compares the completions of a group: give num_generations, as in GRPOConfig"
            )
        self.one = one
        self.num_generations = num_generations or 1
        self.__name__ = one.name  # what TRL logs it under

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """One value a completion; None where there is none (error, timeout, abstain), which TRL leaves out."""
        size = self.num_generations
        if len(completions) % size:
            raise RewardError(f"{len(completions)} completions are no whole groups of num_generations={size}")
        groups: list[Group] = []
        for start in range(0, len(completions), size):
            here = slice(start, start + size)
            if any(prompt != prompts[start] for prompt in prompts[here]):
                raise RewardError(
                    f"rows {start} to {start + size - 1} are not one prompt: is num_generations={size} GRPOConfig's?"
                )
            row = {name: values[start] for name, values in columns.items() if _is_column(values, len(completions))}
            sample = self.one.sample(row, question=prompt_text(prompts[start]))
            ids = columns.get("completion_ids")
            texts = [completion_text(completion) for completion in completions[here]]
            num_tokens = [len(one) for one in ids[here]] if ids is not None else None
            groups.append(Group(sample, texts, num_tokens))
        outcomes = self.one.score(groups)
        self._log(outcomes, columns)
        return [outcome.value for outcome in outcomes]

    def _log(self, outcomes: Sequence[Outcome], columns: Mapping[str, Any]) -> None:
        if log_extra := columns.get("log_extra"):
            log_extra(f"{self.one.name} reason", [f"{outcome.status}: {outcome.reason}" for outcome in outcomes])
        if log_metric := columns.get("log_metric"):
            for status in ("ok", "abstain", "error", "timeout"):
                share = sum(outcome.status == status for outcome in outcomes) / len(outcomes)
                log_metric(f"reward_status/{self.one.name}/{status}", share)


def as_trl_reward(
    spec: str,
    *,
    judge: Judge | None = None,
    num_generations: int | None = None,
    prefill: str = "",
    label_free: bool = False,
    timeout_seconds: float = 900.0,
    **arguments: Any,
) -> TrlReward:
    """A reward of this project for `GRPOTrainer(reward_funcs=..)`: called with prompts, completions (texts or messages)
    and columns.

    The columns `question`, `answer` (or `solution`, `ground_truth`), `options`, `answer_type`, `boxes` and so on make
    the sample, as in `data=jsonl`; others are left alone. `num_generations`: needed for rewards that compare a group,
    whose rows TRL keeps together. A failure is None and never a number; TRL counts a None as no reward, so with several
    reward functions the others still pay such a completion. Raises RewardError.
    """
    one = OneReward(spec, arguments, judge, prefill=prefill, label_free=label_free, timeout_seconds=timeout_seconds)
    return TrlReward(one, num_generations)


def _is_column(values: Any, num_rows: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == num_rows


def prompt_text(prompt: Any) -> str:
    """The text of the last message of a user, or the prompt itself."""
    if isinstance(prompt, str):
        return prompt
    spoken = [message for message in prompt if message.get("role") == "user"] or list(prompt)
    return _text(spoken[-1].get("content")) if spoken else ""


def completion_text(completion: Any) -> str:
    """The completion itself, or what the last message of the assistant says, its thoughts put back before its text.

    Raises RewardError for what is neither a text nor messages: a judgement of nothing would be a wrong answer.
    """
    if isinstance(completion, str):
        return completion
    messages = [completion] if isinstance(completion, Mapping) else completion
    if not isinstance(messages, (list, tuple)) or not all(isinstance(one, Mapping) for one in messages):
        raise RewardError(
            f"a completion is {type(completion).__name__}, expected a text, or messages as TRL hands them over:"
            ' [{"role": "assistant", "content": ..}]'
        )
    spoken = [message for message in messages if message.get("role", "assistant") == "assistant"]
    return _with_thoughts(spoken[-1]) if spoken else ""


def _with_thoughts(message: Mapping[str, Any]) -> str:
    """The text of a message with the thoughts that a trainer's parser took out of it between their tags again, so that
    rewards see what the model wrote. Thoughts without a text were never closed."""
    text = _text(message.get("content"))
    thoughts = next(filter(None, (_text(message.get(name)).strip() for name in THOUGHTS)), "")
    thoughts = thoughts or _thought_parts(message.get("content"))
    if not thoughts or "</think>" in text:
        return text
    return f"<think>\n{thoughts}\n</think>\n{text}" if text.strip() else f"<think>\n{thoughts}"


def _thought_parts(content: Any) -> str:
    """The thoughts that stand as parts of the content: {"type": "thinking", "thinking": ".."}."""
    if not isinstance(content, (list, tuple)):
        return ""
    parts = [part for part in content if isinstance(part, Mapping) and part.get("type") in THOUGHT_PARTS]
    texts = (_text(part.get(name)) for part in parts for name in (*THOUGHTS, "text"))
    return "\n".join(text for text in texts if text).strip()


def _text(content: Any) -> str:
    if isinstance(content, (list, tuple)):
        parts = [part for part in content if isinstance(part, Mapping)]
        return "".join(
            part["text"]
            for part in parts
            if isinstance(part.get("text"), str) and part.get("type") not in THOUGHT_PARTS
        )
    return content if isinstance(content, str) else ""
