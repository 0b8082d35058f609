"""HRMRecurrentPolicy: it trains in RecurrentPPO, keeps its states apart, saves, and refuses by name."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from hrm_rl.agents.cell import HRMCell
from hrm_rl.envs.cue_recall import CueRecallEnv
from hrm_rl.model import CoreConfig

pytest.importorskip("sb3_contrib")
from sb3_contrib import QRDQN, TRPO, RecurrentPPO

from hrm_rl.agents.sb3.recurrent import HRMRecurrentPolicy

SMALL = CoreConfig(hidden_size=8, num_heads=2)


class DictRecall(gym.ObservationWrapper):
    """Cue recall in a Dict, beside a constant vector."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        noise = spaces.Box(-1, 1, (3,), np.float32)
        self.observation_space = spaces.Dict(symbol=env.observation_space, noise=noise)

    def observation(self, observation: Any) -> dict[str, Any]:
        return {"symbol": observation, "noise": np.full(3, 0.5, np.float32)}


def make_envs(count: int = 2, wrapper: Any = None) -> Any:
    return make_vec_env(
        CueRecallEnv, count, seed=0, env_kwargs={"cues": 3, "delay": 1}, wrapper_class=wrapper
    )


def make(envs: Any = None, n_steps: int = 6, batch_size: int = 12, **policy: Any) -> RecurrentPPO:
    policy = {"config": SMALL} | policy
    settings = {"n_steps": n_steps, "batch_size": batch_size, "n_epochs": 2, "seed": 0}
    return RecurrentPPO(HRMRecurrentPolicy, envs or make_envs(), policy_kwargs=policy, **settings)


def policy_of(space: Any, actions: Any = None, **settings: Any) -> Any:
    actions = actions or spaces.Discrete(3)
    return HRMRecurrentPolicy(space, actions, lambda _: 1e-3, config=SMALL, **settings)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("wrapper", [None, DictRecall], ids=["discrete", "dict"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"through_time": False, "segments": 2, "tokens": 3}, {"carry": "reset"}],
    ids=["default", "one_step", "reset"],
)
def test_trains_evaluates_and_loads_the_same(wrapper, settings, tmp_path) -> None:
    model = make(make_envs(wrapper=wrapper), **settings)
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    model.learn(2 * 12)
    learned = changed(before, model.policy.state_dict())
    for name, _ in model.policy.named_parameters():
        assert name in learned, f"{name} did not learn"
    assert not {name for name in learned if name.endswith("_init")}
    reward, _ = evaluate_policy(model, make_envs(3, wrapper), 6, deterministic=False)
    assert 0 <= reward <= 1

    model.save(tmp_path / "model.zip")
    again = RecurrentPPO.load(tmp_path / "model.zip", env=make_envs(wrapper=wrapper))
    model.policy.save(tmp_path / "policy.pt")
    alone = HRMRecurrentPolicy.load(tmp_path / "policy.pt")
    assert repr(alone.lstm_actor) == repr(again.policy.lstm_actor) == repr(model.policy.lstm_actor)
    obs, state, start = model.get_env().reset(), None, np.ones(2, bool)
    for _ in range(3):
        results = [one.predict(obs, state, start, True) for one in (model.policy, again, alone)]
        for action, state in results[1:]:
            np.testing.assert_array_equal(action, results[0][0])
            np.testing.assert_array_equal(state, results[0][1])
        state, start = results[0][1], np.zeros(2, bool)
    again.learn(12)


def test_the_cell_is_where_recurrent_ppo_looks_and_its_optimizer_sees_it() -> None:
    policy = make(tokens=3).policy
    cell = policy.lstm_actor
    assert isinstance(cell, HRMCell)
    assert policy.lstm_hidden_state_shape == (3, 1, 8) == (cell.num_layers, 1, cell.hidden_size)
    assert policy.lstm_critic is None and policy.critic is None
    optimized = {id(p) for group in policy.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in policy.parameters()}


def test_of_a_large_observation_only_the_tokens_asked_for_are_kept() -> None:
    space = spaces.Box(0, 9, (7, 7), np.int64)
    for tokens, kept in ((None, 50), (4, 4)):
        policy = policy_of(space, tokens=tokens)
        _, (h, _) = policy.predict(np.stack([space.sample() for _ in range(5)]))
        assert h.shape == (kept, 5, 8)


@pytest.mark.parametrize("use_sde", [False, True])
def test_continuous_actions_stay_in_their_bounds(use_sde) -> None:
    bounds = spaces.Box(-0.1, 0.1, (3,), np.float32)
    policy = policy_of(spaces.Box(-1, 1, (4,), np.float32), bounds, use_sde=use_sde)
    actions, _ = policy.predict(np.zeros((20, 4), np.float32))
    assert actions.shape == (20, 3) and all(bounds.contains(action) for action in actions)
    assert np.ptp(actions, axis=0).all() == (not use_sde)  # gSDE: one draw for all until the next


