"""The text of each token of a completion, from the tokenizer.json that a run keeps beside its model. No code of the run
is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from rollouts.store.folder import Refused, inside, read_at_most

# The largest in use (Gemma, 256k entries) has 33 MB.
_MAX_BYTES = 64_000_000


def load_tokenizer(run_dir: Path) -> tuple[Tokenizer | None, str]:
    """The tokenizer of RUN/model and "", or None and the reason why token texts are not shown."""
    try:
        data = read_at_most(inside(run_dir, "model", "tokenizer.json"), _MAX_BYTES)
        return Tokenizer.from_str(data.decode()), ""
    except FileNotFoundError:
        return None, "the run holds no model/tokenizer.json yet, so tokens are shown by number"
    except Refused as error:
        return None, str(error)
    except Exception as error:  # the boundary to the tokenizers library, which raises plain Exception
        return None, f"model/tokenizer.json does not load: {str(error)[:200]}"


def token_texts(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """One text a token; together they are the completion. A character spread over several tokens stands at its last
    one."""
    stream = DecodeStream(skip_special_tokens=False)
    texts = []
    for token_id in token_ids:
        try:
            texts.append(stream.step(tokenizer, token_id) or "")
        except Exception:  # the same boundary: an id outside the vocabulary, or an invalid prefix
            stream = DecodeStream(skip_special_tokens=False)
            texts.append(
                tokenizer.id_to_token(token_id) or f"<{token_id}>" if 0 <= token_id < 2**32 else f"<{token_id}>"
            )
    return texts
