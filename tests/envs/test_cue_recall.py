"""Cue recall: its episodes to the letter, what memory is worth in it, and both libraries' checks."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from hrm_rl.envs.cue_recall import BLANK, FIRST_CUE, QUERY, CueRecallEnv


def play(env: CueRecallEnv, seed: int | None, choose) -> tuple[list[int], list[float], dict]:
    """One episode; `choose(seen)` gives the actions. Observations, rewards and the last info."""
    obs, info = env.reset(seed=seed)
    seen, rewards, over = [int(obs)], [], False
    while not over:
        obs, reward, over, truncated, info = env.step(choose(seen))
        assert not truncated
        rewards.append(reward)
        seen.append(int(obs))
    return seen[:-1], rewards, info


@given(st.integers(2, 6), st.integers(0, 7), st.integers(0, 3), st.integers(0, 1000))
def test_an_episode_is_a_cue_a_gap_and_a_query(cues, delay, distractors, seed) -> None:
    env = CueRecallEnv(cues, delay, distractors)
    seen, rewards, info = play(env, seed, lambda seen: seen[0] - FIRST_CUE)
    assert len(seen) == len(rewards) == delay + 2
    assert FIRST_CUE <= seen[0] < FIRST_CUE + cues and seen[-1] == QUERY
    gap = set(seen[1:-1])
    if distractors:
        assert gap <= set(range(FIRST_CUE + cues, FIRST_CUE + cues + distractors))
    else:
        assert gap <= {BLANK}
    assert all(env.observation_space.contains(np.int64(symbol)) for symbol in seen)
    assert rewards == [0.0] * (delay + 1) + [1.0]
    assert info == {"cue": seen[0] - FIRST_CUE, "is_success": True}


def test_only_the_answer_to_the_query_counts() -> None:
    env = CueRecallEnv(3, 2)

    def answers(right_at_last: bool):
        def choose(seen: list[int]) -> int:
            last = len(seen) == 4
            return (seen[0] - FIRST_CUE + (last != right_at_last)) % 3

        return choose

    for right_at_last, paid in ((True, 1.0), (False, 0.0)):
        choose = answers(right_at_last)
        _, rewards, info = play(env, 5, choose)
        assert rewards == [0.0, 0.0, 0.0, paid]
        assert info["is_success"] == bool(paid)


def test_cues_and_distractors_are_drawn_alike_often() -> None:
    env = CueRecallEnv(3, 4, distractors=2)
    env.reset(seed=1)
    counts = np.zeros(7)
    for _ in range(1500):
        for symbol in play(env, None, lambda seen: 0)[0]:
            counts[symbol] += 1
    assert counts[[BLANK, QUERY]].tolist() == [0, 1500]
    np.testing.assert_allclose(counts[2:5] / 1500, 1 / 3, atol=0.05)
    np.testing.assert_allclose(counts[5:] / 6000, 1 / 2, atol=0.03)


@pytest.mark.parametrize("options", [{}, {"distractors": 3, "delay": 1}])
@pytest.mark.parametrize("render_mode", ["ansi", "rgb_array"])
def test_passes_gymnasiums_and_sb3s_checks(options: dict, render_mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("HRM/CueRecall-v0", render_mode=render_mode, **options).unwrapped
        check_env(env)
        sb3_check_env(env)


def test_an_episode_is_drawn() -> None:
    text, picture, neither = (
        CueRecallEnv(cues=3, delay=2, distractors=1, render_mode=mode) for mode in ("ansi", "rgb_array", None)
    )
    for env in (text, picture, neither):
        env.reset(seed=0)
    first = picture.render()
    for env in (text, picture):
        for _ in range(3):
            env.step(0)
    assert text.render() == f"cue {text._cue} x0 x0 ?" and neither.render() is None
    last = picture.render()
    assert last.shape == (24, 4 * 24, 3) and last.dtype == np.uint8
    assert (last[:, :24] == first[:, :24]).all() and not first[:, 24:].any()
    assert len({tuple(last[0, 24 * step]) for step in range(4)}) == 3  # cue, twice x0, query


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cues": 1}, "cues must be an integer >= 2, got 1"),
        ({"delay": -1}, "delay must be an integer >= 0, got -1"),
        ({"distractors": 1.5}, "distractors must be an integer >= 0, got 1.5"),
        ({"render_mode": "human"}, "render_mode must be None, 'ansi' or 'rgb_array', got 'human'"),
    ],
)
def test_numbers_out_of_range_are_refused(options, said) -> None:
    with pytest.raises(ValueError, match=said):
        CueRecallEnv(**options)


def test_steps_that_cannot_be_are_refused() -> None:
    env = CueRecallEnv(2, 0)
    with pytest.raises(ValueError, match=r"call reset\(\)"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action must be an integer from 0 to 1, got 2"):
        env.step(2)
    env.step(0)
    env.step(0)
    with pytest.raises(ValueError, match="no episode is running"):
        env.step(0)
