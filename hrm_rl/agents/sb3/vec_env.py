"""A torch vector environment as Stable-Baselines3's VecEnv: the same rows, NumPy out."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from torch import Tensor

from hrm_rl.envs.to_numpy import ToNumpy, to_numpy
from hrm_rl.envs.to_torch import map_tensors


class TorchVecEnv(VecEnv):
    """A vector environment of `hrm_rl` for SB3 to train on and evaluate.

    For `HRM/Halting-v0`, and for puzzles with `flat_action=True` (SB3 has no Dict actions). All rows step
    as one batch, without subprocesses. As SB3's own environments do, it resets rows that end and reports
    in their info: `terminal_observation`, `TimeLimit.truncated`, `is_success` (the draft is right according
    to the environment's checker) and `episode` {r, l, t}, so it counts as wrapped in `Monitor`. Infos of
    other rows are empty; `reset_infos` hold each row's info of the last reset.

    Tensors stay on their device except those that SB3 needs: observation, reward and ends of a step, and
    the figures and last observations of rows that ended.

    Raises ValueError for another autoreset mode than SAME_STEP, or Dict actions.
    """

    def __init__(self, envs: VectorEnv) -> None:
        if isinstance(envs, ToNumpy):
            raise ValueError("TorchVecEnv takes environments of tensors: leave ToNumpy out")
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"SB3 needs environments of autoreset_mode SAME_STEP, got {mode}")
        if hasattr(envs.single_action_space, "spaces"):
            raise ValueError("SB3 has no Dict actions: make the environments with flat_action=True")
        self.envs = envs
        checker = getattr(getattr(envs, "settings", None), "checker", "exact")
        self._success = "valid" if checker == "valid" else "correct"
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.metadata = envs.metadata

    def reset(self) -> VecEnvObs:
        seeded = any(seed is not None for seed in self._seeds)
        seed: Any = list(self._seeds) if seeded else None
        obs, info = self.envs.reset(seed=seed)
        self._reset_seeds()
        columns = {key: to_numpy(value) for key, value in info.items() if not key.startswith("_")}
        self.reset_infos = [_row(columns, row) for row in range(self.num_envs)]
        return to_numpy(obs)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        if any(options if isinstance(options, list) else [options]):
            raise ValueError(f"these environments have no reset options, got {options}")

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        obs, reward, terminated, truncated, info = self.envs.step(self._actions)
        ended, cut = _host(terminated), _host(truncated)
        done = ended | cut
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        rows = np.flatnonzero(done)
        if len(rows):
            episode = info["episode"]
            columns = (info["final_info"][self._success], episode["r"], episode["l"], episode["t"])
            figures = (_host(column)[rows].tolist() for column in columns)
            ends = zip(rows.tolist(), (cut & ~ended)[rows].tolist(), *figures, strict=True)
            final = map_tensors(partial(_some_rows, rows=rows), info["final_obs"])
            for place, (row, was_cut, right, r, length, t) in enumerate(ends):
                infos[row] = {
                    "episode": {"r": r, "l": length, "t": t},
                    "is_success": right,
                    "terminal_observation": _row(final, place),
                    "TimeLimit.truncated": was_cut,
                }
        return to_numpy(obs), to_numpy(reward.float()), done, infos

    def close(self) -> None:
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        self._refuse_some(indices, "attributes")
        setattr(self.envs, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        self._refuse_some(indices, "methods")
        answer = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [answer for _ in range(self.num_envs)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        frames: Any = self.envs.render()
        if frames is None and self.envs.render_mode is not None:
            raise RuntimeError("call reset() before render()")
        return [None] * self.num_envs if frames is None else frames

    def _refuse_some(self, indices: VecEnvIndices, what: str) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"all rows are one object: single rows have no {what} of their own")


def _host(value: Tensor) -> np.ndarray:
    """A NumPy view to read at once: on the CPU it shares the tensor's memory."""
    return value.detach().cpu().numpy()


def _some_rows(tensor: Tensor, rows: np.ndarray) -> np.ndarray:
    """These rows in NumPy; the others stay on the device."""
    if tensor.device.type == "cpu":
        return _host(tensor)[rows]
    return _host(tensor[torch.from_numpy(rows).to(tensor.device)])


def _row(batch: Any, row: int) -> Any:
    return map_tensors(lambda column: column[row], batch)
