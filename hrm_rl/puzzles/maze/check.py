"""Checking answers: whether they draw a shortest path, and how much longer another path is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.maze import kernels
from hrm_rl.puzzles.maze.layout import (
    GOAL,
    PAD,
    PATH,
    SPACE,
    START,
    VOCAB_SIZE,
    WALL,
    as_mazes,
    check,
)
from hrm_rl.puzzles.maze.solve import solve
from hrm_rl.puzzles.tokens import as_pair, cell_name


def path_excess(inputs: ArrayLike, answers: ArrayLike, size: int = 30) -> NDArray[np.int64]:
    """Moves by which the path that an answer draws is longer than a shortest one.

    An answer draws a path if it is the maze with PATH on spaces only, every cell of PATH touches exactly
    two cells of PATH, START or GOAL, START and GOAL touch one such cell each, and all of them are
    connected: there is one way to walk, and nothing beside it.

    Args:
        inputs: int [..., S], the mazes.
        answers: int [..., S]; any tokens.
        size: cells a side.

    Returns:
        int64 [...]; 0 for a shortest path, -1 if no path is drawn.

    Raises:
        ValueError: a size out of range, unknown tokens in `inputs`, or the shapes are not the same
            [..., S].
    """
    size = check(size)
    mazes, given = as_pair(inputs, answers, size**2, VOCAB_SIZE)
    rows = mazes.reshape(-1, mazes.shape[-1]).astype(np.int8)
    drawn = np.clip(given, -1, VOCAB_SIZE).astype(np.int8).reshape(rows.shape)
    excess = np.empty(len(rows), np.int64)
    kernels.judge(size, rows, drawn, excess, kernels.scratch(size))
    return excess.reshape(mazes.shape[:-1])


def is_valid(inputs: ArrayLike, answers: ArrayLike, size: int = 30) -> NDArray[np.bool_]:
    """Whether answers are their maze with a shortest path drawn, any of them, and nothing else: bool [...].

    Arguments and errors as in `path_excess`.
    """
    return path_excess(inputs, answers, size) == 0


def check_puzzle(tokens: ArrayLike, size: int = 30) -> NDArray[np.int32]:
    """The solution of a maze int [S], as `solve` draws it: int32 [S].

    Raises:
        ValueError: a wrong size, width or token, not exactly one start and one goal, or no path between
            them.
    """
    row = as_mazes("tokens", tokens, check(size))
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
