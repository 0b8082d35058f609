"""Mazes as pictures: arrays of pixels, drawn with Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ImageDraw

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.maze.layout import check
from hrm_rl.puzzles.maze.text import Mark, marks

_SIDE = 480  # pixels of the board, if `cell` is not given
_GROUNDS = {
    Mark.SPACE: pictures.PAPER,
    Mark.WALL: pictures.THICK_LINE,
    Mark.START: pictures.HALT,
    Mark.GOAL: pictures.CONTINUE,
    Mark.PATH: pictures.DRAFT_CELL,
    Mark.ASTRAY: pictures.MISTAKE_CELL,
    Mark.BROKEN: pictures.MISTAKE,
}
_LETTERS = {Mark.START: "S", Mark.GOAL: "G", Mark.BROKEN: "!"}
_STROKES = {Mark.PATH: pictures.DRAFT, Mark.ASTRAY: pictures.MISTAKE}
_ON_PATH = (Mark.START, Mark.GOAL, Mark.PATH, Mark.ASTRAY)


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int | None = None,
    *,
    size: int = 30,
) -> NDArray[np.uint8]:
    """The maze as an image, uint8 [H, W, 3].

    Walls are dark, the start is green, the goal orange, the draft's path a blue line. In a draft that is not
    a shortest path, the path off the label's is red on pale red. A solid red cell with an exclamation mark
    is one that the draft must not change that way.

    Arguments and errors as in `hrm_rl.puzzles.maze.draw` and `hrm_rl.puzzles.family.Family.picture`; by
    default a cell has 480 / size pixels, 16 to 40.
    """
    size = check(size)
    cell = pictures.check_cell(min(max(_SIDE // size, 16), 40) if cell is None else cell)
    drawn = marks(inputs, draft, labels, size=size).reshape(size, size)
    edge, side = pictures.margin(cell), size * cell
    image, pen = pictures.sheet(side, side, edge)
    for index, mark in enumerate(map(Mark, drawn.ravel().tolist())):
        x, y = edge + index % size * cell, edge + index // size * cell
        pen.rectangle((x, y, x + cell - 1, y + cell - 1), fill=_GROUNDS[mark])
        if mark is not Mark.WALL:
            pen.line((x, y + cell - 1, x, y, x + cell - 1, y), fill=pictures.THIN_LINE)
        if mark in _LETTERS:
            square = (x + 1, y + 1, cell - 1)
            weight = 0.0 if mark is Mark.BROKEN else 0.04  # bold, "!" loses its dot
            pictures.write(image, _LETTERS[mark], square, pictures.PAPER, 0.72, weight)
        elif mark in _STROKES:
            _stroke(pen, drawn, index, (x, y), cell)
    pen.rectangle((edge - 1, edge - 1, edge + side, edge + side), outline=pictures.THICK_LINE)
    return pictures.frame(image, cell, caption, q)


def _stroke(
    pen: ImageDraw.ImageDraw,
    drawn: NDArray[np.int8],
    index: int,
    corner: tuple[int, int],
    cell: int,
) -> None:
    """A piece of path in the cell at `corner`: from its middle to every neighbour on the path."""
    size = len(drawn)
    row, column = divmod(index, size)
    half = max(1, round(cell / 9))
    x, y = (start + cell // 2 for start in corner)
    box = [x - half, y - half, x + half, y + half]
    for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
        r, c = row + down, column + right
        if 0 <= r < size and 0 <= c < size and drawn[r, c] in _ON_PATH:
            arm = list(box)
            if down:
                arm[1 if down < 0 else 3] = corner[1] if down < 0 else corner[1] + cell - 1
            else:
                arm[0 if right < 0 else 2] = corner[0] if right < 0 else corner[0] + cell - 1
            pen.rectangle(arm, fill=_STROKES[Mark(drawn[row, column])])
    pen.rectangle(box, fill=_STROKES[Mark(drawn[row, column])])