def test_orthogonal_heads_leave_the_model_alone() -> None:
    """Either way tokenizer and core start with the same weights; the heads' differ, actions small."""
    space = spaces.Dict(a=spaces.Box(0, 1, (40,), np.float32), b=spaces.Discrete(3))
    policies = []
    for ortho_init in (True, False):
        torch.manual_seed(0)
        policies.append(policy_of(space, ortho_init=ortho_init))
    with_it, without = policies
    assert with_it.action_net.weight.norm() < 0.05 < without.action_net.weight.norm()
    for part in ("features_extractor", "lstm_actor"):
        features, plain = (getattr(policy, part) for policy in policies)
        assert part == "lstm_actor" or not changed(plain.state_dict(), features.state_dict())
        for module in features.modules():
            if isinstance(module, torch.nn.Linear):  # LeCun's scale, and not orthogonal
                wanted = pytest.approx(module.in_features**-0.5, rel=0.3)
                assert module.weight.std().item() == wanted


def test_states_go_on_and_start_afresh_by_row() -> None:
    policy = make().policy
    first, second = np.array([2, 3]), np.array([0, 0])
    _, state = policy.predict(first)
    _, (h, _) = policy.predict(second, state, np.array([False, True]))
    _, (fresh, _) = policy.predict(second)
    np.testing.assert_allclose(h[:, 1], fresh[:, 1], atol=1e-6)
    assert np.abs(h[:, 0] - fresh[:, 0]).max() > 0.01
    action, (h_single, _) = policy.predict(np.int64(2))
    assert action.shape == () and h_single.shape == (2, 1, 8)


def test_rollouts_and_updates_compute_the_same() -> None:
    """Before the first step of the optimizer the ratio of probabilities is 1: states were stored right."""
    model = make(n_steps=7, batch_size=9)
    seen = []
    evaluate = model.policy.evaluate_actions

    def watched(*args: Any) -> Any:
        values, log_prob, entropy = evaluate(*args)
        seen.append((values.detach().flatten(), log_prob.detach()))
        return values, log_prob, entropy

    model.policy.evaluate_actions = watched
    batches, get = [], model.rollout_buffer.get
    model.rollout_buffer.get = lambda size: (batches.append(b) or b for b in get(size))
    model.learn(14)
    mask = batches[0].mask > 0
    torch.testing.assert_close(seen[0][0][mask], batches[0].old_values[mask])
    torch.testing.assert_close(seen[0][1][mask], batches[0].old_log_prob[mask])


@pytest.mark.parametrize("algorithm", [PPO, A2C, DQN, QRDQN, TRPO])
def test_algorithms_without_states_are_refused_with_the_remedy(algorithm) -> None:
    with pytest.raises(ValueError, match=r"carries a state.*use sb3_contrib\.RecurrentPPO"):
        algorithm(HRMRecurrentPolicy, make_envs(), policy_kwargs={"config": SMALL}).learn(10)


@pytest.mark.parametrize("wrapper", [None, DictRecall], ids=["discrete", "dict"])
def test_a_state_of_other_environments_is_refused(wrapper) -> None:
    model = make(make_envs(2, wrapper))
    _, state = model.predict(make_envs(4, wrapper).reset())
    said = "the state is of 4 environments, the observation of 2: .*state=None"
    with pytest.raises(ValueError, match=said):
        model.predict(model.get_env().reset(), state)
    with pytest.raises(ValueError, match=said):
        obs, _ = model.policy.obs_to_tensor(model.get_env().reset())
        states = tuple(torch.as_tensor(s) for s in state)
        model.policy(obs, type(model._last_lstm_states)(states, states), torch.zeros(2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lstm_hidden_size": 32}, "no lstm_hidden_size; use hidden_size"),
        ({"features_extractor_class": None}, "no features_extractor_class; use nothing instead"),
        ({"carry": "hold"}, "carry must be one of keep, reset"),
        ({"hidden_size": 16}, "hidden_size=16, but config.hidden_size=8"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said) -> None:
    with pytest.raises(ValueError, match=said):
        make(**settings)


@pytest.mark.slow
def test_a_kept_carry_recalls_the_cue_and_a_reset_one_cannot() -> None:
    """With the settings of examples/memory_recurrent_ppo.py."""
    rewards = {}
    for carry, steps in (("keep", 25_000), ("reset", 2000)):
        envs = make_vec_env(CueRecallEnv, 64, seed=1, env_kwargs={"cues": 4, "delay": 4})
        policy = {"carry": carry, "hidden_size": 32}
        settings = {"n_steps": 12, "batch_size": 384, "n_epochs": 8, "ent_coef": 0.01, "seed": 1}
        settings |= {"learning_rate": lambda left: 2e-3 * left, "policy_kwargs": policy}
        model = RecurrentPPO(HRMRecurrentPolicy, envs, **settings)
        model.learn(steps)
        rewards[carry] = evaluate_policy(model, envs, 300)[0]
    assert rewards["keep"] > 0.9 and rewards["reset"] < 0.4
