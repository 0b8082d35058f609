"""Sudokus as pictures: arrays of pixels, drawn with Pillow in the font that it ships."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.sudoku.layout import BLANK, layout
from hrm_rl.puzzles.sudoku.text import Marks, marks


def picture(
    inputs: ArrayLike,
    size: int = 9,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 40,
) -> NDArray[np.uint8]:
    """The board as an RGB picture, with a caption and two bars of probability below it if given.

    A given is dark and bold on grey, a draft's digit blue, a mistake of the draft red on pale red, an
    empty cell white. `hrm_rl.puzzles.sudoku.draw` defines mistakes.

    Args:
        inputs: int [S], the puzzle.
        size: 4, 6 or 9.
        draft: int [S], an answer, also half filled; None draws the puzzle alone.
        labels: int [S], the solution; IGNORE_LABEL in cells without a label.
        caption: as in `hrm_rl.puzzles.picture.frame`.
        q: as in `hrm_rl.puzzles.picture.frame`.
        cell: pixels from one cell to the next, at least 16.

    Returns:
        A new array uint8 [H, W, 3]; its shape depends on `size`, `cell`, and whether there are a caption
        and a `q`.

    Raises:
        ValueError: unknown size, wrong widths, tokens beyond the size, a cell too small.
    """
    tables = layout(size)
    size = tables.size
    pictures.check_cell(cell)
    board = marks(inputs, size, draft, labels)
    tiles = [_tile(board, index) for index in range(size * size)]
    rows = [tiles[first : first + size] for first in range(0, size * size, size)]
    image = pictures.tiles(rows, cell, text=0.65 * cell / (cell - 1))
    _draw_boxes(image, size, (tables.box_columns, tables.box_rows), cell)
    return pictures.frame(image, cell, caption, q)


def _tile(board: Marks, index: int) -> pictures.Tile:
    digit = int(board.shown[index]) - BLANK
    if digit <= 0:
        return pictures.Tile()
    if board.wrong[index]:
        return pictures.Tile(str(digit), *pictures.MISTAKE_LOOK)
    if board.from_draft[index]:
        return pictures.Tile(str(digit), *pictures.DRAFT_LOOK)
    return pictures.Tile(str(digit), *pictures.GIVEN_LOOK)


def _draw_boxes(image: Image.Image, size: int, box: tuple[int, int], cell: int) -> None:
    """Thick lines around boxes of that many columns and rows."""
    pen = ImageDraw.Draw(image)
    edge, side, thick = pictures.margin(cell), size * cell, max(2, round(cell / 16))
    low, high = edge - thick // 2, edge + side + (thick - 1) // 2
    for first in range(low, high, box[0] * cell):
        pen.rectangle((first, low, first + thick - 1, high), fill=pictures.THICK_LINE)
    for first in range(low, high, box[1] * cell):
        pen.rectangle((low, first, high, first + thick - 1), fill=pictures.THICK_LINE)
