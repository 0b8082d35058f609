"""The parts of observations, and observations back from what SB3 makes of them."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces


def item(obs: Any, key: Any, space: spaces.Space) -> Any:
    """One part of a dict or tuple. Raises ValueError where obs is built otherwise."""
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict):
            raise ValueError(
                f"a Dict wants a dict of {list(space.spaces)}, got {type(obs).__name__}"
            )
        if key not in obs:
            raise ValueError(f"the observation has no part {key!r}, only {list(obs)}")
    else:
        assert isinstance(space, spaces.Tuple)
        if not isinstance(obs, tuple | list) or len(obs) != len(space.spaces):
            given = f"{len(obs)} parts" if isinstance(obs, tuple | list) else type(obs).__name__
            raise ValueError(f"a Tuple of {len(space.spaces)} parts wants as many, got {given}")
    return obs[key]


def from_sb3(space: spaces.Space, obs: Any) -> Any:
    """The inverse of SB3's `preprocess_obs(..., normalize_images=False)`.

    That one-hots Discrete and MultiDiscrete and makes everything else float; the rows of one-hots
    become integers again.
    """
    if isinstance(space, spaces.Dict):
        return {key: from_sb3(inner, item(obs, key, space)) for key, inner in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(
            from_sb3(inner, item(obs, index, space)) for index, inner in enumerate(space.spaces)
        )
    if isinstance(space, spaces.Discrete):
        return obs.reshape(len(obs), -1).argmax(-1)  # SB3's buffers give [B, 1, n]
    if isinstance(space, spaces.MultiDiscrete):
        sizes = [int(n) for n in np.ravel(space.nvec)]
        split = obs.reshape(len(obs), -1).split(sizes, -1)
        return torch.stack([hot.argmax(-1) for hot in split], -1)
    return obs
