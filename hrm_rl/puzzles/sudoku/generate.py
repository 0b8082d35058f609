"""Generating Sudokus: random minimal puzzles with a number of extra givens."""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.counter_rng import stream_keys
from hrm_rl.puzzles.family import MAX_ATTEMPTS, Made, check_request, first_accepted
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import kernels, random_kernels
from hrm_rl.puzzles.sudoku.classes import class_key, in_split
from hrm_rl.puzzles.sudoku.layout import BLANK, Layout, layout
from hrm_rl.puzzles.sudoku.solve import rate as rate_puzzles

# Separates Sudoku's streams from other families', and this version of the generator from later ones.
_STREAM = 0x5D0C_0001


def generate(
    count: int,
    size: int = 9,
    *,
    seed: int = 0,
    extra_givens: int | tuple[int, int] = 0,
    split: str | None = None,
    rate: bool = False,
) -> PuzzleArrays:
    """Random puzzles, each with exactly one solution.

    A random full grid loses its cells in random order as long as the solution stays unique; the rest is a
    minimal puzzle. Then further solution cells are revealed at random. Puzzle k depends only on (size,
    seed, k, extra_givens, split), not on `count`, workers or platform. Without a split, the givens of
    puzzle k under ``extra_givens=n`` contain those under any smaller n.

    Args:
        count: number of puzzles N.
        size: 4, 6 or 9.
        seed: 0 to 2**64 - 1.
        extra_givens: cells revealed on top of a minimal puzzle, or an inclusive (low, high) range to
            draw from uniformly; clipped so that at least one blank is left.
        split: "train", "validation" or "test": only puzzles whose class lies in that split (`in_split`);
            None takes all.
        rate: fill in ``rating`` by `rate`; else it is NaN.

    Returns:
        N puzzles: inputs hold the givens and BLANK, labels a digit in every cell, identifiers are 0.

    Raises:
        ValueError: a bad argument, or a split without puzzles of that many givens in 10,000 attempts.
    """
    tables = layout(size)
    check_request(count, seed, split)
    low, high = _givens_range(extra_givens)

    def candidates(numbers: NDArray[np.uint64], attempt: int) -> Made:
        keys = stream_keys(_STREAM, tables.size, int(seed), numbers, attempt)
        puzzles, solutions = _make(tables, keys, low, high)
        if split is None:
            return puzzles, solutions, np.ones(len(keys), np.bool_)
        return puzzles, solutions, in_split(class_key(puzzles, tables.size), split)

    inputs, labels, missing = first_accepted(candidates, count, tables.size**2)
    if len(missing):
        raise ValueError(
            f"{MAX_ATTEMPTS:,} attempts gave no {size}x{size} puzzle of the {split!r} split with "
            f"extra_givens={extra_givens}; fewer extra givens leave more classes to draw from"
        )
    if not rate:
        return PuzzleArrays(inputs, labels)
    return PuzzleArrays(inputs, labels, rating=rate_puzzles(inputs, tables.size))


def _givens_range(extra_givens: int | tuple[int, int]) -> tuple[int, int]:
    try:
        if isinstance(extra_givens, (tuple, list)):
            low, high = (operator.index(value) for value in extra_givens)
        else:
            low = high = operator.index(extra_givens)
    except (TypeError, ValueError):
        low, high = -1, -1
    if not 0 <= low <= high:
        raise ValueError(
            f"extra_givens must be an integer of 0 or more, or a pair low <= high, got {extra_givens!r}"
        )
    return low, high


def _make(
    tables: Layout, keys: NDArray[np.uint64], low: int, high: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Tokens of the puzzles and of their solutions, both int32 [N, S], one a stream key."""
    boards = np.zeros((len(keys), tables.size**2), np.int8)
    solutions = np.zeros_like(boards)
    random_kernels.generate_boards(
        tables, keys, low, high, boards, solutions, kernels.scratch(tables)
    )
    return boards.astype(np.int32) + BLANK, solutions.astype(np.int32) + BLANK
