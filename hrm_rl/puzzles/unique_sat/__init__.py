"""Unique 3-SAT: the one assignment that makes a formula true.

A formula is clauses of three literals (a variable or its negation, no variable twice); at least one
literal of each must be true. With n variables and M = 3 n + `extra_clauses` rows for clauses, a puzzle
has the S = n + 3 M cells

    answer 1 | ... | answer n | clause 1: three literals | ... | clause M: three literals

and the tokens PAD = 0 (rows without a clause), BLANK = 1 (an answer's cell in the puzzle), FALSE = 2,
TRUE = 3, variable v as 4 + v and its negation as 4 + n + v. Labels are FALSE or TRUE in the n answers;
nothing is asked elsewhere.

A formula is made around a random assignment: random clauses that are true under it, each ruling out
something, until nothing else is left; then each that rules out nothing by itself goes, in random order,
so that every clause is needed; then `extra_clauses` redundant ones are mixed in, which make it easier
(more follows from what is known). As with Sudoku, exactly one solution is left, and any right answer is
the stored one.

    puzzles = unique_sat.generate(1000, seed=0, variables=16, rate=True)

Rated by the decisions of a DPLL search (Davis, Logemann and Loveland 1962: unit propagation, then both
values of the next variable) until the solution is found and proved the only one, mean over 16 orders of
the variables. A class is a formula up to renaming variables, negating them throughout, and the orders of
clauses and of the literals in them. Of these, `symmetry` has rotations of the clauses and orders of the
literals; renaming and negating move no cells but change tokens together with answers, which `Symmetry`
cannot express.
"""

from __future__ import annotations

from functools import cache, partial
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.family import Made, as_pair, in_split, is_exact, make_puzzles, source_name
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry
from hrm_rl.puzzles.unique_sat import kernels
from hrm_rl.puzzles.unique_sat.layout import (
    BLANK,
    DIALS,
    FALSE,
    FIRST_LITERAL,
    PAD,
    TRUE,
    cells,
    check_all,
    formulas_of,
    slots,
    tokens_in_all,
)
from hrm_rl.puzzles.unique_sat.picture import draw, picture

__all__ = [
    "BLANK",
    "CHARACTERS",
    "DIALS",
    "FALSE",
    "FIRST_LITERAL",
    "GENERATOR_VERSION",
    "PAD",
    "TRUE",
    "Solved",
    "class_key",
    "draw",
    "generate",
    "in_split",
    "is_exact",
    "is_valid",
    "picture",
    "rate",
    "seq_len",
    "solve",
    "symmetry",
    "vocab_size",
]

CHARACTERS = None
GENERATOR_VERSION = 1

_STREAM = 0x5A7F_0001


def vocab_size(variables: int = 12, extra_clauses: int = 0) -> int:
    """PAD, BLANK, FALSE, TRUE and two literals a variable."""
    check_all(variables, extra_clauses)
    return tokens_in_all(variables)


def seq_len(variables: int = 12, extra_clauses: int = 0) -> int:
    """The answers, and three literals a row of M."""
    check_all(variables, extra_clauses)
    return cells(variables, extra_clauses)


def generate(
    count: int,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    variables: int = 12,
    extra_clauses: int = 0,
) -> PuzzleArrays:
    """Random formulas with one solution; arguments as in `Family.generate`, dials as in `DIALS`.

    Raises:
        ValueError: a bad argument, or more redundant clauses than so few variables have.
    """
    check_all(variables, extra_clauses)
    dials = {"variables": variables, "extra_clauses": extra_clauses}
    return make_puzzles(
        partial(_make, variables, extra_clauses),
        partial(class_key, **dials),
        partial(_rate, **dials) if rate else None,
        count,
        cells=cells(variables, extra_clauses),
        name=source_name("unique_sat", GENERATOR_VERSION, dials),
        stream=(_STREAM, GENERATOR_VERSION, variables, extra_clauses),
        seed=seed,
        split=split,
    )


class Solved(NamedTuple):
    """What `solve` found."""

    solution: NDArray[np.int32]
    """int32 [..., n]: a first solution, FALSE or TRUE a variable; PAD where there is none."""
    solutions_found: NDArray[np.int64]
    """int64 [...]: number of solutions, at most the limit."""


