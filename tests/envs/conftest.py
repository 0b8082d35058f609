"""Small Sudoku pools and sources, and a player that is right now and then."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.envs import PoolSource, SequentialSource
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.envs.to_numpy import to_numpy
from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku


@pytest.fixture(scope="session")
def pool() -> PuzzleArrays:
    return sudoku.generate(50, 4, seed=0)


@pytest.fixture(scope="session")
def source(pool: PuzzleArrays) -> PoolSource:
    return PoolSource(pool, 6, symmetry=sudoku.symmetry(4), validator=validator_of(Sudoku(4)))


@pytest.fixture(scope="session")
def in_order(pool: PuzzleArrays) -> SequentialSource:
    return SequentialSource(pool, 6, validator=validator_of(Sudoku(4)))


@pytest.fixture(scope="session")
def play() -> Callable[..., dict[str, torch.Tensor]]:
    """Random actions that know the labels: about half right, some nearly so, some noise."""

    def act(rng: np.random.Generator, labels: torch.Tensor, halting: float = 0.3) -> dict:
        rows, cells = labels.shape
        noise = torch.from_numpy(rng.integers(0, 6, (rows, cells)))
        share = torch.from_numpy(rng.choice([0.0, 0.1, 1.0], rows, p=[0.5, 0.2, 0.3]))
        wrong = torch.from_numpy(rng.random((rows, cells))) < share[:, None]
        answer = torch.where(wrong, noise, labels.long().clamp_min(0))
        return {"answer": answer, "halt": torch.from_numpy(rng.random(rows) < halting)}

    return act


@pytest.fixture(scope="session")
def assert_row() -> Callable[..., None]:
    """Compares row i of a batch with what a single environment gave, in the single's keys."""
    return _assert_row


def _assert_row(batch: Any, i: int, single: Any) -> None:
    if not isinstance(single, dict):
        batch, single = {"": batch}, {"": single}
    for key in single.keys() - {"is_success"}:  # SB3's name for what the checker pays for
        np.testing.assert_array_equal(to_numpy(batch[key])[i], single[key], err_msg=key)


@pytest.fixture(scope="session")
def assert_singles() -> Callable[..., Any]:
    """Plays a vector and single environments alike: `act(obs, info)` gives the vector's actions.

    Where an episode ends, the single goes on by an unseeded reset. Returns the number of episodes, and
    which pairs of (correct, valid) were met.
    """

    def play(envs: Any, singles: Any, act: Any, seed: int, steps: int) -> Any:
        obs, info = envs.reset(seed=seed)
        ones = [single.reset(seed=seed + i) for i, single in enumerate(singles)]
        ends, seen = 0, set()
        for _ in range(steps):
            for i, (one_obs, one_info) in enumerate(ones):
                _assert_row(obs, i, one_obs)
                _assert_row(info, i, one_info)
            action = act(obs, info)
            obs, reward, terminated, truncated, info = envs.step(action)
            assert not truncated.any()
            ones = []
            for i, single in enumerate(singles):
                rows = {k: v[i] for k, v in action.items()} if isinstance(action, dict) else action[i]
                one_obs, *outcome, one_info = single.step(rows)
                assert outcome == [float(reward[i]), bool(terminated[i]), False]
                seen.add((bool(one_info["correct"]), bool(one_info["valid"])))
                if terminated[i]:
                    _assert_row(info["final_obs"], i, one_obs)
                    _assert_row(info["final_info"], i, one_info)
                    ends += 1
                    one_obs, one_info = single.reset()
                ones.append((one_obs, one_info))
        return ends, seen

    return play
