"""Solving and rating Sudokus: the compiled kernels behind functions on tokens."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.compiling import by_parts
from hrm_rl.puzzles.sudoku import kernels, random_kernels
from hrm_rl.puzzles.sudoku.layout import BLANK, as_boards, layout

MAX_GUESSES = 1_000_000
"""Guesses after which the solver gives up on a board."""


class Solved(NamedTuple):
    """Result of `solve`; without the leading axis for one puzzle [S]."""

    solution: NDArray[np.int32]
    """int32 [N, S]: the first solution found; PAD in every cell if there is none."""
    solutions_found: NDArray[np.int64]
    """int64 [N]: number of solutions, 2 for several; -1 if the solver gave up."""


class Effort(NamedTuple):
    """Work of the search for all solutions; without the leading axis for one puzzle."""

    guesses: NDArray[np.int64]
    """int64 [N]: digits tried when no rule applied."""
    backtracks: NDArray[np.int64]
    """int64 [N]: guesses that the rules refuted."""


def _boards(name: str, tokens: ArrayLike, size: int) -> tuple[NDArray[np.int8], tuple[int, ...]]:
    """Digits int8 [N, S], 0 = blank, and the leading shape to give back."""
    checked = as_boards(name, tokens, size)
    boards = (checked.reshape(-1, size * size) - BLANK).astype(np.int8)
    return boards, checked.shape[:-1]


def _search(tokens: ArrayLike, size: int, max_guesses: int) -> tuple[Solved, Effort]:
    tables = layout(size)
    boards, shape = _boards("tokens", tokens, tables.size)
    solutions = np.zeros_like(boards)
    counts = np.zeros(len(boards), np.int64)
    effort = np.zeros((len(boards), 2), np.int64)
    work = kernels.scratch(tables)
    kernels.solve_boards(tables, boards, 2, max_guesses, solutions, counts, effort, work)
    found = np.where(solutions > 0, solutions.astype(np.int32) + BLANK, 0)
    solved = Solved(found.reshape(*shape, -1).astype(np.int32), counts.reshape(shape))
    return solved, Effort(effort[:, 0].reshape(shape), effort[:, 1].reshape(shape))


def solve(tokens: ArrayLike, size: int = 9, *, max_guesses: int = MAX_GUESSES) -> Solved:
    """Solve puzzles, and count for each whether it has no, one or several solutions.

    The solver applies naked singles, hidden singles and locked candidates, then guesses in the first cell
    of fewest candidates. After `max_guesses` guesses a puzzle's count is -1.

    Raises ValueError for an unknown size, a wrong width, or tokens that are neither digits nor BLANK.
    """
    return _search(tokens, size, max_guesses)[0]


def search_effort(tokens: ArrayLike, size: int = 9, *, max_guesses: int = MAX_GUESSES) -> Effort:
    """Guesses and backtracks of `solve` on the puzzles as given; `rate` does not depend on the order of
    cells. Arguments and errors as in `solve`."""
    return _search(tokens, size, max_guesses)[1]


def rate(inputs: ArrayLike, size: int = 9, copies: int = 16) -> NDArray[np.float32]:
    """Difficulty of puzzles.

    9x9 and 6x6: backtracks of the solver until the solution is found and proved unique, mean over `copies`
    random symmetric copies (in a single copy, chance in the order of cells weighs). The copies are drawn
    from the puzzle itself, so its rating is a constant. The unit is that of Sudoku-Extreme's ratings (Wang
    et al. 2025, section 3.1), on another solver.
    4x4: no unique puzzle ever needs a guess, so the rating is the number of rounds in which all cells
    with a single candidate are filled at once, 1 to 5; `copies` is not used.

    Returns float32 [N], a scalar array for [S]; NaN for a puzzle without exactly one solution. Raises
    ValueError as in `solve`, or for copies < 1.
    """
    tables = layout(size)
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}")
    boards, shape = _boards("inputs", inputs, tables.size)
    if tables.size == 4:
        return _naked_single_rounds(boards).reshape(shape)

    def ratings(some: NDArray[np.int8]) -> NDArray[np.float32]:
        found, work = np.empty(len(some), np.float32), kernels.scratch(tables)
        random_kernels.mean_backtracks(tables, some, copies, MAX_GUESSES, found, work)
        return found

    return np.concatenate(by_parts(ratings, boards)).reshape(shape)


def _naked_single_rounds(boards: NDArray[np.int8]) -> NDArray[np.float32]:
    """Rounds that fill 4x4 boards int8 [N, 16], 0 = blank: float32 [N], NaN if they do not."""
    tables = layout(4)
    bits = np.where(boards > 0, 1 << boards, 0)
    rounds = np.zeros(len(boards), np.float32)
    for _ in range(boards.shape[1]):
        seen = np.bitwise_or.reduce(bits[:, tables.peers], axis=2)
        free = 0b11110 & ~seen
        fill = (bits == 0) & (free > 0) & (free & (free - 1) == 0)
        if not fill.any():
            break
        bits = np.where(fill, free, bits)
        rounds += fill.any(axis=1)
    # Full, and no digit twice in a unit: then every unit has all four.
    right = (np.bitwise_or.reduce(bits[:, tables.units], axis=2) == 0b11110).all(axis=1)
    return np.where(right & (bits > 0).all(axis=1), rounds, np.nan).astype(np.float32)
