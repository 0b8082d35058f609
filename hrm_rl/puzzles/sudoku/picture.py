"""Sudokus as pictures: arrays of pixels, drawn with Pillow in the font that it brings along."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles.picture import (
    DRAFT,
    DRAFT_WEIGHT,
    GIVEN,
    GIVEN_CELL,
    GIVEN_WEIGHT,
    MISTAKE,
    MISTAKE_CELL,
    MISTAKE_WEIGHT,
    PAPER,
    THICK_LINE,
    THIN_LINE,
    check_cell,
    frame,
    margin,
    text_mask,
)
from hrm_rl.puzzles.sudoku.layout import BLANK, layout
from hrm_rl.puzzles.sudoku.text import marks


def picture(
    inputs: ArrayLike,
    size: int = 9,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 40,
) -> NDArray[np.uint8]:
    """The board as an RGB picture, with a caption and two bars of probability below it if asked.

    A given is dark and bold on grey, a draft's digit blue, a mistake of the draft red on pale red, an
    empty cell white. What a mistake is, is said in `hrm_rl.puzzles.sudoku.draw`.

    Height and width depend on `size`, `cell`, and whether there are a caption and a `q`, on nothing
    else; the board stands at the top, the caption below it, the bars at the bottom.

    Args:
        inputs: int [S], the puzzle.
        size: 4, 6 or 9.
        draft: int [S], an answer, also half filled; None draws the puzzle alone.
        labels: int [S], the solution; IGNORE_LABEL where it says nothing.
        caption: one line; it is written smaller where it would be too long. "" keeps its place empty.
        q: logits (q_halt, q_continue), drawn as their sigmoids; NaN for one not known, an empty bar.
        cell: pixels from one cell to the next, at least 16.

    Returns:
        A new array uint8 [H, W, 3].

    Raises:
        ValueError: unknown size, wrong widths, tokens beyond the size, a cell too small.
    """
    return frame(_board(inputs, size, draft, labels, check_cell(cell)), cell, caption, q)


def _board(
    inputs: ArrayLike, size: int, draft: ArrayLike | None, labels: ArrayLike | None, cell: int
) -> Image.Image:
    """The board in its lines, a margin around it."""
    tables = layout(size)
    size = tables.size
    shown, from_draft, wrong = marks(inputs, size, draft, labels)
    edge, thick = margin(cell), max(2, round(cell / 16))
    side = size * cell
    image = Image.new("RGB", (side + 2 * edge,) * 2, PAPER)
    pen = ImageDraw.Draw(image)
    for index in range(size * size):
        row, column = divmod(index, size)
        x, y = edge + column * cell, edge + row * cell
        if shown[index] <= BLANK:
            continue
        if wrong[index]:
            color, ground, weight = MISTAKE, MISTAKE_CELL, MISTAKE_WEIGHT
        elif from_draft[index]:
            color, ground, weight = DRAFT, PAPER, DRAFT_WEIGHT
        else:
            color, ground, weight = GIVEN, GIVEN_CELL, GIVEN_WEIGHT
        pen.rectangle((x, y, x + cell - 1, y + cell - 1), fill=ground)
        glyph = text_mask(str(int(shown[index]) - BLANK), 0.65 * cell, weight)
        # The line to the left and above is part of the cell's pixels: centre on what is left of it.
        corner = (x + 1 + (cell - 1 - glyph.width) // 2, y + 1 + (cell - 1 - glyph.height) // 2)
        image.paste(color, corner, glyph)

    # Thin lines first: where they cross, the thick ones stand above.
    ends = (edge - thick // 2, edge + side + (thick - 1) // 2)
    for is_thick in (False, True):
        for i in range(size + 1):
            for box, vertical in ((tables.box_columns, True), (tables.box_rows, False)):
                if (i % box == 0) != is_thick:
                    continue
                first = edge + i * cell - (thick // 2 if is_thick else 0)
                last = first + (thick if is_thick else 1) - 1
                line = (first, ends[0], last, ends[1])
                pen.rectangle(
                    line if vertical else (line[1], line[0], line[3], line[2]),
                    fill=THICK_LINE if is_thick else THIN_LINE,
                )
    return image
