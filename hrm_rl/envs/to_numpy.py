"""ToNumpy: vector environments of tensors with NumPy arrays in and out, for Gymnasium's wrappers."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from torch import Tensor

_OF_ENDED_ROWS = ("episode", "final_obs", "final_info")


class ToNumpy(VectorWrapper):
    """Make a vector environment of tensors return NumPy arrays, as Gymnasium's own ones do.

    Puzzles, rows, seeds and autoreset stay the same. Rewards are float64. Info holds what `SyncVectorEnv`
    collects: `final_obs`, an array of objects, and `final_info` under SAME_STEP where an episode ended, each
    with its mask. `episode` is left to `RecordEpisodeStatistics`.

    Example:
        >>> envs = ToNumpy(gym.make_vec("HRM/Sudoku-v0", num_envs=8, size=4))
        >>> envs = gym.wrappers.vector.RecordEpisodeStatistics(envs)

    Args:
        envs: environments of this package, or others that return tensors, such as `ToTorch`.
    """

    def __init__(self, envs: VectorEnv) -> None:
        super().__init__(envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        refuse_numpy_wrappers(self, tensors=False)
        obs, info = self.env.reset(seed=seed, options=options)
        return to_numpy(obs), to_numpy(info)

    def step(self, actions: Any) -> tuple[Any, NDArray, NDArray, NDArray, dict[str, Any]]:
        obs, *outcome, info = self.env.step(actions)
        reward, terminated, truncated = (to_numpy(value) for value in outcome)
        last = {name: to_numpy(info.pop(name, None)) for name in _OF_ENDED_ROWS}
        shown = {k: v for k, v in to_numpy(info).items() if k[1:] not in _OF_ENDED_ROWS}
        ended = terminated | truncated
        if self.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(ended).tolist():
                final[row] = take_row(last["final_obs"], row)
            shown |= {"final_obs": final, "_final_obs": ended}
            if last["final_info"] is not None:
                shown |= {"final_info": last["final_info"], "_final_info": ended}
        return to_numpy(obs), np.asarray(reward, np.float64), terminated, truncated, shown


def to_numpy(value: Any) -> Any:
    """Tensors, also in dicts and tuples, copied to NumPy arrays."""
    if isinstance(value, Mapping):
        return {key: to_numpy(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(to_numpy, value))
    return np.array(value.detach().cpu().numpy()) if isinstance(value, Tensor) else value


def take_row(batch: Any, row: int) -> Any:
    """One row of an array, or of a dict or tuple of them."""
    if isinstance(batch, dict):
        return {key: take_row(inner, row) for key, inner in batch.items()}
    return tuple(take_row(i, row) for i in batch) if isinstance(batch, tuple) else batch[row]


# --- Gymnasium's wrappers that compute in NumPy ---------------------------------------------------

_NUMPY_ONLY = (
    *("DictInfoToList", "NormalizeObservation", "NormalizeReward", "RecordEpisodeStatistics"),
    "VectorizeTransformObservation",  # and its subclasses: FlattenObservation, RescaleObservation, ...
)


def refuse_numpy_wrappers(envs: VectorEnv, *, tensors: bool = True) -> None:
    """Raise ValueError if a wrapper of Gymnasium that calls `reset` cannot work on what `envs` returns.

    Those that compute in NumPy would fail at their first step, with NumPy's message. An environment cannot
    know its wrappers, so this reads the callers, at resets only. A wrapper from elsewhere may convert
    tensors, so none outside it counts.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and isinstance(caller := frame.f_locals.get("self"), VectorEnv):
        frame, inner = frame.f_back, getattr(caller, "env", caller)
        bases = [base for base in type(caller).__mro__ if "gymnasium" in base.__module__]
        names = {base.__name__ for base in bases}
        if "NormalizeObservation" in names and inner.single_observation_space.shape is None:
            raise ValueError("NormalizeObservation takes one array: FlattenObservation(envs) makes it")
        if tensors and not names.isdisjoint(_NUMPY_ONLY):
            raise ValueError(
                f"{type(caller).__name__} computes with NumPy arrays, and {envs} returns tensors: wrap "
                f"hrm_rl.envs.ToNumpy(envs) instead, the same puzzles in NumPy; or make single "
                "environments with vectorization_mode='sync'"
            )
        foreign = isinstance(caller, VectorWrapper) and type(caller) not in bases
        if (foreign and caller is not envs) or "ArrayConversion" in names:
            return
