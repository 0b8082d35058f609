"""ARC boards as pictures: question and draft side by side in ARC's colors, drawn with Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.arc.text import PALETTE, is_asked, shown_and_wrong
from hrm_rl.puzzles.arc.tokens import COLORS, EOS, FIRST_COLOR, PAD, SIDE
from hrm_rl.puzzles.pool import IGNORE_LABEL

_SMALLEST_CELL = 8
_LINE = (0x55, 0x55, 0x55)  # between colored cells, as in ARC's testing interface
_OFF_GRID = (0xF1, 0xF3, 0xF6)
_END = (0xC4, 0xCA, 0xD4)
_STRIP_CELL = 40  # by which the caption and the bars are measured


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 16,
) -> NDArray[np.uint8]:
    """Question (left) and draft (right), with a caption and two bars of probability below if asked.

    Both are whole boards of 30x30 cells. Colors are ARC's; an EOS is a grey dot, a PAD an empty
    cell. A wrong cell of the draft has a red frame, and within it a square of what would be right; what
    the draft has where the labels ask for nothing is small and pale.

    Args:
        inputs: int [900], the question.
        draft: int [900], an answer; None leaves the right board empty.
        labels: int [900], the right answer.
        caption: one line; "" keeps its place empty.
        q: logits (q_halt, q_continue), drawn as their sigmoids; NaN for one not known, an empty bar.
        cell: pixels from one cell to the next, at least 8.

    Returns:
        A new array uint8 [H, W, 3], of one shape for the same `cell`, and presence of caption and `q`.

    Raises:
        ValueError: wrong widths, unknown tokens, a cell too small.
    """
    if cell < _SMALLEST_CELL:
        raise ValueError(f"cell must be >= {_SMALLEST_CELL} pixels, got {cell}")
    question, shown, wrong = shown_and_wrong(inputs, draft, labels)
    if draft is None:
        shown = np.full_like(question, PAD)
    right = shown if labels is None else np.where(wrong, np.asarray(labels), shown)
    none, all_cells = np.zeros_like(wrong), np.ones_like(wrong)
    boards = [
        _board(question, question, none, all_cells, cell),
        _board(shown, right, wrong, is_asked(labels), cell),
    ]
    return pictures.frame(pictures.side_by_side(boards), _STRIP_CELL, caption, q)


def _board(
    tokens: NDArray[np.int32],
    right: NDArray[np.int32],
    wrong: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    cell: int,
) -> Image.Image:
    edge, side = pictures.margin(_STRIP_CELL), SIDE * cell
    image = Image.new("RGB", (side + 1 + 2 * edge,) * 2, pictures.PAPER)
    pen = ImageDraw.Draw(image)
    pen.rectangle((edge, edge, edge + side, edge + side), fill=_OFF_GRID)
    colored = tokens >= FIRST_COLOR
    for place in range(SIDE * SIDE):
        x, y = edge + place % SIDE * cell, edge + place // SIDE * cell
        if not asked[place]:
            if colored[place]:
                inset = round(0.38 * cell)
                inner = (x + inset, y + inset, x + cell - inset, y + cell - inset)
                color = PALETTE[tokens[place] - FIRST_COLOR]
                pen.rectangle(inner, fill=_pale(color))
            continue
        if colored[place]:
            # Its own lines and those of the cells beside and below, which may be off the grid.
            pen.rectangle((x, y, x + cell, y + cell), outline=_LINE)
        _fill(pen, int(tokens[place]), (x + 1, y + 1, x + cell - 1, y + cell - 1))
    for place in np.flatnonzero(wrong).tolist():
        x, y = edge + place % SIDE * cell, edge + place // SIDE * cell
        thick = max(1, cell // 8)
        pen.rectangle((x, y, x + cell, y + cell), outline=pictures.PAPER)
        pen.rectangle(
            (x + 1, y + 1, x + cell - 1, y + cell - 1), outline=pictures.MISTAKE, width=thick
        )
        inset = max(3, round(0.38 * cell))
        inner = (x + inset, y + inset, x + cell - inset, y + cell - inset)
        pen.rectangle((inner[0] - 1, inner[1] - 1, inner[2] + 1, inner[3] + 1), fill=pictures.PAPER)
        _fill(pen, int(right[place]), inner)
    pen.rectangle((edge - 1, edge - 1, edge + side + 1, edge + side + 1), outline=_END)
    return image


def _pale(color: pictures.Color) -> pictures.Color:
    red, green, blue = ((2 * paper + ink) // 3 for paper, ink in zip(_OFF_GRID, color, strict=True))
    return red, green, blue


def _fill(pen: ImageDraw.ImageDraw, token: int, box: tuple[int, int, int, int]) -> None:
    assert token < FIRST_COLOR + COLORS and token != IGNORE_LABEL
    left, top, right, bottom = box
    if token >= FIRST_COLOR:
        pen.rectangle(box, fill=PALETTE[token - FIRST_COLOR])
    elif token == EOS:
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        radius = max(1.0, (right - left) / 6)
        pen.ellipse(
            (middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius), fill=_END
        )
