"""PQN with an HRM: optima that are known, its targets by hand, its memory, and that it repeats."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hrm_rl.agents.pqn import Rollout, lambda_returns
from hrm_rl.agents.pqn.hrm_pqn import (
    HRMPQNConfig,
    HRMRollout,
    Lesson,
    continue_targets,
    evaluate,
    play,
    taught_by_return,
    thinking_loss,
    thinking_returns,
    train_hrm,
)
from hrm_rl.agents.pqn.q_network import HRMQNetwork, ThinkingConfig, Values
from hrm_rl.envs.halting import make_vector_env
from hrm_rl.envs.one_way_maze import OneWayMaze
from hrm_rl.model import CoreConfig
from hrm_rl.model.core import CoreOutput
from hrm_rl.model.recurrence import Carry

SMALL = CoreConfig(hidden_size=16, num_heads=2, L_cycles=1)


unit = st.floats(0, 1)


def fast(**settings: Any) -> HRMPQNConfig:
    return HRMPQNConfig(core=SMALL, epochs=4, minibatches=1, **settings)


class SlowCore(torch.nn.Module):
    """A core that shows what it sees from segment `shows` on; before, only which segment it is."""

    def __init__(self, shows: int) -> None:
        super().__init__()
        self.config, self.shows = SMALL, shows

    def initial_carry(self, rows: int, tokens: int) -> Carry:
        nothing = torch.zeros(rows, tokens, self.config.hidden_size)
        return Carry(nothing, nothing)

    def reset(self, carry: Carry, where: Tensor) -> Carry:
        return Carry(*(torch.where(where[:, None, None], 0.0, z) for z in carry))

    def forward(self, carry: Carry, x: Tensor, read=None) -> CoreOutput:
        clock = carry.z_L + 1
        numbers = torch.arange(1, self.config.hidden_size + 1)
        z_H = torch.where(clock >= self.shows, x[:, 1:], (clock == numbers).float())
        return CoreOutput(Carry(z_H.detach(), clock), z_H)


def learn_slowly(envs: Any, cost: float) -> HRMQNetwork:
    thinking = ThinkingConfig(max_segments=4, segment_cost=cost, gamma_think=0.9)
    torch.manual_seed(0)
    network = HRMQNetwork(envs.single_observation_space, 4, SMALL, thinking)
    network.core = SlowCore(shows=3)  # type: ignore[assignment]
    config = fast(total_steps=60_000, rollout=2, lr=2e-2, epsilon_end=0.5)
    return train_hrm(envs, config, network=network)


@pytest.mark.parametrize(("cost", "stops"), [(0.1, 3), (0.5, 1)])
def test_it_thinks_as_long_as_that_is_worth_it(bandit, cost: float, stops: int) -> None:
    """Before segment 3 one guesses among 4; the closed form of Q_continue decides."""
    network = learn_slowly(bandit(4, 256), cost)
    with torch.no_grad():
        values = network(torch.arange(4))
    halt = torch.tensor([0.25, 0.25, 1.0, 1.0])
    go_on = torch.zeros(3)
    for k in (2, 1, 0):
        after = halt[k + 1] if k == 2 else max(halt[k + 1], go_on[k + 1])
        go_on[k] = 0.9 * after - cost
    assert torch.allclose(values.q_action.amax(-1), halt.expand(4, 4), atol=0.06)
    assert torch.allclose(values.q_continue[:, :3], go_on.expand(4, 3), atol=0.06)
    halted = network.think(torch.arange(4))
    assert halted.segments.tolist() == [stops] * 4
    worth = 0.81 - 1.9 * cost if stops == 3 else 0.25
    assert torch.allclose(halted.value, torch.tensor(worth), atol=0.06)


def test_where_thinking_is_useless_it_halts_at_once(bandit) -> None:
    envs = bandit(4, 64)
    thinking = ThinkingConfig(max_segments=2, segment_cost=0.05)
    config = fast(total_steps=4_480, rollout=1, lr=1e-2, thinking=thinking)
    result = evaluate(train_hrm(envs, config), envs, episodes=32)
    assert result.mean_segments == 1 and (result.returns == 1).all()


def test_values_are_those_of_value_iteration(table_env) -> None:
    """A chain with a small reward near and a large one far; every segment's values are the optimum."""
    gamma, states = 0.8, 5
    following = torch.tensor([[max(s - 1, 0), min(s + 1, 4)] for s in range(states)])
    reward = torch.zeros(states, 2)
    reward[0, 0], reward[4, 1], reward[1, 1] = 0.4, 1.0, -0.1
    ends = reward > 0
    optimum = torch.zeros(states, 2)
    for _ in range(100):
        optimum = reward + gamma * optimum.amax(1)[following] * ~ends
    prices = {"gamma": gamma, "q_lambda": 0.0, "thinking": ThinkingConfig(halting="fixed:2")}
    config = fast(total_steps=6_000, rollout=1, lr=1e-2, epsilon_end=0.5, **prices)
    network = train_hrm(table_env(40, following, reward, ends), config)
    with torch.no_grad():
        values = network(torch.arange(states)).q_action
    assert torch.allclose(values, optimum[:, None], atol=0.05)


