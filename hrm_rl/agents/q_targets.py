"""The bootstrap target of Q_continue: what thinking on is worth. Source: paper, section 2, ACT."""

from typing import Literal

import torch
from torch import Tensor

QTarget = Literal["full", "none"]
Q_TARGETS: tuple[QTarget, ...] = ("full", "none")


def continue_target(
    next_q_halt: Tensor,
    next_q_continue: Tensor,
    last: Tensor,
    gamma: float = 1.0,
    segment_cost: float = 0.0,
) -> Tensor:
    """The value of running another segment, [B] in [0, 1].

    `next_*` are the Q logits one segment later, from the carry before any reset. After the last
    segment only halting is left: `sigmoid(next_q_halt)`; before it the better of both. With a price
    on segments, `clamp(gamma * value - segment_cost, 0, 1)`.
    """
    best = torch.where(last, next_q_halt, torch.maximum(next_q_halt, next_q_continue))
    target = best.sigmoid()
    if gamma == 1.0 and segment_cost == 0.0:
        return target
    return (gamma * target - segment_cost).clamp(0.0, 1.0)
