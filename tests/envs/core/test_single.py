"""The single environment: its NumPy face, its drawings as text and as pixels."""

from functools import partial
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from hrm_rl.envs import PuzzleEnv
from hrm_rl.puzzles import sudoku

PUZZLE = {"labels", "rating", "puzzle_key"}
JUDGED = {"correct", "valid", "cell_accuracy", "segments", "first_correct_segment", "forced"}


def make(**options: Any) -> Any:
    return gym.make("HRM/Sudoku-v0", **{"size": 4, "pool_size": 20} | options).unwrapped


def test_outcomes_are_plain_python_and_have_no_batch_entries() -> None:
    env = make()
    _, info = env.reset(seed=0)
    assert set(info) == PUZZLE and env.render() is None
    _, *outcome, info = env.step(env.action_space.sample())
    assert [type(value) for value in outcome] == [float, bool, bool]
    assert set(info) == PUZZLE | JUDGED | {"is_success"}
    assert all(np.ndim(info[key]) == 0 for key in JUDGED)


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


@pytest.mark.parametrize("checker", ["exact", "valid"])
def test_success_is_what_the_checker_pays_for(checker: str) -> None:
    env = make(checker=checker)
    _, info = env.reset(seed=0)
    right = info["labels"].astype(np.int64)
    for answer, success in ((right, True), (right * 0, False)):
        env.reset(seed=0)
        _, reward, *_, info = env.step({"answer": answer, "halt": 1})
        assert info["is_success"] is success and reward == success


def test_unseeded_starts_differ() -> None:
    assert len({int(make().reset()[1]["puzzle_key"]) for _ in range(4)}) == 4


def test_a_reset_takes_no_options() -> None:
    with pytest.raises(ValueError, match=r"reset takes no options here, got .*puzzle"):
        make().reset(seed=0, options={"puzzle": 3})


# --- drawings -------------------------------------------------------------------------------------


def test_text_shows_the_board_and_how_far_thinking_has_come(source: Any) -> None:
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
    bare = PuzzleEnv(source, render_mode="ansi")  # without a drawer: the tokens
    assert " ".join(map(str, bare.reset(seed=0)[0]["draft"])) in bare.render()  # type: ignore[operator]


def test_render_modes_are_those_that_there_are(source: Any) -> None:
    for mode in ("human", "rgb_array"):
        with pytest.raises(ValueError, match=rf"\['ansi'\], got '{mode}'"):
            PuzzleEnv(source, render_mode=mode)
    # An environment with a picture leaves the class, and so all others, as they were.
    PuzzleEnv(source, picture=partial(sudoku.picture, size=4), render_mode="rgb_array")
    assert PuzzleEnv(source).metadata["render_modes"] == ["ansi"]


def pixels(seed: int = 0) -> tuple[Any, Any, Any]:
    env = make(render_mode="rgb_array", halt_max_steps=3)
    return env, *env.reset(seed=seed)


def test_frames_are_of_one_shape_and_the_callers_own() -> None:
    env, *_ = pixels()
    frames = [env.render()]
    for number in range(3):
        env.show_q(number - 1.0, 1.0)
        env.step({"answer": np.full(16, 3), "halt": 0})
        frames.append(env.render())
    assert {(f.shape, f.dtype) for f in frames} == {(frames[0].shape, np.dtype("uint8"))}
    assert all((a != b).any() for a, b in pairwise(frames))
    want = frames[-1].copy()
    frames[-1][:] = 0
    np.testing.assert_array_equal(env.render(), want)


def test_the_picture_is_that_of_the_puzzle() -> None:
    env, obs, info = pixels(seed=1)
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
    env, obs, _ = pixels()
    unknown = env.render()
    env.show_q(torch.tensor([2.0]), np.float32(-1))
    known = env.render()
    want = sudoku.picture(obs["inputs"], 4, caption="segment 0 of 3", q=(2.0, -1.0))
    np.testing.assert_array_equal(known, want)
    env.step({"answer": np.full(16, 3), "halt": 0})
    np.testing.assert_array_equal(env.render()[-40:], known[-40:])
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), unknown)
