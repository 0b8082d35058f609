"""One halting environment in Gymnasium's ordinary form: a NumPy view of a vector core with one row."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from hrm_rl.envs.core.single import judged_info, unbatched_info
from hrm_rl.envs.core.vector import to_numpy
from hrm_rl.envs.halting.bank import HaltingVectorEnv
from hrm_rl.envs.halting.live import LiveHaltingVectorEnv


class HaltingEnv(gym.Env[NDArray[np.float32], np.int64]):
    """Continue (0) or halt (1), segment by segment, on one puzzle at a time.

    Spaces, reward and info are those of `HaltingVectorEnv`, without the batch dimension and the entries
    of automatic resets. Seeded with `seed + i`, it equals row i of a vector environment seeded with `seed`.

    Args:
        core: a vector environment of one row, without autoreset.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's form)

    def __init__(self, core: HaltingVectorEnv | LiveHaltingVectorEnv) -> None:
        assert core.num_envs == 1
        assert core.metadata["autoreset_mode"] == AutoresetMode.DISABLED
        self.core = core
        self.observation_space = core.single_observation_space
        self.action_space = core.single_action_space
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None and not self._started:
            # np_random is this environment's own generator, so an unseeded start is a random one.
            seed = int(self.np_random.integers(1 << 62))
        self._started = True
        obs, info = self.core.reset(seed=seed)
        return to_numpy(obs[0]), unbatched_info(info)

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, _, info = self.core.step(np.asarray(action).reshape(1))
        judged = judged_info(info, self.core.settings)
        return to_numpy(obs[0]), float(reward), bool(terminated), False, judged
