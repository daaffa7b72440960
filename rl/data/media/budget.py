"""How many frames of a medium the context window has room for."""

from __future__ import annotations

from typing import NamedTuple

from rollouts.imaging.ask import budget
from rollouts.records import BadSample


class FrameRoom(NamedTuple):
    """What is left of a prompt for its frames, and what one of them takes."""

    # Tokens for all frames of a prompt.
    tokens: int
    # Tokens of a frame of `size` pixels a side, what the family writes around it included.
    per_frame: int

    def beside(self, num_images: int, num_media: int) -> FrameRoom:
        """What one of `num_media` volumes and videos has, that share a prompt with images."""
        return self._replace(tokens=(self.tokens - num_images * self.per_frame) // max(1, num_media))


def frames_for(wanted: int, room: FrameRoom | None) -> int:
    """Frames shown of one medium: `wanted`, or as many as fit. Raises BadSample where none does."""
    try:
        return wanted if room is None else budget(wanted, room.tokens, room.per_frame)
    except BadSample as error:
        raise BadSample(f"{error}: raise model.max_model_len, or lower grpo.max_completion_length") from error
