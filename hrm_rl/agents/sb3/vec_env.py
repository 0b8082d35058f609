"""A torch vector environment as Stable-Baselines3's VecEnv: the same rows, NumPy out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from torch import Tensor


class TorchVecEnv(VecEnv):
    """What SB3 trains on and evaluates, over one of our vector environments.

    For `HRM/Halting-v0`, and for puzzles with `flat_action=True` (SB3 takes no Dict actions). All
    rows step as one batch, without subprocesses. As SB3's own environments do, it resets by itself
    and says of rows that ended, in their info: `terminal_observation`, `TimeLimit.truncated`,
    `is_success` (the draft is right, as the environment's checker has it) and `episode` {r, l, t}.
    It therefore counts as wrapped in `Monitor`.

    Args:
        envs: a vector environment of SAME_STEP autoreset that returns tensors.

    Raises:
        ValueError: another autoreset mode, or Dict actions.
    """

    def __init__(self, envs: VectorEnv) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"SB3 wants environments of autoreset_mode SAME_STEP, got {mode}")
        if hasattr(envs.single_action_space, "spaces"):
            raise ValueError(
                "SB3 takes no Dict actions: make the environments with flat_action=True"
            )
        self.envs = envs
        rules = getattr(envs, "rules", None)
        self._success = "valid" if rules is not None and rules.checker == "valid" else "correct"
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> VecEnvObs:
        seeded = any(seed is not None for seed in self._seeds)
        seed: Any = list(self._seeds) if seeded else None
        obs, _ = self.envs.reset(seed=seed)
        self._reset_seeds()
        self._reset_options()
        return _to_numpy(obs)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        obs, reward, terminated, truncated, info = self.envs.step(self._actions)
        done = (terminated | truncated).cpu().numpy()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        rows = np.flatnonzero(done)
        if len(rows):
            self._tell_ended(infos, rows, info, truncated & ~terminated)
        return _to_numpy(obs), reward.float().cpu().numpy().copy(), done, infos

    def _tell_ended(
        self, infos: list[dict[str, Any]], rows: np.ndarray, info: dict[str, Any], cut: Tensor
    ) -> None:
        """Fill in the infos of `rows`, whose episodes ended; the others stay empty."""
        index = torch.as_tensor(rows, device=cut.device)
        final = _to_numpy(_take(info["final_obs"], index))
        episode = {key: value[index].tolist() for key, value in info["episode"].items()}
        success = info["final_info"][self._success][index].tolist()
        cut_rows = cut[index].tolist()
        for place, row in enumerate(rows):
            infos[row] = {
                "episode": {key: values[place] for key, values in episode.items()},
                "is_success": success[place],
                "terminal_observation": _take(final, place),
                "TimeLimit.truncated": cut_rows[place],
            }

    def close(self) -> None:
        self.envs.close()

    # --- SB3's questions about single rows, of which all are alike ------------------------------

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        self._refuse_some(indices, "attributes")
        setattr(self.envs, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        self._refuse_some(indices, "methods")
        answer = getattr(self.envs, method_name)(*method_args, **method_kwargs)
        return [answer for _ in range(self.num_envs)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [None] * self.num_envs

    def _refuse_some(self, indices: VecEnvIndices, what: str) -> None:
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"the rows are one object: their {what} cannot be had one by one")


def _take(obs: Any, index: Any) -> Any:
    return {k: v[index] for k, v in obs.items()} if isinstance(obs, dict) else obs[index]


def _to_numpy(obs: Any) -> Any:
    """Arrays of SB3's own: the environment's tensors may be written again."""
    if isinstance(obs, dict):
        return {key: _to_numpy(value) for key, value in obs.items()}
    return np.array(obs.cpu().numpy())
