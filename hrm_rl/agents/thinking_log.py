"""Figures of thinking: how much, at which price, and at which step of an episode."""

from collections.abc import Sequence

import torch
from torch import Tensor

_SPANS = 11


def span_of(step: int) -> str:
    """The span of an episode's steps that holds `step`, from 1: 0001, 0002, 0003-0004, 0005-0008, ..."""
    last = 1 << (step - 1).bit_length()
    first = last // 2 + 1
    return f"{last:04d}" if last <= 2 else f"{first:04d}-{last:04d}"


class ThinkingLog:
    """Counts the segments of an agent in B environments, rollout by rollout, on the device.

    Args:
        costs: of halting at segment 1..K.
        num_envs: B.
        device: of the tensors.
    """

    def __init__(self, costs: Sequence[float], num_envs: int, device: torch.device) -> None:
        self._costs = torch.tensor(costs, device=device)
        self._step = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self._price = torch.zeros(num_envs, device=device)
        self._spans = [span_of(1 << number) for number in range(_SPANS)]
        self._ends = torch.tensor([1 << number for number in range(_SPANS - 1)], device=device)

    def add(self, segments: Tensor, ended: Tensor) -> dict[str, Tensor]:
        """The figures of a rollout: segments before each action, int64 [T, B], and ends, bool [T, B].

        - segments: mean number before an action;
        - halted_at_K: share of the actions with K segments;
        - segments_at_SPAN: mean at these steps of an episode, NaN if none was there; the last span holds all
          later steps;
        - episode_price: mean over the episodes that ended, NaN if none did.
        """
        steps, prices = [], []
        for costs, over in zip(self._costs[segments - 1], ended, strict=True):
            self._step, self._price = self._step + 1, self._price + costs
            steps.append(self._step)
            prices.append(self._price)
            self._step, self._price = self._step * ~over, self._price * ~over
        span = torch.bucketize(torch.stack(steps), self._ends)
        number = torch.arange(1, len(self._costs) + 1, device=span.device)
        shares = (segments[..., None] == number).float().mean((0, 1))
        found = {"segments": segments.float().mean()}
        found |= {f"halted_at_{k}": share for k, share in enumerate(shares, 1)}
        for index, name in enumerate(self._spans):
            found[f"segments_at_{name}"] = mean_where(span == index, segments.float())
        return found | {"episode_price": mean_where(ended, torch.stack(prices))}


def mean_where(mask: Tensor, values: Tensor) -> Tensor:
    """The mean of the values under a mask; NaN if there are none."""
    return torch.where(mask, values, 0.0).sum() / mask.sum()
