"""The eager form against the textbook form in float64; `row_checks` has the gradient checks."""

import pytest
import torch

from hrm_rl.kernels.stablemax import stablemax_cross_entropy


def textbook(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log of s(x_y) / sum s, the branches written out, in float64."""
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x.clamp_max(0)), x.clamp_min(0) + 1)
    chosen = (s / s.sum(-1, keepdim=True)).gather(-1, labels[..., None]).squeeze(-1)
    return -chosen.log()


def sample(scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(64, 7, 11, generator=generator)
    return logits, torch.randint(11, (64, 7), generator=generator)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 1e3, 1e4])
def test_loss_and_gradient_are_those_of_the_textbook(scale) -> None:
    logits, labels = sample(scale)
    logits.requires_grad_()
    loss = stablemax_cross_entropy(logits, labels)
    assert loss.dtype == torch.float32 and loss.shape == (64, 7)
    exact = logits.detach().double().requires_grad_()
    wanted = textbook(exact, labels)
    torch.testing.assert_close(loss.double(), wanted, rtol=2e-6, atol=1e-7)
    loss.sum().backward()
    wanted.sum().backward()
    worst = exact.grad.abs().max()
    assert ((logits.grad.double() - exact.grad).abs().max() / worst).item() < 2e-6


def test_small_losses_keep_their_digits() -> None:
    """Where the label dominates, 1 - p in float32 would cancel."""
    logits = torch.tensor([[1e7, -1e4, -1e4]])
    loss = stablemax_cross_entropy(logits, torch.tensor([0])).double()
    torch.testing.assert_close(loss, textbook(logits, torch.tensor([0])), rtol=1e-5, atol=0)
    assert loss.item() == pytest.approx(2e-11, rel=0.01)


@pytest.mark.parametrize("value", [-30.0, 0.0, -0.0, 1.0, 4.0])
def test_equal_logits_cost_log_of_the_vocabulary(value) -> None:
    """Also at the branch and at 1, the pole of 1 / (1 - x) in the branch not taken there."""
    logits = torch.full((2, 5), value, requires_grad=True)
    loss = stablemax_cross_entropy(logits, torch.tensor([0, 3]))
    torch.testing.assert_close(loss, torch.full((2,), 5.0).log())
    loss.sum().backward()
    slope = 1 / (1 + abs(value))  # of log s
    wanted = torch.full((2, 5), slope / 5)
    wanted[0, 0] -= slope
    wanted[1, 3] -= slope
    torch.testing.assert_close(logits.grad, wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype) -> None:
    logits, labels = sample(5.0)
    half = logits.to(dtype).requires_grad_()
    loss = stablemax_cross_entropy(half, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, stablemax_cross_entropy(half.detach().float(), labels))
    loss.sum().backward()
    assert half.grad.dtype == dtype
