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


def test_spec_survives_json_and_pickle() -> None:
    env = gym.make(ID, **SMALL, flat_action=True, segment_cost=0.25)
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        assert spec == env.spec
        again = gym.make(spec)
        assert again.action_space == env.action_space
        np.testing.assert_equal(again.reset(seed=4), env.reset(seed=4))


def test_registered_spec_survives_json_and_pickle() -> None:
    spec = gym.spec(ID)
    assert EnvSpec.from_json(spec.to_json()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_make_vec_with_gymnasiums_own_loop_over_singles() -> None:
    envs = gym.make_vec(ID, num_envs=3, vectorization_mode="sync", **SMALL)
    native = gym.make_vec(ID, num_envs=3, **SMALL)
    assert isinstance(envs, gym.vector.SyncVectorEnv)
    obs, info = envs.reset(seed=5)
    native_obs, native_info = native.reset(seed=5)
    for key, value in native_obs.items():
        np.testing.assert_array_equal(obs[key], value.numpy())
    np.testing.assert_array_equal(info["labels"], native_info["labels"].numpy())
    assert envs.single_action_space == native.single_action_space
    assert envs.observation_space == native.observation_space


def test_registering_twice_changes_nothing() -> None:
    before = gym.registry[ID]
    hrm_rl.register_environments()
    assert gym.registry[ID] is before


def test_environments_pickle_and_go_on_alike() -> None:
    env = gym.make("HRM/Sudoku-v0", size=4, pool_size=20).unwrapped
    env.reset(seed=3)
    twin = pickle.loads(pickle.dumps(env))
    for one, other in ((env.reset()[0], twin.reset()[0]),):
        assert (one["inputs"] == other["inputs"]).all()


@pytest.mark.parametrize("mode", ["SAME_STEP", "SameStep", gym.vector.AutoresetMode.SAME_STEP])
def test_an_autoreset_mode_goes_by_its_name_too(mode) -> None:
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=2, size=4, pool_size=20, autoreset_mode=mode)
    assert envs.unwrapped.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP


def test_an_unknown_autoreset_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"SAME_STEP.*got .never."):
        gym.make_vec("HRM/Sudoku-v0", num_envs=2, size=4, pool_size=20, autoreset_mode="never")
