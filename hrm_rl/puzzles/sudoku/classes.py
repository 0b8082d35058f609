"""Which Sudokus are the same puzzle in another dress: the symmetry group, a class key, the held-out split.

Two puzzles are of one class if swapping rows inside a band, bands, columns inside a stack, stacks,
digits and, where boxes are square, rows with columns turns one into the other. They are equally hard
and their solutions correspond, so a fair test set shares no class with the training set.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles import family
from hrm_rl.puzzles.counter_rng import mix64, mix64_array
from hrm_rl.puzzles.pool import Symmetry
from hrm_rl.puzzles.sudoku.layout import BLANK, FIRST_DIGIT, as_tokens, layout

SPLIT_VERSION = 1
"""Version of the splits. Another rule or salt, or another `class_key`, would be another version."""

SPLITS = family.SPLITS

# Chosen so that few classes split evenly too: of the 36 of minimal 4x4 puzzles, 9 are for testing (25.1 %
# of the 85,632 puzzles) and 3 for validation (6.3 %).
_SPLIT_SALT = 12
_ROUNDS = 8
_KIND_COLORS = mix64_array(np.arange(1, 7, dtype=np.uint64))
_SELF = np.uint64(0xA0761D6478BD642F)


def _line_orders(groups: int, width: int) -> NDArray[np.int64]:
    """All orders of groups * width lines that keep groups together: int64 [groups! * width!**groups, L]."""
    inner = list(permutations(range(width)))
    return np.array(
        [
            [
                group * width + line
                for group, lines in zip(order, choice, strict=True)
                for line in lines
            ]
            for order in permutations(range(groups))
            for choice in product(inner, repeat=groups)
        ],
        dtype=np.int64,
    )


@cache
def symmetry(size: int = 9) -> Symmetry:
    """The symmetry group of Sudokus of a size, digits included; ValueError for an unknown size.

    The cell tables are all orders of the rows, all orders of the columns and, where boxes are square,
    the transpose: 1,296 x 1,296 x 2 for 9x9. The free tokens are the digits, 2 .. size + 1.
    """
    tables = layout(size)
    rows = _line_orders(tables.box_columns, tables.box_rows)
    columns = _line_orders(tables.box_rows, tables.box_columns)
    grid = np.arange(tables.size**2).reshape(tables.size, tables.size)
    cell_tables = [grid[rows].reshape(len(rows), -1), grid[:, columns].transpose(1, 0, 2)]
    cell_tables[1] = cell_tables[1].reshape(len(columns), -1)
    if tables.box_rows == tables.box_columns:
        cell_tables.append(np.stack([grid.ravel(), grid.T.ravel()]))
    return Symmetry(tuple(cell_tables), permuted_tokens=(FIRST_DIGIT, tables.size + 2))


@njit(cache=True, nogil=True)
def _refine(tables, boards, start, keys):
    """Colour refinement (Weisfeiler-Leman) of boards int8 [N, S] of digits, 0 = blank, into keys [N].

    Coloured are rows, columns, boxes, digits, bands and stacks. A given has the colour of all that it
    lies in; then each thing takes in the colours of its givens, of its band or stack, or of its lines
    and boxes. `start` uint64 [6] says which kinds can be told apart at first. All sums commute.
    """
    size, box_rows, box_columns = tables.size, tables.box_rows, tables.box_columns
    old, new = np.zeros((6, 9), np.uint64), np.zeros((6, 9), np.uint64)
    counts = (size, size, size, size, box_columns, box_rows)
    for k in range(boards.shape[0]):
        for kind in range(6):
            old[kind] = start[kind]
        for _ in range(_ROUNDS):
            # Mixed once more, so that a thing's own colour counts otherwise than those it takes in.
            for kind in range(6):
                for i in range(counts[kind]):
                    new[kind, i] = mix64(old[kind, i] ^ _SELF)
            for cell in range(size * size):
                if boards[k, cell] == 0:
                    continue
                digit = boards[k, cell] - 1
                row, column = tables.cell_units[cell, 0], tables.cell_units[cell, 1] - size
                box = tables.cell_units[cell, 2] - 2 * size
                color = mix64(old[0, row] + old[1, column] + old[2, box] + old[3, digit])
                new[0, row] += color
                new[1, column] += color
                new[2, box] += color
                new[3, digit] += color
            for i in range(size):
                band, stack = i // box_rows, i // box_columns
                new[0, i] += mix64(old[4, band])
                new[1, i] += mix64(old[5, stack])
                new[4, band] += old[0, i]
                new[5, stack] += old[1, i]
                band, stack = i // box_rows, i % box_rows  # of box i: a band has box_rows boxes
                new[2, i] += mix64(old[4, band]) + mix64(old[5, stack])
                new[4, band] += old[2, i]
                new[5, stack] += old[2, i]
            for kind in range(6):
                for i in range(counts[kind]):
                    old[kind, i] = mix64(new[kind, i])
        total = np.uint64(0)
        for kind in range(6):
            for i in range(counts[kind]):
                total += old[kind, i]
        keys[k] = mix64(total)


def class_key(inputs: ArrayLike, size: int = 9) -> NDArray[np.uint64]:
    """A number that all puzzles of a class share.

    Colour refinement with 64-bit hashes (B. Weisfeiler and A. Leman, 1968). Equal classes always have
    equal keys. Unequal classes may share one where refinement cannot tell them apart, and then they go
    to the same split. The 36 classes of minimal 4x4 puzzles have 36 keys; with many extra givens a few
    are shared (7 more givens: 597 keys for 613 classes met), and all full grids look alike.

    Args:
        inputs: int [N, S] (or [S]) tokens; digits and BLANK.
        size: 4, 6 or 9.

    Returns:
        uint64 [N] (or a scalar array for [S]).

    Raises:
        ValueError: unknown size, wrong width, or tokens that are neither digits nor BLANK.
    """
    tables = layout(size)
    tokens = as_tokens("inputs", inputs, tables.size)
    boards = np.ascontiguousarray(tokens.reshape(-1, tables.size**2) - BLANK, dtype=np.int8)
    # Rows and columns, bands and stacks, start alike exactly where transposing is a symmetry.
    square = tables.box_rows == tables.box_columns
    kinds = [0, 0, 2, 3, 4, 4] if square else [0, 1, 2, 3, 4, 5]
    keys = np.empty(len(boards), np.uint64)
    _refine(tables, boards, _KIND_COLORS[kinds], keys)
    return keys.reshape(tokens.shape[:-1])


def in_split(keys: ArrayLike, split: str) -> NDArray[np.bool_]:
    """Whether classes belong to a split: bool, the shape of `keys` (uint64, of `class_key`).

    By a hash of the key alone, a quarter of all classes is for testing, a sixteenth for validation and
    the rest for training; with extra givens too, a puzzle goes where its own class goes. The rule is
    fixed for good per ``SPLIT_VERSION``. ValueError for a split that is none of ``SPLITS``.
    """
    return family.in_split(keys, split, _SPLIT_SALT)


def in_test_split(keys: ArrayLike) -> NDArray[np.bool_]:
    """Whether classes are held out for testing: `in_split(keys, "test")`."""
    return in_split(keys, "test")
