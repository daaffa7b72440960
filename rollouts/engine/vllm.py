"""Draws completions with vLLM 0.30, in this process, and proves which weights it draws them with. The one home of vLLM.

Completions are handed over as they finish, with the log-probability of every token under the distribution it was drawn
from. New weights come through `reload_weights` with Hugging Face names, which works on CPU (where vLLM packs linear
weights after loading) and on CUDA: as tensors, as handles of this GPU's memory, or over a line from the policy.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Literal

import torch

from rollouts.engine.arguments import engine_arguments
from rollouts.engine.checksum import checksum as checksum_of
from rollouts.engine.checksum import combined
from rollouts.engine.cpu import admit_short_blocks, sample_in_few_steps
from rollouts.engine.handles import Handed, open_and_compare
from rollouts.engine.line import Address
from rollouts.engine.live_weights import (
    Arrived,
    checkpoint_shapes,
    count_elements,
    hear_and_compare,
    join_line,
    reload_and_compare,
)
from rollouts.engine.prompts import group_of, prompt_for_vllm
from rollouts.engine.requests import (
    EngineDead,
    EngineSettings,
    PrefixHits,
    PromptMismatch,
    Refusal,
    Request,
    RequestKey,
    SamplingSettings,
    StaleWeights,
    Stream,
    WeightsRejected,
)
from rollouts.engine.sleeping import KV_CACHE, WEIGHTS, Sleeper
from rollouts.prompt.processing import load_processor
from rollouts.records import Completion

# vLLM reads these while it is imported. One process: no engine process that could outlive ours, no copy of the weights
# on the way.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    # Threads are counted by OMP_NUM_THREADS, not pinned to cores that other workers use too.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
if not torch.cuda.is_available():
    # The CPU sampler would be compiled with g++ before the first token, 2 to 10 s, even with enforce_eager.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

from vllm import EngineArgs, LLMEngine, ModelRegistry, SamplingParams  # noqa: E402 - after the environment it reads
from vllm.sampling_params import RequestOutputKind  # noqa: E402
from vllm.v1.attention.backend import MultipleOf  # noqa: E402
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend  # noqa: E402
from vllm.v1.outputs import LogprobsTensors  # noqa: E402
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor  # noqa: E402
from vllm.v1.sample.logits_processor.builtin import process_dict_updates  # noqa: E402

BANNED = "banned_token_ids"
# Of the streams that this process draws for itself.
_stream_numbers = count()


class BanTokens(LogitsProcessor):
    """Sets the logits of a request's banned tokens to -inf, exactly and at every temperature.

    vLLM's `logit_bias` is clamped at -100 before the temperature, and `bad_words` costs a Python loop over requests and
    words per token.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self.device = device
        self.banned: dict[int, tuple[int, ...]] = {}
        self.rows_K = self.columns_K = torch.empty(0, dtype=torch.long, device=device)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if process_dict_updates(self.banned, batch_update, lambda params, _prompt, _output: _banned_of(params)):
            pairs = [(row, token) for row, tokens in self.banned.items() for token in tokens]
            self.rows_K, self.columns_K = (
                torch.tensor(pairs, dtype=torch.long, device=self.device).reshape(-1, 2).unbind(1)
            )

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        logits[self.rows_K, self.columns_K] = -torch.inf
        return logits


def _banned_of(params: SamplingParams) -> tuple[int, ...] | None:
    """The request's banned tokens; None = none (requests of vLLM's own, such as a warm-up, have no extra arguments)."""
    return params.extra_args[BANNED] or None if params.extra_args else None


