"""Sudoku's tokens, and the tables of its geometry for every size."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.tokens import as_tokens

PAD = 0
BLANK = 1
FIRST_DIGIT = 2
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}
"""Rows and columns of one box, by size. The tables below hold boxes of up to 3x3."""
SIZES = tuple(BOXES)


class Layout(NamedTuple):
    """The tables of one size, in a form that numba kernels take as one argument.

    A *chute* is a band (boxes side by side) or a stack (boxes atop each other); its lines (rows of a
    band, columns of a stack) cross its boxes in *segments*. Bands come first, then stacks. Cell numbers
    are unsigned, so that compiled look-ups need no test for negative indices.
    """

    size: int
    box_rows: int
    box_columns: int
    cell_units: NDArray[np.uint8]  # [S, 3]: row, size + column, 2 * size + box
    units: NDArray[np.uint8]  # [3 * size, size]: the cells of every row, column, box
    peers: NDArray[np.uint8]  # [S, P]: cells that share a unit with the cell
    chutes: NDArray[np.uint8]  # [chutes, 3, 3, 3]: chute, line, box, cell; unused entries 0
    chute_lines: NDArray[np.int64]  # [chutes]: lines, and as many boxes, of the chute
    chute_width: NDArray[np.int64]  # [chutes]: cells of a segment
    cell_chutes: NDArray[np.int64]  # [S]: bit mask of the cell's band and stack


@cache
def layout(size: int) -> Layout:
    """The tables of a size; ValueError unless it is 4, 6 or 9."""
    if size not in BOXES:
        raise ValueError(f"size must be {', '.join(map(str, SIZES))}, got {size!r}")
    size = int(size)
    box_rows, box_columns = BOXES[size]
    rows, columns = np.divmod(np.arange(size * size), size)
    bands, stacks = rows // box_rows, columns // box_columns
    # A band holds size / box_columns = box_rows boxes.
    boxes = bands * box_rows + stacks
    cell_units = np.stack([rows, size + columns, 2 * size + boxes], axis=1)
    units = np.stack([np.flatnonzero((cell_units == u).any(axis=1)) for u in range(3 * size)])
    related = (cell_units[:, None, :] == cell_units[None, :, :]).any(axis=2)
    np.fill_diagonal(related, False)
    peers = np.stack([np.flatnonzero(row) for row in related])

    # There are box_columns bands of box_rows rows, and box_rows stacks of box_columns columns.
    chutes = np.zeros((box_columns + box_rows, 3, 3, 3), np.uint8)
    grid = np.arange(size * size).reshape(box_columns, box_rows, box_rows, box_columns)
    chutes[:box_columns, :box_rows, :box_rows, :box_columns] = grid  # band, row, stack, column
    chutes[box_columns:, :box_columns, :box_columns, :box_rows] = grid.transpose(2, 3, 0, 1)
    in_band = np.arange(box_columns + box_rows) < box_columns
    return Layout(
        size=size,
        box_rows=box_rows,
        box_columns=box_columns,
        cell_units=cell_units.astype(np.uint8),
        units=units.astype(np.uint8),
        peers=peers.astype(np.uint8),
        chutes=chutes,
        chute_lines=np.where(in_band, box_rows, box_columns),
        chute_width=np.where(in_band, box_columns, box_rows),
        cell_chutes=(1 << bands) | (1 << (box_columns + stacks)),
    )


def as_boards(name: str, values: ArrayLike, size: int) -> NDArray[np.int32]:
    """`values` as int32 [..., size * size]; ValueError for another width or a token that is neither a digit
    nor BLANK."""
    tokens = as_tokens(name, values, size * size, size + 2)
    if tokens.size and tokens.min() < BLANK:
        raise ValueError(f"{name} holds token 0; a {size}x{size} Sudoku has {BLANK} to {size + 1}")
    return tokens
