"""Solving mazes and judging answers: the compiled kernels behind functions on tokens."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.tokens import as_pair, as_tokens, cell_name
from hrm_rl.puzzles.maze import kernels
from hrm_rl.puzzles.maze.layout import GOAL, PAD, PATH, SPACE, START, VOCAB_SIZE, WALL, check

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
    """A shortest path of mazes int [S] or [N, S], one START and one GOAL each, and the number of such paths.

    The path drawn is the one that from every cell takes the first of up, left, right, down that leads
    nearer to the goal. Cells of PATH count as space, PAD as wall. Raises ValueError for a size out of range,
    a wrong width, or unknown tokens.
    """
    size = check(size)
    mazes = as_tokens("inputs", inputs, size**2, VOCAB_SIZE).astype(np.int8)
    rows = mazes.reshape(-1, size**2)
    labels, moves, paths = np.empty_like(rows), *np.empty((2, len(rows)), np.int64)
    kernels.solve(size, rows, labels, moves, paths, kernels.scratch(size))
    shape = mazes.shape[:-1]
    solution = labels.astype(np.int32).reshape(mazes.shape)
    return Solved(solution, moves.reshape(shape), paths.reshape(shape))


def path_excess(inputs: ArrayLike, answers: ArrayLike, size: int = 30) -> NDArray[np.int64]:
    """Moves by which the path that an answer draws is longer than a shortest one.

    An answer draws a path if it is the maze with PATH on spaces only, every cell of PATH touches exactly
    two cells of PATH, START or GOAL, START and GOAL touch one such cell each, and all of them are
    connected: there is one way to walk, and nothing beside it.

    Returns int64 [...] for mazes and answers int [..., S] (any tokens): 0 for a shortest path, -1 if no
    path is drawn. Raises ValueError for a size out of range, unknown tokens in `inputs`, or shapes that
    differ.
    """
    size = check(size)
    mazes, given = as_pair(inputs, answers, size**2, VOCAB_SIZE)
    rows = mazes.reshape(-1, size**2).astype(np.int8)
    drawn = np.clip(given, -1, VOCAB_SIZE).astype(np.int8).reshape(rows.shape)
    excess = np.empty(len(rows), np.int64)
    kernels.judge(size, rows, drawn, excess, kernels.scratch(size))
    return excess.reshape(mazes.shape[:-1])


def check_puzzle(tokens: ArrayLike, size: int = 30) -> NDArray[np.int32]:
    """The solution of a maze int [S], as `solve` draws it: int32 [S].

    Raises ValueError for a wrong size, width or token, not exactly one start and one goal, or no path
    between them.
    """
    row = as_tokens("tokens", tokens, check(size) ** 2, VOCAB_SIZE)
    if row.ndim != 1:
        raise ValueError(f"check_puzzle takes one maze [S], got shape {row.shape}")
    for token, name in ((START, "start"), (GOAL, "goal")):
        count = int((row == token).sum())
        if count != 1:
            raise ValueError(f"{count} cells are the {name}; a maze has one")
    for token, name in ((PAD, "padding"), (PATH, "a path drawn in it")):
        if (row == token).any():
            cell = int(np.argmax(row == token))
            raise ValueError(f"{cell_name(cell, size)}: the question has {name}")
    solution, moves, _ = solve(row, size)
    if moves < 0:
        raise ValueError("no way leads from the start to the goal")
    return solution


_NAMES = {PAD: "padding", WALL: "a wall", SPACE: "space", START: "the start", GOAL: "the goal"}


def what_is_wrong(inputs: NDArray[np.int32], answer: NDArray[np.int32], size: int) -> str:
    """Why an answer [S] is not its maze [S] with a shortest path, in words that follow "the answer"."""
    try:
        moves = int((check_puzzle(inputs, size) == PATH).sum()) + 1
    except ValueError as error:
        return f"no answer can be right: {error}"
    changed = (answer != inputs) & ~((inputs == SPACE) & (answer == PATH))
    if changed.any():
        cell = int(np.argmax(changed))
        return f"changes {_NAMES[int(inputs[cell])]} at {cell_name(cell, size)}"
    excess = int(path_excess(inputs, answer, size))
    if excess < 0:
        return "draws no single path from the start to the goal"
    return f"draws a path of {moves + excess} moves; the shortest has {moves}"