class VllmEngine:
    """One vLLM engine. Not thread-safe; one `sample` at a time.

    Args:
        model_path: a folder in Hugging Face format, processor included, or a Hub id.
        settings: sizes and arithmetic.
        disk_version: the weights on disk count as this version, for tools that never update them; None = it must be
            given weights first.
        name: written into every completion and every error.
    """

    def __init__(
        self, model_path: str | Path, settings: EngineSettings, disk_version: int | None = None, name: str = "vllm-0"
    ) -> None:
        self.name = name
        self.settings = settings
        # Version and checksum of the weights in use; None = none that it may sample with.
        self.version = disk_version
        self.checksum: str | None = None
        # Why it may not be used any more; "" = alive.
        self.dead = ""
        if not torch.cuda.is_available():
            admit_short_blocks(CPUAttentionBackend, MultipleOf)
            _look_at_model_here(Path(model_path))
        self._engine = LLMEngine.from_engine_args(_engine_args(str(model_path), settings))
        if not torch.cuda.is_available():
            self._engine.collective_rpc(sample_in_few_steps, args=(LogprobsTensors,))
        # What is being drawn, by the names that vLLM knows it by, and the stream that it is a part of.
        self._names = count()
        self._in_flight: dict[str, Request] = {}
        # Prompts that were rendered ahead, by fingerprint, or what is wrong with them.
        self._prepared: dict[str, Any] = {}
        self._stream = ""
        self._sleeper = Sleeper(self._engine, enabled=settings.shares_gpu)
        self._tokenizer = self._engine.get_tokenizer()
        self._tied = bool(getattr(self._engine.model_config.hf_config, "tie_word_embeddings", False))
        # Of all completions so far.
        self.hits = PrefixHits()
        self._block_size = int(self._engine.vllm_config.cache_config.block_size)
        self._checkpoint_elements = count_elements(checkpoint_shapes(Path(model_path)), self._tied)

    def load_weights(self, version: int, weights: Mapping[str, torch.Tensor], checksum: str) -> None:
        """Take over the policy's weights (Hugging Face names, whole tensors) as `version`; afterwards the engine may
        sample with them.

        Raises:
            WeightsRejected: they arrived changed or incomplete, or the live model does not hold them afterwards. The
                engine then has no version and refuses to sample.
            EngineDead: vLLM failed while it loaded.
        """
        self._forget_weights()
        own_checksum = checksum_of(weights)
        if own_checksum != checksum:
            difference = f"arrived with checksum {own_checksum[:12]}, sent with {checksum[:12]}"
            raise WeightsRejected(f"{self.name}: weights of version {version} {difference}; send them again")
        self._refuse_incomplete(version, {name: tuple(tensor.shape) for name, tensor in weights.items()})
        self._take_over(version, checksum, self._load(version, reload_and_compare, dict(weights)))

    def borrow_weights(self, version: int, handed: Handed, checksum: str) -> None:
        """The same for weights that lie on this engine's GPU in another process, which keeps them until this
        returns."""
        self._forget_weights()
        if combined(handed.fingerprints) != checksum:
            raise WeightsRejected(f"{self.name}: the handles of version {version} are not those of {checksum[:12]}")
        self._refuse_incomplete(version, handed.shapes)
        self._take_over(version, checksum, self._load(version, open_and_compare, handed))

    def join_line(self, address: Address, first_end: int, seconds: float) -> None:
        """Be the end, or the ends from `first_end` on, of a line from the policy; all must join at the same time."""
        self._engine.collective_rpc(join_line, args=(address, first_end, seconds))

    def hear_weights(self, version: int) -> str:
        """Take over what is being sent over the line; returns its checksum. The rest is as in `load_weights`."""
        self._forget_weights()
        answers: list[Arrived] = self._load(version, hear_and_compare, version)
        for answer in answers:
            if answer.checksum != answer.sent_checksum:
                difference = f"arrived with checksum {answer.checksum[:12]}, sent with {answer.sent_checksum[:12]}"
                raise WeightsRejected(f"{self.name}: weights of version {version} {difference}; send them again")
            self._refuse_incomplete(version, answer.shapes)
        self._take_over(version, answers[0].checksum, [(one.num_compared, one.different) for one in answers])
        return answers[0].checksum

    def _forget_weights(self) -> None:
        self._refuse_when_dead()
        self._abandon()
        self.version = self.checksum = None

    def _refuse_incomplete(self, version: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        num_absent = self._checkpoint_elements - count_elements(shapes, self._tied)
        if num_absent > 0:
            problem = f"version {version} lacks {num_absent} numbers that the model on disk has"
            raise WeightsRejected(
                f"{self.name}: {problem}; send every parameter, whole and under its Hugging Face name"
            )

    def _load(self, version: int, loading: Callable[..., Any], weights: Any) -> list[Any]:
        """Let vLLM's workers load `weights` by a function of theirs; what each of them says of it."""
        try:
            self._sleeper.wake(WEIGHTS)
            answers = self._engine.collective_rpc(loading, args=(weights,))
            self._sleeper.wake(KV_CACHE)
            # Features of known images and keys of known prompts belong to the old weights.
            self._engine.reset_mm_cache()
            self._engine.reset_encoder_cache()
            self._engine.reset_prefix_cache()
        except Exception as error:  # vLLM raises many kinds; after any of them layers may be half loaded
            raise self._died(f"while it loaded version {version}", error) from error
        return list(answers)

    def _take_over(self, version: int, checksum: str, comparisons: Sequence[tuple[int, list[str]]]) -> None:
        """The live models hold these weights, if they say so."""
        for num_compared, different in comparisons:
            if different or not num_compared:
                what = f"computes with others in {different[:3]}" if different else "has none of their names"
                raise WeightsRejected(
                    f"{self.name}: weights of version {version} were loaded, but the live model {what}"
                )
        self.version, self.checksum = version, checksum

    def sleep(self) -> None:
        """Give the memory of a shared GPU back until weights are loaded or completions are drawn; see
        `rollouts/engine/sleeping.py`. What is being drawn is forgotten.

        Raises:
            EngineDead: vLLM failed.
        """
        self._refuse_when_dead()
        self._abandon()
        try:
            self._sleeper.sleep()
        except Exception as error:  # vLLM raises many kinds; what of the memory is whose is then unknown
            raise self._died("when it was put to sleep", error) from error

    def confirm(self, version: int, checksum: str) -> None:
        """Raise StaleWeights unless exactly these weights are in use."""
        self._refuse_when_dead()
        if (self.version, self.checksum) != (version, checksum):
            current = f"version {self.version} ({(self.checksum or 'none')[:12]})"
            raise StaleWeights(
                f"{self.name} holds {current}, wanted version {version} ({checksum[:12]}); sync the weights first"
            )

    def prepare(self, requests: Sequence[Request], settings: SamplingSettings | None) -> None:
        """Render these prompts, given by one request each, in the place of those before; None = there are none. What
        is wrong with one is told when it is drawn."""
        self._prepared = {}
        if settings is not None:
            self._prepared = {one.fingerprint: self._rendered(one, settings) for one in requests}

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        """Draw one completion per request and yield each as soon as it is finished; for the rest see
        `sample_together`."""
        for together in self.sample_together(requests, settings):
            yield from together

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        """The same for requests that come in batches, each asked for when there is room for it; the engine runs on from
        one to the next and is empty once, at the end."""
        stream = Stream(f"{self.name}/{next(_stream_numbers)}")
        for batch in batches:
            for together in self.sample_together(batch, settings, stream):
                yield from together
        for together in self.sample_together((), settings, stream.end()):
            yield from together

    def sample_together(
        self, requests: Sequence[Request], settings: SamplingSettings, stream: Stream | None = None
    ) -> Iterator[list[tuple[RequestKey, Completion | Refusal]]]:
        """Draw one completion per request, begun in the order given as room is made; those that finish at the same time
        come in one list. A prompt that vLLM does not take gives a Refusal for each of its requests.

        A completion depends on its prompt, seed, settings and weights, not on its neighbours (up to rounding of the
        arithmetic).

        Args:
            stream: None = this call is all there is. Else it is a part of it, and where more comes it ends when there
                is room for that: what is still being drawn then comes with the next part.

        Raises:
            StaleWeights: other weights than `settings.policy_version` are in use.
            PromptMismatch: vLLM expands a prompt into other tokens than `Request.token_ids`.
            EngineDead: vLLM failed.
        """
        self._make_ready(settings.policy_version, stream)
        prompts: dict[tuple[str, str, str | int], Any] = {}
        todo = deque(requests)
        room = min(self.settings.max_num_seqs, settings.in_flight or self.settings.max_num_seqs)
        room_for_more = room // 2 if stream is not None and stream.more else 0
        in_flight, handed_over = self._in_flight, False
        try:
            while todo or len(in_flight) > room_for_more:
                while todo and len(in_flight) < room:
                    request = todo.popleft()
                    own = request.settings or settings
                    if group_of(request) not in prompts:
                        prompts[group_of(request)] = self._rendered(request, own)
                    prompt = prompts[group_of(request)]
                    if isinstance(prompt, PromptMismatch):
                        raise prompt
                    if isinstance(prompt, Refusal):
                        yield [(request.key, prompt)]
                        continue
                    name = f"{next(self._names)}"
                    self._engine.add_request(name, prompt, _sampling_params(request, own))
                    in_flight[name] = request
                outputs = [(in_flight.pop(output.request_id), output) for output in self._step()] if in_flight else []
                if outputs:
                    yield [(request.key, self._completion(request, output)) for request, output in outputs]
            self._stream = stream.name if stream is not None and stream.more else ""
            handed_over = True
        finally:
            # The reader went away, or something failed: nothing of this call may run on into the next one.
            if not handed_over:
                self._abandon()

    def _make_ready(self, version: int, stream: Stream | None) -> None:
        """Awake, with the weights of `version`, and nothing in flight that is not of this stream."""
        self._refuse_when_dead()
        if self.version is None or self.version != version:
            raise StaleWeights(f"{self.name} holds version {self.version}, wanted {version}; sync the weights first")
        if stream is None or stream.name != self._stream:
            self._abandon()
        self._sleeper.wake(WEIGHTS, KV_CACHE)

    def _abandon(self) -> None:
        """Forget what is still being drawn: nobody reads it any more."""
        if self._in_flight and not self.dead:
            self._engine.abort_request(list(self._in_flight))
        self._in_flight.clear()
        self._stream = ""

    def _rendered(self, request: Request, settings: SamplingSettings) -> Any:
        """The prompt, rendered ahead or now, or why vLLM does not take it. Two readings of one processor
        (PromptMismatch) are a fault of the set-up, and no row's."""
        if request.fingerprint in self._prepared:
            return self._prepared[request.fingerprint]
        try:
            return self._render(request, settings)
        except PromptMismatch as error:
            return error
        except Exception as error:  # a boundary: vLLM's renderer raises many kinds, before the engine has the request
            return Refusal(request.prompt_id, f"{self.name}: {type(error).__name__}: {error}")

    def _render(self, request: Request, settings: SamplingSettings) -> Any:
        """The prompt as vLLM's own input, expanded once for the whole group and compared with the trainer's
        expansion. Where there are no media, nothing is expanded and the trainer's tokens are taken as they are."""
        prompt = self._engine.renderer.render_cmpl([prompt_for_vllm(request, self.name)])[0]
        token_ids = tuple(prompt["prompt_token_ids"])
        if request.token_ids is not None and token_ids != request.token_ids:
            pairs = enumerate(zip(token_ids, request.token_ids, strict=False))
            where = next((place for place, (ours, theirs) in pairs if ours != theirs), "the end of the shorter")
            raise PromptMismatch(
                f"{self.name}: prompt {request.prompt_id!r} has {len(token_ids)} tokens in vLLM and"
                f" {len(request.token_ids)} in the trainer's processor, different from {where} on; both must read the"
                " same processor files"
            )
        if len(token_ids) + settings.max_completion_length > self.settings.max_model_len:
            raise ValueError(
                f"prompt {request.prompt_id!r}: {len(token_ids)} tokens plus max_completion_length"
                f" {settings.max_completion_length} exceed model.max_model_len {self.settings.max_model_len}; raise the"
                " latter"
            )
        return prompt

    def _step(self) -> list[Any]:
        try:
            return [output for output in self._engine.step() if output.finished]
        except Exception as error:  # whatever kind it is, requests are lost and the state is unknown
            raise self._died("while it sampled", error) from error

    def _completion(self, request: Request, output: Any) -> Completion:
        answer = output.outputs[0]
        self.hits += PrefixHits.of(len(output.prompt_token_ids), output.num_cached_tokens or 0, self._block_size)
        token_ids = tuple(answer.token_ids)
        reason: Literal["stop", "length", "abort"] = (
            answer.finish_reason if answer.finish_reason in ("stop", "length") else "abort"
        )
        # The end token is learnt from and so belongs to the ids; a reader does not want to see it.
        visible = token_ids[:-1] if reason == "stop" else token_ids
        return Completion(
            token_ids=token_ids,
            text=self._tokenizer.decode(list(visible), skip_special_tokens=False),
            finish_reason=reason,
            logprobs=tuple(position[token].logprob for token, position in zip(token_ids, answer.logprobs, strict=True)),
            seed=request.seed,
            policy_version=self.version if self.version is not None else -1,
            engine=self.name,
        )

    def _refuse_when_dead(self) -> None:
        if self.dead:
            raise EngineDead(self.dead)

    def _died(self, when: str, error: Exception) -> EngineDead:
        self.version = self.checksum = None
        self.dead = f"{self.name} failed {when}: {type(error).__name__}: {error}; it must be started anew"
        return EngineDead(self.dead)


def _look_at_model_here(model_path: Path) -> None:
    """Import the model's class in this process. vLLM would do it in a subprocess first, to keep CUDA untouched: 10 s on
    a fresh machine."""
    config = model_path / "config.json"
    for name in json.loads(config.read_text(encoding="utf-8"))["architectures"] if config.is_file() else ():
        entry = ModelRegistry.models.get(name)
        if hasattr(entry, "load_model_cls"):
            ModelRegistry.register_model(name, entry.load_model_cls())


def _engine_args(model_path: str, settings: EngineSettings) -> EngineArgs:
    processor = load_processor(model_path, settings.images).for_engine()
    arguments = engine_arguments(model_path, settings, on_cpu=not torch.cuda.is_available(), processor=processor)
    return EngineArgs(**arguments, logits_processors=[BanTokens], disable_log_stats=True)


def _sampling_params(request: Request, settings: SamplingSettings) -> SamplingParams:
    return SamplingParams(
        temperature=settings.temperature,
        max_tokens=settings.max_completion_length,
        seed=None if settings.greedy else request.seed,
        # The log-prob of the drawn token alone.
        logprobs=0,
        # Text is decoded once at the end, not after every token.
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={BANNED: settings.banned_token_ids},
        # They are this request's alone, so that vLLM need not copy them deeply.
        skip_clone=True,
    )
