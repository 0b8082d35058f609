"""`import hrm_rl` registers the environments: ids, specs, and the ways Gymnasium makes them."""

import gymnasium as gym
import numpy as np
import pytest
import torch

import hrm_rl
from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv

ID = "HRM/Sudoku-v0"
SMALL = {"size": 4, "pool_size": 20}


@pytest.mark.parametrize("name", [ID, f"hrm_rl:{ID}"])
def test_names_make_the_single_and_the_vector_environment(name: str) -> None:
    env = gym.make(name, **SMALL)
    assert isinstance(env.unwrapped, PuzzleEnv)
    assert env.reset(seed=0)[0]["inputs"].shape == (16,)
    envs = gym.make_vec(name, num_envs=8, **SMALL, device="cpu")
    assert isinstance(envs, PuzzleVectorEnv) and envs.num_envs == 8
    assert isinstance(envs.reset(seed=0)[0]["inputs"], torch.Tensor)


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        ({"halt_max_steps": 3}, [(False, False), (False, False), (True, False)]),
        ({"max_episode_steps": 2}, [(False, False), (False, True)]),
    ],
)
def test_only_limits_from_outside_truncate(limits: dict, ends: list) -> None:
    assert gym.spec(ID).max_episode_steps is None
    env = gym.make(ID, **SMALL, **limits)
    env.reset(seed=0)
    think_on = {"answer": np.full(16, 2), "halt": 0}
    assert [env.step(think_on)[2:4] for _ in ends] == ends


def test_registering_twice_changes_nothing() -> None:
    before = gym.registry[ID]
    gym.register_envs(hrm_rl)
    hrm_rl.register_environments()
    assert gym.registry[ID] is before


@pytest.mark.parametrize("mode", ["SAME_STEP", "SameStep", gym.vector.AutoresetMode.SAME_STEP])
def test_an_autoreset_mode_goes_by_its_name_too(mode) -> None:
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=2, size=4, pool_size=20, autoreset_mode=mode)
    assert envs.unwrapped.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP
