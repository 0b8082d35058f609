"""Halting over a live model, which runs one segment per step."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from hrm_rl.envs.core.rendering import Frame
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.halting.bank import halting_observation_space, read_halt
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.vector import FEATURE_NAMES, feature_vector


class Thought(Protocol):
    """One segment's outcome."""

    @property
    def action(self) -> dict[str, Tensor]: ...  # "answer": the draft, [B, S]

    @property
    def state(self) -> Any: ...  # to continue from

    @property
    def features(self) -> SegmentFeatures: ...


class Thinker(Protocol):
    """Runs a segment on every row, as `HRMAgent` does.

    Rows whose obs["segment"] is 0 start with a fresh state. The same arguments give the same result.
    """

    def act(self, obs: dict[str, Tensor], state: Any = None, *, puzzle_key: Tensor) -> Thought: ...


class LiveHaltingVectorEnv(VectorEnv):
    """`HaltingVectorEnv` with a live model instead of a recording.

    The action decides when to halt, not the thinker's rule. Observation, action, reward, episodes, seeds
    and autoreset are those of `HaltingVectorEnv`; infos are those of the puzzle environments, except
    `final_obs`, which is this environment's.

    Args:
        envs: the puzzles, with their cost, limit, checker and autoreset mode; only this environment
            may step them.
        thinker: on the same device.
    """

    def __init__(self, envs: PuzzleVectorEnv, thinker: Thinker) -> None:
        self.envs = envs
        self.thinker = thinker
        self.num_envs = envs.num_envs
        self.settings = envs.settings
        self.device = envs.device
        self.metadata = envs.metadata
        self.render_mode = envs.render_mode
        self.single_observation_space = halting_observation_space(len(FEATURE_NAMES))
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._memory: Any = None  # the thinker's state before the observed segment
        self._thought: Thought | None = None
        self._observation = torch.zeros(self.observation_space.shape or (), device=self.device)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start new episodes and run their first segment. Arguments as in `PuzzleVectorEnv.reset`."""
        obs, info = self.envs.reset(seed=seed, options=options)
        # Rows that are not reset repeat their last segment, from the same memory.
        self._think(obs, info)
        return self._observation, info

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Continue (0) or halt (1): [B] integers or booleans, tensor or NumPy."""
        if self._thought is None:
            raise RuntimeError("call reset() before step()")
        halt = read_halt(actions, self.num_envs, self.device)
        answer = self._thought.action["answer"]
        obs, reward, terminated, truncated, info = self.envs.step({"answer": answer, "halt": halt})
        info["final_obs"] = self._observation
        self._memory = self._thought.state
        self._think(obs, info)
        return self._observation, reward, terminated, truncated, info

    def render(self) -> tuple[Frame, ...] | None:  # type: ignore[override]
        return self.envs.render()

    def close_extras(self, **kwargs: Any) -> None:
        self._thought = self._memory = None
        self.envs.close()

    def _think(self, obs: dict[str, Tensor], info: dict[str, Any]) -> None:
        assert self.envs.state is not None
        with torch.no_grad():
            thought = self.thinker.act(obs, self._memory, puzzle_key=info["puzzle_key"])
        seen = feature_vector(thought.features)
        # Rows that wait for a reset keep the observation they ended with.
        self._observation = torch.where(self.envs.state.ended[:, None], self._observation, seen)
        self._thought = thought
