"""Whether a model's files can be had: a folder, or the Hub's cache on this machine, or the Hub itself.

The libraries of Hugging Face try a Hub that does not answer six times, half a minute in all, for each file they are
asked for. Here it is asked once, before any of them.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from huggingface_hub import constants, get_session, try_to_load_from_cache

ANSWER_SECONDS = 5.0


class HubOutOfReach(OSError):
    """A model is named by its Hub id, this machine has no copy of it, and the Hub does not answer."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self.why = why
        super().__init__(
            f"{name} is no folder here, the cache of the Hub ({constants.HF_HUB_CACHE}) has no copy of it, and {why}."
            f" Where there is a network, run `hf download {name}`, or copy its folder here and give that instead"
        )


def refuse_out_of_reach(path: str | Path) -> None:
    """Raise HubOutOfReach for a Hub id whose files are not on this machine while the Hub does not answer. Nothing is
    said of a folder, nor of a name that the Hub may or may not know."""
    name = str(path)
    if Path(name).is_dir() or Path(name).is_absolute() or is_cached(name):
        return
    if why := why_no_hub():
        raise HubOutOfReach(name, why)


def is_cached(name: str) -> bool:
    """Whether the Hub's cache on this machine holds the configuration of a model; False for what can be no Hub id."""
    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except ValueError:  # the Hub's own check of ids
        return False


@cache
def why_no_hub() -> str:
    """Why the Hub cannot be asked, in words; "" = it answers. Asked once in a process, through the proxy that the
    environment names."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT)
    try:
        get_session().head(endpoint, timeout=ANSWER_SECONDS)
    except Exception as error:  # a boundary: names, routes, certificates and proxies fail in kinds of their own
        return f"{endpoint} does not answer ({' '.join(str(error).split())[:120] or type(error).__name__})"
    return ""