@settings(max_examples=25)
@given(st.integers(1, 5), unit, unit, st.just(1.0) | unit, st.integers(0, 99))
def test_returns_pay_for_thinking_step_by_step(steps, gamma, q_lambda, gamma_think, seed) -> None:
    """Written out as weights on n-step returns, whose thoughts are paid for one segment at a time."""
    rng = np.random.default_rng(seed)
    cost = 0.3 if seed % 2 else 0.0
    thinking = ThinkingConfig(segment_cost=cost, gamma_think=gamma_think, max_segments=4)
    over = rng.random((steps, 2)) < 0.2
    cut = (rng.random((steps, 2)) < 0.2) & ~over
    reward, value = rng.normal(size=(2, steps, 2))
    segments = rng.integers(1, 5, (steps, 2))
    r, v = (torch.from_numpy(column).float() for column in (reward, value))
    ends, flags = torch.from_numpy(over), torch.from_numpy(cut)
    played = Rollout(None, torch.zeros(steps, 2), r, ends, v, flags)
    rollout = HRMRollout(played, torch.from_numpy(segments), flags, None, r, flags)
    target = thinking_returns(rollout, HRMPQNConfig(gamma=gamma, q_lambda=q_lambda), thinking)
    if gamma_think == 1 and not cost:
        assert torch.equal(target, lambda_returns(played, gamma, q_lambda))
    for row in range(2):
        for start in range(steps):
            expected, weight, paid, discount = 0.0, 1.0, 0.0, 1.0
            for t in range(start, steps):
                if t > start:
                    for _ in range(segments[t, row] - 1):
                        paid -= cost * discount
                        discount *= gamma_think
                paid += discount * reward[t, row]
                discount *= gamma
                last = over[t, row] or cut[t, row] or t == steps - 1
                bootstrap = 0.0 if over[t, row] else discount * value[t, row]
                expected += (weight if last else weight * (1 - q_lambda)) * (paid + bootstrap)
                weight *= q_lambda
                if last:
                    break
            assert float(target[start, row]) == pytest.approx(expected, abs=1e-4)


