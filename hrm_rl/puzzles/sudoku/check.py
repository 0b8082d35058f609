"""Checks of boards: a fast yes or no for whole batches, and an answer in words for one puzzle."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.tokens import cell_name
from hrm_rl.puzzles.sudoku.layout import BLANK, as_boards, layout
from hrm_rl.puzzles.sudoku.solve import MAX_GUESSES, solve


def broken_units(answers: NDArray[np.integer[Any]], size: int) -> NDArray[np.bool_]:
    """Which rows, columns and boxes lack a digit: bool [..., 3 * size] for answers [..., S]."""
    tables = layout(size)
    # int16, because a shift overflows silently: 1 << 9 is 0 in uint8.
    digits = np.where((answers > BLANK) & (answers <= size + 1), answers - BLANK, 0)
    bits = (np.int16(1) << digits.astype(np.int16)) & ~1
    seen = np.zeros((*answers.shape[:-1], 3 * size), np.int16)
    for place in range(size):  # one cell of every unit at a time keeps the temporaries small
        seen |= bits[..., tables.units[:, place]]
    return seen != (1 << (size + 1)) - 2


def find_clash(row: NDArray[np.int32], size: int) -> str | None:
    """Two cells of a unit that hold the same digit, as "two 5s in row 1, at ... and ..."; or None."""
    for unit, cells in enumerate(layout(size).units):
        for digit in range(1, size + 1):
            holders = cells[row[cells] == digit + BLANK]
            if len(holders) > 1:
                kind, number = divmod(unit, size)
                place = f"{('row', 'column', 'box')[kind]} {number + 1}"
                places = " and ".join(cell_name(int(cell), size) for cell in holders[:2])
                return f"two {digit}s in {place}, at {places}"
    return None


def check_puzzle(tokens: ArrayLike, size: int = 9) -> NDArray[np.int32]:
    """The one solution of a puzzle int [S] of digits and BLANK: int32 [S], a digit's token in every cell.

    Raises ValueError for a wrong size, width or token; contradicting clues (the message names them); no
    solution; several solutions.
    """
    row = as_boards("tokens", tokens, layout(size).size)
    if row.ndim != 1:
        raise ValueError(f"check_puzzle takes one puzzle [S], got shape {row.shape}")
    clash = find_clash(row, size)
    if clash:
        raise ValueError(f"the clues contradict each other: {clash}")
    solution, count = solve(row, size)
    if count == 0:
        raise ValueError("this puzzle has no solution, though no two clues clash directly")
    if count < 0:
        raise ValueError(f"gave up after {MAX_GUESSES:,} guesses: has this puzzle one solution?")
    if count > 1:
        clues = int((row > BLANK).sum())
        raise ValueError(f"this puzzle has several solutions ({clues} clues); it needs exactly one")
    return solution


def what_is_wrong(question: NDArray[np.int32], answer: NDArray[np.int32], size: int) -> str:
    """Why an answer [S] is not a solution of its question [S], in words that follow "the answer"."""
    clash = find_clash(question, size)
    if clash:
        return f"no answer can be right: the question has {clash}"
    for cell in range(size * size):
        if answer[cell] <= BLANK:
            return f"blank at {cell_name(cell, size)}"
        if question[cell] > BLANK and question[cell] != answer[cell]:
            given, found = question[cell] - BLANK, answer[cell] - BLANK
            return f"breaks its question: {found} for the given {given} at {cell_name(cell, size)}"
    clash = find_clash(answer, size)
    assert clash, "a full grid without a clash is right"
    return f"is not a valid grid: {clash}"
