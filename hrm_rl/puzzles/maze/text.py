"""Mazes as text: one line of characters, and a drawn maze."""

from __future__ import annotations

import math
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.files.cell_text import CellText
from hrm_rl.puzzles.maze.check import is_valid
from hrm_rl.puzzles.maze.layout import (
    CHARACTERS,
    PATH,
    SIZES,
    SPACE,
    VOCAB_SIZE,
    WALL,
    check,
)
from hrm_rl.puzzles.tokens import (
    BOLD,
    CYAN,
    FAINT,
    RED,
    RED_UNDERLINED,
    as_shown,
    as_tokens,
    cell_name,
    paint,
)


class Mark(IntEnum):
    """The content of a cell of a drawn maze."""

    SPACE = 0
    WALL = 1
    START = 2
    GOAL = 3
    PATH = 4
    ASTRAY = 5  # PATH off the label's path, in a draft that is not a shortest path
    BROKEN = 6  # the draft changes a given cell, or has neither space nor path


_LOOKS = {
    Mark.SPACE: (" ", ""),
    Mark.WALL: ("#", FAINT),
    Mark.START: ("S", BOLD),
    Mark.GOAL: ("G", BOLD),
    Mark.PATH: ("o", CYAN),
    Mark.ASTRAY: ("x", RED),
    Mark.BROKEN: ("!", RED_UNDERLINED),
}
_MARK_OF_TOKEN = np.array(
    [Mark.WALL, Mark.WALL, Mark.SPACE, Mark.START, Mark.GOAL, Mark.PATH], np.int8
)


def size_of(text: str, size: int | None = None) -> int:
    """The size of a maze from the length of its text; ValueError for another length than `size`'s."""
    if size is not None and len(text) != check(size) ** 2:
        raise ValueError(f"{len(text)} characters; a {size}x{size} maze has {size * size}")
    side = math.isqrt(len(text))
    if side * side != len(text) or side not in SIZES:
        sizes = f"{SIZES[0]} to {SIZES[-1]}"
        raise ValueError(f"{len(text)} characters; a maze has size * size, for a size of {sizes}")
    return side


@cache
def cell_text(size: int) -> CellText:
    """How mazes of a size are written: the characters ``# SG``, and ``o`` for a path."""
    return CellText(
        characters=CHARACTERS,
        reads={CHARACTERS[token]: token for token in range(WALL, VOCAB_SIZE)},
        known=f"only {', '.join(map(repr, CHARACTERS[WALL:]))} may be",
        cell_name=lambda cell: f"character {cell + 1} ({cell_name(cell, size)})",
    )


def parse(text: str, size: int | None = None) -> NDArray[np.int32]:
    """Tokens int32 [S] of a maze written cell by cell in the characters ``# SGo``.

    Args:
        text: S characters in reading order. Spaces are cells, so there may be none around them.
        size: cells a side; None infers it from the length.

    Raises:
        ValueError: a length that is not a square, or not that size's; another character.
    """
    return cell_text(size_of(text, size)).read(text)


def to_text(tokens: ArrayLike) -> str:
    """One character a cell, the inverse of `parse`; '.' for PAD.

    Raises ValueError if `tokens` is not [S] of integers, or holds an unknown token.
    """
    row = np.asarray(tokens)
    if row.ndim != 1:
        raise ValueError(f"tokens must be [S], got shape {row.shape}")
    return "".join(CHARACTERS[token] for token in as_tokens("tokens", row, row.size, VOCAB_SIZE))


def marks(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    *,
    size: int = 30,
) -> NDArray[np.int8]:
    """The `Mark` of every cell, int8 [S]. Arguments and ValueErrors are those of `draw`."""
    size = check(size)
    maze, shown, off_label = as_shown(inputs, draft, labels, size * size, VOCAB_SIZE)
    drawn = _MARK_OF_TOKEN[maze]
    on_path = (maze == SPACE) & (shown == PATH)
    drawn[on_path] = Mark.PATH
    if labels is not None and not is_valid(maze, shown, size):
        drawn[on_path & off_label] = Mark.ASTRAY
    drawn[(shown != maze) & ~on_path] = Mark.BROKEN
    return drawn


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
    *,
    size: int = 30,
) -> str:
    """The maze as lines of text in a frame.

    Walls are ``#``, the draft's path ``o``. ``x`` is the path of a draft that is not a shortest path, off
    the label's path. ``!`` is a wall, start or goal that the draft overwrites, or a cell of it with neither
    space nor path.

    Args:
        inputs: int [S], the maze.
        draft: int [S], an answer, also half drawn; None draws the maze alone.
        labels: int [S], the maze with a shortest path.
        color: add ANSI colors.
        size: cells a side.

    Raises ValueError for a size out of range, wrong widths or unknown tokens.
    """
    drawn = marks(inputs, draft, labels, size=size).reshape(size, size)
    rule = "+" + "-" * size + "+"
    lines = ["".join(paint(*_LOOKS[Mark(mark)], color) for mark in row) for row in drawn]
    return "\n".join([rule, *(f"|{line}|" for line in lines), rule])
