"""Seeds: row i's k-th puzzle is a pure hash of (seed + i, k), whatever else happens."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv
from hrm_rl.hashing import mix

CELLS = 16


def keys(envs: PuzzleVectorEnv, count: int, seed: Any = None) -> np.ndarray:
    """The keys of `count` puzzles a row, [count, num_envs], by resets alone."""
    drawn = [envs.reset(seed=seed)[1]["puzzle_key"]]
    drawn += [envs.reset()[1]["puzzle_key"] for _ in range(count - 1)]
    return torch.stack(drawn).numpy()


def test_keys_are_the_stated_hash(source: Any) -> None:
    got = keys(PuzzleVectorEnv(4, source), 6, seed=100)
    rows, k = torch.arange(4) + 100, torch.arange(6)[:, None]
    np.testing.assert_array_equal(got, mix(mix(rows) + k).numpy())


def test_the_same_seed_gives_the_same_puzzles(source: Any) -> None:
    one, two = PuzzleVectorEnv(5, source), PuzzleVectorEnv(5, source)
    for _ in range(2):  # also on an environment already in use
        obs, info = one.reset(seed=9)
        other_obs, other_info = two.reset(seed=9)
        assert all(torch.equal(obs[key], other_obs[key]) for key in obs)
        assert torch.equal(info["labels"], other_info["labels"])
        one.step({"answer": obs["inputs"], "halt": torch.ones(5)})


def test_an_unseeded_reset_goes_on_with_the_next_puzzles(source: Any) -> None:
    """By resets or by ends of episodes, the k-th puzzle is the same."""
    by_reset = keys(PuzzleVectorEnv(3, source), 8, seed=1)
    assert len(np.unique(by_reset)) == by_reset.size
    envs = PuzzleVectorEnv(3, source)
    obs, info = envs.reset(seed=1)
    for k in range(8):
        np.testing.assert_array_equal(info["puzzle_key"].numpy(), by_reset[k])
        if k % 2:
            obs, info = envs.reset()
        else:
            obs, _, _, _, info = envs.step({"answer": obs["inputs"], "halt": torch.ones(3)})


def test_rows_and_seeds_never_share_a_key(source: Any) -> None:
    """Ranks and workers seeded apart by their number of rows see other puzzles."""
    many = np.concatenate([keys(PuzzleVectorEnv(8, source), 50, seed=8 * r) for r in range(4)])
    assert len(np.unique(many)) == many.size


def test_singles_of_different_seeds_see_different_streams(source: Any) -> None:
    streams = []
    for seed in range(20):
        env = PuzzleEnv(source)
        infos = [env.reset(seed=seed)[1]] + [env.reset()[1] for _ in range(20)]
        streams.append([int(info["puzzle_key"]) for info in infos])
    assert len(np.unique(streams)) == np.size(streams)


def test_the_number_of_rows_does_not_matter(source: Any) -> None:
    wide = keys(PuzzleVectorEnv(8, source), 5, seed=3)
    np.testing.assert_array_equal(keys(PuzzleVectorEnv(2, source), 5, seed=3), wide[:, :2])
    np.testing.assert_array_equal(keys(PuzzleVectorEnv(3, source), 5, seed=7), wide[:, 4:7])


def test_a_list_of_seeds_seeds_each_row(source: Any) -> None:
    wide = keys(PuzzleVectorEnv(8, source), 4, seed=0)
    got = keys(PuzzleVectorEnv(3, source), 4, seed=[6, 0, 3])
    np.testing.assert_array_equal(got, wide[:, [6, 0, 3]])


def test_none_in_a_list_is_a_seed_of_its_own(source: Any) -> None:
    one = keys(PuzzleVectorEnv(3, source), 2, seed=[5, None, 5])
    two = keys(PuzzleVectorEnv(3, source), 2, seed=[None, 5, None])
    np.testing.assert_array_equal(one[:, 0], one[:, 2])
    np.testing.assert_array_equal(one[:, 0], two[:, 1])
    assert len(np.unique([one[0, 1], two[0, 0], two[0, 2], one[0, 0]])) == 4


def test_a_list_of_the_wrong_length_is_refused(source: Any) -> None:
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        PuzzleVectorEnv(3, source).reset(seed=[1, 2])


def test_large_seeds_wrap_quietly(source: Any) -> None:
    got = keys(PuzzleVectorEnv(2, source), 2, seed=(1 << 63) - 1)
    rows = torch.tensor([(1 << 63) - 1, -(1 << 63)])
    np.testing.assert_array_equal(got, mix(mix(rows) + torch.arange(2)[:, None]).numpy())


def test_an_unseeded_start_is_a_random_one(source: Any) -> None:
    starts = [keys(PuzzleVectorEnv(2, source), 1)[0].tolist() for _ in range(3)]
    assert len({key for start in starts for key in start}) == 6


def test_a_made_environment_reseeds_as_a_fresh_one() -> None:
    used = gym.make("HRM/Sudoku-v0", size=4, pool_size=20)
    used.reset(seed=1)
    for _ in range(3):
        used.step({"answer": np.full(CELLS, 2), "halt": 1})
        used.reset()
    fresh = gym.make("HRM/Sudoku-v0", size=4, pool_size=20)
    np.testing.assert_equal(used.reset(seed=2), fresh.reset(seed=2))
    np.testing.assert_equal(used.reset(), fresh.reset())


def test_seeding_under_a_reset_mask_leaves_the_other_rows_alone():
    envs = gym.make_vec(
        "HRM/Sudoku-v0", num_envs=4, size=4, pool_size=50, autoreset_mode="Disabled"
    )
    obs, _ = envs.reset(seed=0)
    mask = np.array([True, False, False, True])
    masked, info = envs.reset(seed=70, options={"reset_mask": mask})
    assert (masked["inputs"][1:3] == obs["inputs"][1:3]).all()
    again, after = envs.reset(seed=70)
    assert (again["inputs"][[0, 3]] == masked["inputs"][[0, 3]]).all()
    assert (after["puzzle_key"][[0, 3]] == info["puzzle_key"][[0, 3]]).all()
    assert (after["puzzle_key"][1:3] != info["puzzle_key"][1:3]).all()
