"""A vector of n environments is n single ones, row i seeded with seed + i."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from hrm_rl.envs.to_numpy import to_numpy

ID, ROWS, SEED = "HRM/Sudoku-v0", 5, 11
OPTIONS = [
    {},
    {"flat_action": True},
    {"segment_cost": 0.125, "checker": "valid"},
    {"halt_max_steps": 1},
    {"augment": False, "split": "test"},
]


def in_space(action: dict[str, Any]) -> dict[str, np.ndarray]:
    return to_numpy(action | {"halt": action["halt"].long()})


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_row_i_is_a_single_seeded_with_seed_plus_i(options: dict, play: Any, assert_singles: Any) -> None:
    options = {"size": 4, "pool_size": 50, "halt_max_steps": 4} | options
    envs = gym.make_vec(ID, num_envs=ROWS, **options)
    singles = [gym.make(ID, **options) for _ in range(ROWS)]
    rng = np.random.default_rng(0)

    def act(obs: Any, info: Any) -> Any:
        action = in_space(play(rng, info["labels"]))
        if options.get("flat_action"):
            return np.concatenate([action["answer"], action["halt"][:, None]], axis=1)
        return action

    ends, seen = assert_singles(envs, singles, act, SEED, steps=30)
    assert ends > 20 and {(True, True), (False, False)} <= seen


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_equals_gymnasiums_own_vector_of_singles(mode: AutoresetMode, play: Any, assert_row: Any) -> None:
    """Gymnasium's SyncVectorEnv over the single environment defines what autoreset means."""
    options = {"size": 4, "pool_size": 50, "halt_max_steps": 3, "segment_cost": 0.25}
    ours = gym.make_vec(ID, num_envs=ROWS, autoreset_mode=mode, **options)
    theirs = gym.make_vec(
        ID, num_envs=ROWS, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options
    )
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    (obs, info), (their_obs, their_info) = ours.reset(seed=SEED), theirs.reset(seed=SEED)
    rng, ends = np.random.default_rng(1), 0
    for _ in range(25):
        for key in ("labels", "rating", "puzzle_key"):
            np.testing.assert_array_equal(info[key], their_info[key], err_msg=key)
        action = in_space(play(rng, info["labels"]))
        obs, *outcome, info = ours.step(action)
        their_obs, *their_outcome, their_info = theirs.step(action)
        for one, other in zip(outcome, their_outcome, strict=True):
            np.testing.assert_array_equal(one.numpy(), other)
        np.testing.assert_equal(to_numpy(obs), dict(their_obs))
        for i in np.flatnonzero(their_outcome[1]):
            ends += 1
            if mode is AutoresetMode.SAME_STEP:
                assert_row(info["final_obs"], i, their_info["final_obs"][i])
                judged = {k: v[i] for k, v in their_info["final_info"].items() if k[0] != "_"}
                assert_row(info["final_info"], i, judged)
    assert ends > 20
