"""ARC boards as pictures: question and draft side by side in ARC's colors, drawn with Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.arc.text import PALETTE, has_label, shown_and_wrong
from hrm_rl.puzzles.arc.tokens import COLORS, EOS, FIRST_COLOR, PAD, SIDE
from hrm_rl.puzzles.pool import IGNORE_LABEL

_SMALLEST_CELL = 8
_LINE = (0x55, 0x55, 0x55)  # between colored cells, as in ARC's testing interface
_OFF_GRID = (0xF1, 0xF3, 0xF6)
_END = (0xC4, 0xCA, 0xD4)
_STRIP_CELL = 40  # sets the size of the caption and the bars


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 16,
) -> NDArray[np.uint8]:
    """Question (left) and draft (right, empty without one) as an image, uint8 [H, W, 3].

    Both are whole boards of 30x30 cells. Colors are ARC's; an EOS is a grey dot, a PAD an empty cell. A
    wrong cell of the draft has a red frame around a square of the right color; a token of the draft in a
    cell without a label is small and pale.

    Arguments and errors as in `draw` and `hrm_rl.puzzles.family.Family.picture`; a cell has at least 8
    pixels.
    """
    pictures.check_cell(cell, _SMALLEST_CELL)
    question, shown, wrong = shown_and_wrong(inputs, draft, labels)
    if draft is None:
        shown = np.full_like(question, PAD)
    right = shown if labels is None else np.where(wrong, np.asarray(labels), shown)
    boards = [
        _board(question, question, np.zeros_like(wrong), np.ones_like(wrong), cell),
        _board(shown, right, wrong, has_label(labels), cell),
    ]
    return pictures.frame(pictures.side_by_side(boards), _STRIP_CELL, caption, q)


def _board(
    tokens: NDArray[np.int32],
    right: NDArray[np.int32],
    wrong: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    cell: int,
) -> Image.Image:
    edge, side = pictures.margin(_STRIP_CELL), SIDE * cell
    image, pen = pictures.sheet(side + 1, side + 1, edge)
    pen.rectangle((edge, edge, edge + side, edge + side), fill=_OFF_GRID)
    corners = [(edge + k % SIDE * cell, edge + k // SIDE * cell) for k in range(SIDE * SIDE)]
    for token, counts, (x, y) in zip(tokens.tolist(), judged, corners, strict=True):
        colored = token >= FIRST_COLOR
        if counts:
            if colored:
                # A cell's lines, and those beside and below it, which may be off the grid.
                pen.rectangle((x, y, x + cell, y + cell), outline=_LINE)
            _fill(pen, token, (x + 1, y + 1, x + cell - 1, y + cell - 1))
        elif colored:
            pen.rectangle(_inner(x, y, cell, 0), fill=_pale(PALETTE[token - FIRST_COLOR]))
    for place in np.flatnonzero(wrong).tolist():
        x, y = corners[place]
        box = (x + 1, y + 1, x + cell - 1, y + cell - 1)
        pen.rectangle((x, y, x + cell, y + cell), outline=pictures.PAPER)
        pen.rectangle(box, outline=pictures.MISTAKE, width=max(1, cell // 8))
        left, top, right_end, bottom = inner = _inner(x, y, cell, 3)
        pen.rectangle((left - 1, top - 1, right_end + 1, bottom + 1), fill=pictures.PAPER)
        _fill(pen, int(right[place]), inner)
    pen.rectangle((edge - 1, edge - 1, edge + side + 1, edge + side + 1), outline=_END)
    return image


def _inner(x: int, y: int, cell: int, least: int) -> tuple[int, int, int, int]:
    """A small square in the middle of the cell at (x, y), at least that many pixels inside."""
    inset = max(least, round(0.38 * cell))
    return x + inset, y + inset, x + cell - inset, y + cell - inset


def _pale(color: pictures.Color) -> pictures.Color:
    red, green, blue = ((2 * paper + ink) // 3 for paper, ink in zip(_OFF_GRID, color, strict=True))
    return red, green, blue


def _fill(pen: ImageDraw.ImageDraw, token: int, box: tuple[int, int, int, int]) -> None:
    assert token < FIRST_COLOR + COLORS and token != IGNORE_LABEL
    if token >= FIRST_COLOR:
        pen.rectangle(box, fill=PALETTE[token - FIRST_COLOR])
    elif token == EOS:
        left, top, right, bottom = box
        x, y, radius = (left + right) / 2, (top + bottom) / 2, max(1.0, (right - left) / 6)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_END)
