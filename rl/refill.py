"""Groups that teach nothing are replaced by other prompts (grpo.refill=next): DAPO's dynamic sampling
(arXiv:2503.14476, Sec 3.2).

A group teaches nothing where its valid members were all paid the same, because every advantage is 0 then. Its
replacements are drawn with the weights of the same version, in at most `grpo.refill_rounds` rounds. Which prompts they
are follows from the step's number and from how many were replaced before them in the step
(`rl.algo.order.replacements`), so that a run resumes exactly. What was replaced is recorded, and not trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice

from rewards.rubric import Scored
from rl import step as verbs
from rl.algo.order import replacements
from rl.drawing import Drawing, Group, encoded
from rl.protocols import StepRun


def teaches(group: Group, members: Sequence[Scored]) -> bool:
    """Whether any two members that may be trained on were paid differently."""
    usable = [
        member.total
        for member, completion in zip(members, group.completions, strict=True)
        if member.valid and completion.finish_reason != "abort"
    ]
    return len(set(usable)) > 1


def refill(run: StepRun, step: int, drawing: Drawing) -> dict[str, float]:
    """Replace the groups of a step that teach nothing, as long as there are some and rounds are left.

    Returns `refill/num_groups`, how many were replaced; `refill/rounds`; and `refill/left`, how many of the step's
    groups teach nothing all the same.

    Raises:
        TooManyFailures: more completions of a round could not be scored than the share `grpo.max_failure_rate` of a
            step.
    """
    config = run.config
    grpo = config.grpo
    others = iter(
        replacements(step, seed=config.seed, num_samples=len(run.samples), prompts_per_step=grpo.prompts_per_step)
    )
    groups, num_replaced, num_rounds = drawing.groups, 0, 0
    scored = verbs.collect_scores(run, groups)
    for _ in range(grpo.refill_rounds):
        idle = [place for place, one in enumerate(groups) if not teaches(one, scored[place])]
        indices = list(islice(others, len(idle)))
        if not indices:
            break
        num_rounds += 1
        more = Drawing(run, encoded(run, step, indices), step - 1)
        more.finish()
        drawing.num_refused += more.num_refused
        fresh = verbs.collect_scores(run, more.groups)
        for place, group, members in zip(idle, more.groups, fresh, strict=False):
            _record(run, step, groups[place], scored[place])
            groups[place], scored[place] = group, members
            num_replaced += 1
    drawing.exchange([_settled(group, members) for group, members in zip(groups, scored, strict=True)])
    left = sum(not teaches(group, members) for group, members in zip(groups, scored, strict=True))
    return {"refill/num_groups": float(num_replaced), "refill/rounds": float(num_rounds), "refill/left": float(left)}


def _record(run: StepRun, step: int, group: Group, members: Sequence[Scored]) -> None:
    """Keep a group that was replaced: its scores are what they are, and none of its rows is trained on."""
    if not group.refused:
        (rollouts,) = verbs.with_advantages(run, step, [group], [members])
        run.writer.append_group([dataclasses.replace(one, valid=False, advantage=0.0) for one in rollouts])


def _settled(group: Group, members: Sequence[Scored]) -> Group:
    return dataclasses.replace(group, scores=tuple(map(_done, members)), settled=True)


def _done(member: Scored) -> Future[Scored]:
    future: Future[Scored] = Future()
    future.set_result(member)
    return future
