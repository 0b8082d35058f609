"""ToTorch: Gymnasium's NumPy vector environments with tensors in and out."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import concatenate, create_empty_array
from torch import Tensor
from torch.utils._pytree import tree_leaves

from hrm_rl.envs.plain import is_text, map_space, text_length, text_to_bytes
from hrm_rl.envs.to_numpy import refuse_numpy_wrappers
from hrm_rl.tensors import usable_device


class ToTorch(VectorWrapper):
    """Make a NumPy vector environment return and accept tensors.

    Observations are nested like the space, strings as bytes (see `to_tensors`); rewards are float32,
    `terminated` and `truncated` bool, all [B] on the device. After every step, whether or not a row
    ended, info has `final_obs`, shaped like the observations (meaningless in rows whose episode goes on),
    and `episode` {r float32, l int64, t float32 seconds}, the running totals, where l leaves out thoughts
    (`ThinkingWrapper`); both with their masks `_final_obs`, `_episode`. The rest of info stays as the
    environments return it.

    Gymnasium's `NumpyToTorch` (1.4) fails under SAME_STEP at the first end of an episode, since it cannot
    convert `final_obs`, an array of objects.

    Examples:
        >>> envs = gym.make_vec(
        ...     "CartPole-v1", 32, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"}
        ... )
        >>> envs = ToTorch(envs, device="cpu")

    Args:
        envs: environments with SAME_STEP autoreset.
        device: device of the tensors.

    Raises:
        ValueError: another autoreset mode, or environments that return tensors.
    """

    def __init__(self, envs: VectorEnv, device: torch.device | str = "cpu") -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"ToTorch needs environments of autoreset_mode SAME_STEP, got {mode}; make them with "
                'gym.make_vec(..., vectorization_mode="sync" or "async", '
                'vector_kwargs={"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP})'
            )
        super().__init__(envs)
        self.device = usable_device(device)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._began = np.zeros(self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start new episodes in all environments, from one seed or one for each.

        Raises ValueError for a `reset_mask`, which environments with autoreset do not need.
        """
        if options and "reset_mask" in options:
            raise ValueError("ToTorch resets all rows or none: leave reset_mask out of the options")
        refuse_numpy_wrappers(self)
        obs, info = self.env.reset(seed=seed, options=options)
        if any(isinstance(part, Tensor) for part in tree_leaves(obs)):
            raise ValueError(f"{self.env} returns tensors already: leave ToTorch out")
        self._restart(np.ones(self.num_envs, bool))
        return self._tensors(obs), info

    def step(self, actions: Any) -> tuple[Any, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Step with tensors or NumPy arrays, batched like `action_space`."""
        obs, reward, terminated, truncated, info = self.env.step(to_actions(self.action_space, actions))
        ended = np.logical_or(terminated, truncated)
        self._returns += reward
        self._lengths += np.logical_not(info.get("is_thought", False))
        episode = {
            "r": self._send(self._returns, torch.float32),
            "l": self._send(self._lengths, torch.int64),
            "t": self._send(time.perf_counter() - self._began, torch.float32),
        }
        self._restart(ended)
        seen, over = self._tensors(obs), self._send(ended, torch.bool)
        final = self._final_obs(seen, np.flatnonzero(ended), info)
        info = info | {"final_obs": final, "_final_obs": over, "episode": episode, "_episode": over}
        return (
            seen,
            self._send(reward, torch.float32),
            self._send(terminated, torch.bool),
            self._send(truncated, torch.bool),
            info,
        )

    def _final_obs(self, seen: Any, rows: np.ndarray, info: dict[str, Any]) -> Any:
        """The last observations of the episodes that ended in `rows`, in a batch of all rows."""
        if not len(rows):
            return seen
        if "final_obs" not in info:
            raise ValueError(f"{self.env} has autoreset_mode SAME_STEP but no info['final_obs']")
        space, final = self.single_observation_space, info["final_obs"]
        if not isinstance(final, np.ndarray) or final.dtype != object:
            return self._tensors(final)  # batched like the observations already
        empty: Any = create_empty_array(space, n=len(rows))
        ended = self._tensors(concatenate(space, [final[row] for row in rows], empty))
        index = torch.as_tensor(rows, device=self.device)
        return map_tensors(lambda all_rows, some: all_rows.index_copy(0, index, some), seen, ended)

    def _restart(self, where: np.ndarray) -> None:
        self._returns[where] = 0
        self._lengths[where] = 0
        self._began[where] = time.perf_counter()

    def _tensors(self, obs: Any) -> Any:
        return to_tensors(self.single_observation_space, obs, self.device)

    def _send(self, array: Any, dtype: torch.dtype) -> Tensor:
        return torch.tensor(array, dtype=dtype, device=self.device)  # a copy


def to_tensors(space: spaces.Space, obs: Any, device: torch.device | str = "cpu") -> Any:
    """Convert a batch of observations to tensors, nested like the space.

    Args:
        space: of one observation.
        obs: batched as Gymnasium's vector environments return it: arrays [B, ...], dicts and tuples of
            them, and sequences of B strings, which become their UTF-8 bytes, [B, length] (see
            `hrm_rl.envs.plain.text_to_bytes`). Tensors are only moved.
        device: target device.

    Raises:
        ValueError: obs is not nested like the space.
    """
    return map_space(partial(_to_tensor, device=device), space, obs)


def _to_tensor(space: spaces.Space, obs: Any, device: torch.device | str) -> Tensor:
    if isinstance(obs, Tensor):
        return obs.to(device)
    if is_text(space) and not (isinstance(obs, np.ndarray) and obs.dtype.kind in "iu"):
        if isinstance(obs, str):
            raise ValueError(f"{space} needs a batch of strings, got the one string {obs!r}")
        obs = np.stack([text_to_bytes(text, text_length(space)) for text in obs])
    array = np.asarray(obs)
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int64)  # torch computes in few unsigned types
    return torch.tensor(array, device=device)  # a copy: environments reuse their arrays


def to_actions(space: spaces.Space, actions: Any) -> Any:
    """Convert tensors or array-likes to actions of a batched space.

    Raises:
        ValueError: the actions are of another shape, or not nested like the space.
    """
    return map_space(_to_action, space, actions, what="the action", exact=True)


def _to_action(space: spaces.Space, action: Any) -> np.ndarray:
    if isinstance(action, Tensor):
        action = action.detach().cpu().numpy()
    array = np.asarray(action, dtype=space.dtype)
    if array.shape != space.shape:
        raise ValueError(f"the action must have shape {space.shape}, got {array.shape}")
    return array


def map_tensors(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply `function` to the tensors of a tree, or to those of several equally nested trees in parallel.

    A tree nests dicts, tuples and named tuples; None stays None.
    """
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {key: map_tensors(function, tree[key], *(o[key] for o in others)) for key in tree}
    if isinstance(tree, tuple):
        mapped = [map_tensors(function, *parts) for parts in zip(tree, *others, strict=True)]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else tuple(mapped)
    return function(tree, *others)
