"""Pictures from the single environment: declared where they can be had, of one shape, each new."""

from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import RenderCollection

from hrm_rl.envs import PuzzleEnv
from hrm_rl.envs.families.make import family_source
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.sudoku import Sudoku


def make(**options: Any) -> gym.Env:
    options = {
        "size": 4,
        "pool_size": 20,
        "halt_max_steps": 3,
        "render_mode": "rgb_array",
    } | options
    return gym.make("HRM/Sudoku-v0", **options)


def segment(env: gym.Env, halt: int = 0) -> None:
    answer = np.full(env.unwrapped.source.seq_len, 3)  # type: ignore[attr-defined]
    env.step({"answer": answer, "halt": halt})


def test_a_puzzle_without_a_picture_declares_none() -> None:
    source = family_source(Sudoku(4), pool_size=20)
    assert PuzzleEnv(source).metadata["render_modes"] == ["ansi"]
    with pytest.raises(ValueError, match=r"render_mode must be one of.*'rgb_array'"):
        PuzzleEnv(source, render_mode="rgb_array")
    # One with a picture leaves the class, and so all others, as they were.
    PuzzleEnv(source, picture=partial(sudoku.picture, size=4), render_mode="rgb_array")
    assert PuzzleEnv(source).metadata["render_modes"] == ["ansi"]


def test_frames_are_of_one_shape_and_nobody_elses() -> None:
    env = make()
    env.reset(seed=0)
    frames = [env.render()]
    for number in range(3):
        env.unwrapped.show_q(number - 1.0, 1.0)  # type: ignore[attr-defined]
        segment(env)
        frames.append(env.render())
    assert {(frame.shape, frame.dtype) for frame in frames} == {
        (frames[0].shape, np.dtype("uint8"))
    }
    assert all((a != b).any() for a, b in pairwise(frames))
    want = frames[-1].copy()
    frames[-1][:] = 0
    np.testing.assert_array_equal(env.render(), want)


def test_the_picture_is_that_of_the_puzzle() -> None:
    env = make()
    obs, info = env.reset(seed=1)
    nothing = (np.nan, np.nan)
    want = sudoku.picture(obs["inputs"], 4, caption="segment 0 of 3", q=nothing)
    np.testing.assert_array_equal(env.render(), want)
    answer = np.full(16, 2)
    env.step({"answer": answer, "halt": 0})
    want = sudoku.picture(
        obs["inputs"], 4, draft=answer, labels=info["labels"], caption="segment 1 of 3", q=nothing
    )
    np.testing.assert_array_equal(env.render(), want)


def test_q_values_last_until_the_next_or_a_reset() -> None:
    env = make()
    obs, _ = env.reset(seed=0)
    unknown = env.render()
    env.unwrapped.show_q(torch.tensor([2.0]), np.float32(-1))  # type: ignore[attr-defined]
    known = env.render()
    want = sudoku.picture(obs["inputs"], 4, caption="segment 0 of 3", q=(2.0, -1.0))
    np.testing.assert_array_equal(known, want)
    segment(env)
    stepped = env.render()
    np.testing.assert_array_equal(stepped[-40:], known[-40:])
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), unknown)


def test_show_q_changes_no_outcome() -> None:
    outcomes = []
    for shown in (False, True):
        env = make()
        obs, _ = env.reset(seed=4)
        if shown:
            env.unwrapped.show_q(9.0, -9.0)  # type: ignore[attr-defined]
        after, reward, *ends, info = env.step({"answer": obs["inputs"], "halt": 1})
        outcomes.append((reward, ends, info["correct"], after["draft"].tolist()))
    assert outcomes[0] == outcomes[1]


def test_wrappers_collect_frames() -> None:
    env = RenderCollection(make())
    env.reset(seed=0)
    segment(env)
    segment(env, halt=1)
    frames = env.render()
    assert len(frames) == 3
    assert np.stack(frames).shape[-1] == 3


def test_every_registered_size_renders() -> None:
    for size in sudoku.SIZES:
        env = make(size=size)
        env.reset(seed=0)
        assert env.render().shape[1] == 40 * size + 20
