"""The prompt of a request as vLLM takes it: the only file that opens `Request.media`. It loads no vLLM."""

from __future__ import annotations

from typing import Any

from rollouts.engine.requests import PromptMismatch, Request


def prompt_for_vllm(request: Request, engine: str) -> dict[str, Any]:
    """What vLLM's renderer is given. Where there are no media, the trainer's tokens are taken as they are.

    Raises:
        PromptMismatch: the media stayed behind, and this engine has not rendered them ahead.
    """
    if request.media is None:
        raise PromptMismatch(
            f"{engine}: prompt {request.prompt_id!r} came without its media, and this engine was not given them ahead;"
            " it is not drawn blind"
        )
    if request.media:
        media = {kind: list(items) for kind, items in request.media.items()}
        return {"prompt": request.text, "multi_modal_data": media}
    return {"prompt": request.text} if request.token_ids is None else {"prompt_token_ids": list(request.token_ids)}


def group_of(request: Request) -> tuple[str, str, str | int]:
    """Equal for the requests of one group, which share text and media."""
    return request.prompt_id, request.text, request.fingerprint or id(request.media)
