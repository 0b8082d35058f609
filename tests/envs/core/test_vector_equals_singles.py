"""A vector of n environments is n single ones, row i seeded with seed + i."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from hrm_rl.envs.core.vector import to_numpy

ID, ROWS, SEED = "HRM/Sudoku-v0", 5, 11
JUDGED = ("correct", "valid", "cell_accuracy", "segments", "first_correct_segment", "forced")
PUZZLE = ("labels", "rating", "puzzle_key")
OPTIONS = [
    {},
    {"flat_action": True},
    {"segment_cost": 0.125, "checker": "valid"},
    {"halt_max_steps": 1},
    {"augment": False, "split": "test"},
]


def flatten(action: dict[str, Any]) -> np.ndarray:
    return np.concatenate([action["answer"], action["halt"][:, None]], axis=1)


def row_of(values: dict[str, Any], i: int) -> dict[str, Any]:
    plain = {k: v for k, v in values.items() if not k.startswith("_")}
    return {k: v[i] for k, v in plain.items() if not isinstance(v, dict)}


def assert_same(one: dict[str, Any], other: dict[str, Any], keys: Any) -> None:
    for key in keys:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_row_i_is_a_single_seeded_with_seed_plus_i(options: dict, play: Any) -> None:
    """Step by step; where an episode ends, the single goes on by an unseeded reset."""
    options = {"size": 4, "pool_size": 50, "halt_max_steps": 4} | options
    envs = gym.make_vec(ID, num_envs=ROWS, **options)
    singles = [gym.make(ID, **options) for _ in range(ROWS)]
    obs, info = to_numpy(envs.reset(seed=SEED)[0]), envs.current()[1]
    for i, single in enumerate(singles):
        one_obs, one_info = single.reset(seed=SEED + i)
        assert_same(one_obs, row_of(obs, i), obs)
        assert_same(one_info, row_of(to_numpy(info), i), PUZZLE)

    rng, episodes, paid = np.random.default_rng(0), 0, 0.0
    for _ in range(30):
        action = to_numpy(play(rng, info["labels"]))
        action["halt"] = action["halt"].astype(np.int64)
        if options.get("flat_action"):
            action = flatten(action)
        obs, reward, terminated, truncated, info = envs.step(action)
        array_obs, array_info = to_numpy(obs), to_numpy(info)
        assert not truncated.any()
        for i, single in enumerate(singles):
            own = action[i] if options.get("flat_action") else row_of(action, i)
            one_obs, one_reward, one_terminated, one_truncated, one_info = single.step(own)
            assert np.float32(one_reward) == reward[i].numpy()
            assert (one_terminated, one_truncated) == (bool(terminated[i]), False)
            assert_same(one_info, row_of(array_info, i), JUDGED)
            assert_same(one_obs, row_of(array_info["final_obs"], i), one_obs)
            told = one_info.keys() - {"is_success"}  # SB3's name for what the checker pays for
            assert_same(one_info, row_of(array_info["final_info"], i), told)
            if one_terminated:
                episodes += 1
                one_obs, one_info = single.reset()
            assert_same(one_obs, row_of(array_obs, i), obs)
            assert_same(one_info, row_of(array_info, i), PUZZLE)
        paid += float(reward.clamp_min(0).sum())
    assert episodes > 20 and paid > 5


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_equals_gymnasiums_own_vector_of_singles(mode: AutoresetMode, play: Any) -> None:
    """Gymnasium's SyncVectorEnv over the single environment says what autoreset means."""
    options = {"size": 4, "pool_size": 50, "halt_max_steps": 3, "segment_cost": 0.25}
    ours = gym.make_vec(ID, num_envs=ROWS, autoreset_mode=mode, **options)
    theirs = gym.make_vec(
        ID,
        num_envs=ROWS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **options,
    )
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    obs, info = ours.reset(seed=SEED)
    their_obs, their_info = theirs.reset(seed=SEED)
    rng, ends = np.random.default_rng(1), 0
    for _ in range(25):
        assert_same(to_numpy(obs), their_obs, obs)
        assert_same(to_numpy(info), their_info, PUZZLE)
        action = to_numpy(play(rng, info["labels"]))
        action["halt"] = action["halt"].astype(np.int64)
        obs, reward, terminated, truncated, info = ours.step(action)
        their_obs, their_reward, their_terminated, their_truncated, their_info = theirs.step(action)
        np.testing.assert_array_equal(reward.numpy(), their_reward)
        np.testing.assert_array_equal(terminated.numpy(), their_terminated)
        np.testing.assert_array_equal(truncated.numpy(), their_truncated)
        for i in np.flatnonzero(their_terminated):
            ends += 1
            if mode is AutoresetMode.SAME_STEP:
                final_obs, final_info = to_numpy(info["final_obs"]), to_numpy(info["final_info"])
                assert_same(row_of(final_obs, i), their_info["final_obs"][i], obs)
                assert_same(row_of(final_info, i), row_of(their_info["final_info"], i), JUDGED)
    assert ends > 20
