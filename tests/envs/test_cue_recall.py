"""Cue recall: its episodes to the letter, what memory is worth in it, and both libraries' checks."""

import pickle
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


def test_a_seed_repeats_and_others_differ() -> None:
    env, twin = CueRecallEnv(6, 3, 6), CueRecallEnv(6, 3, 6)
    episodes = [play(env, seed, lambda seen: 0)[0] for seed in range(20)]
    assert episodes == [play(twin, seed, lambda seen: 0)[0] for seed in range(20)]
    assert len(set(map(tuple, episodes))) > 15
    again = pickle.loads(pickle.dumps(env))
    assert play(again, None, lambda s: 0) == play(env, None, lambda s: 0)


@pytest.mark.parametrize("options", [{}, {"distractors": 3, "delay": 1}])
def test_passes_gymnasiums_and_sb3s_checks(options) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(CueRecallEnv(**options), skip_render_check=True)
        sb3_check_env(CueRecallEnv(**options))


def test_specs_make_it_again_and_draw_it() -> None:
    spec = gym.envs.registration.EnvSpec(
        "CueRecallUnderTest-v0", entry_point="hrm_rl.envs.cue_recall:CueRecallEnv"
    )
    env = gym.make(spec, cues=3, delay=2, distractors=1, render_mode="ansi")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.reset(seed=0)
    for _ in range(3):
        env.step(0)
    cue = env.unwrapped._cue
    assert env.render() == f"cue {cue} x0 x0 ?"
    picture = gym.make(spec, cues=3, delay=2, distractors=1, render_mode="rgb_array")
    picture.reset(seed=0)
    first = picture.render()
    for _ in range(3):
        picture.step(0)
    last = picture.render()
    assert last.shape == (24, 4 * 24, 3) and last.dtype == np.uint8
    assert (last[:, :24] == first[:, :24]).all() and not first[:, 24:].any()
    assert len({tuple(last[0, 24 * step]) for step in range(4)}) == 3  # cue, twice x0, query
    assert gym.make(spec).render_mode is None and gym.make(spec).unwrapped.render() is None


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
    with pytest.raises(ValueError, match=r"action must be in 0\.\.1, got 2"):
        env.step(2)
    env.step(0)
    env.step(0)
    with pytest.raises(ValueError, match="no episode is running"):
        env.step(0)
