"""Log-probs of chosen tokens: by hand, with temperature and bans, in chunks, and as TRL computes them."""

from __future__ import annotations

import math

import pytest
import torch

import rl.algo.logprobs
from rl.algo.logprobs import chunked_logprobs, logprobs_and_entropy


def test_by_hand() -> None:
    # logits ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log().repeat(3, 1)
    logprobs, entropy = logprobs_and_entropy(logits, torch.tensor([0, 1, 2]), 1.0)
    assert logprobs.exp().tolist() == pytest.approx([0.125, 0.25, 0.625])
    # -(1/8 ln 1/8 + 1/4 ln 1/4 + 5/8 ln 5/8) = 0.25993 + 0.34657 + 0.29375
    assert entropy.tolist() == pytest.approx([0.90026] * 3, abs=1e-4)


def test_temperature_divides_before_the_softmax() -> None:
    # T = 0.5 squares the odds: 1, 4, 25 of 30
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log()
    logprobs, _ = logprobs_and_entropy(logits, torch.tensor([1]), 0.5)
    assert logprobs.exp().item() == pytest.approx(4 / 30)


def test_banned_tokens_leave_the_distribution_before_the_softmax() -> None:
    # Without the third token: 1/3, 2/3, entropy 0.6365
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log().repeat(2, 1)
    logprobs, entropy = logprobs_and_entropy(logits, torch.tensor([1, 2]), 1.0, banned=(2,))
    assert logprobs[0].exp().item() == pytest.approx(2 / 3)
    assert logprobs[1].item() == -math.inf
    assert entropy.tolist() == pytest.approx([0.6365, 0.6365], abs=1e-4)


def test_a_banned_token_gets_no_gradient_and_no_nan() -> None:
    logits = torch.randn(4, 6, requires_grad=True)
    logprobs, _ = logprobs_and_entropy(logits, torch.tensor([0, 1, 2, 3]), 0.9, banned=(4, 5))
    logprobs.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[:, 4:] == 0).all()


def test_half_precision_logits_are_raised_to_fp32_first() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets = torch.arange(5)
    exact = logits.double().div(0.9).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(logprobs_and_entropy(logits, targets, 0.9)[0].double(), exact, atol=1e-6)


def test_a_temperature_of_zero_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        logprobs_and_entropy(torch.zeros(1, 2), torch.tensor([0]), 0.0)


def test_chunks_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(8, 30, bias=False)
    targets = torch.randint(0, 28, (11,), generator=generator)
    results = []
    for budget in (1 << 26, 30 * 4, 1):  # all at once, four tokens at a time, one at a time
        monkeypatch.setattr(rl.algo.logprobs, "CHUNK_LOGITS", budget)
        hidden = torch.randn(11, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        head.weight.grad = None
        logprobs, entropy = chunked_logprobs(hidden, head, targets, 0.9, banned=(29,), vocab_size=30)
        logprobs.sum().backward()
        results.append((logprobs.detach(), entropy, hidden.grad, head.weight.grad))
    for other in results[1:]:
        for ours, whole in zip(other, results[0], strict=True):
            assert torch.allclose(ours, whole, atol=1e-6)  # type: ignore[arg-type]


def test_equal_to_trl() -> None:
    trl = pytest.importorskip("trl.trainer.utils")
    logits = torch.randn(2, 7, 40, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.randint(0, 40, (2, 7), generator=torch.Generator().manual_seed(1))
    logprobs, entropy = logprobs_and_entropy(logits.flatten(0, 1), targets.flatten(), 0.9)
    assert torch.allclose(logprobs.view(2, 7), trl.selective_log_softmax(logits / 0.9, targets), atol=1e-5)
    assert torch.allclose(entropy.view(2, 7), trl.entropy_from_logits(logits / 0.9), atol=1e-5)


def plain(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The log-probs as torch's own operations give them, with temperature 0.9 and token 5 banned."""
    scaled = (logits.float() / 0.9).masked_fill(torch.arange(logits.shape[-1]) == 5, -torch.inf)
    return scaled.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 40 * 3, 1 << 20])
def test_blocks_change_no_bit_and_the_gradient_is_that_of_torch(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, block: int
) -> None:
    monkeypatch.setattr(rl.algo.logprobs, "BLOCK_LOGITS", block)
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(7, 40, generator=generator) * 3).to(dtype)
    targets, weights = torch.randint(6, 40, (7,), generator=generator), torch.randn(7, generator=generator)
    found = []
    for score in (plain, lambda one, its: logprobs_and_entropy(one, its, 0.9, (5,))[0]):
        leaf = logits.clone().requires_grad_()
        logprobs = score(leaf, targets)
        (logprobs * weights).sum().backward()
        found.append((logprobs.detach(), leaf.grad))
    (by_torch, its_gradient), (ours, gradient) = found
    assert torch.equal(ours, by_torch)
    assert gradient is not None and its_gradient is not None and gradient.dtype == dtype
    assert torch.allclose(gradient.float(), its_gradient.float(), rtol=0, atol=1e-6)


def test_one_copy_of_the_logits_is_kept_and_none_where_nothing_learns() -> None:
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    logits, targets = torch.randn(5, 64, requires_grad=True), torch.arange(5)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logprobs_and_entropy(logits, targets, 0.9, (60,))
        with torch.no_grad():
            logprobs_and_entropy(logits, targets, 0.9, (60,))
    assert kept.count(5 * 64) == 1 and sum(kept) == 5 * 64 + 5


def test_a_second_backward_pass_is_an_error() -> None:
    logits = torch.randn(5, 64, requires_grad=True)
    logprobs, _ = logprobs_and_entropy(logits, torch.arange(5), 0.9, (60,))
    logprobs.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logprobs.sum().backward()


def test_no_token_at_all_has_no_log_probs() -> None:
    logits = torch.randn(0, 30, requires_grad=True)
    logprobs, entropies = logprobs_and_entropy(logits, torch.zeros(0, dtype=torch.long), 0.9, (3,))
    logprobs.sum().backward()
    assert logprobs.shape == entropies.shape == (0,) and logits.grad is not None
