"""What large pictures cost a step before its first token: `python -m tests.bench.media.prompts [--form PNG]`.

CPU seconds, on one thread, for as many pictures of 5 megapixels as a step asks: the driver's reading and encoding, the
way to the engine, and the engine's own rendering. A run pays them while the step before is drawn and trained on
(`rl/prompts.py`).
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from rollouts.prompt.families import ImageSettings
from rollouts.prompt.processing import EncodedPrompt, encode, load_processor
from rollouts.records import Media, Sample
from tests.fakes.tiny_models import make_qwen25vl

WIDTH, HEIGHT = 2000, 2500
# A million pixels, as conf/model/qwen2_5_vl_3b.yaml has it in its order of magnitude.
MAX_PIXELS = 1_003_520


def picture(seed: int, form: str) -> Media:
    """A picture of 5 megapixels with soft shapes, about as hard to compress as a photograph."""
    noise = np.random.RandomState(seed).randint(0, 255, (HEIGHT // 10, WIDTH // 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(buffer, form)
    return Media(kind="image", data=buffer.getvalue())


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(num_images: int, form: str) -> dict[str, float]:
    """CPU seconds of each part, for all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        processor = load_processor(make_qwen25vl(Path(folder)), ImageSettings(max_pixels=MAX_PIXELS))
    asked = [
        Sample(id=f"p{i}", question="Where?", answer_type="open", gold_text="left", media=(picture(i, form),))
        for i in range(num_images)
    ]
    encode(processor, asked[0])
    prompts: list[EncodedPrompt] = []
    found = {"driver: read and encode": seconds(lambda: prompts.extend(encode(processor, one) for one in asked))}
    frames = [prompt.engine_media["image"] for prompt in prompts]
    # A picture travels as its pixels.
    packed: list[bytes] = []
    found["driver: pack for the engine"] = seconds(lambda: packed.extend(one.tobytes() for [one] in frames))
    found["engine: unpack"] = seconds(lambda: [Image.frombytes("RGB", (WIDTH, HEIGHT), one) for one in packed])
    texts = [prompt.text for prompt in prompts]
    pairs = list(zip(texts, frames, strict=True))
    # vLLM calls the same processor again.
    found["engine: render"] = seconds(lambda: [processor.tensors(text, images) for text, images in pairs])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16, help="pictures of a step")
    parser.add_argument("--form", choices=("PNG", "JPEG"), default="PNG", help="kind of file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments.images, arguments.form)
    table = Table("part", "CPU s/step")
    for name, value in (*found.items(), ("all", sum(found.values()))):
        table.add_row(name, f"{value:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
