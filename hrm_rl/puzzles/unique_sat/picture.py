"""Formulas of unique 3-SAT as text and as pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.family import as_shown
from hrm_rl.puzzles.unique_sat.layout import (
    FALSE,
    FIRST_LITERAL,
    TRUE,
    cells,
    check_all,
    slots,
    tokens_in_all,
)

_VALUES = {FALSE: "F", TRUE: "T"}
_CLAUSES_A_LINE = 5
_TRUE_CELL: pictures.Color = (205, 232, 226)


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
    *,
    variables: int = 12,
    extra_clauses: int = 0,
) -> str:
    """The values of all variables (the draft's, or without one the labels'), and the clauses.

    Variables count from 1, a negation has a minus. A value that the draft has wrong stands between stars
    (red in color), and so does a clause that the values leave false.
    """
    check_all(variables, extra_clauses)
    width, known = cells(variables, extra_clauses), tokens_in_all(variables)
    puzzle, shown, wrong = as_shown(inputs, draft, labels, width, known)
    answer = np.asarray(labels) if draft is None and labels is not None else shown
    values = answer[:variables]
    header = "".join(f"{v:>4}" for v in range(1, variables + 1))
    line = ""
    for v in range(variables):
        text = _VALUES.get(int(values[v]), ".")
        mistake = wrong[v] and int(values[v]) in _VALUES
        line += _mark(f"{f'*{text}*':>4}", color) if mistake else f"{text:>4}"
    lines, row = [header, line], ""
    number = 0
    for clause in puzzle[variables:].reshape(-1, 3):
        if clause[0] < FIRST_LITERAL:
            continue
        text = "(" + " ".join(f"{_literal(t, variables):>3}" for t in clause) + ")"
        false = all(_truth(int(t), values, variables) is False for t in clause)
        row += f"  {_mark(f'*{text[1:-1]}*', color)}" if false else f"  {text}"
        number += 1
        if number % _CLAUSES_A_LINE == 0:
            lines.append(row)
            row = ""
    return "\n".join([*lines, row] if row else lines)


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 28,
    *,
    variables: int = 12,
    extra_clauses: int = 0,
) -> NDArray[np.uint8]:
    """The variables with the draft's values below them, and the clauses in blocks of three literals.

    A literal that the draft makes true is green, a clause that it leaves false is red; so is a value
    that is wrong. Arguments and return as in `hrm_rl.puzzles.family.Family.picture`.
    """
    check_all(variables, extra_clauses)
    pictures.check_cell(cell)
    width, known = cells(variables, extra_clauses), tokens_in_all(variables)
    puzzle, shown, wrong = as_shown(inputs, draft, labels, width, known)
    values = shown[:variables] if draft is not None else np.zeros(variables, np.int32)
    header = [
        pictures.Tile(str(v + 1), pictures.GIVEN, pictures.GIVEN_CELL, pictures.GIVEN_WEIGHT)
        for v in range(variables)
    ]
    answers = [_value(int(values[v]), bool(wrong[v])) for v in range(variables)]
    blocks = []
    for clause in puzzle[variables:].reshape(-1, 3):
        truths = [_truth(int(token), values, variables) for token in clause]
        false = clause[0] >= FIRST_LITERAL and all(truth is False for truth in truths)
        blocks.append(
            [
                _literal_tile(_literal(token, variables), truth, false)
                for token, truth in zip(clause.tolist(), truths, strict=True)
            ]
        )
    # Smaller than the variables: there are many.
    small = max(16, round(0.8 * cell))
    # As near to a square as whole clauses allow, no narrower than the variables.
    edge = pictures.margin(small)
    block_width, block_height = 3 * small + 2 * edge, small + edge
    rows = slots(variables, extra_clauses)
    across = max(
        round((rows * block_height / block_width) ** 0.5),
        -(-(variables * cell) // block_width),
    )
    lines = []
    for first in range(0, rows, across):
        line = [
            pictures.tiles([block], small, text=0.5) for block in blocks[first : first + across]
        ]
        lines.append(pictures.side_by_side(line + [_paper(line[0].size)] * (across - len(line))))
    board = pictures.on_top([pictures.tiles([header, answers], cell, text=0.55), *lines])
    return pictures.frame(board, cell, caption, q)


def _value(token: int, wrong: bool) -> pictures.Tile:
    if token not in _VALUES:
        return pictures.Tile()
    if wrong:
        return pictures.Tile(
            _VALUES[token], pictures.MISTAKE, pictures.MISTAKE_CELL, pictures.MISTAKE_WEIGHT
        )
    return pictures.Tile(_VALUES[token], pictures.DRAFT, pictures.PAPER, pictures.DRAFT_WEIGHT)


def _literal_tile(text: str, truth: bool | None, false: bool) -> pictures.Tile:
    if false:
        return pictures.Tile(text, pictures.MISTAKE, pictures.MISTAKE_CELL)
    if truth:
        return pictures.Tile(text, pictures.HALT, _TRUE_CELL)
    return pictures.Tile(text, pictures.GIVEN)


def _paper(size: tuple[int, int]) -> pictures.Image.Image:
    return pictures.Image.new("RGB", size, pictures.PAPER)


def _literal(token: int, variables: int) -> str:
    """The variable from 1, a minus before it where it is negated; nothing for PAD."""
    literal = int(token) - FIRST_LITERAL
    if literal < 0:
        return ""
    return f"{'-' if literal >= variables else ''}{literal % variables + 1}"


def _truth(token: int, values: NDArray[np.int32], variables: int) -> bool | None:
    """Whether a literal is true under values [n]; None where its variable has none."""
    literal = token - FIRST_LITERAL
    if literal < 0 or values[literal % variables] not in _VALUES:
        return None
    return bool((values[literal % variables] == TRUE) == (literal < variables))


def _mark(text: str, color: bool) -> str:
    return f"\x1b[1;31m{text}\x1b[0m" if color else text