def solve(
    inputs: ArrayLike, variables: int = 12, extra_clauses: int = 0, *, limit: int = 2
) -> Solved:
    """Solutions by DPLL, up to `limit` of them a formula.

    Raises:
        ValueError: a dial out of range, a wrong width or token, a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    formulas, shape = formulas_of(inputs, variables, extra_clauses)
    counts = np.zeros(len(formulas), np.int64)
    values = np.full((len(formulas), variables), PAD - FALSE, np.int64)
    kernels.count_formulas(formulas, variables, limit, counts, values)
    return Solved((values + FALSE).astype(np.int32).reshape(*shape, -1), counts.reshape(shape))


def is_valid(
    inputs: ArrayLike, answers: ArrayLike, variables: int = 12, extra_clauses: int = 0
) -> NDArray[np.bool_]:
    """Whether every variable has a value and every clause a true literal: bool [...] for [..., S]."""
    check_all(variables, extra_clauses)
    width, known = cells(variables, extra_clauses), tokens_in_all(variables)
    puzzles, given = as_pair(inputs, answers, width, known)
    values = given[..., :variables]
    # The truth of every token: of PAD, so that empty rows are satisfied, and of all literals.
    truth = np.zeros((*values.shape[:-1], known), bool)
    truth[..., PAD] = True
    truth[..., FIRST_LITERAL:] = np.concatenate([values == TRUE, values == FALSE], axis=-1)
    literals = np.take_along_axis(truth, puzzles[..., variables:], axis=-1)
    satisfied = literals.reshape(*values.shape[:-1], -1, 3).any(axis=-1).all(axis=-1)
    return satisfied & ((values == TRUE) | (values == FALSE)).all(axis=-1)


def rate(
    inputs: ArrayLike, variables: int = 12, extra_clauses: int = 0, copies: int = 16
) -> NDArray[np.float32]:
    """Decisions of a DPLL search for all solutions, mean over `copies` orders of the variables.

    The orders are drawn from the formula's class, so that the rating is a constant and does not hang
    on the order of clauses or literals. float32 [N] for [N, S].
    """
    if copies < 1:
        raise ValueError(f"copies must be at least 1, got {copies}")
    formulas, shape = formulas_of(inputs, variables, extra_clauses)
    keys, ratings = np.empty(len(formulas), np.uint64), np.empty(len(formulas), np.float32)
    kernels.refine(formulas, variables, keys)
    kernels.mean_decisions(formulas, keys, variables, copies, ratings)
    return ratings.reshape(shape)


_rate = rate  # where an argument hides it


def class_key(inputs: ArrayLike, variables: int = 12, extra_clauses: int = 0) -> NDArray[np.uint64]:
    """A number that formulas of a class share: uint64 [N] for [N, S].

    The group is all renamings of the variables, all negations of single variables, all orders of the
    clauses and all orders of the literals in each; where rows without a clause stand does not matter
    either. By colour refinement, so different classes may share a number too (rarely), and then they go
    to the same split.
    """
    formulas, shape = formulas_of(inputs, variables, extra_clauses)
    keys = np.empty(len(formulas), np.uint64)
    kernels.refine(formulas, variables, keys)
    return keys.reshape(shape)


@cache
def symmetry(variables: int = 12, extra_clauses: int = 0) -> Symmetry:
    """The rotations of the M rows of clauses, and the six orders of literals (the same in every clause)."""
    check_all(variables, extra_clauses)
    rows = slots(variables, extra_clauses)
    clauses = variables + np.arange(3 * rows).reshape(rows, 3)
    answers = np.arange(variables)
    rotations = [np.roll(clauses, k, axis=0).ravel() for k in range(rows)]
    orders = [clauses[:, list(order)].ravel() for order in permutations(range(3))]
    return Symmetry(
        tuple(
            np.stack([np.concatenate([answers, moved]) for moved in table])
            for table in (rotations, orders)
        )
    )


def _make(variables: int, extra: int, keys: NDArray[np.uint64]) -> Made:
    rows = slots(variables, extra)
    formulas = np.full((len(keys), rows, 3), PAD - FIRST_LITERAL, np.int64)
    solutions, accepted = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.bool_)
    kernels.make_formulas(keys, variables, extra, formulas, solutions, accepted)
    inputs = np.full((len(keys), cells(variables, extra)), BLANK, np.int32)
    inputs[:, variables:] = formulas.reshape(len(keys), -1) + FIRST_LITERAL
    labels = np.full_like(inputs, IGNORE_LABEL)
    labels[:, :variables] = FALSE + (solutions[:, None] >> np.arange(variables) & 1)
    return inputs, labels, accepted
