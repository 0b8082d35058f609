"""Sudoku equivalence classes: symmetry group, class key and the held-out split.

Two puzzles are of one class if swapping rows inside a band, bands, columns inside a stack, stacks, digits
and, if boxes are square, rows with columns turns one into the other. They are equally hard and their
solutions correspond, so a fair test set shares no class with the training set.
"""

from functools import cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base.counter_rng import mix64, mix64_array
from hrm_rl.puzzles.pool import Symmetry
from hrm_rl.puzzles.sudoku.layout import BLANK, FIRST_DIGIT, as_boards, layout

SPLIT_VERSION = 1
"""Version of the splits; another rule, salt or `class_key` is another version."""

# Chosen so that a few classes split evenly too: of the 36 classes of minimal 4x4 puzzles, 9 are for testing
# (25.1 % of the 85,632 puzzles) and 3 for validation (6.3 %).
SPLIT_SALT = 12
_ROUNDS = 8
_KIND_COLORS = mix64_array(np.arange(1, 7, dtype=np.uint64))
_SELF = np.uint64(0xA0761D6478BD642F)


def _line_orders(groups: int, width: int) -> NDArray[np.int64]:
    """All orders of groups * width lines that keep groups together: int64 [groups! * width!**groups, L]."""
    inside = np.array(list(product(permutations(range(width)), repeat=groups)))
    orders = np.array(list(permutations(range(groups))))
    lines = orders[:, None, :, None] * width + inside[None]  # [groups!, width!**groups, groups, width]
    return lines.reshape(-1, groups * width)


@cache
def symmetry(size: int) -> Symmetry:
    """The symmetry group of Sudokus of a size, digits included.

    The cell tables are all orders of the rows, all orders of the columns and, if boxes are square, the
    transpose: 1,296 x 1,296 x 2 for 9x9. The free tokens are the digits, 2 .. size + 1.
    """
    tables = layout(size)
    rows = _line_orders(tables.box_columns, tables.box_rows)
    columns = _line_orders(tables.box_rows, tables.box_columns)
    grid = np.arange(tables.size**2).reshape(tables.size, tables.size)
    by_columns = grid[:, columns].transpose(1, 0, 2)
    cell_tables = [grid[rows].reshape(len(rows), -1), by_columns.reshape(len(columns), -1)]
    if tables.box_rows == tables.box_columns:
        cell_tables.append(np.stack([grid.ravel(), grid.T.ravel()]))
    return Symmetry(tuple(cell_tables), permuted_tokens=(FIRST_DIGIT, tables.size + 2))


@njit(nogil=True)
def _refine(tables, boards, start, keys):
    """Color refinement (Weisfeiler-Leman) of boards int8 [N, S] of digits, 0 = blank, into keys [N].

    Rows, columns, boxes, digits, bands and stacks have colors. A given has the color of all that it lies
    in; then each thing takes in the colors of its givens, of its band or stack, or of its lines and boxes.
    `start` uint64 [6] holds the initial color of each kind. All sums commute.
    """
    size, box_rows, box_columns = tables.size, tables.box_rows, tables.box_columns
    old, new = np.zeros((6, 9), np.uint64), np.zeros((6, 9), np.uint64)
    counts = (size, size, size, size, box_columns, box_rows)
    for k in range(boards.shape[0]):
        for kind in range(6):
            old[kind] = start[kind]
        for _ in range(_ROUNDS):
            # Mixed once more to tell a thing's color from those it takes in.
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


def class_key(tokens: NDArray[np.int32], size: int) -> NDArray[np.uint64]:
    """A number that all puzzles [N, S] of a class share: uint64 [N].

    Color refinement with 64-bit hashes (B. Weisfeiler and A. Leman, 1968). Equal classes always have equal
    keys. Unequal classes share a key if refinement cannot separate them, and are then in the same split.
    The 36 classes of minimal 4x4 puzzles have 36 keys; with many extra givens a few are shared (7 more
    givens: 597 keys for 613 classes found), and all full grids have one key.
    """
    tables = layout(size)
    boards = np.ascontiguousarray(as_boards("inputs", tokens, size) - BLANK, dtype=np.int8)
    # Rows and columns, bands and stacks, start alike exactly if transposing is a symmetry.
    square = tables.box_rows == tables.box_columns
    kinds = [0, 0, 2, 3, 4, 4] if square else [0, 1, 2, 3, 4, 5]
    keys = np.empty(len(boards), np.uint64)
    _refine(tables, boards, _KIND_COLORS[kinds], keys)
    return keys
