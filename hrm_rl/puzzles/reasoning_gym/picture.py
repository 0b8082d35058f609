"""Grids of reasoning-gym as text and as pictures: the question on the left, an answer on the right."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.tokens import RED, paint
from hrm_rl.puzzles.reasoning_gym.formats import PAD, GridFormat


def text(form: GridFormat, shown: pictures.Shown, color: bool) -> str:
    """The question and, beside it, the answer in the judged cells.

    A cell that the draft has wrong stands between exclamation marks (is red in color).
    """
    characters = _characters(form)
    wide = max(map(len, characters)) + 2
    after = _judged(shown)
    lines = []
    for row in range(form.height):
        cells = range(row * form.width, (row + 1) * form.width)
        line = "".join(f"{characters[shown.puzzle[c]]:^{wide}}" for c in cells)
        if shown.answered:
            marked = (_marked(characters[after[c]], wide, shown.wrong[c], color) for c in cells)
            line += "  |" + "".join(marked)
        lines.append(line.rstrip())
    return "\n".join(lines)


def board(form: GridFormat, shown: pictures.Shown, cell: int) -> Image.Image:
    """The question and, beside it, the draft in the judged cells (blue), mistakes in red."""
    # An underscore is an empty cell, and in a picture such a cell is empty.
    characters = [character.strip(" _") for character in _characters(form)]
    after = _judged(shown) if shown.answered else np.zeros_like(shown.answer)
    left = [
        pictures.Tile(characters[token], ground=_ground(token), weight=pictures.GIVEN_WEIGHT)
        for token in shown.puzzle
    ]
    right = [
        pictures.Tile(characters[token], pictures.MISTAKE, pictures.MISTAKE_CELL)
        if bad
        else pictures.Tile(characters[token], pictures.DRAFT, _ground(token))
        for token, bad in zip(after, shown.wrong, strict=True)
    ]
    return pictures.side_by_side([pictures.tiles(s, form.width, cell) for s in (left, right)])


def _judged(shown: pictures.Shown) -> NDArray[np.int32]:
    """The answer, PAD in cells that are not judged."""
    return np.where(shown.judged(), shown.answer, PAD)


def _characters(form: GridFormat) -> list[str]:
    """By token; a space for PAD."""
    return [" ", *(form.shown.get(symbol, symbol) for symbol in form.symbols)]


def _ground(token: int) -> pictures.Color | None:
    return pictures.GIVEN_CELL if token == PAD else None


def _marked(text: str, wide: int, wrong: bool, color: bool) -> str:
    if wrong and not color:
        text = f"!{text}!"
    return paint(f"{text:^{wide}}", RED, wrong and color)
