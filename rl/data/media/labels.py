"""The text before each frame that says which slice or which moment it is, in the language of the question."""

from __future__ import annotations

from rollouts.records import Media

_WORDS = {
    "en": {
        "volume": "Slice {number} of {count}:",
        "video": "Frame {number} of {count}:",
        "time": "At {seconds:.1f} s:",
    },
    "zh": {
        "volume": "第{number}层，共{count}层：",
        "video": "第{number}帧，共{count}帧：",
        "time": "{seconds:.1f}秒：",
    },
}


def frame_labels(media: Media, language: str) -> tuple[str, ...] | None:
    """A label for each frame of a volume or video, counted from 1 among all slices of the source; a time where the
    frames have one. None for an image."""
    words = _WORDS[language]
    if media.kind == "image" or media.frame_indices is None:
        return None
    if media.frame_times is not None:
        return tuple(words["time"].format(seconds=seconds) for seconds in media.frame_times)
    count = media.provenance["source_frames"]
    return tuple(words[media.kind].format(number=index + 1, count=count) for index in media.frame_indices)
