"""Grids of reasoning-gym as text and as pictures: the question on the left, an answer on the right."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.puzzles.reasoning_gym.formats import PAD, GridFormat
from hrm_rl.puzzles.tokens import RED, as_shown, paint


def draw(
    form: GridFormat,
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
) -> str:
    """The question and, beside it, the draft (without one the labels, if any) in the judged cells.

    A cell that the draft has wrong stands between exclamation marks (is red in color). Arguments as in
    `hrm_rl.puzzles.family.Family.draw`.
    """
    question, shown, wrong = as_shown(inputs, draft, labels, form.seq_len, form.vocab_size)
    characters = _characters(form)
    wide = max(map(len, characters)) + 2
    after = None
    if draft is not None or labels is not None:
        after = _judged(shown if draft is not None else np.asarray(labels), labels)
    lines = []
    for row in range(form.height):
        cells = range(row * form.width, (row + 1) * form.width)
        line = "".join(f"{characters[question[c]]:^{wide}}" for c in cells)
        if after is not None:
            line += "  |" + "".join(
                _marked(characters[after[c]], wide, bool(wrong[c]), color) for c in cells
            )
        lines.append(line.rstrip())
    return "\n".join(lines)


def picture(
    form: GridFormat,
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 24,
) -> NDArray[np.uint8]:
    """The question and, beside it, the draft in the judged cells (blue), mistakes in red.

    Arguments and return as in `hrm_rl.puzzles.family.Family.picture`.
    """
    question, shown, wrong = as_shown(inputs, draft, labels, form.seq_len, form.vocab_size)
    pictures.check_cell(cell)
    # An underscore is an empty cell, and in a picture such a cell is empty.
    characters = [character.strip(" _") for character in _characters(form)]
    after = np.zeros_like(shown) if draft is None else _judged(shown, labels)
    left = [
        pictures.Tile(characters[token], ground=_ground(token), weight=pictures.GIVEN_WEIGHT)
        for token in question
    ]
    right = [
        pictures.Tile(characters[token], pictures.MISTAKE, pictures.MISTAKE_CELL)
        if bad
        else pictures.Tile(characters[token], pictures.DRAFT, _ground(token))
        for token, bad in zip(after, wrong, strict=True)
    ]
    boards = [pictures.tiles(side, form.width, cell) for side in (left, right)]
    return pictures.frame(pictures.side_by_side(boards), cell, caption, q)


def _judged(answer: NDArray[np.int32], labels: ArrayLike | None) -> NDArray[np.int32]:
    """The answer, PAD in cells that are not judged."""
    if labels is None:
        return answer
    return np.where(np.asarray(labels) == IGNORE_LABEL, PAD, answer)


def _characters(form: GridFormat) -> list[str]:
    """By token; a space for PAD."""
    return [" ", *(form.shown.get(symbol, symbol) for symbol in form.symbols)]


def _ground(token: int) -> pictures.Color | None:
    return pictures.GIVEN_CELL if token == PAD else None


def _marked(text: str, wide: int, wrong: bool, color: bool) -> str:
    if wrong and not color:
        text = f"!{text}!"
    return paint(f"{text:^{wide}}", RED, wrong and color)
