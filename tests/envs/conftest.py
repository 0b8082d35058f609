"""Small Sudoku pools and sources, and a player that is right now and then."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hrm_rl.envs import PoolSource, SequentialSource
from hrm_rl.envs.families.validators import validator_of
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
