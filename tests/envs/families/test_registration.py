"""`import hrm_rl` registers the environments: ids, specs, and the ways Gymnasium makes them."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

import hrm_rl
from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv

ID = "HRM/Sudoku-v0"
SMALL = {"size": 4, "pool_size": 20}


@pytest.mark.parametrize("name", [ID, f"hrm_rl:{ID}"])
def test_make_gives_the_single_environment(name: str) -> None:
    env = gym.make(name, **SMALL)
    assert isinstance(env.unwrapped, PuzzleEnv)
    obs, _ = env.reset(seed=0)
    assert obs["inputs"].shape == (16,)


@pytest.mark.parametrize("name", [ID, f"hrm_rl:{ID}"])
def test_make_vec_gives_the_vector_environment(name: str) -> None:
    envs = gym.make_vec(name, num_envs=8, **SMALL, device="cpu")
    assert isinstance(envs, PuzzleVectorEnv) and envs.num_envs == 8
    obs, info = envs.reset(seed=0)
    assert isinstance(obs["inputs"], torch.Tensor) and obs["inputs"].shape == (8, 16)
    assert info["labels"].shape == (8, 16)


def test_register_envs_accepts_the_package() -> None:
    gym.register_envs(hrm_rl)
    assert ID in gym.registry


def test_no_outside_limit_of_steps() -> None:
    """The episode's limit is its own; nothing wraps it into truncation."""
    assert gym.spec(ID).max_episode_steps is None
    env = gym.make(ID, **SMALL, halt_max_steps=3)
    env.reset(seed=0)
    think_on = {"answer": np.full(16, 2), "halt": 0}
    ends = [env.step(think_on)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (True, False)]


def test_time_limit_from_outside_truncates() -> None:
    env = gym.make(ID, **SMALL, max_episode_steps=2)
    env.reset(seed=0)
    ends = [env.step({"answer": np.full(16, 2), "halt": 0})[2:4] for _ in range(2)]
    assert ends == [(False, False), (False, True)]


def test_registered_spec_survives_json_and_pickle() -> None:
    spec = gym.spec(ID)
    assert EnvSpec.from_json(spec.to_json()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_registering_twice_changes_nothing() -> None:
    before = gym.registry[ID]
    hrm_rl.register_environments()
    assert gym.registry[ID] is before


@pytest.mark.parametrize("mode", ["SAME_STEP", "SameStep", gym.vector.AutoresetMode.SAME_STEP])
def test_an_autoreset_mode_goes_by_its_name_too(mode) -> None:
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=2, size=4, pool_size=20, autoreset_mode=mode)
    assert envs.unwrapped.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP


def test_an_unknown_autoreset_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"SAME_STEP.*got .never."):
        gym.make_vec("HRM/Sudoku-v0", num_envs=2, size=4, pool_size=20, autoreset_mode="never")
