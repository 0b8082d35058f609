"""Losses of an episode with a halting unit, against sums written out by hand."""

import math

import pytest
import torch

from hrm_rl.agents.learning.halting_loss import ACT, PonderNet


def logits(*rates: float) -> torch.Tensor:
    """Halt logits of one row with these probabilities, [M, 1]."""
    return torch.tensor(rates, dtype=torch.float64).logit()[:, None].requires_grad_()


def losses(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None].requires_grad_()


def by_rate(loss: torch.Tensor, q_halt: torch.Tensor) -> list[float]:
    """The loss's derivatives by lambda_t, from those by its logit."""
    (gradient,) = torch.autograd.grad(loss.sum(), q_halt)
    rate = q_halt.detach().sigmoid()
    return (gradient / (rate * (1 - rate)))[:, 0].tolist()


# --- PonderNet ------------------------------------------------------------------------------------


def test_halting_distribution_by_hand() -> None:
    """The limit takes what is left, whatever the last unit says."""
    for last in (0.1, 0.9):
        episode = PonderNet(0.5, 0.0)(losses(3, 2, 1), logits(0.25, 0.5, last))
        assert episode.weights[:, 0].tolist() == pytest.approx([0.25, 0.375, 0.375])
        assert episode.loss.item() == pytest.approx(0.75 + 0.75 + 0.375)
        assert episode.segments.item() == pytest.approx(0.25 + 0.75 + 1.125)
        assert episode.price == 0


def test_divergence_from_the_cut_geometric_prior_by_hand() -> None:
    p, prior = [0.25, 0.375, 0.375], [4 / 7, 2 / 7, 1 / 7]  # 1/2, 1/4, 1/8 scaled to 1
    wanted = 2.0 * sum(a * math.log(a / b) for a, b in zip(p, prior, strict=True))
    episode = PonderNet(0.5, 2.0)(losses(0, 0, 0), logits(0.25, 0.5, 0.5))
    assert episode.price.item() == episode.loss.item() == pytest.approx(wanted)


def test_the_prior_itself_costs_nothing_and_is_a_minimum() -> None:
    q_halt = logits(4 / 7, 2 / 3, 0.5)
    episode = PonderNet(0.5, 1.0)(losses(0, 0, 0), q_halt)
    assert episode.loss.item() == pytest.approx(0, abs=1e-12)
    assert by_rate(episode.loss, q_halt) == pytest.approx([0, 0, 0], abs=1e-12)


def test_gradient_of_the_weights_by_hand() -> None:
    """d loss / d lambda_1 = L_1 - (the loss of going on)."""
    q_halt, ce = logits(0.25, 0.5, 0.5), losses(3, 2, 1)
    episode = PonderNet(0.5, 0.0)(ce, q_halt)
    assert by_rate(episode.loss, q_halt) == pytest.approx([3 - 1.5, 0.75 * (2 - 1), 0])
    (weights,) = torch.autograd.grad(PonderNet(0.5, 1.0)(ce, q_halt).loss.sum(), ce)
    assert torch.equal(weights, episode.weights)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_certain_units_leave_the_loss_finite(logit) -> None:
    q_halt = torch.full((4, 1), logit, requires_grad=True)
    episode = PonderNet(0.2, 0.01)(torch.ones(4, 1), q_halt)
    assert episode.loss.isfinite().all()
    assert episode.segments.item() == (1 if logit > 0 else 4)
    episode.loss.sum().backward()
    assert q_halt.grad.isfinite().all()


# --- Graves' ACT ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "weights", "steps", "slopes"),
    [
        # 0.3 + 0.4 + 0.5 passes 0.99 at the third: it takes the remainder 0.3, the fourth nothing.
        ([0.3, 0.4, 0.5, 0.6], [0.3, 0.4, 0.3, 0], 3, [8 - 2, 4 - 2, 0, 0]),
        ([0.1, 0.1, 0.1, 0.9], [0.1, 0.1, 0.1, 0.7], 4, [8 - 1, 4 - 1, 2 - 1, 0]),  # the limit
        ([0.995, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1, [0, 0, 0, 0]),  # at once
    ],
)
def test_weights_cost_and_gradient_by_hand(rates, weights, steps, slopes) -> None:
    q_halt, ce = logits(*rates), losses(8, 4, 2, 1)
    episode = ACT(0.5, 0.01)(ce, q_halt)
    remainder = weights[steps - 1]
    assert episode.weights[:, 0].tolist() == pytest.approx(weights)
    assert episode.segments.item() == steps
    assert episode.price.item() == pytest.approx(0.5 * (steps + remainder))
    weighed = sum(w * loss for w, loss in zip(weights, (8, 4, 2, 1), strict=True))
    assert episode.loss.item() == pytest.approx(weighed + 0.5 * (steps + remainder))
    # The published derivative of the price: -cost before the last segment, 0 from there on.
    wanted = [s - 0.5 * (t < steps - 1) for t, s in enumerate(slopes)]
    assert by_rate(episode.loss, q_halt) == pytest.approx(wanted)


def test_epsilon_says_when_the_sum_is_full() -> None:
    """So that one segment may do: 0.95 is full with 0.1 left open and not with 0.01."""
    q_halt, ce = logits(0.95, 0.95), losses(1, 1)
    assert ACT(0.0, 0.1)(ce, q_halt).segments == 1
    assert ACT(0.0, 0.01)(ce, q_halt).segments == 2


def test_rows_do_not_mix() -> None:
    generator = torch.Generator().manual_seed(0)
    ce = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    q_halt = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    for loss in (PonderNet(0.3, 0.1), ACT(0.1, 0.01)):
        whole = loss(ce, q_halt)
        for row in range(6):
            alone = loss(ce[:, row : row + 1], q_halt[:, row : row + 1])
            for a, b in zip(whole, alone, strict=True):
                torch.testing.assert_close(a[..., row : row + 1], b)
        torch.testing.assert_close(whole.weights.sum(0), torch.ones(6, dtype=torch.float64))
