"""Tokens, cells and dials of unique 3-SAT; see `unique_sat`."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.family import Dial, as_tokens, check_dials

PAD, BLANK, FALSE, TRUE, FIRST_LITERAL = 0, 1, 2, 3, 4
DIALS = (
    Dial("variables", 12, 4, 20, "variables of the formula"),
    Dial("extra_clauses", 0, 0, 200, "redundant clauses on top of those that are needed"),
)


def check_all(variables: int, extra_clauses: int) -> None:
    """ValueError for a dial out of range, alone or beside another."""
    check_dials(DIALS, {"variables": variables, "extra_clauses": extra_clauses})
    most = 7 * comb(variables, 3) - 3 * variables
    if extra_clauses > most:
        raise ValueError(
            f"extra_clauses must be 0 to {most} with {variables} variables, got {extra_clauses}"
        )


def slots(variables: int, extra_clauses: int) -> int:
    """Rows for clauses: three a variable, more than an irredundant formula is seen to have, and the extra."""
    return 3 * variables + extra_clauses


def cells(variables: int, extra_clauses: int) -> int:
    """Cells of a puzzle: a variable each, and three a clause."""
    return variables + 3 * slots(variables, extra_clauses)


def tokens_in_all(variables: int) -> int:
    """PAD, BLANK, FALSE, TRUE and two literals a variable."""
    return FIRST_LITERAL + 2 * variables


def formulas_of(
    inputs: ArrayLike, variables: int, extra_clauses: int
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The literals of puzzles [..., S] as int64 [N, M, 3], -1 where no clause is, and the shape [...].

    Raises:
        ValueError: a wrong width or token, or a clause of fewer than three literals.
    """
    check_all(variables, extra_clauses)
    tokens = as_tokens("inputs", inputs, cells(variables, extra_clauses), tokens_in_all(variables))
    clauses = tokens.reshape(-1, tokens.shape[-1])[:, variables:].reshape(
        -1, slots(variables, extra_clauses), 3
    )
    literals = clauses >= FIRST_LITERAL
    if (literals.any(-1) != literals.all(-1)).any() or ((clauses != PAD) & ~literals).any():
        raise ValueError("inputs: every clause must be three literals, or three times PAD")
    formulas = np.where(literals, clauses - FIRST_LITERAL, -1)
    return np.ascontiguousarray(formulas, dtype=np.int64), tokens.shape[:-1]
