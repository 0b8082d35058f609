"""Thinking as an action: what it costs, what it leaves alone, when it ends, and who may use it."""

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.envs.thinking import HaltedThinking, ThinkingWrapper, Thought

NAN = float("nan")


class Walk(gym.Env[Any, Any]):
    """Counts its real steps; pays the action; ends after `length` of them."""

    def __init__(self, length: int = 3, seen: spaces.Space[Any] | None = None, start: int = 0):
        self.length = length
        self.observation_space = seen or spaces.Box(-1, 99, (2,), np.float32)
        self.action_space = spaces.Discrete(3, start=start)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.clock, self.noise = 0, self.np_random.random()
        return self._see(), {"clock": 0}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.clock += 1
        return self._see(), float(action), self.clock >= self.length, False, {"clock": self.clock}

    def _see(self) -> Any:
        seen = np.array([self.clock, self.noise], np.float32)
        return {"a": seen, "b": 1} if isinstance(self.observation_space, spaces.Dict) else seen


class Counter:
    """A scripted reasoner over 3 actions: after k segments its latent is (k, what it saw).

    Its best action is 0, 1, 2, 2, 2, ... and its Q values are `q_halt[k - 1]` and 0.
    """

    latent_size = 2

    def __init__(self, q_halt: tuple[float, ...] = (NAN,)) -> None:
        self.q_halt = q_halt
        self.calls = 0

    def think(self, observation: Any, carry: Any = None) -> Thought:
        self.calls += 1
        k = 1 if carry is None else carry.k + 1
        state = torch.full((1, 1, 2), float(k))
        q_halt = torch.tensor([self.q_halt[min(k, len(self.q_halt)) - 1]])
        return Thought(
            carry=SimpleNamespace(z_H=state, z_L=state, k=k),  # type: ignore[arg-type]
            logits=3.0 * torch.eye(3)[min(k - 1, 2)].view(1, 1, 3),
            q_halt=q_halt,
            q_continue=q_halt * 0,
            latent=np.array([k, np.ravel(observation)[0]], np.float32),
        )


def test_an_episode_by_hand() -> None:
    env = ThinkingWrapper(Walk(length=2), max_segments=2, segment_cost=0.25, fallback=1)
    with pytest.raises(ResetNeeded):
        env.step(3)
    assert env.action_space == spaces.Discrete(4)
    assert env.think_action == 3
    obs, info = env.reset(seed=0)
    assert obs["segment"] == 0
    assert info == {"clock": 0, "thoughts": 0}
    first = obs["observation"].copy()
    script = [  # action -> reward, clock, segment, thoughts
        (3, -0.25, 0, 1, 1),
        (3, -0.25, 0, 2, 2),
        (3, 1.0, 1, 0, 2),  # no thought is left: the fallback
        (3, -0.25, 1, 1, 1),
    ]
    for action, reward, clock, segment, thoughts in script:
        obs, got, terminated, truncated, info = env.step(action)
        assert (got, obs["segment"], info["thoughts"]) == (reward, segment, thoughts)
        assert obs["observation"][0] == clock
        assert not terminated
        assert not truncated
        assert "episode_thoughts" not in info
        if clock == 0:
            assert np.array_equal(obs["observation"], first)
    obs, got, terminated, _, info = env.step(2)
    assert (got, terminated) == (2.0, True)
    assert info == {"clock": 2, "thoughts": 1, "episode_thoughts": 3}
    with pytest.raises(ResetNeeded):
        env.step(3)
    env.reset()
    *_, info = env.step(0)
    assert info["thoughts"] == 0


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 3), st.sampled_from([0.0, 0.5]))
def test_thinking_changes_only_the_cost(actions: list[int], most: int, cost: float) -> None:
    """The same real actions without thinking: the same rewards but for the thoughts' cost."""
    env = ThinkingWrapper(Walk(length=5), max_segments=most, segment_cost=cost)
    plain = Walk(length=5)
    _, _ = env.reset(seed=7), plain.reset(seed=7)
    paid, total, thoughts = 0.0, 0.0, 0
    for action in actions:
        obs, reward, terminated, _, info = env.step(action)
        paid += float(reward)
        assert env.observation_space.contains(obs)
        assert info["thoughts"] <= most
        if "clock" in info:  # a step of the environment's own
            seen, reward, _, _, _ = plain.step(0 if action == 3 else action)
            total += reward
            assert np.array_equal(seen, obs["observation"])
        else:
            thoughts += 1
        if terminated:
            assert info["episode_thoughts"] == thoughts
            break
    assert paid == pytest.approx(total - cost * thoughts)


