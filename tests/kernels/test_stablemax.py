"""The eager form against the textbook form in float64."""

import pytest
import torch

from hrm_rl.kernels.stablemax import stablemax_cross_entropy


def textbook(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log of s(x_y) / sum s, the branches written out, in float64."""
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x.clamp_max(0)), x.clamp_min(0) + 1)
    chosen = (s / s.sum(-1, keepdim=True)).gather(-1, labels[..., None]).squeeze(-1)
    return -chosen.log()


def sample(scale: float, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(64, 7, 11, generator=generator, dtype=dtype)
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
    wanted = textbook(logits, torch.tensor([0]))
    assert wanted.item() == pytest.approx(2e-11, rel=0.01)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0])
def test_gradient_is_finite_at_the_branch_and_at_its_pole(value) -> None:
    """1 / (1 - x) has a pole at 1, in the branch that is not taken there."""
    logits = torch.full((2, 5), value, requires_grad=True)
    stablemax_cross_entropy(logits, torch.tensor([0, 3])).sum().backward()
    slope = 1 / (1 + value)  # of log s, on the right of 0
    wanted = torch.full((2, 5), slope / 5)
    wanted[0, 0] -= slope
    wanted[1, 3] -= slope
    torch.testing.assert_close(logits.grad, wanted)


def test_gradcheck_in_float64() -> None:
    logits, labels = sample(2.0, torch.float64)
    logits = logits[:3, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(stablemax_cross_entropy, (logits, labels[:3, :2]))


def test_incoming_gradient_is_a_factor() -> None:
    logits, labels = sample(1.0)
    weights = torch.rand(64, 7)
    grads = []
    for factor in (torch.ones(64, 7), weights):
        x = logits.clone().requires_grad_()
        (stablemax_cross_entropy(x, labels) * factor).sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(grads[1], grads[0] * weights[..., None])


def test_equal_logits_cost_log_of_the_vocabulary() -> None:
    for value in (-30.0, 0.0, 4.0):
        loss = stablemax_cross_entropy(torch.full((1, 11), value), torch.tensor([7]))
        torch.testing.assert_close(loss, torch.tensor([11.0]).log())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype) -> None:
    logits, labels = sample(5.0)
    half = logits.to(dtype).requires_grad_()
    loss = stablemax_cross_entropy(half, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, stablemax_cross_entropy(half.detach().float(), labels))
    loss.sum().backward()
    assert half.grad.dtype == dtype
