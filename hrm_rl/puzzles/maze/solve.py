"""Solving and rating mazes: the compiled kernels behind functions on tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.maze import kernels
from hrm_rl.puzzles.maze.layout import as_mazes, check

COUNT_CAP = kernels.COUNT_CAP


class Solved(NamedTuple):
    """Result of `solve`; without the leading axis for one maze [S]."""

    solution: NDArray[np.int32]
    """int32 [N, S]: the maze with a shortest path drawn; PAD in every cell if there is none."""
    moves: NDArray[np.int64]
    """int64 [N]: of a shortest path; -1 if there is none."""
    paths: NDArray[np.int64]
    """int64 [N]: number of shortest paths, 2**60 for more; 0 if there is none."""


def solve(inputs: ArrayLike, size: int = 30) -> Solved:
    """Find a shortest path, and count the shortest paths.

    The path drawn is the one that from every cell takes the first of up, left, right, down that leads
    nearer to the goal. Cells of PATH count as space, PAD as wall.

    Args:
        inputs: int [S] or [N, S] tokens, one START and one GOAL each.
        size: cells a side.

    Returns:
        (solution, moves, paths), see `Solved`.

    Raises:
        ValueError: a size out of range, wrong width, or unknown tokens.
    """
    size = check(size)
    mazes = as_mazes("inputs", inputs, size)
    rows = mazes.reshape(-1, mazes.shape[-1])
    labels, moves, paths = np.empty_like(rows), *np.empty((2, len(rows)), np.int64)
    kernels.solve(size, rows, labels, moves, paths, kernels.scratch(size))
    shape = mazes.shape[:-1]
    return Solved(
        labels.astype(np.int32).reshape(mazes.shape), moves.reshape(shape), paths.reshape(shape)
    )


def rate(inputs: ArrayLike, size: int = 30) -> NDArray[np.float32]:
    """Difficulty of mazes: the moves of a shortest path, float32 [N]; NaN if there is none.

    Arguments and errors as in `solve`.
    """
    moves = solve(inputs, size).moves
    return np.where(moves < 0, np.nan, moves).astype(np.float32)
