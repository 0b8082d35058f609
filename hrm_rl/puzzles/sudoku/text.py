"""Sudokus as text: one line of characters, and a drawn board."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.files.cell_text import CellText
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.puzzles.sudoku.layout import BLANK, SIZES, check_size, layout
from hrm_rl.puzzles.tokens import (
    BOLD,
    CYAN,
    RED_UNDERLINED,
    as_shown,
    as_tokens,
    cell_name,
    paint,
)

_SIZE_BY_LENGTH = {size * size: size for size in SIZES}


def size_of(text: str, size: int | None = None) -> int:
    """The size of a board from the length of its text; ValueError for another length than `size`'s."""
    if size is not None and len(text) == check_size(size) ** 2:
        return size
    if size is not None and len(text) in _SIZE_BY_LENGTH:
        raise ValueError(f"{len(text)} characters; a {size}x{size} Sudoku has {size * size}")
    if len(text) not in _SIZE_BY_LENGTH:
        raise ValueError(f"{len(text)} characters; a 9x9 Sudoku has 81, 6x6 36, 4x4 16")
    return _SIZE_BY_LENGTH[len(text)]


@cache
def cell_text(size: int) -> CellText:
    """How boards of a size are written: digits, and '.' (read also: '0') for a blank."""
    digits = "123456789"[:size]
    return CellText(
        characters=".." + digits,
        reads={".": BLANK, "0": BLANK} | {digit: int(digit) + BLANK for digit in digits},
        known=f"a {size}x{size} Sudoku has digits 1 to {size}, and '.' or '0' for a blank",
        cell_name=lambda cell: f"character {cell + 1} ({cell_name(cell, size)})",
    )


def parse(text: str, size: int | None = None) -> NDArray[np.int32]:
    """Tokens int32 [S] of a board written cell by cell: digits, and '.' or '0' for a blank.

    Args:
        text: S characters in reading order; spaces around them are ignored.
        size: 4, 6 or 9; None infers it from the length.

    Raises:
        ValueError: a wrong length, or a character that is neither a blank nor a digit of the size. The
            message names what was given and where.
    """
    text = text.strip()
    return cell_text(size_of(text, size)).read(text)


def to_text(tokens: ArrayLike) -> str:
    """One character a cell, the inverse of `parse`: the digit, or '.' for BLANK and PAD.

    Raises ValueError if `tokens` is not [S] with S = 16, 36 or 81, or holds a digit beyond the size.
    """
    row = np.asarray(tokens)
    if row.ndim != 1 or row.size not in _SIZE_BY_LENGTH:
        raise ValueError(f"tokens must be [S] with S = 16, 36 or 81, got shape {row.shape}")
    size = _SIZE_BY_LENGTH[row.size]
    return cell_text(size).write_all(as_tokens("tokens", row, size * size, size + 2)[None])[0]


class Marks(NamedTuple):
    """The contents of a drawn board, cell by cell."""

    shown: NDArray[np.int32]  # [S]: the draft's token, the given if the draft has none
    from_draft: NDArray[np.bool_]  # [S]: not a given, or a given that the draft overwrites
    wrong: NDArray[np.bool_]  # [S]: a mistake, or with labels a cell still to fill


def marks(
    inputs: ArrayLike,
    size: int,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
) -> Marks:
    """Which cells of a board are given, which come from the draft, which are wrong: see `draw`.

    Arguments and ValueErrors are those of `draw`.
    """
    tables = layout(size)
    given, shown, _ = as_shown(inputs, draft, labels, size * size, size + 2)
    overwritten = (given > BLANK) & (shown > BLANK) & (shown != given)
    # A draft that leaves a given cell empty still stands on that given.
    shown = np.where(shown > BLANK, shown, given)
    from_draft = (given <= BLANK) | overwritten
    wrong = overwritten.copy()
    if labels is None:
        for cell in np.flatnonzero(from_draft & (shown > BLANK)):
            wrong[cell] |= (shown[tables.peers[cell]] == shown[cell]).any()
    else:
        solution = as_tokens("labels", labels, size * size)
        wrong |= from_draft & (solution != IGNORE_LABEL) & (shown != solution)
    return Marks(shown, from_draft, wrong)


def draw(
    inputs: ArrayLike,
    size: int = 9,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
) -> str:
    """The board as lines of text in boxes.

    A given reads `` 5 `` (bold in color), a draft's digit ``(5)`` (cyan), a mistake of the draft ``*5*``
    (red, underlined), an empty cell `` . ``. The marks stay in color too. With labels a mistake is a digit
    that differs from them; without, a digit that clashes with another one in its row, column or box.
    Overwriting a given is always a mistake.

    Args:
        inputs: int [S], the puzzle.
        size: 4, 6 or 9.
        draft: int [S], an answer, also half filled; None draws the puzzle alone.
        labels: int [S], the solution; IGNORE_LABEL in cells without a label.
        color: add ANSI colors.

    Raises ValueError for an unknown size, wrong widths or tokens beyond the size.
    """
    tables = layout(size)
    size = tables.size
    shown, from_draft, wrong = marks(inputs, size, draft, labels)

    rule = "+" + ("-" * (3 * tables.box_columns + 2) + "+") * tables.box_rows
    lines = [rule]
    for row in range(size):
        boxes = []
        for stack in range(tables.box_rows):
            first = row * size + stack * tables.box_columns
            cells = range(first, first + tables.box_columns)
            drawn = (_cell(int(shown[c]), from_draft[c], wrong[c], color) for c in cells)
            boxes.append(" " + "".join(drawn) + " ")
        lines.append("|" + "|".join(boxes) + "|")
        if (row + 1) % tables.box_rows == 0:
            lines.append(rule)
    return "\n".join(lines)


def _cell(token: int, from_draft: bool, wrong: bool, color: bool) -> str:
    """Three columns for one cell, plus ANSI codes in color."""
    if token <= BLANK:
        return " . "
    digit = token - BLANK
    if wrong:
        return paint(f"*{digit}*", RED_UNDERLINED, color)
    return paint(f"({digit})", CYAN, color) if from_draft else paint(f" {digit} ", BOLD, color)
