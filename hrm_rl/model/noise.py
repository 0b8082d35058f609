"""Noise in the latent state: random starts of trajectories, and Gaussian noise between segments.

Every number is a pure hash of a row's key, its trajectory and its segment: a row's noise depends neither on
the batch around it nor on what was drawn before. Random starts and noise in training: arXiv 2605.21488 (which
adds its noise to every call of the network); noise at evaluation alone: arXiv 2605.19943.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_rl.hashing import mix, stream, uniform
from hrm_rl.model.recurrence import Carry
from hrm_rl.settings import check_at_least


@dataclass(frozen=True)
class Noise:
    """The noise of trajectories; without arguments there is none.

        carry = Noise(path=0.01)(carry, keys, segment)     # before every segment

    Raises ValueError for a negative `path`.
    """

    start: bool = False
    """Start from standard normal states instead of H_init and L_init."""
    path: float = 0.0
    """Standard deviation of the noise that is added to every state between two segments."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "path")

    def __bool__(self) -> bool:
        return self.start or self.path > 0

    def __call__(
        self, carry: Carry, keys: Tensor, segment: Tensor, trajectory: Tensor | None = None
    ) -> Carry:
        """The carry that the next segment starts from; all arguments but the carry are int64 [B].

        Args:
            carry: the state after the last segment; of a row at segment 0, a fresh one.
            keys: of the rows, for example info["puzzle_key"].
            segment: segments that a row has run.
            trajectory: its number among a puzzle's trajectories; number 0 has no noise. By default 1.
        """
        if not self:
            return carry
        number = torch.ones_like(keys) if trajectory is None else trajectory
        keys = stream(stream(keys, number), segment)
        plain = (number == 0).view(-1, 1, 1)
        begins = (segment == 0).view(-1, 1, 1)
        states = []
        for salt, z in enumerate(carry):
            drawn = gaussian(stream(keys, salt), z[0].numel()).view(z.shape)
            moved = torch.where(begins, drawn if self.start else z, z + self.path * drawn)
            states.append(torch.where(plain, z, moved.to(z.dtype)))
        return Carry(*states)


def gaussian(keys: Tensor, count: int) -> Tensor:
    """Standard normal numbers, float32 [B, count], by Box and Muller's method on hashes of each key [B]."""
    pairs = torch.arange(-(-count // 2), device=keys.device)
    bits = stream(keys[:, None], pairs)
    radius = (-2 * (1 - uniform(bits)).log()).sqrt()
    angle = 2 * math.pi * uniform(bits << 24)  # the next 24 bits
    return torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)[:, :count]


def step_keys(seed: int, rows: Tensor, step: int | Tensor) -> Tensor:
    """Keys of a training step, int64 [B]: a hash of the seed, the rows' numbers (int64 [B]) and the step."""
    return stream(mix(rows + seed), step)
