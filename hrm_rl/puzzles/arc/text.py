"""ARC boards as text: the question and the draft side by side, a digit a color."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.arc.tokens import EOS, FIRST_COLOR, PAD, SEQ_LEN, SIDE, VOCAB_SIZE
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.puzzles.tokens import RED, as_shown, paint

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


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
) -> str:
    """Question and draft, side by side, as lines of text in frames.

    Digits are colors, ``+`` is EOS, PAD is empty. With labels, ``!`` follows every wrong cell of the draft,
    and ``.`` is any token in a cell without a label. Rows and columns at the edges that are empty on both
    sides are left out.

    Args:
        inputs: int [900], the question.
        draft: int [900], an answer; None draws the question alone.
        labels: int [900], the right answer.
        color: paint the cells, by ANSI's 24-bit colors.

    Raises ValueError for wrong widths or unknown tokens.
    """
    question, shown, wrong = shown_and_wrong(inputs, draft, labels)
    boards = [(question, np.zeros(SEQ_LEN, bool), np.ones(SEQ_LEN, bool))]
    if draft is not None:
        boards.append((shown, wrong, has_label(labels)))
    used = np.zeros((SIDE, SIDE), bool)
    for tokens, mistakes, judged in boards:
        used |= (((tokens > PAD) & judged) | mistakes).reshape(SIDE, SIDE)
    used[0, 0] |= not used.any()
    filled = (np.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
    rows, columns = (np.arange(places[0], places[-1] + 1) for places in filled)
    rule = "  ".join(["+" + "-" * (2 * len(columns) + 1) + "+"] * len(boards))
    lines = [rule]
    for row in rows:
        parts = []
        for tokens, mistakes, judged in boards:
            texts = (
                _cell(int(tokens[cell]), bool(mistakes[cell]), color)
                if judged[cell] or tokens[cell] == PAD
                else ". "
                for cell in row * SIDE + columns
            )
            parts.append(f"| {''.join(texts)}|")
        lines.append("  ".join(parts))
    return "\n".join([*lines, rule])


def shown_and_wrong(
    inputs: ArrayLike, draft: ArrayLike | None, labels: ArrayLike | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """The question, the draft and its mistakes, as `hrm_rl.puzzles.tokens.as_shown`, [900] each."""
    return as_shown(inputs, draft, labels, SEQ_LEN, VOCAB_SIZE)


def has_label(labels: ArrayLike | None) -> NDArray[np.bool_]:
    """Which cells of a draft are judged: those with a label, or all without labels; [900]."""
    if labels is None:
        return np.ones(SEQ_LEN, bool)
    return np.asarray(labels) != IGNORE_LABEL


def _cell(token: int, wrong: bool, color: bool) -> str:
    """Two characters wide."""
    text = _CHARACTERS[token] + ("!" if wrong else " ")
    if token <= EOS:
        return paint(text, RED, color and wrong)
    number = token - FIRST_COLOR
    red, green, blue = PALETTE[number]
    ink = 97 if number in _DARK else 30
    return paint(text, f"{ink};48;2;{red};{green};{blue}", color)
