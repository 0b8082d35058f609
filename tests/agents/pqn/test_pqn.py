"""PQN: its exploration, what it learns, and that it repeats (test_hrm_pqn.py has its targets)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from hrm_rl.agents import HRMPQNConfig, train_hrm
from hrm_rl.agents.pqn import PQNConfig, _play, explore, train
from hrm_rl.envs.halting import make_vector_env
from hrm_rl.halting.fit.network import QNetwork

SHORT = PQNConfig(total_steps=1024, rollout=4, hidden=(8,))


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


@pytest.fixture
def corridor(table_env) -> Callable[..., Any]:
    """Makes endless environments, cut after 3 steps: in state i of 2 action i pays 1; then the other."""

    def make(rows: int, **changes: Any) -> Any:
        endless = torch.zeros(2, 2, dtype=torch.bool)
        following = torch.tensor([[1, 1], [0, 0]])
        envs = table_env(rows, following, torch.eye(2), endless, limit=3, one_hot=True)
        for name, value in changes.items():
            setattr(envs, name, value)
        return envs

    return make


def test_truncated_episodes_keep_their_value(corridor) -> None:
    """An episode that an unobserved clock truncates is worth what an endless one is: 1 / (1 - gamma)."""
    config = PQNConfig(total_steps=10_000, rollout=4, gamma=0.5, hidden=(16,), lr=2e-2)
    network = train(corridor(32), config, seed=0)
    with torch.no_grad():
        values = network(torch.eye(2))
    assert torch.allclose(values, torch.tensor([[2.0, 1.0], [1.0, 2.0]]), atol=0.15)


def test_what_follows_a_cut_is_seen_in_the_final_observation(corridor) -> None:
    """Not in the observation returned, which is of the next episode."""
    envs, network = corridor(6), QNetwork(2, 2, (8,))
    obs, _ = envs.reset()
    played, _ = _play(envs, network, obs, 7, 0.5, torch.Generator().manual_seed(0))
    assert 0 < played.cut.float().mean() < 1
    with torch.no_grad():
        expected = network(1 - played.obs).amax(-1)  # of the other state
    assert torch.allclose(played.next_value, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"single_action_space": spaces.MultiDiscrete([2, 2])}, "Discrete actions"),
        ({"single_observation_space": spaces.Box(0, 1, (2, 2))}, "Box of one axis"),
        ({"metadata": {"autoreset_mode": AutoresetMode.NEXT_STEP}}, "SAME_STEP"),
    ],
)
def test_other_environments_are_refused(corridor, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        train(corridor(2, **change), SHORT)


@pytest.mark.parametrize(
    "bad", [{"rollout": 0}, {"gamma": 1.5}, {"epsilon_end": -0.1}, {"lr": 0.0}, {"epochs": 1.5}]
)
def test_bad_settings_are_refused(bad: dict[str, Any]) -> None:
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name} must .*got {value}"):
        PQNConfig(**bad)


@pytest.mark.parametrize("learn", [train, train_hrm])
def test_weights_that_diverge_are_not_returned(learn) -> None:
    kind = PQNConfig if learn is train else HRMPQNConfig
    envs = make_vector_env(4)
    with pytest.raises(FloatingPointError, match=r"weights are NaN or infinite; lower lr, 1e\+30"):
        learn(envs, kind(total_steps=256, rollout=4, lr=1e30, max_grad_norm=1e30))
