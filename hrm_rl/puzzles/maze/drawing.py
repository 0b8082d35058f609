"""Mazes as text and as pictures."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.tokens import BOLD, CYAN, FAINT, RED, RED_UNDERLINED, paint
from hrm_rl.puzzles.maze.layout import PATH, SPACE
from hrm_rl.puzzles.maze.solve import path_excess

# The content of a drawn cell: a token, or PATH off the label's path in a draft that is not a shortest
# path, or a cell that the draft must not change like that.
_ASTRAY, _BROKEN = 6, 7

_WALL_LOOK = ("#", FAINT)
_LOOKS = (
    _WALL_LOOK,
    _WALL_LOOK,
    (" ", ""),
    ("S", BOLD),
    ("G", BOLD),
    ("o", CYAN),
    ("x", RED),
    ("!", RED_UNDERLINED),
)
_GROUNDS = (
    pictures.THICK_LINE,
    pictures.THICK_LINE,
    pictures.PAPER,
    pictures.HALT,
    pictures.CONTINUE,
    pictures.DRAFT_CELL,
    pictures.MISTAKE_CELL,
    pictures.MISTAKE,
)
_LETTERS = {3: "S", 4: "G", _BROKEN: "!"}
_STROKES = {PATH: pictures.DRAFT, _ASTRAY: pictures.MISTAKE}


def _drawn(shown: pictures.Shown, size: int) -> NDArray[np.int32]:
    """The content of every cell, int32 [size, size]."""
    maze, answer = shown.puzzle, shown.answer
    drawn = maze.copy()
    on_path = (maze == SPACE) & (answer == PATH)
    drawn[on_path] = PATH
    if shown.labels is not None and path_excess(maze, answer, size) != 0:
        drawn[on_path & shown.wrong] = _ASTRAY
    drawn[(answer != maze) & ~on_path] = _BROKEN
    return drawn.reshape(size, size)


def text(shown: pictures.Shown, size: int, color: bool) -> str:
    """The maze as lines of text in a frame.

    Walls are ``#``, the draft's path ``o``. ``x`` is the path of a draft that is not a shortest path, off
    the label's path. ``!`` is a wall, start or goal that the draft overwrites, or a cell of it with neither
    space nor path.
    """
    rule = "+" + "-" * size + "+"
    rows = _drawn(shown, size).tolist()
    lines = ["".join(paint(*_LOOKS[cell], color) for cell in row) for row in rows]
    return "\n".join([rule, *(f"|{line}|" for line in lines), rule])


def panels(shown: pictures.Shown, size: int) -> list[pictures.Panel]:
    """The maze as tiles; a dot is the draft's path, a cross a part of it that is a mistake."""
    marks = _LETTERS | {PATH: "\u2022", _ASTRAY: "\u00d7"}
    tiles = [
        pictures.Tile(marks.get(cell, ""), _STROKES.get(cell, pictures.PAPER), _GROUNDS[cell])
        for cell in _drawn(shown, size).ravel().tolist()
    ]
    return [pictures.Panel(tiles, size)]


def board(shown: pictures.Shown, size: int, cell: int) -> Image.Image:
    """The maze with the draft's path as a blue line; walls are dark, the start is green, the goal orange.

    In a draft that is not a shortest path, the path off the label's is red on pale red. A solid red cell
    with an exclamation mark is one that the draft must not change that way.
    """
    drawn = _drawn(shown, size)
    edge, side = pictures.margin(cell), size * cell
    image, pen = pictures.sheet(side, side, edge)
    for index, content in enumerate(drawn.ravel().tolist()):
        x, y = edge + index % size * cell, edge + index // size * cell
        pen.rectangle((x, y, x + cell - 1, y + cell - 1), fill=_GROUNDS[content])
        if content >= SPACE:
            pen.line((x, y + cell - 1, x, y, x + cell - 1, y), fill=pictures.THIN_LINE)
        if content in _LETTERS:
            square = (x + 1, y + 1, cell - 1)
            weight = 0.0 if content == _BROKEN else 0.04  # bold, "!" loses its dot
            pictures.write(image, _LETTERS[content], square, pictures.PAPER, 0.72, weight)
        elif content in _STROKES:
            _stroke(pen, drawn, index, (x, y), cell)
    pen.rectangle((edge - 1, edge - 1, edge + side, edge + side), outline=pictures.THICK_LINE)
    return image


def _stroke(
    pen: ImageDraw.ImageDraw, drawn: NDArray[np.int32], index: int, corner: tuple[int, int], cell: int
) -> None:
    """A piece of path in the cell at `corner`: from its middle to every neighbour on the path."""
    size = len(drawn)
    row, column = divmod(index, size)
    color = _STROKES[int(drawn[row, column])]
    half = max(1, round(cell / 9))
    x, y = (start + cell // 2 for start in corner)
    box = [x - half, y - half, x + half, y + half]
    for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
        r, c = row + down, column + right
        if 0 <= r < size and 0 <= c < size and SPACE < drawn[r, c] < _BROKEN:
            arm = list(box)
            if down:
                arm[1 if down < 0 else 3] = corner[1] if down < 0 else corner[1] + cell - 1
            else:
                arm[0 if right < 0 else 2] = corner[0] if right < 0 else corner[0] + cell - 1
            pen.rectangle(arm, fill=color)
    pen.rectangle(box, fill=color)
