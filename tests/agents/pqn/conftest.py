"""Small environments whose optima are known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor


class TableEnv(VectorEnv):
    """A Markov decision process given by tables; the observation is the state's number, or one-hot.

    Row i starts in state i, modulo their number, and so it does after an end.
    """

    def __init__(
        self,
        rows: int,
        following: Tensor,
        reward: Tensor,
        ends: Tensor,
        limit: int = 10**9,
        one_hot: bool = False,
    ) -> None:
        self.following, self.reward, self.ends, self.limit = following, reward, ends, limit
        self.num_envs, (states, actions) = rows, reward.shape
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.names = torch.eye(states) if one_hot else torch.arange(states)
        numbers = spaces.Discrete(states)
        self.single_observation_space = spaces.Box(0, 1, (states,)) if one_hot else numbers
        self.single_action_space = spaces.Discrete(actions)
        self.observation_space = batch_space(self.single_observation_space, rows)
        self.action_space = batch_space(self.single_action_space, rows)
        self.start = torch.arange(rows) % states

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.state, self.clock = self.start.clone(), torch.zeros(self.num_envs, dtype=torch.long)
        return self.names[self.state], {}

    def step(self, actions: Any) -> Any:
        at = (self.state, actions)
        reward, over, final = self.reward[at], self.ends[at], self.following[at]
        self.clock = self.clock + 1
        cut = (self.clock >= self.limit) & ~over
        self.state = torch.where(over | cut, self.start, final)
        self.clock = torch.where(over | cut, 0, self.clock)
        info = {"final_obs": self.names[final], "_final_obs": over | cut}
        return self.names[self.state], reward, over, cut, info


@pytest.fixture(scope="session")
def table_env() -> type[TableEnv]:
    return TableEnv


@pytest.fixture(scope="session")
def bandit() -> Callable[..., TableEnv]:
    """Makes environments whose observation names the one action that pays 1."""

    def make(contexts: int, rows: int, actions: Any = None, mode: Any = None) -> TableEnv:
        following = torch.arange(contexts)[:, None].expand(-1, contexts).contiguous()
        pays = torch.eye(contexts)
        envs = TableEnv(rows, following, pays, torch.ones_like(pays, dtype=torch.bool))
        envs.single_action_space = actions or envs.single_action_space
        envs.metadata["autoreset_mode"] = mode or AutoresetMode.SAME_STEP
        return envs

    return make
