"""Observations as tensors: from NumPy and strings, and back from what SB3 makes of them."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from hrm_rl.envs.plain import is_text, text_length, text_to_bytes


def to_tensors(space: spaces.Space, obs: Any, device: torch.device | str | None = None) -> Any:
    """A batch of observations as the tensors that `ObsTokenizer(space, ...)` takes.

    Args:
        space: of one observation.
        obs: batched as Gymnasium's vector environments do: arrays [B, ...], dicts and tuples of them
            as in the space, sequences of B strings. Tensors are only moved.
        device: where to.

    Raises ValueError where obs is not built like the space.
    """
    if isinstance(space, spaces.Dict):
        return {
            key: to_tensors(inner, item(obs, key, space), device)
            for key, inner in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(
            to_tensors(inner, item(obs, index, space), device)
            for index, inner in enumerate(space.spaces)
        )
    if isinstance(obs, Tensor):
        return obs.to(device)
    if is_text(space) and not _is_numeric(obs):
        if isinstance(obs, str):
            raise ValueError(f"{space} wants a batch of strings, got the one string {obs!r}")
        rows = [text_to_bytes(text, text_length(space)) for text in obs]
        return torch.from_numpy(np.stack(rows)).to(device)
    array = np.asarray(obs)
    if array.dtype.kind == "u" and array.dtype != np.uint8:  # torch computes in few unsigned types
        array = array.astype(np.int64)
    return torch.tensor(array).to(device)  # a copy: environments write their arrays again


def _is_numeric(obs: Any) -> bool:
    return isinstance(obs, np.ndarray) and obs.dtype.kind in "iu"


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
