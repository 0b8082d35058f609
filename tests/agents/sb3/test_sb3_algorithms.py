"""What Stable-Baselines3's algorithms do to an HRM: train, copy, save and load it, on every kind of space."""

import copy
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox
from stable_baselines3.common.evaluation import evaluate_policy
from torch import Tensor

from hrm_rl.agents.sb3 import HRMFeaturesExtractor, hrm_policy_kwargs, load_weights
from hrm_rl.envs.thinking import ThinkingWrapper

TINY: dict[str, Any] = {"hidden_size": 16, "num_heads": 2, "L_cycles": 1, "expansion": 1.0}
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
SPACES = {
    "vector": VECTOR,
    "number": spaces.Discrete(5),
    "numbers": spaces.MultiDiscrete([3, 4]),
    "bits": spaces.MultiBinary(4),
    "board": spaces.Box(0, 6, (4, 4), np.int64),
    "picture": spaces.Box(0, 255, (32, 36, 3), np.uint8),
    "parts": spaces.Dict(where=VECTOR, view=spaces.Box(0, 255, (5, 5, 3), np.uint8), held=spaces.Discrete(3)),
    "thinking": spaces.Dict(observation=VECTOR, segment=spaces.Discrete(4)),
}


class Looks(gym.Env[Any, int]):
    """Shows a draw of any space for one step; action 0 is right."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = space, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        return self.observation_space.sample(), float(action == 0), True, False, {}


def make(algo: str, env: Any = None, **options: Any) -> Any:
    """A model of a few seconds' training at most; the same policy_kwargs for all algorithms."""
    kwargs = hrm_policy_kwargs(net_arch=[16], **(TINY | options))
    settings: dict[str, Any] = {"policy_kwargs": kwargs, "seed": 0, "device": "cpu"}
    settings |= {"learning_rate": 3e-3, "gamma": 0.0}
    if algo == "PPO":
        settings |= {"n_steps": 32, "batch_size": 32, "n_epochs": 4, "gae_lambda": 0.0}
    elif algo == "A2C":
        settings |= {"n_steps": 16}
    else:
        settings |= {"learning_starts": 50, "buffer_size": 500}
        settings |= {"batch_size": 32, "train_freq": 4}
    if algo == "QRDQN":
        pytest.importorskip("sb3_contrib")
        settings["policy_kwargs"] |= {"n_quantiles": 8}
    if env is None:
        env = IdentityEnvBox(eps=0.5) if algo == "SAC" else IdentityEnv(2)
    module = "sb3_contrib" if algo == "QRDQN" else "stable_baselines3"
    parts = isinstance(env.observation_space, spaces.Dict)
    policy = "MultiInputPolicy" if parts else "MlpPolicy"
    return getattr(import_module(module), algo)(policy, env, **settings)


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("shared", [True, False])
def test_orthogonal_initialisation_skips_the_hrm(shared: bool) -> None:
    """With SB3's defaults; only the heads are initialised by SB3."""
    made: list[HRMFeaturesExtractor] = []

    class Watched(HRMFeaturesExtractor):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.first = state_of(self)
            made.append(self)

    kwargs = {"features_extractor_class": Watched, "share_features_extractor": shared}
    policy: Any = PPO("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs=kwargs).policy
    assert policy.ortho_init and policy.action_net.weight.std() < 0.02
    assert len(made) == (1 if shared else 2)
    assert all(same(one.first, state_of(one)) for one in made)
    # Other functions are applied as to any module.
    made[0].apply(lambda m: m.weight.data.zero_() if isinstance(m, torch.nn.Linear) else None)
    assert not same(made[0].first, state_of(made[0]))


@pytest.mark.parametrize("algo", ["PPO", "A2C", "DQN", "QRDQN", "SAC"])
def test_every_algorithm_learns_through_it(algo: str) -> None:
    """A few updates change every tensor of the HRM, and only parameters."""
    model = make(algo)
    policy = model.policy
    networks = {"DQN": "q_net", "QRDQN": "quantile_net", "SAC": "critic"}
    network = getattr(policy, networks[algo]) if algo in networks else policy
    before = state_of(network.features_extractor)
    model.learn(80)
    after = state_of(network.features_extractor)
    parameters = {name for name, _ in network.features_extractor.named_parameters()}
    assert before.keys() > parameters
    for name in before:
        changed = not torch.equal(before[name], after[name])
        assert changed == (name in parameters), name


@pytest.mark.parametrize(("algo", "steps"), [("DQN", 500), pytest.param("PPO", 1500, marks=pytest.mark.slow)])
def test_it_learns_what_to_do(algo: str, steps: int) -> None:
    """The identity of four observations: chance gets 25 of 100."""
    model = make(algo, IdentityEnv(4)).learn(steps)
    reward, _ = evaluate_policy(model, IdentityEnv(4), 5, warn=False)
    assert reward >= 95


@pytest.mark.parametrize("algo", ["PPO", "A2C", "DQN", "QRDQN", "SAC"])
def test_saved_and_loaded_it_predicts_the_same(algo: str, tmp_path: Path) -> None:
    model = make(algo, segments=2, deep_supervision=0.5).learn(64)
    env, obs = model.get_env(), model.get_env().reset()
    model.save(tmp_path / "model")
    expected, _ = model.predict(obs, deterministic=True)
    loaded = type(model).load(tmp_path / "model", env=env, device="cpu")
    assert same(state_of(loaded.policy), state_of(model.policy))
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    loaded.learn(8)  # training goes on
    # Into a new model: by SB3's own function, and by ours.
    for load in (lambda m, path: m.set_parameters(path), load_weights):
        fresh = make(algo, segments=2, deep_supervision=0.5)
        with torch.no_grad():
            for weight in fresh.policy.parameters():
                weight += 1  # other weights than the same seed's
        load(fresh, str(tmp_path / "model"))
        assert same(state_of(fresh.policy), state_of(model.policy))
        assert np.array_equal(fresh.predict(obs, deterministic=True)[0], expected)


@pytest.mark.parametrize(("algo", "net"), [("DQN", "q_net"), ("QRDQN", "quantile_net")])
def test_target_networks_follow(algo: str, net: str) -> None:
    """A target begins as a copy, constants included, and becomes one again after a whole update."""
    model = make(algo)
    online, target = getattr(model.policy, net), getattr(model.policy, f"{net}_target")
    assert online.features_extractor is not target.features_extractor
    assert same(state_of(online), state_of(target))
    model.learn(80)
    assert not same(state_of(online), state_of(target))
    model.tau, model.target_update_interval = 1.0, 1
    model._on_step()
    assert same(state_of(online), state_of(target))


def test_copies_and_policies_by_themselves(tmp_path: Path) -> None:
    """deepcopy, policy.save and policy.load, which pickle the modules."""
    model = make("DQN")
    obs = model.get_env().reset()
    expected = model.predict(obs, deterministic=True)[0]
    model.policy.save(tmp_path / "policy")
    for policy in (copy.deepcopy(model.policy), type(model.policy).load(tmp_path / "policy")):
        assert np.array_equal(policy.predict(obs, deterministic=True)[0], expected)


@pytest.mark.parametrize("algo", ["PPO", "DQN"])
def test_a_policy_in_a_thinking_wrapper_thinks(algo: str) -> None:
    """From a rollout buffer and from a replay buffer, which store the count differently."""
    model = make(algo, ThinkingWrapper(gym.make("CartPole-v1"), max_segments=3))
    features = {"PPO": model.policy, "DQN": getattr(model.policy, "q_net", None)}[algo]
    counts = features.features_extractor.counts
    assert counts.weight.shape == (4, 16) and not counts.weight.any()
    model.learn(64)
    assert counts.weight.any()


@pytest.mark.parametrize("name", SPACES)
def test_any_space_that_sb3_takes(name: str) -> None:
    model = make("PPO", Looks(SPACES[name]))
    model.learn(32)
    action, _ = model.predict(model.get_env().reset())
    assert all(model.action_space.contains(one) for one in action)
