"""A text model becomes the language part of an InternVL whose vision tower is small and fresh.

The tower has random weights: it sees nothing yet. It is there so that images take their whole way (processor, tiles,
placeholders, vision tower, projector, engine) in front of a language model that can really speak.
"""

from __future__ import annotations

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

from examples.real_model.package import NoModel
from examples.real_model.reading import GgufText, build_tokenizer

MEDIA_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
# One tile: 112 x 112 pixels, 8 x 8 patches, of which four become one visual token.
IMAGE_SIZE, PATCH_SIZE, NUM_VISUAL_TOKENS = 112, 14, 16
HIDDEN, LAYERS, HEADS = 192, 4, 6
# Rows of the embeddings, as matrix products like it.
MULTIPLE = 64
SEED = 0
# In templates of text models a turn's content is one string; here it may be a list of parts, images among them.
_TURN, _CONTENT = "{% for message in messages %}", "message['content']"
_PARTS = (
    "{% set turn = namespace(text='') %}"
    "{% if message['content'] is string %}{% set turn.text = message['content'] %}{% else %}"
    "{% for part in message['content'] %}{% set turn.text = turn.text + "
    "('<IMG_CONTEXT>\n' if part['type'] == 'image' else part['text']) %}{% endfor %}{% endif %}"
)


def with_vision(text_model: PreTrainedModel, text: GgufText) -> tuple[PreTrainedModel, ProcessorMixin]:
    """InternVL with the text model's weights and a random tower, and its processor. The text model is used up.

    Raises:
        NoModel: the chat template does not show where a turn's content stands.
    """
    tokenizer = build_tokenizer(text, MEDIA_TOKENS)
    # New rows are drawn around the mean of the old ones, so that no token is likely by accident.
    torch.manual_seed(SEED)
    text_model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=MULTIPLE)
    config = transformers.InternVLConfig(
        vision_config=transformers.InternVLVisionConfig(
            hidden_size=HIDDEN,
            intermediate_size=4 * HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            image_size=[IMAGE_SIZE, IMAGE_SIZE],
            patch_size=[PATCH_SIZE, PATCH_SIZE],
        ),
        text_config=text_model.config,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=NUM_VISUAL_TOKENS,
        tie_word_embeddings=text_model.config.tie_word_embeddings,
    )
    model = transformers.InternVLForConditionalGeneration(config).to(torch.float32).eval()
    model.model.language_model.load_state_dict(text_model.base_model.state_dict())
    model.lm_head.load_state_dict(text_model.get_output_embeddings().state_dict())
    model.generation_config = text_model.generation_config
    return model, _processor(tokenizer, media_template(text.chat_template))


def media_template(template: str) -> str:
    """The chat template of a text model, for turns of parts.

    Raises:
        NoModel: it has no loop over messages with their content in it.
    """
    if template.count(_TURN) != 1 or _CONTENT not in template:
        raise NoModel(
            f"the chat template holds no {_TURN!r} with {_CONTENT!r} behind it, so that it is not known where an image"
            f" would stand; leave --vision out. It begins with {template[:120]!r}"
        )
    return template.replace(_CONTENT, "turn.text").replace(_TURN, _TURN + _PARTS)


def _processor(tokenizer: PreTrainedTokenizerFast, template: str) -> ProcessorMixin:
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(
            size=size, crop_to_patches=False, min_patches=1, max_patches=1
        ),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(size=size),
        image_seq_length=NUM_VISUAL_TOKENS,
        chat_template=template,
    )
