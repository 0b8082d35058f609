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
    """The board as an image, uint8 [H, W, 3].

    A given is dark and bold on grey, a draft's digit blue, a mistake of the draft red on pale red, an
    empty cell white. Mistakes and the first four arguments are those of `hrm_rl.puzzles.sudoku.draw`, the
    others those of `hrm_rl.puzzles.family.Family.picture`; so are the errors.
    """
    tables = layout(size)
    size = tables.size
    pictures.check_cell(cell)
    board = marks(inputs, size, draft, labels)
    tiles = [_tile(board, index) for index in range(size * size)]
    image = pictures.tiles(tiles, size, cell, text=0.65 * cell / (cell - 1))
    _draw_boxes(image, size, (tables.box_columns, tables.box_rows), cell)
    return pictures.frame(image, cell, caption, q)


def _tile(board: Marks, index: int) -> pictures.Tile:
    digit = int(board.shown[index]) - BLANK
    if digit <= 0:
        return pictures.Tile()
    look = pictures.DRAFT_LOOK if board.from_draft[index] else pictures.GIVEN_LOOK
    return pictures.Tile(str(digit), *(pictures.MISTAKE_LOOK if board.wrong[index] else look))


def _draw_boxes(image: Image.Image, size: int, box: tuple[int, int], cell: int) -> None:
    """Thick lines around boxes of that many columns and rows."""
    pen = ImageDraw.Draw(image)
    edge, side, thick = pictures.margin(cell), size * cell, max(2, round(cell / 16))
    low, high = edge - thick // 2, edge + side + (thick - 1) // 2
    for first in range(low, high, box[0] * cell):
        pen.rectangle((first, low, first + thick - 1, high), fill=pictures.THICK_LINE)
    for first in range(low, high, box[1] * cell):
        pen.rectangle((low, first, high, first + thick - 1), fill=pictures.THICK_LINE)
