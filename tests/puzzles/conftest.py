"""An independent account of 4x4 Sudoku by brute force: no solver, only a list of all grids."""

import itertools

import numpy as np
import pytest

_UNITS = np.array(
    [[4 * r + c for c in range(4)] for r in range(4)]
    + [[4 * r + c for r in range(4)] for c in range(4)]
    + [[8 * b + 2 * s + i for i in (0, 1, 4, 5)] for b in range(2) for s in range(2)]
)


@pytest.fixture(scope="session")
def grids4() -> np.ndarray:
    """All 288 grids, as tokens int32 [288, 16]."""
    lines = list(itertools.permutations((2, 3, 4, 5)))
    boards = np.array([sum(rows, ()) for rows in itertools.product(lines, repeat=4)], np.int32)
    right = (np.sort(boards[:, _UNITS], axis=2) == np.arange(2, 6)).all(axis=(1, 2))
    return boards[right]


@pytest.fixture(scope="session")
def count4(grids4):
    """Number of solutions of 4x4 puzzles [N, 16], by comparing with every grid."""

    def count(puzzles: np.ndarray) -> np.ndarray:
        fits = (puzzles[:, None] == 1) | (puzzles[:, None] == grids4)
        return fits.all(axis=2).sum(axis=1)

    return count


@pytest.fixture(scope="session")
def minimal4(grids4) -> np.ndarray:
    """All minimal 4x4 puzzles as tokens, found from sets of cells on which two grids agree."""
    bit = 1 << np.arange(16)
    subsets = np.arange(1 << 16)
    puzzles = []
    for grid in grids4:
        ambiguous = np.zeros(1 << 16, bool)
        agreement = (grids4 == grid) @ bit
        ambiguous[agreement[agreement != bit.sum()]] = True
        for b in bit:  # whatever leaves too much open still does with fewer givens
            without = subsets[subsets & b == 0]
            ambiguous[without] |= ambiguous[without | b]
        minimal = ~ambiguous
        for b in bit:
            having = subsets[subsets & b > 0]
            minimal[having] &= ambiguous[having ^ b]
        givens = (np.flatnonzero(minimal)[:, None] & bit) > 0
        puzzles.append(np.where(givens, grid, 1))
    return np.concatenate(puzzles)


@pytest.fixture(scope="session")
def canonical4():
    """The function from 4x4 puzzles [N, 16] to int64 [N], equal exactly for puzzles of one class."""
    return _canonical4


def _canonical4(puzzles: np.ndarray) -> np.ndarray:
    """The smallest of all 128 arrangements, digits renamed by first appearance, as a number."""
    # Bands of two: swapping them flips bit 1 of a line's number, swapping inside a band flips bit 0.
    flips = [(0, 0), (0, 1), (1, 0), (1, 1)]
    rows = [[r ^ 2 * b ^ inner[r // 2] for r in range(4)] for b in (0, 1) for inner in flips]
    grid = np.arange(16).reshape(4, 4)
    smallest = np.full(len(puzzles), np.iinfo(np.int64).max)
    for down in rows:
        for across in rows:
            moved = grid[down][:, across]
            for cells in (moved.ravel(), moved.T.ravel()):
                names = np.zeros((len(puzzles), 6), np.int64)  # new digit of each token
                value, used = np.zeros(len(puzzles), np.int64), np.zeros(len(puzzles), np.int64)
                for cell in cells:
                    token = puzzles[:, cell]
                    name = np.take_along_axis(names, token[:, None], axis=1)[:, 0]
                    fresh = (token > 1) & (name == 0)
                    used += fresh
                    names[fresh, token[fresh]] = used[fresh]
                    value = value * 5 + np.where(fresh, used, name)
                smallest = np.minimum(smallest, value)
    return smallest
