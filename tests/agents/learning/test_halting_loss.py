"""Losses of an episode with a halting unit, against the published sums and cases by hand."""

import math

import pytest
import torch

from hrm_rl.agents.learning.halting_loss import ACT, PonderNet


def logits(*rates: float) -> torch.Tensor:
    """Halt logits of one row with these probabilities, [M, 1]."""
    return torch.tensor(rates, dtype=torch.float64).logit()[:, None].requires_grad_()


def losses(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None].requires_grad_()


def published(loss, ce, q_halt) -> list[torch.Tensor]:
    """Loss, expected segments and weights of one row, segment by segment; ce and q_halt are [M]."""
    total, segments, weights, limit = 0.0, 0.0, [], len(ce)
    left = torch.ones((), dtype=torch.float64)
    if isinstance(loss, PonderNet):
        prior = [loss.ponder_prior * (1 - loss.ponder_prior) ** t for t in range(limit)]
    for t, rate in enumerate(q_halt.sigmoid()):
        if isinstance(loss, PonderNet):
            p = left * rate if t < limit - 1 else left
            price = loss.ponder_weight * p * torch.log(p / (prior[t] / sum(prior)))
            segments = segments + (t + 1) * p
        else:
            ends = t == limit - 1 or (1 - left + rate).item() >= 1 - loss.act_epsilon
            p = left if ends else rate
            price = loss.act_cost * (t + 1 + left) if ends else 0.0
            segments = t + 1
        total, left = total + p * ce[t] + price, left - p
        weights.append(p)
        if isinstance(loss, ACT) and ends:
            break
    weights += [torch.zeros_like(left)] * (limit - len(weights))
    return [total, torch.as_tensor(segments).double(), torch.stack(weights)]


@pytest.mark.parametrize("loss", [PonderNet(0.5, 0.0), PonderNet(0.3, 0.7), ACT(0.5, 0.01), ACT(0.1, 0.3)])
def test_rows_have_the_published_loss_and_gradient(loss) -> None:
    generator = torch.Generator().manual_seed(0)
    ce = torch.rand(5, 40, generator=generator, dtype=torch.float64).requires_grad_()
    q_halt = torch.randn(5, 40, generator=generator, dtype=torch.float64).requires_grad_()
    found = loss(ce, q_halt)
    wanted = [published(loss, ce[:, row], q_halt[:, row]) for row in range(40)]
    value, segments, weights = (torch.stack(column, -1) for column in zip(*wanted, strict=True))
    torch.testing.assert_close(found.loss, value)
    torch.testing.assert_close(found.segments, segments)
    torch.testing.assert_close(found.weights, weights)
    torch.testing.assert_close(found.price, found.loss - (weights * ce).sum(0))
    torch.testing.assert_close(
        torch.autograd.grad(found.loss.sum(), (ce, q_halt)), torch.autograd.grad(value.sum(), (ce, q_halt))
    )
    assert len(found.segments.unique()) > 1  # rows stop at different segments


def test_ponder_by_hand() -> None:
    """The limit takes what is left, whatever the last unit says."""
    p, prior = [0.25, 0.375, 0.375], [4 / 7, 2 / 7, 1 / 7]  # 1/2, 1/4, 1/8 scaled to 1
    divergence = sum(a * math.log(a / b) for a, b in zip(p, prior, strict=True))
    for last in (0.1, 0.9):
        episode = PonderNet(0.5, 2.0)(losses(3, 2, 1), logits(0.25, 0.5, last))
        assert episode.weights[:, 0].tolist() == pytest.approx(p)
        assert episode.segments.item() == pytest.approx(0.25 + 0.75 + 1.125)
        assert episode.price.item() == pytest.approx(2.0 * divergence)
        assert episode.loss.item() == pytest.approx(0.75 + 0.75 + 0.375 + 2.0 * divergence)


def test_the_prior_itself_costs_nothing_and_is_a_minimum() -> None:
    q_halt = logits(4 / 7, 2 / 3, 0.5)
    episode = PonderNet(0.5, 1.0)(losses(0, 0, 0), q_halt)
    assert episode.loss.item() == pytest.approx(0, abs=1e-12)
    (slope,) = torch.autograd.grad(episode.loss.sum(), q_halt)
    assert slope[:, 0].tolist() == pytest.approx([0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_certain_units_leave_the_loss_finite(logit) -> None:
    q_halt = torch.full((4, 1), logit, requires_grad=True)
    episode = PonderNet(0.2, 0.01)(torch.ones(4, 1), q_halt)
    assert episode.loss.isfinite().all()
    assert episode.segments.item() == (1 if logit > 0 else 4)
    episode.loss.sum().backward()
    assert q_halt.grad.isfinite().all()


@pytest.mark.parametrize(
    ("rates", "weights", "steps"),
    [
        # 0.3 + 0.4 + 0.5 passes 0.99 at the third: it takes the remainder 0.3, the fourth nothing.
        ([0.3, 0.4, 0.5, 0.6], [0.3, 0.4, 0.3, 0], 3),
        ([0.1, 0.1, 0.1, 0.9], [0.1, 0.1, 0.1, 0.7], 4),  # the limit
        ([0.995, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1),  # at once
        ([0.95, 0.5, 0.5, 0.5], [0.95, 0.05, 0, 0], 2),  # full with an epsilon of 0.1, not of 0.01
    ],
)
def test_act_by_hand(rates, weights, steps) -> None:
    episode = ACT(0.5, 0.01)(losses(8, 4, 2, 1), logits(*rates))
    assert episode.weights[:, 0].tolist() == pytest.approx(weights)
    assert episode.segments.item() == steps
    assert episode.price.item() == pytest.approx(0.5 * (steps + weights[steps - 1]))
