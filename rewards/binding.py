"""From the name of a reward and its arguments to a reward that can be called: shipped, from a file, or from another
package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from judges import Judge
from rewards import registry
from rewards.calling import BoundReward
from rewards.contract import Limits, RewardError, Source, check_arguments
from rewards.plugins.handshake import describe


def bind(
    spec: str, arguments: Mapping[str, Any] | None = None, judge: Judge | None = None, limits: Limits | None = None
) -> BoundReward:
    """The reward of a name, a `path/to/file.py:function` or an entry point, with its arguments. One that is not shipped
    is imported once, in a child process under `limits`, to see that it works.

    Raises RewardError for a reward that is not found or does not import, for arguments that are unknown, missing or of
    another type, for a reward that says it could not work, and for a judge that is needed and not there.
    """
    given = dict(arguments or {})
    reward = registry.find(spec)
    if isinstance(reward, Source):
        reward = describe(spec, reward, given, limits or Limits())
    else:
        check_arguments(reward, given)
        if reward.ready is not None:
            reward.ready(**given)
    if "judge" in reward.supplied and judge is None:
        raise RewardError(
            f"reward {spec!r} asks a judge and none is configured; use judge=rules or judge=openai ({reward.home})"
        )
    return BoundReward(reward, judge, given)
