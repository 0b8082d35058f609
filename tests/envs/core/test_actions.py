"""Actions in any accepted form, and a clear refusal of all others."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from hrm_rl.envs import PuzzleVectorEnv

ROWS = 4


def outcome(step: tuple) -> list[torch.Tensor]:
    obs, *rest, info = step
    keep = ("labels", "correct", "segments", "puzzle_key", "forced")
    return [*obs.values(), *rest, *(info[key] for key in keep)]


def test_numpy_flat_and_lists_act_as_tensors_do(source: Any, play: Any) -> None:
    forms = {
        "tensors": lambda a: a,
        "numpy": lambda a: {k: v.numpy() for k, v in a.items()},
        "int64 halt": lambda a: {"answer": a["answer"].int(), "halt": a["halt"].long()},
        "lists": lambda a: {k: v.tolist() for k, v in a.items()},
        "flat": lambda a: torch.cat([a["answer"], a["halt"][:, None].long()], dim=1),
        "flat numpy": lambda a: torch.cat([a["answer"], a["halt"][:, None]], dim=1).numpy(),
    }
    envs = {
        name: PuzzleVectorEnv(ROWS, source, halt_max_steps=3, flat_action=name.startswith("flat"))
        for name in forms
    }
    infos = [env.reset(seed=1)[1] for env in envs.values()]
    rng = np.random.default_rng(0)
    for _ in range(12):
        action = play(rng, infos[0]["labels"])
        steps = [env.step(forms[name](action)) for name, env in envs.items()]
        infos = [step[-1] for step in steps]
        for other in steps[1:]:
            for one, two in zip(outcome(steps[0]), outcome(other), strict=True):
                assert one.dtype == two.dtype and torch.equal(one, two)


@pytest.mark.parametrize("flat", [False, True])
def test_the_spaces_hold_what_is_seen_and_done(source: Any, flat: bool) -> None:
    envs = PuzzleVectorEnv(ROWS, source, halt_max_steps=5, flat_action=flat)
    single = envs.single_action_space
    if flat:
        assert single == spaces.MultiDiscrete([6] * 16 + [2])
    else:
        answer, halt = spaces.MultiDiscrete([6] * 16), spaces.Discrete(2)
        assert single == spaces.Dict({"answer": answer, "halt": halt})
    obs, _ = envs.reset(seed=0)
    assert [value.dtype for value in obs.values()] == [torch.int32] * 2 + [torch.int64] * 2
    envs.action_space.seed(0)
    for _ in range(6):
        assert {k: v.numpy() for k, v in obs.items()} in envs.observation_space
        obs, *outcome, _ = envs.step(envs.action_space.sample())
        assert [value.dtype for value in outcome] == [torch.float32, torch.bool, torch.bool]
    assert envs.single_observation_space["segment"] == spaces.Discrete(6)
    assert envs.single_observation_space["inputs"] == spaces.Box(0, 5, (16,), np.int32)


def good() -> dict[str, torch.Tensor]:
    return {"answer": torch.full((ROWS, 16), 2), "halt": torch.zeros(ROWS, dtype=torch.bool)}


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (good() | {"answer": torch.zeros(ROWS, 15)}, r"\(4, 15\) and \(4,\); wanted \(4, 16\)"),
        (good() | {"answer": torch.zeros(16)}, r"\(16,\) and \(4,\); wanted \(4, 16\) and \(4,\)"),
        (good() | {"halt": torch.zeros(3)}, r"\(4, 16\) and \(3,\); wanted \(4, 16\) and \(4,\)"),
        (good() | {"halt": torch.zeros(ROWS, 1)}, r"\(4, 16\) and \(4, 1\); wanted"),
        ({"answer": good()["answer"]}, "'answer' and 'halt'.*got .*'answer'"),
        ({}, "'answer' and 'halt'"),
        (torch.zeros(ROWS, 17), "only with flat_action=True.*got Tensor"),
        (good() | {"answer": torch.full((ROWS, 16), 6)}, "answer: row 0, cell 0 holds 6; they are 0 to 5"),
        (good() | {"answer": np.eye(ROWS, 16, dtype=int) * -1}, "row 0, cell 0 holds -1; they are 0 to 5"),
        (good() | {"answer": torch.full((ROWS, 16), 2.0)}, "answer must be integers, got torch.float32"),
        (good() | {"answer": [["a"] * 16] * ROWS}, "answer must be an array of numbers"),
        (good() | {"answer": None}, "answer must be an array of numbers"),
        (good() | {"answer": [[1] * 16] * 3 + [[1]]}, "answer must be an array of numbers"),
        (good() | {"answer": np.full((ROWS, 16), -100)}, "holds -100; .*any token will do"),
        (good() | {"halt": [0, 1, 2, 0]}, "halt: row 2 holds 2; it is 0 or 1"),
        (good() | {"halt": np.full(ROWS, 0.5)}, "halt: row 0 holds 0.5; it is 0 or 1"),
        (good() | {"halt": np.full(ROWS, np.nan)}, "halt: row 0 holds nan; it is 0 or 1"),
        (None, "a dict of 'answer' and 'halt'.*got NoneType"),
    ],
)
def test_bad_actions_are_refused_with_the_shapes(source: Any, action: Any, message: str) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.step(action)
    envs.step(good())  # and nothing was spoilt


@pytest.mark.parametrize("shape", [(ROWS, 16), (ROWS + 1, 17), (17,), ()])
def test_bad_flat_actions_are_refused(source: Any, shape: tuple) -> None:
    envs = PuzzleVectorEnv(ROWS, source, flat_action=True)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"wanted \(4, 16\) and \(4,\)"):
        envs.step(np.zeros(shape, np.int64))


@pytest.mark.parametrize("place", [0, 16])
def test_an_action_outside_the_space_is_refused_in_flat_and_single_form(place: int) -> None:
    env = gym.make("HRM/Sudoku-v0", size=4, pool_size=5, flat_action=True)
    env.reset(seed=0)
    action = np.zeros(17, int)
    action[place] = 9
    with pytest.raises(ValueError, match="holds 9; "):
        env.unwrapped.step(action)


@pytest.mark.parametrize("action", [2, -1, 1.5, "halt", None, [0, 1], np.nan])
def test_halting_takes_zero_and_one(action: Any) -> None:
    env = gym.make("HRM/Halting-v0").unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must be an integer from 0 to 1, got"):
        env.step(action)
    envs = gym.make_vec("HRM/Halting-v0", num_envs=2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="actions"):
        envs.step([0, action])


def test_a_misspelt_reset_option_is_refused(source: Any) -> None:
    envs = PuzzleVectorEnv(ROWS, source)
    with pytest.raises(ValueError, match="takes the option 'reset_mask', not 'reset_maks'"):
        envs.reset(options={"reset_maks": np.ones(ROWS, bool)})
