"""Sudokus as pictures: arrays of pixels, drawn with Pillow in the font that it brings along.

Lines and cells lie on whole pixels; characters are drawn several times too large and scaled down, so
they are smooth at every size. The same arguments always give the same pixels.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from hrm_rl.puzzles.sudoku_layout import BLANK, layout
from hrm_rl.puzzles.sudoku_text import marks

Color = tuple[int, int, int]

PAPER: Color = (255, 255, 255)
GIVEN: Color = (23, 28, 38)
GIVEN_CELL: Color = (238, 241, 245)
DRAFT: Color = (29, 90, 204)
MISTAKE: Color = (193, 32, 38)
MISTAKE_CELL: Color = (253, 222, 220)
HALT: Color = (14, 124, 112)
CONTINUE: Color = (217, 129, 22)
_CAPTION: Color = (75, 83, 97)
_THIN_LINE: Color = (196, 202, 212)
_THICK_LINE: Color = (47, 54, 66)
_TRACK: Color = (229, 233, 239)

_SMALLEST_CELL = 16
_OVERSAMPLING = 4


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
    if cell < _SMALLEST_CELL:
        raise ValueError(f"cell must be >= {_SMALLEST_CELL} pixels, got {cell}")
    board = _board(inputs, size, draft, labels, cell)
    # As wide as the board, so that captions and bars of all sizes of board find room.
    text = min(max(10.0, 0.34 * cell), board.width / 10.5)
    parts = [board]
    if caption is not None:
        parts.append(_caption_strip(caption, board.width, text, cell))
    if q is not None:
        parts.append(_q_strip(q, board.width, text, cell))
    return np.concatenate([np.asarray(part) for part in parts])


def _board(
    inputs: ArrayLike, size: int, draft: ArrayLike | None, labels: ArrayLike | None, cell: int
) -> Image.Image:
    """The board in its lines, a margin around it."""
    tables = layout(size)
    size = tables.size
    shown, from_draft, wrong = marks(inputs, size, draft, labels)
    margin, thick = _margin(cell), max(2, round(cell / 16))
    side = size * cell
    image = Image.new("RGB", (side + 2 * margin,) * 2, PAPER)
    pen = ImageDraw.Draw(image)
    for index in range(size * size):
        row, column = divmod(index, size)
        x, y = margin + column * cell, margin + row * cell
        if shown[index] <= BLANK:
            continue
        if wrong[index]:
            color, ground, weight = MISTAKE, MISTAKE_CELL, 0.025
        elif from_draft[index]:
            color, ground, weight = DRAFT, PAPER, 0.012
        else:
            color, ground, weight = GIVEN, GIVEN_CELL, 0.042
        pen.rectangle((x, y, x + cell - 1, y + cell - 1), fill=ground)
        glyph = _text(str(int(shown[index]) - BLANK), 0.65 * cell, weight)
        # The line to the left and above is part of the cell's pixels: centre on what is left of it.
        corner = (x + 1 + (cell - 1 - glyph.width) // 2, y + 1 + (cell - 1 - glyph.height) // 2)
        image.paste(color, corner, glyph)

    # Thin lines first: where they cross, the thick ones stand above.
    ends = (margin - thick // 2, margin + side + (thick - 1) // 2)
    for is_thick in (False, True):
        for i in range(size + 1):
            for box, vertical in ((tables.box_columns, True), (tables.box_rows, False)):
                if (i % box == 0) != is_thick:
                    continue
                first = margin + i * cell - (thick // 2 if is_thick else 0)
                last = first + (thick if is_thick else 1) - 1
                line = (first, ends[0], last, ends[1])
                pen.rectangle(
                    line if vertical else (line[1], line[0], line[3], line[2]),
                    fill=_THICK_LINE if is_thick else _THIN_LINE,
                )
    return image


def _caption_strip(caption: str, width: int, text: float, cell: int) -> Image.Image:
    """One centred line."""
    image = Image.new("RGB", (width, math.ceil(1.15 * text) + _margin(cell) // 2), PAPER)
    line = _text(caption, text)
    room = width - 2 * _margin(cell)
    if line.width > room:
        line = line.copy()
        line.thumbnail((room, line.height))
    image.paste(
        _CAPTION, ((width - line.width) // 2, (math.ceil(1.15 * text) - line.height) // 2), line
    )
    return image


def _q_strip(q: tuple[float, float], width: int, text: float, cell: int) -> Image.Image:
    """A bar each for halting and going on: name, bar from 0 to 1, number."""
    margin, pitch = _margin(cell), math.ceil(1.4 * text)
    image = Image.new("RGB", (width, 2 * pitch + margin), PAPER)
    pen = ImageDraw.Draw(image)
    names = ("halt", "continue")
    left = margin + max(_text(name, text).width for name in names) + round(0.5 * text)
    right = width - margin - _text("0.00", text).width - round(0.5 * text)
    for number, (name, logit, color) in enumerate(zip(names, q, (HALT, CONTINUE), strict=True)):
        middle = number * pitch + pitch // 2
        half = max(2, round(0.28 * text))
        label = _text(name, text)
        image.paste(_CAPTION, (margin, middle - label.height // 2), label)
        pen.rectangle((left, middle - half, right, middle + half), fill=_TRACK)
        if math.isnan(logit):
            continue
        probability = 0.5 * (1 + math.tanh(logit / 2))
        length = round(probability * (right - left + 1))
        if length:
            pen.rectangle((left, middle - half, left + length - 1, middle + half), fill=color)
        value = _text(f"{probability:.2f}", text)
        image.paste(_CAPTION, (width - margin - value.width, middle - value.height // 2), value)
    return image


def _margin(cell: int) -> int:
    return max(5, round(cell / 4))


@lru_cache(maxsize=512)
def _text(text: str, size: float, weight: float = 0.0) -> Image.Image:
    """A line of text as a mask, as high as the font's digits and capitals need and below.

    Args:
        text: what to write.
        size: of the font, in pixels.
        weight: added to every edge, as a share of the size.
    """
    big = max(1.0, size * _OVERSAMPLING)
    font = _font(big)
    stroke = round(weight * big)
    left, _, right, _ = font.getbbox(text or " ", anchor="ls")
    top, bottom = -font.getbbox("0", anchor="ls")[1], 0.0
    if not text.isdigit():
        bottom = top * 0.3  # room for the tails of g, p, q; as much above keeps the line centred
        top += bottom
    width = math.ceil((right - left + 2 * stroke) / _OVERSAMPLING)
    height = math.ceil((top + bottom + 2 * stroke) / _OVERSAMPLING)
    mask = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    # Centred in the whole pixels that it takes.
    x = (mask.width - (right - left)) / 2 - left
    y = (mask.height + top - bottom) / 2
    ImageDraw.Draw(mask).text((x, y), text, 255, font, "ls", stroke_width=stroke)
    return mask.reduce(_OVERSAMPLING)


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
