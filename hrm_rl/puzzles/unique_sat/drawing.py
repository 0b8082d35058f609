"""Formulas of unique 3-SAT as text and as pictures."""

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.tokens import RED, paint
from hrm_rl.puzzles.unique_sat.layout import FALSE, FIRST_LITERAL, TRUE

_VALUES = {FALSE: "F", TRUE: "T"}
_CLAUSES_A_LINE = 5
TRUE_CELL: pictures.Color = (205, 232, 226)


def text(shown: pictures.Shown, variables: int, color: bool) -> str:
    """The values of all variables, counted from 1, and the clauses, with a minus for a negation.

    A wrong value stands between stars, and so does a clause that the values leave false.
    """
    values = shown.answer[:variables]
    line = ""
    for value, wrong in zip(values, shown.wrong, strict=False):
        character = _VALUES.get(int(value), ".")
        mistake = wrong and character != "."
        line += paint(f"{f'*{character}*':>4}", RED, color) if mistake else f"{character:>4}"
    clauses = []
    for clause in shown.puzzle[variables:].reshape(-1, 3):
        if clause[0] >= FIRST_LITERAL:
            literals = " ".join(f"{_literal(t, variables):>3}" for t in clause)
            false = _is_false(clause, values)
            clauses.append("  " + (paint(f"*{literals}*", RED, color) if false else f"({literals})"))
    starts = range(0, len(clauses), _CLAUSES_A_LINE)
    rows = ["".join(clauses[start : start + _CLAUSES_A_LINE]) for start in starts]
    return "\n".join(["".join(f"{v:>4}" for v in range(1, variables + 1)), line, *rows])


def board(shown: pictures.Shown, variables: int, cell: int) -> pictures.Image.Image:
    """As `panels`."""
    header, blocks = _parts(shown, variables)
    top = pictures.tiles(header, variables, cell, text=0.55)
    return pictures.on_top([top, *_lines(blocks, variables * cell, max(16, round(0.8 * cell)))])


def panels(shown: pictures.Shown, variables: int) -> list[pictures.Panel]:
    """The variables with the draft's values below them, and the clauses in blocks of three literals.

    A literal that the draft makes true is green, a clause that it leaves false is red, and so is a wrong
    value.
    """
    header, blocks = _parts(shown, variables)
    blocks = [block for block in blocks if block[0].text]
    blocks += [[pictures.Tile()] * 3] * (-len(blocks) % _CLAUSES_A_LINE)
    literals = [tile for block in blocks for tile in block]
    clauses = pictures.Panel(literals, 3 * _CLAUSES_A_LINE, "clauses", box=(1, 3))
    return [pictures.Panel(header, variables, "variables and their values"), clauses]


def _parts(shown: pictures.Shown, variables: int) -> tuple[list[pictures.Tile], list[list[pictures.Tile]]]:
    """The variables and the values below them, and a block of literals a clause."""
    values = shown.answer[:variables]
    if not shown.answered:
        values = np.zeros(variables, np.int32)
    header = [pictures.Tile(str(v + 1), *pictures.GIVEN_LOOK) for v in range(variables)]
    answers = [
        pictures.answer_tile(_VALUES[value], wrong) if value in _VALUES else pictures.Tile()
        for value, wrong in zip(values.tolist(), shown.wrong[:variables], strict=True)
    ]
    return header + answers, [_block(c, values) for c in shown.puzzle[variables:].reshape(-1, 3)]


def _block(clause: NDArray[np.int32], values: NDArray[np.int32]) -> list[pictures.Tile]:
    false, variables = _is_false(clause, values), len(values)
    return [
        _literal_tile(_literal(token, variables), _truth(token, values), false) for token in clause.tolist()
    ]


def _lines(blocks: list[list[pictures.Tile]], least: int, small: int) -> list[pictures.Image.Image]:
    """Clauses side by side, as near to a square as whole clauses allow, at least `least` pixels wide."""
    edge = pictures.margin(small)
    width, height = 3 * small + 2 * edge, small + edge
    across = max(round((len(blocks) * height / width) ** 0.5), -(-least // width))
    lines = []
    for first in range(0, len(blocks), across):
        part = blocks[first : first + across]
        line = [pictures.tiles(block, 3, small, text=0.5) for block in part]
        paper = pictures.Image.new("RGB", line[0].size, pictures.PAPER)
        lines.append(pictures.side_by_side(line + [paper] * (across - len(line))))
    return lines


def _literal_tile(text: str, truth: bool | None, false: bool) -> pictures.Tile:
    if false:
        return pictures.Tile(text, pictures.MISTAKE, pictures.MISTAKE_CELL)
    if truth:
        return pictures.Tile(text, pictures.HALT, TRUE_CELL)
    return pictures.Tile(text, pictures.GIVEN)


def _literal(token: int, variables: int) -> str:
    """The variable, counted from 1, with a minus if it is negated; "" for PAD."""
    literal = int(token) - FIRST_LITERAL
    if literal < 0:
        return ""
    return f"{'-' if literal >= variables else ''}{literal % variables + 1}"


def _truth(token: int, values: NDArray[np.int32]) -> bool | None:
    """Whether a literal is true under values [n]; None if its variable has none, or for PAD."""
    literal, variables = int(token) - FIRST_LITERAL, len(values)
    if literal < 0 or int(values[literal % variables]) not in _VALUES:
        return None
    return bool((values[literal % variables] == TRUE) == (literal < variables))


def _is_false(clause: NDArray[np.int32], values: NDArray[np.int32]) -> bool:
    return all(_truth(token, values) is False for token in clause)
