"""PQN: its targets against sums by hand, its exploration, what it learns, and that it repeats."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.agents.pqn import PQNConfig, Rollout, _play, explore, lambda_returns, train
from hrm_rl.envs.halting import make_vector_env
from hrm_rl.halting.fit.network import QNetwork

SHORT = PQNConfig(total_steps=1024, rollout=4, hidden=(8,))


def rollout(steps: int, rows: int, seed: int) -> Rollout:
    rng = np.random.default_rng(seed)
    over, cut = torch.from_numpy(rng.random((2, steps, rows)) < 0.2)
    reward, value = torch.from_numpy(rng.normal(size=(2, steps, rows))).float()
    cut = cut & ~over
    return Rollout(torch.zeros(steps, rows, 1), over.long(), reward, over, value, cut)


@settings(max_examples=25)
@given(st.integers(1, 6), st.floats(0, 1), st.floats(0, 1), st.integers(0, 100))
def test_targets_are_the_mixture_of_n_step_returns(steps, gamma, q_lambda, seed) -> None:
    """Lambda returns, written out as weights on n-step returns instead of as a recursion."""
    played = rollout(steps, 3, seed)
    target = lambda_returns(played, gamma, q_lambda)
    for row in range(3):
        for start in range(steps):
            expected, weight, paid = 0.0, 1.0, 0.0
            for n, t in enumerate(range(start, steps)):
                paid += gamma**n * float(played.reward[t, row])
                last = bool(played.over[t, row] | played.cut[t, row]) or t == steps - 1
                value = 0.0 if played.over[t, row] else float(played.next_value[t, row])
                share = weight if last else weight * (1 - q_lambda)
                expected += share * (paid + gamma ** (n + 1) * value)
                weight *= q_lambda
                if last:
                    break
            assert float(target[start, row]) == pytest.approx(expected, abs=1e-4)


def test_each_environment_draws_for_itself() -> None:
    """Epsilon is the share of rows that explore, not the chance that all do."""
    values = torch.tensor([[0.0, 1.0, 0.0, 0.0]]).expand(40_000, 4)
    action, drawn = explore(values, 0.4, torch.Generator().manual_seed(0))
    share = torch.bincount(action, minlength=4) / 40_000
    assert torch.allclose(share, torch.tensor([0.1, 0.7, 0.1, 0.1]), atol=0.01)
    assert drawn.float().mean() == pytest.approx(0.4, abs=0.01)
    assert (explore(values, 0.0, torch.Generator())[0] == 1).all()


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator() -> None:
    envs = make_vector_env(16)
    before = torch.random.get_rng_state()
    one, same, other = (train(envs, SHORT, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, one.parameters(), same.parameters()))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_reports_come_after_every_update() -> None:
    reports: list[Any] = []
    train(make_vector_env(16), SHORT, report=lambda *args: reports.append(args))
    assert [steps for steps, *_ in reports] == list(range(64, 1025, 64))
    assert {"loss", "reward", "value"} == reports[0][2].keys()


class Corridor(VectorEnv):
    """Of two actions, only the one that the observation names pays 1; cut short after 3 steps."""

    def __init__(self, rows: int, **changes: Any) -> None:
        self.num_envs = rows
        self.metadata = {"autoreset_mode": changes.get("mode", AutoresetMode.SAME_STEP)}
        self.single_observation_space = changes.get("seen", gym.spaces.Box(-1, 1, (2,)))
        self.single_action_space = changes.get("acted", gym.spaces.Discrete(2))
        self.observation_space = batch_space(self.single_observation_space, rows)
        self.action_space = batch_space(self.single_action_space, rows)

    def _see(self) -> torch.Tensor:
        self.named = torch.randint(0, 2, (self.num_envs,), generator=self.generator)
        return torch.nn.functional.one_hot(self.named, 2).float()

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.generator = torch.Generator().manual_seed(seed)
        self.clock = torch.arange(self.num_envs) % 3
        return self._see(), {}

    def step(self, actions: Any) -> Any:
        reward = (actions == self.named).float()
        self.clock = (self.clock + 1) % 3
        cut = self.clock == 0
        obs = self._see()
        return obs, reward, cut & False, cut, {"final_obs": obs, "_final_obs": cut}


def test_truncated_episodes_keep_their_value() -> None:
    """An episode that an unobserved clock truncates is worth what an endless one is: 1 / (1 - gamma)."""
    config = PQNConfig(total_steps=10_000, rollout=4, gamma=0.5, hidden=(16,), lr=2e-2)
    network = train(Corridor(32), config, seed=0)
    with torch.no_grad():
        values = network(torch.eye(2))
    assert torch.allclose(values, torch.tensor([[2.0, 1.0], [1.0, 2.0]]), atol=0.15)


def test_what_follows_a_cut_is_seen_in_the_final_observation() -> None:
    """Not in the observation returned, which is of the next episode."""

    class Elsewhere(Corridor):
        def step(self, actions: Any) -> Any:
            obs, *others, info = super().step(actions)
            return obs, *others, info | {"final_obs": -obs}

    envs, network = Elsewhere(6), QNetwork(2, 2, (8,))
    obs, _ = envs.reset(seed=0)
    played, _ = _play(envs, network, obs, 7, 0.5, torch.Generator().manual_seed(0))
    cut, later = played.cut[:-1], played.obs[1:]
    assert 0 < cut.float().mean() < 1
    with torch.no_grad():
        expected = network(torch.where(cut[..., None], -later, later)).amax(-1)
    assert torch.allclose(played.next_value[:-1], expected)


@pytest.mark.parametrize(
    ("envs", "message"),
    [
        (Corridor(2, acted=gym.spaces.MultiDiscrete([2, 2])), "Discrete actions"),
        (Corridor(2, seen=gym.spaces.Box(0, 1, (2, 2))), "Box of one axis"),
        (Corridor(2, mode=AutoresetMode.NEXT_STEP), "SAME_STEP"),
    ],
)
def test_other_environments_are_refused(envs: VectorEnv, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(envs, SHORT)


@pytest.mark.parametrize(
    "bad", [{"rollout": 0}, {"gamma": 1.5}, {"epsilon_end": -0.1}, {"lr": 0.0}, {"epochs": 1.5}]
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name} must .*got {value}"):
        PQNConfig(**bad)