def test_thinking_on_is_worth_what_the_next_segment_says() -> None:
    thinking = ThinkingConfig(max_segments=3, segment_cost=0.5, gamma_think=0.5)
    q_action = torch.tensor([[[9.0, 0.0], [1.0, 2.0], [4.0, 3.0]]], requires_grad=True)
    q_continue = torch.tensor([[7.0, 3.0, 99.0]], requires_grad=True)
    values = Values(q_action, q_continue)
    target = continue_targets(values, thinking)
    assert target.tolist() == [[0.5 * 3 - 0.5, 0.5 * 4 - 0.5]] and not target.requires_grad
    taught = torch.tensor([[False, True, True]])
    lesson = Lesson(torch.tensor([1]), torch.tensor([5.0]), torch.tensor([2]), taught)
    loss = thinking_loss(values, lesson, thinking)
    as_segment_2 = (8**2 + 2**2) / 2
    expected = 0.5 * (as_segment_2 + 9 + 4) / 3 + 0.5 * (6**2 + 1.5**2) / 2
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert q_continue.grad is not None and q_continue.grad[0, 2] == 0
    assert q_action.grad is not None and q_action.grad[0, 1].tolist() == [0, -1]  # (2 - 5) / 3
    loss = thinking_loss(values, lesson, ThinkingConfig(halting="fixed:3"))
    assert loss.item() == pytest.approx(0.5 * (as_segment_2 + 9 + 4) / 3)


def test_no_segment_learns_what_only_a_later_one_knew() -> None:
    """The return teaches from the segment that acted on, or all where the action was drawn."""
    segments, drawn = torch.tensor([[1, 2, 3]]), torch.tensor([[False, False, True]])
    rollout = HRMRollout(None, segments, drawn, None, None, None)  # type: ignore[arg-type]
    taught = taught_by_return(rollout, 3)
    assert taught.int().tolist() == [[[1, 1, 1], [0, 1, 1], [1, 1, 1]]]


