"""A maze's tokens and dials: what every other maze file looks up or checks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.family import Dial, as_tokens, check_dials

PAD, WALL, SPACE, START, GOAL, PATH = range(6)
CHARACTERS = ".# SGo"
"""One a token. WALL to PATH are written as in the reference's maze files; '.' is PAD."""
VOCAB_SIZE = len(CHARACTERS)

SIZES = range(3, 101)
DIALS = (
    Dial("size", 30, SIZES[0], SIZES[-1], "cells a side"),
    Dial("perfect", False, None, None, "corridors with one path between any two cells"),
    Dial("braid", 0.0, 0.0, 1.0, "share of a perfect maze's dead ends that are opened"),
    Dial("min_path", None, 1, 7499, "least moves; 4 * size - 9 by default, 1 if perfect"),
)


def check(
    size: int = 30, perfect: bool = False, braid: float = 0.0, min_path: int | None = None
) -> int:
    """The size; ValueError for dials out of range or at odds. Of the dials, the functions on given mazes
    use the size alone, and take the others so that every function of a family takes the same."""
    least_moves(size, perfect, braid, min_path)
    return int(size)


def least_moves(size: int, perfect: bool, braid: float, min_path: int | None) -> int:
    """`min_path` or its default; ValueError as in `check`.

    The default, 4 * size - 9 for random walls, is 111 for 30x30, the bound of Maze-Hard ("above 110",
    Wang et al. 2025, section 3.1). About one in a hundred random mazes of any size has so long a path
    between its farthest cells.
    """
    check_dials(DIALS, {"size": size, "perfect": perfect, "braid": braid, "min_path": min_path})
    if braid and not perfect:
        raise ValueError(f"braid is for perfect mazes; got braid={braid} with perfect=False")
    if min_path is None:
        return 1 if perfect else 4 * int(size) - 9
    # No four cells of a shortest path make a square, so it has three of any such four at most.
    longest = 3 * ((int(size) + 1) // 2) ** 2 - 1
    if min_path > longest:
        raise ValueError(f"min_path must be 1 to {longest} in a {size}x{size} maze, got {min_path}")
    return int(min_path)


def as_mazes(name: str, values: ArrayLike, size: int) -> NDArray[np.int8]:
    """`values` as int8 [..., size * size]; ValueError for another width, no integers, or an unknown
    token."""
    return as_tokens(name, values, size**2, VOCAB_SIZE).astype(np.int8)


def cell_name(cell: int, size: int) -> str:
    """How messages call a cell, counted from 1: "row 1, column 2" for cell 1."""
    return f"row {cell // size + 1}, column {cell % size + 1}"