def test_what_is_shown_is_a_copy() -> None:
    env = ThinkingWrapper(Walk(), Counter())
    obs, _ = env.reset(seed=0)
    obs["observation"][:] = 50
    obs["thought"][:] = 50
    again = env.step(3)[0]
    assert again["observation"][0] == 0
    assert again["thought"].tolist() == [1, 0]


def test_a_time_limit_inside_counts_real_steps() -> None:
    env = ThinkingWrapper(gym.wrappers.TimeLimit(Walk(length=99), 2), max_segments=5)
    env.reset(seed=0)
    ends = [env.step(action)[3] for action in (3, 3, 3, 0, 3, 3, 1)]
    assert ends == [False] * 6 + [True]


def test_a_reasoner_thinks_on_from_its_last_segment_and_afresh_after_a_step() -> None:
    env = ThinkingWrapper(Walk(), Counter(), max_segments=3)
    obs, _ = env.reset(seed=0)
    thoughts = [obs["thought"].tolist()]
    for action in (3, 3, 0, 3):
        thoughts.append(env.step(action)[0]["thought"].tolist())
    assert thoughts == [[0, 0], [1, 0], [2, 0], [0, 0], [1, 1]]


def test_one_reasoner_may_serve_many_environments() -> None:
    reasoner = Counter()
    one, two = (ThinkingWrapper(Walk(), reasoner) for _ in range(2))
    _ = one.reset(), two.reset()
    assert [env.step(3)[0]["thought"][0] for env in (one, two, one)] == [1, 1, 2]


def test_actions_may_start_elsewhere() -> None:
    env = ThinkingWrapper(Walk(length=9, start=5), max_segments=1)
    assert env.action_space == spaces.Discrete(4, start=5)
    env.reset(seed=0)
    rewards = [env.step(np.int64(action))[1] for action in (5, 8, 8, 7)]
    assert rewards == [5.0, 0.0, 5.0, 7.0]  # the fallback is the first action
    halted = HaltedThinking(Walk(start=5), Counter(), "fixed:2")
    assert halted.reset(seed=0)[1]["reasoner_action"] == 6


def test_a_dict_keeps_its_keys() -> None:
    seen = spaces.Dict({"a": spaces.Box(-1, 99, (2,), np.float32), "b": spaces.Discrete(2)})
    env = ThinkingWrapper(Walk(seen=seen))
    assert list(env.observation_space.spaces) == ["a", "b", "segment"]  # type: ignore[attr-defined]
    assert env.observation_space.contains(env.reset(seed=0)[0])


# --- until a rule says stop --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "segments"),
    [
        ("fixed:1", 1),
        ("fixed:4", 4),
        ("fixed:99", 6),  # the limit
        ("stable:2", 5),  # drafts 0 1 2 2 2
        ("confidence:0.8", 1),  # e^3 / (e^3 + 2) = 0.91
        ("min(3, confidence:0.8)", 3),
        ("q", 4),  # q_halt -1 -1 -1 2, q_continue 0
        ("q-halt:1.5", 4),
        ("residual:0.5", 2),  # |2 - 1| / 2
        ("any(fixed:5, q)", 4),
        ("random:1", 1),
    ],
)
def test_rules_stop_where_they_should(rule: str, segments: int) -> None:
    env = HaltedThinking(Walk(), Counter((-1, -1, -1, 2)), rule, max_segments=6, segment_cost=0.1)
    obs, info = env.reset(seed=0)
    assert obs["segment"] == segments
    assert obs["thought"].tolist() == [segments, 0]
    assert info["reasoner_action"] == min(segments - 1, 2)
    assert env.action_space == spaces.Discrete(3)
    rewards = []
    for _ in range(3):
        obs, reward, terminated, _, info = env.step(2)
        rewards.append(reward)
        assert info["thoughts"] == segments
    assert terminated
    assert rewards == [pytest.approx(2 - 0.1 * segments)] * 3
    assert info["episode_thoughts"] == 3 * segments


def test_a_rule_that_recalls_shows_its_best_thought() -> None:
    env = HaltedThinking(Walk(), Counter((-1, 3, 1, 0)), "recall(fixed:4)")
    obs, info = env.reset(seed=0)
    assert obs["segment"] == 4
    assert obs["thought"][0] == 2
    assert info["reasoner_action"] == 1


