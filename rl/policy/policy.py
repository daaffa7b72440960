"""The policy that learns, by whatever objective it is given, and the reference it is held to.

The same code runs alone and as one of several ranks under torch.distributed (FSDP2). There every rank calls the same
methods at the same time, each with its own rows (`rl.policy.batching.split_rows`), and the denominators are those of
the whole minibatch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rl.algo.denominators import Denominators
from rl.config import LoraConfig, Train
from rl.policy.attention import Attention
from rl.policy.batching import MicroBatch, Row, in_order, make_micro_batches
from rl.policy.checkpoints import Stored
from rl.policy.objectives import Objective
from rl.policy.optimizer import MOMENTS, learning_rate, make_optimizer, moment_of
from rl.policy.parts import Parts
from rl.policy.ranks import Piece, full, piece_of, rank, reduce, sharded_as, world_size
from rl.policy.sharding import PLAIN, Layout, recompute_layers, shard, sync_gradients
from rl.policy.token_model import DTYPES, TokenModel, open_token_model
from rollouts.prompt.families import ONE_TILE, ImageSettings
from rollouts.prompt.processing import EncodedPrompt, load_processor, media_token_ids

MAX_SKIPS_IN_A_ROW = 3
# Where an exported model keeps the adapter alone, in PEFT's format: a folder of its own, because transformers takes an
# adapter_config.json beside a model for the model's own adapter.
ADAPTER = "adapter"


class NonFiniteUpdate(RuntimeError):
    """Reward, advantage, log-prob, loss or gradient was NaN or infinite in several updates in a row; the weights are
    those before the first."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


@dataclass
class _Sums:
    """What has been added up of a minibatch on this rank, beside its gradients."""

    # By the names of metrics, in float64.
    values: dict[str, Tensor] = field(default_factory=dict)
    finite: bool = True
    # Whether any row came with an image.
    saw_media: bool = False