@pytest.mark.parametrize("carry", ["keep", "reset"])
def test_thoughts_go_on_from_the_last_step_or_begin_afresh(table_env, carry: Any) -> None:
    """A rollout against a replay that thinks about one row at a time, segment by segment."""
    states, rows, steps = 5, 4, 7
    generator = torch.Generator().manual_seed(1)
    following = torch.randint(0, states, (states, 3), generator=generator)
    ends = torch.rand(states, 3, generator=generator) < 0.2
    envs = table_env(rows, following, torch.rand(states, 3, generator=generator), ends, limit=3)
    torch.manual_seed(3)
    thinking = ThinkingConfig(max_segments=3, segment_cost=0.1, gamma_think=0.9, carry=carry)
    network = HRMQNetwork(envs.single_observation_space, 3, SMALL, thinking)
    obs, _ = envs.reset()
    rollout, next_obs, next_carry = play(
        envs, network, obs, network.initial_carry(rows), steps, 0.6, generator
    )
    assert (rollout.carry is None) == (carry == "reset")
    played = rollout.steps
    assert played.cut.any() and played.over.any() and len(rollout.segments.unique()) == 3
    for row in range(rows):
        latent = network.initial_carry(1)
        for t in range(steps):
            seen = played.obs[t, row, None]
            if rollout.carry is not None:
                for kept, wanted in zip(rollout.carry, latent, strict=True):
                    assert torch.allclose(kept[t, row, None], wanted, atol=1e-5)
            for _ in range(int(rollout.segments[t, row])):
                latent = network.core(latent, network.tokenizer(seen)).carry
            over, cut = bool(played.over[t, row]), bool(played.cut[t, row])
            if not over:  # the value of what followed the action, not of the next episode
                begins = latent if carry == "keep" else None
                value = network.think(following[seen, played.action[t, row]], begins).value
                assert torch.allclose(played.next_value[t, row, None], value, atol=1e-4)
            latent = network.initial_carry(1) if over or cut or carry == "reset" else latent
        if carry == "keep":
            assert torch.allclose(next_carry.z_H[row], latent.z_H[0], atol=1e-5)
    assert torch.equal(next_obs, envs.state)


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_generator(bandit) -> None:
    thinking = ThinkingConfig(max_segments=2, carry="keep")
    config = HRMPQNConfig(total_steps=128, rollout=4, core=SMALL, thinking=thinking)
    before = torch.random.get_rng_state()
    one, same, other = (train_hrm(bandit(3, 8), config, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [network.state_dict() for network in (one, same, other)]
    for name, _ in one.named_parameters():
        assert torch.equal(weights[0][name], weights[1][name]), name
        assert not torch.equal(weights[0][name], weights[2][name]), name


def test_halting_environments_and_reports() -> None:
    """Our own vector environment; metrics come after every update."""
    reports: list[Any] = []
    envs = make_vector_env(16)
    config = HRMPQNConfig(total_steps=256, rollout=4, core=SMALL)
    network = train_hrm(envs, config, report=lambda *args: reports.append(args))
    assert [steps for steps, *_ in reports] == [64, 128, 192, 256] and reports[0][1] is network
    metrics = {name: float(value) for name, value in reports[-1][2].items()}
    means = {"loss", "reward", "value", "segments", "episode_return", "episode_steps"}
    assert means | {"episode_price", "halted_at_4", "segments_at_0001"} <= metrics.keys()
    assert 1 <= metrics["segments"] <= 4 and -1 < metrics["episode_return"] < 1
    result = evaluate(network, envs, episodes=20, seed=5)
    assert len(result.returns) == 32 and (result.lengths >= 1).all()


def test_every_environment_plays_its_share_of_an_evaluation(table_env) -> None:
    """Row i's episodes last i + 1 steps; were the first to end taken, the last rows would miss."""
    states = 4
    following = (torch.arange(states)[:, None] - 1).clamp_min(0).expand(-1, 2).contiguous()
    ends = torch.zeros(states, 2, dtype=torch.bool)
    ends[0] = True
    envs = table_env(states, following, torch.ones(states, 2), ends)
    network = HRMQNetwork(envs.single_observation_space, 2, SMALL)
    result = evaluate(network, envs, episodes=5)
    assert sorted(result.lengths.tolist()) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert np.array_equal(np.sort(result.returns), np.sort(result.lengths))
    with pytest.raises(ValueError, match="episodes must be >= 1, got 0"):
        evaluate(network, envs, episodes=0)


@pytest.mark.parametrize(
    ("states", "actions", "message"),
    [(3, 4, "the network has 4 actions, the environments 3"), (5, 3, "tokenizer differs in the observation")],
)
def test_environments_that_the_network_does_not_fit_are_refused(bandit, states, actions, message) -> None:
    network = HRMQNetwork(spaces.Discrete(states), actions, SMALL)
    with pytest.raises(ValueError, match=message):
        train_hrm(bandit(3, 2), network=network)
    with pytest.raises(ValueError, match=message):
        evaluate(network, bandit(3, 2))


def test_other_environments_are_refused(bandit) -> None:
    mode = AutoresetMode.SAME_STEP
    for envs, message in (
        (OneWayMaze(), "needs a vector environment of tensors, got OneWayMaze; ToTorch"),
        ("CartPole-v1", "needs a vector environment of tensors, got str"),
        (SyncVectorEnv([OneWayMaze], autoreset_mode=mode), "no tensors: wrap it in ToTorch"),
        (bandit(3, 2, actions=spaces.MultiBinary(2)), "needs Discrete actions"),
        (bandit(3, 2, mode=AutoresetMode.NEXT_STEP), "SAME_STEP"),
    ):
        with pytest.raises(ValueError, match=message):
            train_hrm(envs, HRMPQNConfig(core=SMALL))
    with pytest.raises(ValueError, match="config must be an HRMPQNConfig, got dict"):
        train_hrm(bandit(3, 2), {"core": SMALL})


def test_cut_episodes_need_their_final_observation(table_env) -> None:
    class Forgetful(table_env):
        def step(self, actions: Any) -> Any:
            return *super().step(actions)[:-1], {}

    envs = Forgetful(2, torch.zeros(1, 2).long(), torch.ones(1, 2), torch.zeros(1, 2).bool(), 2)
    with pytest.raises(ValueError, match=r"no info\['final_obs'\]"):
        train_hrm(envs, HRMPQNConfig(total_steps=64, core=SMALL))
