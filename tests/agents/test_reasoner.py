"""The HRM that thinks for a wrapper: the same thoughts as the network it is of, and what it is used for."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN, PPO

from hrm_rl.agents.pqn.hrm_pqn import HRMPQNConfig, evaluate, train_hrm
from hrm_rl.agents.pqn.q_network import HRMQNetwork, ThinkingConfig
from hrm_rl.agents.reasoner import HRMReasoner
from hrm_rl.agents.sb3.extractor import hrm_policy_kwargs
from hrm_rl.agents.tokenizer import ObsTokenizer, to_tensors
from hrm_rl.envs.one_way_maze import OneWayMaze
from hrm_rl.envs.thinking import HaltedThinking, ThinkingWrapper
from hrm_rl.envs.to_torch import ToTorch
from hrm_rl.model import CoreConfig, HRMCore

CORE = CoreConfig(hidden_size=16, num_heads=2, L_cycles=1)
SMALL: dict[str, Any] = {"hidden_size": 16, "num_heads": 2, "L_cycles": 1, "net_arch": [8]}


def network(segments: int = 4, seed: int = 0) -> HRMQNetwork:
    torch.manual_seed(seed)
    space, thinking = OneWayMaze().observation_space, ThinkingConfig(max_segments=segments)
    return HRMQNetwork(space, 2, CORE, thinking, value_scale=3.0)


def mazes(count: int) -> list[np.ndarray]:
    env = OneWayMaze()
    return [env.reset(seed=seed)[0] for seed in range(count)]


def test_its_thoughts_are_the_networks_segments() -> None:
    net = network()
    reasoner = HRMReasoner.of_network(net)
    observations = mazes(3)
    with torch.no_grad():
        values = net(torch.tensor(np.stack(observations)))
    for row, observation in enumerate(observations):
        carry: Any = None
        for k in range(4):
            thought = reasoner.think(observation, carry)
            carry, q_action = thought.carry, values.q_action[row, k]
            assert torch.allclose(thought.logits[0, 0], q_action, atol=1e-5)
            assert torch.allclose(thought.q_halt, q_action.amax(), atol=1e-5)
            assert torch.allclose(thought.q_continue, values.q_continue[row, k], atol=1e-5)
            assert thought.latent.shape == (16,) and thought.latent.dtype == np.float32


def test_the_rule_q_halts_where_the_network_does() -> None:
    net = network()
    observations = torch.tensor(np.stack(mazes(20)))
    with torch.no_grad():  # so that about half of the observations are thought on about
        values = net(observations)
        gap = values.q_action[:, 0].amax(-1) - values.q_continue[:, 0]
        net.continue_head.bias += gap.median() / net.value_scale + 1e-3
    env = HaltedThinking(OneWayMaze(), HRMReasoner.of_network(net), "q", max_segments=4)
    thought = net.think(observations)
    assert len(thought.segments.unique()) > 1  # both ways of stopping are seen
    for row in range(20):
        obs, info = env.reset(seed=row)
        assert obs["segment"] == thought.segments[row]
        assert info["reasoner_action"] == thought.q_action[row].argmax()


@pytest.mark.parametrize("spec", ["confidence:0.6", "stable:1", "kl:1e-3", "recall(margin:0.1)"])
def test_any_rule_runs_on_it(spec: str) -> None:
    env = HaltedThinking(OneWayMaze(), HRMReasoner.of_network(network()), spec, max_segments=5)
    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        assert env.observation_space.contains(obs) and 1 <= obs["segment"] <= 5
        obs, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(obs)


@pytest.mark.parametrize("algorithm", [PPO, DQN])
def test_of_a_stable_baselines_model_it_has_the_policys_own_values(algorithm: Any) -> None:
    env = gym.make("CartPole-v1")
    kwargs = hrm_policy_kwargs(segments=3, **SMALL)
    model = algorithm("MlpPolicy", env, policy_kwargs=kwargs, seed=0)
    reasoner = HRMReasoner.of_sb3(model)
    obs, _ = env.reset(seed=0)
    carry = None
    for _ in range(3):
        thought = reasoner.think(obs, carry)
        carry = thought.carry  # type: ignore[assignment]
    batch = model.policy.obs_to_tensor(obs)[0]
    got = thought.logits[0]
    with torch.no_grad():
        if algorithm is PPO:
            got, expected = got.log_softmax(-1), model.policy.get_distribution(batch)
            expected = expected.distribution.logits
        else:
            expected = model.q_net(batch)
    assert torch.allclose(got, expected, atol=1e-5)
    assert thought.q_halt.isnan()
    with pytest.raises(ValueError, match="needs Q values"):
        HaltedThinking(env, reasoner, "q").reset()


def test_other_models_are_refused() -> None:
    env = gym.make("CartPole-v1")
    with pytest.raises(ValueError, match="not from an HRM; make the model with policy_kwargs="):
        HRMReasoner.of_sb3(PPO("MlpPolicy", env))
    thinking = ThinkingWrapper(env, max_segments=2)
    model = PPO("MultiInputPolicy", thinking, policy_kwargs=hrm_policy_kwargs(**SMALL))
    with pytest.raises(ValueError, match="train it on the bare environment"):
        HRMReasoner.of_sb3(model)
    continuous = PPO("MlpPolicy", gym.make("Pendulum-v1"), policy_kwargs=hrm_policy_kwargs(**SMALL))
    with pytest.raises(ValueError, match="neither an actor of Discrete actions nor"):
        HRMReasoner.of_sb3(continuous)


def test_parts_of_other_widths_are_refused() -> None:
    tokenizer = ObsTokenizer(spaces.Discrete(3), 8)
    with pytest.raises(ValueError, match="same hidden_size, got 8 and 16"):
        HRMReasoner(tokenizer, HRMCore(CORE), torch.nn.Linear(16, 2))


def test_nested_observations_and_strings_are_thought_about() -> None:
    space = spaces.Dict(
        {"say": spaces.Text(4), "at": spaces.Tuple((spaces.Discrete(3), spaces.Box(-1, 1, (2,))))}
    )
    reasoner = HRMReasoner(ObsTokenizer(space, 16), HRMCore(CORE), torch.nn.Linear(16, 2))
    obs = {"say": "go", "at": (1, np.zeros(2, np.float32))}
    thought = reasoner.think(obs)
    assert thought.logits.shape == (1, 1, 2)
    batch = {"say": ["go"], "at": (np.array([1]), np.zeros((1, 2), np.float32))}
    with torch.no_grad():
        x = reasoner.tokenizer(to_tensors(space, batch))
    z_H = reasoner.core(reasoner.core.initial_carry(1, x.shape[1]), x).z_H
    assert np.allclose(thought.latent, z_H[0, 0].detach().numpy(), atol=1e-6)


# --- who thinks in a ThinkingWrapper --------------------------------------------------------------


def test_our_pqn_learns_in_it() -> None:
    """It carries its state from step to step, so that a thought is a step with the carry kept."""

    def make() -> ThinkingWrapper:
        return ThinkingWrapper(OneWayMaze(), max_segments=2, segment_cost=0.01)

    envs = ToTorch(SyncVectorEnv([make] * 4, autoreset_mode=AutoresetMode.SAME_STEP))
    thinking = ThinkingConfig(halting="fixed:1", carry="keep")
    config = HRMPQNConfig(total_steps=64, rollout=4, core=CORE, thinking=thinking)
    net = train_hrm(envs, config)
    assert net.actions == 3
    assert len(evaluate(net, envs, episodes=4).returns) == 4
