"""Sudokus as text and as pictures."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.tokens import BOLD, CYAN, RED_UNDERLINED, paint
from hrm_rl.puzzles.sudoku.layout import BLANK, layout


class _Cell(NamedTuple):
    """The content of a drawn cell."""

    digit: int  # the draft's, or the given if the draft has none; below 1 if the cell is empty
    from_draft: bool  # not a given, or a given that the draft overwrites
    wrong: bool  # a mistake


def _cells(shown: pictures.Shown, size: int) -> list[_Cell]:
    """With labels a mistake is a digit that differs from them; without, one that clashes with another.

    Overwriting a given is always a mistake. A draft that leaves a given cell empty still stands on that
    given.
    """
    given = shown.puzzle
    overwritten = (given > BLANK) & (shown.answer > BLANK) & (shown.answer != given)
    tokens = np.where(shown.answer > BLANK, shown.answer, given)
    from_draft = (given <= BLANK) | overwritten
    wrong = overwritten | (from_draft & shown.wrong)
    if shown.labels is None:
        peers = layout(size).peers
        wrong |= from_draft & (tokens > BLANK) & (tokens[peers] == tokens[:, None]).any(axis=1)
    columns = ((tokens - BLANK).tolist(), from_draft.tolist(), wrong.tolist())
    return [_Cell(*cell) for cell in zip(*columns, strict=True)]


def text(shown: pictures.Shown, size: int, color: bool) -> str:
    """The board as lines of text in boxes.

    A given reads `` 5 `` (bold in color), a draft's digit ``(5)`` (cyan), a mistake of the draft ``*5*``
    (red, underlined), an empty cell `` . ``. The marks stay in color too.
    """
    _, box_rows, box_columns, *_ = layout(size)
    cells = [_text(cell, color) for cell in _cells(shown, size)]
    rule = "+" + ("-" * (3 * box_columns + 2) + "+") * box_rows
    lines = [rule]
    for row in range(size):
        starts = range(row * size, (row + 1) * size, box_columns)
        boxes = (" " + "".join(cells[start : start + box_columns]) + " " for start in starts)
        lines.append("|" + "|".join(boxes) + "|")
        if (row + 1) % box_rows == 0:
            lines.append(rule)
    return "\n".join(lines)


def _text(cell: _Cell, color: bool) -> str:
    """Three columns for one cell, plus ANSI codes in color."""
    if cell.digit < 1:
        return " . "
    if cell.wrong:
        return paint(f"*{cell.digit}*", RED_UNDERLINED, color)
    if cell.from_draft:
        return paint(f"({cell.digit})", CYAN, color)
    return paint(f" {cell.digit} ", BOLD, color)


def panels(shown: pictures.Shown, size: int) -> list[pictures.Panel]:
    """The board as tiles, in boxes."""
    _, box_rows, box_columns, *_ = layout(size)
    tiles = [_tile(content) for content in _cells(shown, size)]
    return [pictures.Panel(tiles, size, box=(box_rows, box_columns))]


def board(shown: pictures.Shown, size: int, cell: int) -> Image.Image:
    """The board as an image with thick lines around boxes.

    A given is dark and bold on grey, a draft's digit blue, a mistake of the draft red on pale red, an
    empty cell white.
    """
    image = pictures.tiles(panels(shown, size)[0].tiles, size, cell, text=0.65 * cell / (cell - 1))
    pen = ImageDraw.Draw(image)
    edge, side, thick = pictures.margin(cell), size * cell, max(2, round(cell / 16))
    low, high = edge - thick // 2, edge + side + (thick - 1) // 2
    _, box_rows, box_columns, *_ = layout(size)
    for first in range(low, high, box_columns * cell):
        pen.rectangle((first, low, first + thick - 1, high), fill=pictures.THICK_LINE)
    for first in range(low, high, box_rows * cell):
        pen.rectangle((low, first, high, first + thick - 1), fill=pictures.THICK_LINE)
    return image


def _tile(cell: _Cell) -> pictures.Tile:
    if cell.digit < 1:
        return pictures.Tile()
    if cell.from_draft:
        return pictures.answer_tile(str(cell.digit), cell.wrong)
    return pictures.Tile(str(cell.digit), *pictures.GIVEN_LOOK)
