"""Recover observations from the form in which Stable-Baselines3 hands them to a policy."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from hrm_rl.envs.plain import map_space


def from_sb3(space: spaces.Space, obs: Any) -> Any:
    """Invert SB3's `preprocess_obs(..., normalize_images=False)`.

    SB3 one-hot encodes Discrete and MultiDiscrete and converts the rest to float; the one-hot rows
    become integers again.
    """
    return map_space(_from_one_hot, space, obs)


def _from_one_hot(space: spaces.Space, value: Tensor) -> Tensor:
    if isinstance(space, spaces.Discrete):
        return value.reshape(len(value), -1).argmax(-1)  # SB3's buffers give [B, 1, n]
    if isinstance(space, spaces.MultiDiscrete):
        sizes = [int(n) for n in np.ravel(space.nvec)]
        split = value.reshape(len(value), -1).split(sizes, -1)
        return torch.stack([hot.argmax(-1) for hot in split], -1)
    return value
