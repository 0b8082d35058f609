"""The single environment: Gymnasium's and SB3's checkers, rendering, and its NumPy face."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from hrm_rl.envs import PuzzleEnv
from hrm_rl.puzzles import sudoku


def make(**options: Any) -> gym.Env:
    return gym.make("HRM/Sudoku-v0", **{"size": 4, "pool_size": 20} | options)


@pytest.mark.parametrize("render_mode", [None, "ansi"])
@pytest.mark.parametrize("flat_action", [False, True])
@pytest.mark.parametrize("size", [4, 6, 9])
def test_gymnasiums_checker_has_no_complaint(
    size: int, flat_action: bool, render_mode: str | None
) -> None:
    env = make(size=size, flat_action=flat_action, render_mode=render_mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=False)


def test_sb3s_checker_has_no_complaint() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(make(flat_action=True).unwrapped, warn=True)


def test_observations_lie_in_the_space_to_the_end() -> None:
    env = make(halt_max_steps=3)
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    terminated = False
    while not terminated:
        assert obs in env.observation_space
        obs, _, terminated, _, _ = env.step(env.action_space.sample() | {"halt": 0})
    assert obs in env.observation_space and obs["segment"] == 3


def test_plain_python_types_in_the_outcome() -> None:
    env = make().unwrapped
    env.reset(seed=0)
    outcome = env.step(env.action_space.sample())
    assert [type(value) for value in outcome[1:4]] == [float, bool, bool]


def test_returned_arrays_are_the_callers_own() -> None:
    env = make()
    obs, info = env.reset(seed=0)
    want = {key: np.copy(value) for key, value in obs.items()}
    labels = info["labels"].copy()
    obs["inputs"][:], info["labels"][:] = 0, 0
    answer = labels.astype(np.int64)
    after, reward, *_, info = env.step({"answer": answer, "halt": 1})
    assert reward == 1.0
    np.testing.assert_array_equal(after["inputs"], want["inputs"])
    answer[:] = 0
    np.testing.assert_array_equal(after["draft"], labels)


def test_info_of_a_single_has_no_batch_entries() -> None:
    env = make()
    _, info = env.reset(seed=0)
    assert set(info) == {"labels", "rating", "puzzle_key"}
    info = env.step(env.action_space.sample())[-1]
    judged = {"correct", "valid", "cell_accuracy", "segments", "first_correct_segment", "forced"}
    judged |= {"is_success"}
    assert set(info) == {"labels", "rating", "puzzle_key"} | judged
    assert all(np.ndim(info[key]) == 0 for key in judged)


def test_success_is_what_the_checker_pays_for() -> None:
    for checker in ("exact", "valid"):
        env = make(checker=checker)
        _, info = env.reset(seed=0)
        right = {"answer": info["labels"].astype(np.int64), "halt": 1}
        for action, success in ((right, True), ({**right, "answer": right["answer"] * 0}, False)):
            env.reset(seed=0)
            reward, *_, info = env.step(action)[1:]
            assert info["is_success"] is success and reward == success


def test_unseeded_starts_differ() -> None:
    keys = {int(make().reset()[1]["puzzle_key"]) for _ in range(4)}
    assert len(keys) == 4


def test_ansi_shows_the_board_and_how_far_thinking_has_come() -> None:
    env = make(render_mode="ansi", halt_max_steps=5)
    obs, info = env.reset(seed=0)
    blanks = int((obs["inputs"] == sudoku.BLANK).sum())
    first = env.render()
    assert sudoku.draw(obs["inputs"], 4, draft=obs["draft"], labels=info["labels"]) in first
    assert f"segment 0 of 5, {blanks} cells to go" in first
    draft = info["labels"].copy()
    draft[:3] = 1
    obs, *_ = env.step({"answer": draft, "halt": 0})
    second = env.render()
    assert sudoku.draw(obs["inputs"], 4, draft=draft, labels=info["labels"]) in second
    assert "segment 1 of 5, 3 cells to go" in second


def test_no_render_mode_renders_nothing() -> None:
    env = make().unwrapped
    env.reset(seed=0)
    assert env.render() is None


def test_without_a_drawer_the_tokens_are_shown(source: Any) -> None:
    env = PuzzleEnv(source, render_mode="ansi")
    obs, _ = env.reset(seed=0)
    assert " ".join(map(str, obs["draft"])) in env.render()


def test_an_unknown_render_mode_is_refused(source: Any) -> None:
    with pytest.raises(ValueError, match=r"\['ansi'\], got 'human'"):
        PuzzleEnv(source, render_mode="human")


@pytest.mark.parametrize("size", [5, "9"])
def test_an_unknown_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="4, 6, 9"):
        make(size=size)