def test_random_stopping_repeats_with_the_seed_only() -> None:
    env = HaltedThinking(Walk(length=99), Counter(), "random:0.3", max_segments=50)

    def lengths(seed: int) -> list[int]:
        env.reset(seed=seed)
        return [int(env.step(0)[0]["segment"]) for _ in range(12)]

    assert lengths(1) == lengths(1) != lengths(2)
    assert len(set(lengths(1))) > 3
    assert len({int(env.reset()[0]["segment"]) for _ in range(12)}) > 2  # no seed: it goes on


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        *((rule, "needs Q values.*stable:2") for rule in ("q", "q-halt:0", "min(2, q)", "act:0.9")),
        ("recall(fixed:2)", "needs Q values"),
        ("oracle", "decides in hindsight"),
    ],
)
def test_rules_that_cannot_decide_are_refused(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HaltedThinking(Walk(), Counter(), rule).reset(seed=0)


# --- conformance --------------------------------------------------------------------------------


WRAPPERS = {
    "policy": partial(ThinkingWrapper, max_segments=3, segment_cost=0.1),
    "reasoner": partial(ThinkingWrapper, reasoner=Counter(), max_segments=3),
    "halted": partial(HaltedThinking, reasoner=Counter(), rule="stable:1"),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_gymnasium_and_stable_baselines_accept_it(kind: str, recwarn: pytest.WarningsRecorder) -> None:
    from stable_baselines3.common.env_checker import check_env as check_sb3

    check_env(WRAPPERS[kind](Walk(length=9)), skip_render_check=True)
    check_sb3(WRAPPERS[kind](Walk(length=9)))
    warned = [str(w.message) for w in recwarn]
    # Gymnasium remarks on wrappers, on environments without an id, and on boxes without bounds.
    expected = ("infinity", "spec", "bound", "unwrapped")
    assert [text for text in warned if not any(word in text for word in expected)] == []


@pytest.mark.parametrize("kind", WRAPPERS)
def test_vectors_are_singles_in_a_row(kind: str) -> None:
    envs = gym.make_vec("CartPole-v1", 3, vectorization_mode="sync", wrappers=[WRAPPERS[kind]])
    singles = [WRAPPERS[kind](gym.make("CartPole-v1")) for _ in range(3)]
    obs, _ = envs.reset(seed=5)
    for row, single in enumerate(singles):
        assert_row(obs, row, single.reset(seed=5 + row)[0])
    actions = [0, 1, int(envs.single_action_space.n) - 1]  # type: ignore[attr-defined]
    for step in range(4):
        taken = [actions[(row + step) % 3] for row in range(3)]
        obs, reward, *_, info = envs.step(np.array(taken))
        for row, single in enumerate(singles):
            expected, paid, *_, single_info = single.step(taken[row])
            assert_row(obs, row, expected)
            assert reward[row] == pytest.approx(paid)
            assert info["thoughts"][row] == single_info["thoughts"]


def assert_row(batch: Any, row: int, single: Any) -> None:
    assert batch.keys() == single.keys()
    for key, value in single.items():
        assert np.allclose(batch[key][row], value)


def test_the_spec_makes_it_again() -> None:
    env = ThinkingWrapper(gym.make("CartPole-v1"), max_segments=3, segment_cost=0.1, fallback=1)
    assert env.spec is not None
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert json.loads(again.spec.to_json()) == json.loads(env.spec.to_json())  # type: ignore[union-attr]
    assert (again.max_segments, again.segment_cost, again.fallback) == (3, 0.1, 1)
    assert again.action_space == spaces.Discrete(3)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_segments": 0}, "max_segments must be an integer >= 1, got 0"),
        ({"max_segments": 2.0}, "max_segments must be an integer"),
        ({"segment_cost": -0.1}, r"segment_cost must lie in \[0, inf\), got -0.1"),
        ({"segment_cost": NAN}, "segment_cost must lie"),
        ({"fallback": 3}, r"fallback must be an action of the environment, 0\.\.2, got 3"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThinkingWrapper(Walk(), **changes)


@pytest.mark.parametrize(
    ("space", "remedy"),
    [
        (spaces.Box(-1, 1, (2,)), "choose a few actions"),
        (spaces.MultiDiscrete([2, 2]), "number its combinations"),
    ],
)
def test_other_actions_are_refused_with_the_remedy(space: spaces.Space[Any], remedy: str) -> None:
    env = Walk()
    env.action_space = space  # type: ignore[assignment]
    for wrap in WRAPPERS.values():
        with pytest.raises(ValueError, match=f"needs Discrete actions, got .*{remedy}"):
            wrap(env)


def test_names_that_are_taken_are_refused() -> None:
    env = Walk(seen=spaces.Dict({"segment": spaces.Discrete(2), "a": spaces.Discrete(2)}))
    with pytest.raises(ValueError, match=r"already has 'segment'.*TransformObservation"):
        ThinkingWrapper(env)
