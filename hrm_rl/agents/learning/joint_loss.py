"""Losses of a whole episode that train the halting unit together with the answers.

The Q head's halt logit is the halting unit: `lambda_t = sigmoid(q_halt_t)` at segment t of M. Both
losses weigh the segments' own losses L_t by how likely the episode is to stop at t, and add a price:

    ponder    sum_t p_t L_t + weight KL(p || prior)     PonderNet, arXiv 2107.05407, sections 2.1-2.3
    act       sum_t w_t L_t + cost (N + R)              Graves, arXiv 1603.08983, section 2

Graves' network averages the states and outputs of its steps by w and takes one loss of the mean. A
segment of HRM is a complete answer with a loss of its own, so here w weighs the losses.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class EpisodeLoss(NamedTuple):
    """What an episode costs; `loss` carries gradient to the segments' losses and halt logits."""

    loss: Tensor  # [B]: the weighed losses and the price
    price: Tensor  # [B]: weight KL(p || prior), or cost (N + R)
    segments: Tensor  # [B]: the mean of p, or N
    weights: Tensor  # [M, B]: p or w; they sum to 1 over the segments


def ponder_loss(losses: Tensor, q_halt: Tensor, prior: float, weight: float) -> EpisodeLoss:
    """PonderNet's loss, with the probability left over at the limit given to the last segment.

    `p_t = lambda_t prod_{j<t} (1 - lambda_j)` for t < M, `p_M = prod_{j<M} (1 - lambda_j)`; the prior
    is the geometric distribution of rate `prior` on 1..M, scaled to sum to 1.

    Args:
        losses: L_t, [M, B].
        q_halt: halt logits, [M, B].
        prior: lambda_p, in (0, 1); 1 / lambda_p segments are its mean without a limit.
        weight: beta, of the divergence.
    """
    limit = len(losses)
    going_on = F.logsigmoid(-q_halt[:-1]).cumsum(0)  # [M - 1, B]: log prod_{j<=t} (1 - lambda_j)
    reached = torch.cat((torch.zeros_like(q_halt[:1]), going_on))  # [M, B]
    stops = torch.cat((F.logsigmoid(q_halt[:-1]), torch.zeros_like(q_halt[:1])))
    log_p = reached + stops
    p = log_p.exp()
    count = torch.arange(1, limit + 1, dtype=p.dtype, device=p.device)[:, None]
    log_prior = (count - 1) * math.log1p(-prior) + math.log(prior)
    log_prior = log_prior - math.log(-math.expm1(limit * math.log1p(-prior)))
    price = weight * (p * (log_p - log_prior)).sum(0)
    return EpisodeLoss(
        (p * losses).sum(0) + price, price.detach(), (count * p).sum(0).detach(), p.detach()
    )


def act_loss(losses: Tensor, q_halt: Tensor, cost: float, epsilon: float) -> EpisodeLoss:
    """Graves' weights and ponder cost.

    N is the first segment at which the sum of lambda reaches 1 - epsilon, or the limit; `w_t =
    lambda_t` before it and the remainder `w_N = R = 1 - sum_{t<N} lambda_t` at it, nothing after. The
    gradient is the published one: N counts as a constant, so `d(N + R) / d lambda_t` is -1 for t < N
    and 0 from there on.

    Args:
        losses: L_t, [M, B].
        q_halt: halt logits, [M, B].
        cost: tau, the price of N + R.
        epsilon: in (0, 1); how far below 1 the sum may stop.
    """
    rates = q_halt.sigmoid()
    total = rates.cumsum(0)
    before = torch.cat((torch.zeros_like(total[:1]), total[:-1]))  # sum over j < t
    runs = before < 1 - epsilon
    stops = total >= 1 - epsilon
    stops[-1] = True
    last = runs & stops
    w = torch.where(last, 1 - before, torch.where(runs, rates, 0.0))
    steps = runs.sum(0).to(w.dtype)
    price = cost * (steps + torch.where(last, 1 - before, 0.0).sum(0))
    return EpisodeLoss((w * losses).sum(0) + price, price.detach(), steps, w.detach())
