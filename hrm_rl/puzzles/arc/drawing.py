"""ARC boards as text and as pictures: the question and the draft side by side, in ARC's colors."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hrm_rl.puzzles.arc.tokens import COLORS, EOS, FIRST_COLOR, PAD, SIDE, VOCAB_SIZE, side_of
from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.tokens import RED, paint
from hrm_rl.puzzles.pool import IGNORE_LABEL

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0x00, 0x00, 0x00),  # black
    (0x00, 0x74, 0xD9),  # blue
    (0xFF, 0x41, 0x36),  # red
    (0x2E, 0xCC, 0x40),  # green
    (0xFF, 0xDC, 0x00),  # yellow
    (0xAA, 0xAA, 0xAA),  # grey
    (0xF0, 0x12, 0xBE),  # magenta
    (0xFF, 0x85, 0x1B),  # orange
    (0x7F, 0xDB, 0xFF),  # light blue
    (0x87, 0x0C, 0x25),  # maroon
)
"""Colors 0 to 9 of ARC's testing interface (fchollet/ARC-AGI, apps/css/common.css)."""

_CHARACTERS = " +" + "0123456789"
_DARK = (0, 1, 6, 9)  # colors on which white text reads better

_LINE = (0x55, 0x55, 0x55)  # between colored cells, as in ARC's testing interface
_OFF_GRID = (0xF1, 0xF3, 0xF6)
_END = (0xC4, 0xCA, 0xD4)
_STRIP_CELL = 40  # sets the size of the caption and the bars


class ArcBoards(pictures.Drawable):
    """Boards of 30x30 cells, or another `side`; see `text` and `board`."""

    vocab_size: ClassVar = VOCAB_SIZE
    pixels: ClassVar = 16
    least_pixels: ClassVar = 8

    def __init__(self, side: int = SIDE) -> None:
        self.side = side

    @property
    def seq_len(self) -> int:
        return self.side**2

    def text(self, shown: pictures.Shown, color: bool) -> str:
        """Digits are colors, ``+`` is EOS, PAD is empty.

        With labels, ``!`` follows every wrong cell of the draft, and ``.`` is any token in a cell without a
        label. Rows and columns at the edges that are empty on both sides are left out.
        """
        boards = [(shown.puzzle, np.zeros(self.seq_len, bool), np.ones(self.seq_len, bool))]
        if shown.answered:
            boards.append((shown.answer, shown.wrong, shown.judged()))
        used = np.zeros((self.side, self.side), bool)
        for tokens, wrong, judged in boards:
            used |= (((tokens > PAD) & judged) | wrong).reshape(used.shape)
        used[0, 0] |= not used.any()
        filled = (np.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
        rows, columns = (np.arange(places[0], places[-1] + 1) for places in filled)
        rule = "  ".join(["+" + "-" * (2 * len(columns) + 1) + "+"] * len(boards))
        lines = [rule]
        for row in rows:
            parts = []
            for tokens, wrong, judged in boards:
                texts = (
                    _text(int(tokens[cell]), bool(wrong[cell]), color)
                    if judged[cell] or tokens[cell] == PAD
                    else ". "
                    for cell in row * self.side + columns
                )
                parts.append(f"| {''.join(texts)}|")
            lines.append("  ".join(parts))
        return "\n".join([*lines, rule])

    def board(self, shown: pictures.Shown, cell: int) -> Image.Image:
        """Question (left) and draft (right, empty without one), both whole boards.

        An EOS is a grey dot, a PAD an empty cell. A wrong cell of the draft has a red frame around a square
        of the right color; a token of the draft in a cell without a label is small and pale.
        """
        nothing, everything = np.zeros(self.seq_len, bool), np.ones(self.seq_len, bool)
        answer = shown.answer if shown.answered else np.full(self.seq_len, PAD)
        right = answer if shown.labels is None else np.where(shown.wrong, shown.labels, answer)
        boards = [
            _board(shown.puzzle, shown.puzzle, nothing, everything, cell),
            _board(answer, right, shown.wrong, shown.judged(), cell),
        ]
        return pictures.side_by_side(boards)

    def panels(self, shown: pictures.Shown) -> list[pictures.Panel]:
        """Question and draft; a dot is EOS, a cross marks a wrong cell of the draft."""
        answer = shown.answer if shown.answered else np.full(self.seq_len, PAD)
        question = [_tile(token, False, True) for token in shown.puzzle.tolist()]
        cells = zip(answer.tolist(), shown.wrong, shown.judged(), strict=True)
        draft = [_tile(*cell) for cell in cells]
        return [pictures.Panel(question, self.side, "question"), pictures.Panel(draft, self.side, "draft")]

    def strip_cell(self, cell: int) -> int:
        return _STRIP_CELL


draw = ArcBoards().draw
picture = ArcBoards().picture


def _text(token: int, wrong: bool, color: bool) -> str:
    """Two characters wide."""
    text = _CHARACTERS[token] + ("!" if wrong else " ")
    if token <= EOS:
        return paint(text, RED, color and wrong)
    number = token - FIRST_COLOR
    red, green, blue = PALETTE[number]
    ink = 97 if number in _DARK else 30
    return paint(text, f"{ink};48;2;{red};{green};{blue}", color)


def _tile(token: int, wrong: bool, judged: bool) -> pictures.Tile:
    number = token - FIRST_COLOR
    if number < 0:
        text = "\u00d7" if wrong else "\u00b7" if token == EOS else ""
        return pictures.Tile(text, pictures.MISTAKE if wrong else pictures.CAPTION, pictures.GIVEN_CELL)
    ink = pictures.PAPER if number in _DARK else pictures.GIVEN
    ground = PALETTE[number] if judged else _pale(PALETTE[number])
    return pictures.Tile("\u00d7" if wrong else "", ink, ground)


def _board(
    tokens: NDArray[np.int32],
    right: NDArray[np.int32],
    wrong: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    cell: int,
) -> Image.Image:
    columns = side_of(len(tokens))
    edge, side = pictures.margin(_STRIP_CELL), columns * cell
    image, pen = pictures.sheet(side + 1, side + 1, edge)
    pen.rectangle((edge, edge, edge + side, edge + side), fill=_OFF_GRID)
    corners = [(edge + k % columns * cell, edge + k // columns * cell) for k in range(len(tokens))]
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