class Policy:
    """A model with its optimiser. All of its state is in `state()`; on CPU equal states and rows give equal bits."""

    def __init__(
        self,
        path: str | Path,
        objective: Objective,
        *,
        total_updates: int,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "cpu",
        attention: Attention = "auto",
        images: ImageSettings = ONE_TILE,
        train: Train = "all",
        lora: LoraConfig | None = None,
        seed: int = 0,
        layout: Layout = PLAIN,
    ) -> None:
        """Load the model of a folder. `total_updates` are those of the whole run (GRPO: steps x minibatches); where
        there are several ranks, the process group must stand before this.

        Args:
            train: which parts learn (rl/policy/parts.py); `lora` says how the adapters are built, `seed` how they
                begin.

        Raises:
            FileNotFoundError: no such folder, or no processor in it.
            UnknownFamily: the model's family is not in rollouts/prompt/families.py.
            NothingLearns, NoSuchLayer: `train` or `lora` name what the model does not have.
        """
        self.objective = objective
        self.total_updates = total_updates
        self.processor = load_processor(path, images)
        media = media_token_ids(self.processor)
        self.tokens, fill = open_token_model(
            path, temperature=objective.temperature, banned=media, dtype=dtype, device=device, attention=attention
        )
        self.tokens.measure = objective.measure
        if not objective.bans_media:  # padding was chosen beside these tokens all the same
            self.tokens.banned = ()
        self.parts = Parts(self.tokens.model, self.tokens.family, train, lora, seed=seed, dtype=DTYPES[dtype])
        self.layout = layout
        if layout.activation_checkpointing:
            recompute_layers(self.tokens)
        shard(self.tokens, layout.fsdp_size)
        fill()
        self.parts.remember_frozen()
        self.export_dtype = DTYPES[dtype]
        self.optimizer = make_optimizer(self.tokens, objective.optimizer, layout.optimizer_state)
        # Optimiser updates done, and updates skipped since the last good one.
        self.updates = 0
        self.skips_in_a_row = 0
        self._sums = _Sums()

    def log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """Log-prob (nats, at most 0) of every completion token under the policy as it stands, one list a row, in the
        order given.

        Several ranks: all must call it, a rank without rows with an empty list.
        """
        return _log_probs(self.tokens, rows, self.objective.micro_batch_tokens)

    def reference_log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """`log_probs` under the base of the adapter, which is what the policy began as.

        Raises:
            ValueError: nothing but model.train=lora keeps its base.
        """
        with self.parts.switched_off():
            return self.log_probs(rows)

    def accumulate(self, rows: Sequence[Row]) -> None:
        """Add up the gradients of the first rows of a minibatch, or of some more; `update` brings the last ones. In
        which pieces a minibatch comes is in its numbers by rounding.

        Raises:
            ValueError: there are several ranks, whose gradients are added up in the last backward pass of a minibatch.
        """
        if world_size() > 1:
            raise ValueError(f"a piece of a minibatch on {world_size()} ranks; give them the whole minibatch at once")
        self._add_up(rows)

    def update(self, rows: Sequence[Row], totals: Denominators) -> dict[str, float]:
        """One optimiser update on this rank's rows of one minibatch, those that were given to `accumulate` before it
        included; `totals` count the valid rows of all ranks.

        Returns `loss`, the objective's means over the tokens of the minibatch (TRL's names), `grad_norm`,
        `learning_rate`, and `update/skipped`: 1.0 when something was not finite and weights, optimiser and schedule
        stayed untouched on all ranks.

        Raises:
            NonFiniteUpdate: the third such update in a row.
        """
        if totals.num_rows == 0:
            return {"update/skipped": 0.0, "update/num_rows": 0.0}
        self._add_up(rows)
        sums, self._sums = self._sums, _Sums()
        if world_size() > 1 and not _all_ranks(torch.tensor([float(sums.saw_media)]), self.tokens, "max").item():
            self.tokens.drop_zeros()
        divisor = self.objective.divisor(totals)
        parameters = [parameter for parameter in self.tokens.parameters() if parameter.grad is not None]
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.div_(divisor)
        norm = float(full(torch.nn.utils.clip_grad_norm_(parameters, self.objective.optimizer.max_grad_norm)))
        return self._step(sums, norm, divisor, totals)

    def _add_up(self, rows: Sequence[Row]) -> None:
        """Gradients and sums of these rows, without the divisor of the minibatch, which is known at its end."""
        sums = self._sums
        valid_rows = [row for row in rows if row.valid and row.completion_ids]
        batches = _same_count_on_all_ranks(
            self.tokens, make_micro_batches(valid_rows, self.objective.micro_batch_tokens, self.tokens.pad_id)
        )
        for number, batch in enumerate(batches, start=1):
            sync_gradients(self.tokens, self.layout.gradient_sync == "micro_batch" or number == len(batches))
            loss, parts = self._loss(batch, valid_rows)
            # FSDP averages gradients over the ranks; the divisor is that of all ranks.
            (loss * world_size()).backward()
            for name, value in {"loss": loss.detach(), **parts}.items():
                sums.values[name] = sums.values.get(name, 0.0) + value.double()
            sums.saw_media |= any(part.media for tree in batch.trees for part in tree.prompt.parts)
        sums.finite &= self.objective.finite(valid_rows)

    def _loss(self, batch: MicroBatch, rows: Sequence[Row]) -> tuple[Tensor, dict[str, Tensor]]:
        logprobs_N, measured_N = self.tokens(batch)
        if not batch.rows:  # fills up the count of micro-batches on this rank; see `_same_count_on_all_ranks`
            return logprobs_N.sum() * 0.0, {}
        return self.objective.loss(batch, rows, logprobs_N, measured_N)

    def _step(self, sums: _Sums, norm: float, divisor: float, totals: Denominators) -> dict[str, float]:
        names = ["loss", *self.objective.metrics]
        zero = torch.zeros((), dtype=torch.float64, device=self.tokens.device)
        values = torch.stack([sums.values.get(name, zero) for name in names]).cpu()
        local_fault = not (sums.finite and math.isfinite(norm) and bool(torch.isfinite(values).all()))
        fault = bool(_all_ranks(torch.tensor([float(local_fault)]), self.tokens, "max").item())
        values = _all_ranks(values, self.tokens)
        walk = self.objective.optimizer
        rate = learning_rate(
            self.updates,
            self.total_updates,
            peak=walk.learning_rate,
            warmup_ratio=walk.warmup_ratio,
            kind=walk.lr_scheduler_type,
        )
        counts = dict.fromkeys(names, max(totals.num_tokens, 1.0)) | {"loss": divisor}
        counts |= dict.fromkeys(self.objective.metrics_of_rows, max(totals.num_rows, 1.0))
        metrics = {name: float(value) / counts[name] for name, value in zip(names, values, strict=True)}
        metrics |= {"grad_norm": norm, "learning_rate": rate, "update/skipped": float(fault)}
        metrics["update/num_rows"] = float(totals.num_rows)
        if fault:
            self._skip(metrics)
            return metrics
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        # Nobody reads them again, the next minibatch adds up its own, and the next passes need their room.
        self.optimizer.zero_grad(set_to_none=True)
        self.updates += 1
        self.skips_in_a_row = 0
        return metrics

    def _skip(self, metrics: Mapping[str, float]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.skips_in_a_row += 1
        if self.skips_in_a_row >= MAX_SKIPS_IN_A_ROW:
            raise NonFiniteUpdate(
                f"{self.skips_in_a_row} updates in a row were not finite (loss {metrics['loss']}, grad_norm"
                f" {metrics['grad_norm']}) after {self.updates} good ones;"
                f" {self.objective.advice}"
            )

    def weights(self, device: str = "cpu") -> dict[str, Tensor]:
        """All weights by their Hugging Face names in the run's dtype, on `device`, tied ones once, adapters merged;
        every rank must call it, every rank gets them. On the CPU they are copies; on the policy's own device a tensor
        that is whole and of this dtype is the policy's own, so that it must be read before the next update."""
        return dict(self.each_weight(device))

    def collected(self) -> dict[str, Tensor]:
        """The same on the CPU of the first rank alone; the others help to collect them, get nothing, and hold one
        tensor at a time. Every rank must call it."""
        if rank() == 0:
            return self.weights()
        for _ in self.each_weight(str(self.tokens.device)):
            pass
        return {}

    def each_weight(self, device: str) -> Iterator[tuple[str, Tensor]]:
        """The same one after the other, for whoever needs them once and not together; every rank must exhaust it."""
        tied = getattr(self.tokens.model, "all_tied_weights_keys", None) or {}
        state = {name: tensor for name, tensor in self.tokens.model.state_dict().items() if name not in tied}
        for name, tensor in self.parts.merged(state, self.export_dtype):
            dtype = self.export_dtype if tensor.is_floating_point() else tensor.dtype
            yield name, tensor.detach().to(device, dtype, copy=device == "cpu").contiguous()

    def save_pretrained(self, path: str | Path) -> Path:
        """Model and processor in Hugging Face format, for transformers and vLLM, and in the folder ADAPTER inside it
        the adapter alone, where there is one; every rank must call it, the first writes.

        Raises:
            FrozenPartChanged: weights that must not learn are not those of the beginning.
        """
        self.parts.check_frozen()
        weights = self.collected()
        if rank() == 0:
            self.tokens.model.save_pretrained(path, state_dict=weights)
            self.processor.save_pretrained(path)
        self.parts.save_adapter(Path(path) / ADAPTER)
        return Path(path)

    def _learning(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The parameters that learn, by name."""
        return [(name, one) for name, one in self.tokens.named_parameters() if one.requires_grad]

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything an exact resume needs beside the model that the run began with: tensors (fp32 weights that learn,
        both moments, RNG) and JSON. Every rank must call it.

        Raises:
            FrozenPartChanged: weights that must not learn are not those of the beginning.
        """
        pieces, meta = self.pieces()
        learning = dict(self._learning())
        tensors = {"rng": pieces.pop("rng").rows}
        for name, piece in pieces.items():
            parameter = learning[name.partition("/")[2]]
            whole = full(sharded_as(piece.rows, parameter)) if piece.shape else piece.rows
            tensors[name] = whole.cpu().clone()
        return tensors, meta

    def pieces(self) -> tuple[dict[str, Piece], dict[str, Any]]:
        """The same as it lies in the memory of this rank, neither collected nor copied.

        Raises:
            FrozenPartChanged: weights that must not learn are not those of the beginning.
        """
        self.parts.check_frozen()
        pieces = {"rng": piece_of(torch.get_rng_state())}
        for name, parameter in self._learning():
            pieces[f"weight/{name}"] = piece_of(parameter.detach())
            for key, value in self.optimizer.state[parameter].items():
                pieces[f"{key}/{name}"] = piece_of(value, parameter)
        return pieces, {
            "updates": self.updates,
            "skips_in_a_row": self.skips_in_a_row,
            "total_updates": self.total_updates,
            "parts": self.parts.identity(),
        }

    def load_state(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Take up a `state()` or the tensors of a checkpoint, of any number of ranks; of those each rank reads the rows
        that it holds.

        Raises:
            ValueError: it is the state of another model, of another mask or rank of adapters, or of a run of another
                length.
        """
        self.parts.check_identity(meta.get("parts", {}))
        self._check_fit(tensors, meta)
        self.optimizer.state.clear()
        with torch.no_grad():
            for name, parameter in self._learning():
                mine = piece_of(parameter.detach())
                span = (mine.start, mine.start + len(mine.rows))
                mine.rows.copy_(_rows(tensors, f"weight/{name}", *span))
                if f"step/{name}" in tensors:
                    moments = {key: _rows(tensors, f"{key}/{name}", *span) for key in MOMENTS}
                    self.optimizer.state[parameter] = {
                        "step": tensors[f"step/{name}"].to(parameter.device, copy=True),
                        **{key: moment_of(self.optimizer, rows, parameter) for key, rows in moments.items()},
                    }
        self._sums = _Sums()
        self.optimizer.zero_grad(set_to_none=True)
        torch.set_rng_state(tensors["rng"])
        self.updates = int(meta["updates"])
        self.skips_in_a_row = int(meta["skips_in_a_row"])

    def _check_fit(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        names = [name for name, _ in self._learning()]
        absent = [name for name in names if f"weight/{name}" not in tensors]
        strange = [name for name in tensors if name.startswith("weight/") and name.partition("/")[2] not in names]
        if absent or strange or meta["total_updates"] != self.total_updates:
            examples = "".join(f", such as {name}" for name in absent[:1])
            raise ValueError(
                f"the state does not fit this run: {len(absent)} of {len(names)} weights are missing{examples},"
                f" {len(strange)} belong to no parameter here, and it counts {meta['total_updates']} updates where this"
                f" run has {self.total_updates}; resume with the configuration it was saved with"
            )
        for name, parameter in self._learning():
            shape = tuple(_shape(tensors, f"weight/{name}"))
            if shape != tuple(parameter.shape):
                raise ValueError(
                    f"the state is of another model: {name} has the shape {shape} there and {tuple(parameter.shape)}"
                    " here; resume with the model it was saved from"
                )


class Reference:
    """The frozen model of a folder: log-probs only, no gradient. Whole it needs no process group; in shards
    (`Layout.reference`) it is one rank of several, all of which are asked at the same time."""

    def __init__(
        self,
        path: str | Path,
        *,
        temperature: float,
        micro_batch_tokens: int = 4096,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: str = "cpu",
        attention: Attention = "auto",
        layout: Layout = PLAIN,
    ) -> None:
        banned = media_token_ids(load_processor(path))
        self.alone = layout.reference == "whole"
        self.tokens, fill = open_token_model(
            path,
            temperature=temperature,
            banned=banned,
            dtype=dtype,
            device=device,
            attention=attention,
            frozen=True,
        )
        if not self.alone:
            shard(self.tokens, layout.fsdp_size, in_host_memory=layout.reference == "cpu")
        fill()
        self.micro_batch_tokens = micro_batch_tokens

    def log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """Log-prob of every completion token under the reference, one list a row, in the order given. In shards all
        ranks must call it, a rank without rows with an empty list."""
        return _log_probs(self.tokens, rows, self.micro_batch_tokens, alone=self.alone)


@torch.no_grad()
def _log_probs(
    tokens: TokenModel, rows: Sequence[Row], token_budget: int, alone: bool = False
) -> list[Sequence[float]]:
    batches = make_micro_batches(rows, token_budget, tokens.pad_id)
    on_all_ranks = batches if alone else _same_count_on_all_ranks(tokens, batches)
    values = [tokens(batch)[0].cpu() for batch in on_all_ranks]
    return in_order(batches, values[: len(batches)], len(rows))


def _same_count_on_all_ranks(tokens: TokenModel, batches: list[MicroBatch]) -> list[MicroBatch]:
    """Every rank must run as many forward passes as the others, or they wait for ever: two pad tokens fill up, worth
    nothing."""
    count = int(_all_ranks(torch.tensor([len(batches)]), tokens, "max").item())
    if count == len(batches):
        return batches
    prompt = EncodedPrompt("filler", "", (tokens.pad_id,), {})
    [filler] = make_micro_batches([Row(prompt, (tokens.pad_id, tokens.pad_id))], 2)
    empty = dataclasses.replace(filler, rows=(), lengths=())
    return batches + [empty] * (count - len(batches))


def _all_ranks(values: Tensor, tokens: TokenModel, operation: str = "sum") -> Tensor:
    return reduce(values.to(tokens.device), operation).cpu()


def _rows(tensors: Mapping[str, Tensor], name: str, start: int, stop: int) -> Tensor:
    return tensors.rows(name, start, stop) if isinstance(tensors, Stored) else tensors[name][start:stop]


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    return tensors.shape(name) if isinstance(tensors, Stored) else tuple(tensors[name].shape)
