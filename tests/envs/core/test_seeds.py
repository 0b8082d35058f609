"""Seeds: row i's k-th puzzle is a pure hash of (seed + i, k), whatever else happens."""

from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv
from hrm_rl.hashing import mix


def keys(envs: PuzzleVectorEnv, count: int, seed: Any = None) -> np.ndarray:
    """The keys of `count` puzzles a row, [count, num_envs], by resets alone."""
    drawn = [envs.reset(seed=seed)[1]["puzzle_key"]]
    drawn += [envs.reset()[1]["puzzle_key"] for _ in range(count - 1)]
    return torch.stack(drawn).numpy()


@pytest.mark.parametrize(
    ("seed", "row_seeds"),
    [
        (100, [100, 101, 102]),
        ([6, 0, 3], [6, 0, 3]),
        ((1 << 63) - 1, [(1 << 63) - 1, -(1 << 63), 1 - (1 << 63)]),  # large seeds wrap quietly
    ],
)
def test_keys_are_the_stated_hash(source: Any, seed: Any, row_seeds: list[int]) -> None:
    envs = PuzzleVectorEnv(3, source)
    wanted = mix(mix(torch.tensor(row_seeds)) + torch.arange(6)[:, None]).numpy()
    assert len(np.unique(wanted)) == wanted.size
    for _ in range(2):  # also on an environment already in use
        np.testing.assert_array_equal(keys(envs, 6, seed=seed), wanted)


def test_a_single_is_row_0(source: Any) -> None:
    env = PuzzleEnv(source)
    found = [env.reset(seed=9)[1], *(env.reset()[1] for _ in range(4))]
    wanted = keys(PuzzleVectorEnv(1, source), 5, seed=9)[:, 0]
    assert [info["puzzle_key"] for info in found] == wanted.tolist()


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


def test_none_in_a_list_is_a_seed_of_its_own(source: Any) -> None:
    one = keys(PuzzleVectorEnv(3, source), 2, seed=[5, None, 5])
    two = keys(PuzzleVectorEnv(3, source), 2, seed=[None, 5, None])
    np.testing.assert_array_equal(one[:, 0], one[:, 2])
    np.testing.assert_array_equal(one[:, 0], two[:, 1])
    assert len(np.unique([one[0, 1], two[0, 0], two[0, 2], one[0, 0]])) == 4


def test_a_list_of_the_wrong_length_is_refused(source: Any) -> None:
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        PuzzleVectorEnv(3, source).reset(seed=[1, 2])


def test_an_unseeded_start_is_a_random_one(source: Any) -> None:
    starts = [keys(PuzzleVectorEnv(2, source), 1)[0].tolist() for _ in range(3)]
    assert len({key for start in starts for key in start}) == 6


def test_seeding_under_a_reset_mask_leaves_the_other_rows_alone(source: Any) -> None:
    envs = PuzzleVectorEnv(4, source, autoreset_mode="Disabled")
    obs, _ = envs.reset(seed=0)
    mask = np.array([True, False, False, True])
    masked, info = envs.reset(seed=70, options={"reset_mask": mask})
    assert (masked["inputs"][1:3] == obs["inputs"][1:3]).all()
    again, after = envs.reset(seed=70)
    assert (again["inputs"][[0, 3]] == masked["inputs"][[0, 3]]).all()
    assert (after["puzzle_key"][[0, 3]] == info["puzzle_key"][[0, 3]]).all()
    assert (after["puzzle_key"][1:3] != info["puzzle_key"][1:3]).all()
