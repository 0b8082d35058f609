"""Unique 3-SAT: formulas, solutions and classes."""

from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import comb
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hrm_rl.puzzles.base.dials import dial
from hrm_rl.puzzles.base.picture import Panel, Shown
from hrm_rl.puzzles.base.tokens import as_tokens
from hrm_rl.puzzles.family import Family, Made
from hrm_rl.puzzles.pool import IGNORE_LABEL, Symmetry
from hrm_rl.puzzles.unique_sat import drawing, kernels
from hrm_rl.puzzles.unique_sat.layout import BLANK, FALSE, FIRST_LITERAL, PAD, TRUE


class Solved(NamedTuple):
    """Result of `UniqueSAT.solve`."""

    solution: NDArray[np.int32]
    """int32 [..., n]: the first solution, FALSE or TRUE for each variable; PAD if there is none."""
    solutions_found: NDArray[np.int64]
    """int64 [...]: number of solutions, at most the limit."""


@dataclass(frozen=True)
class UniqueSAT(Family):
    """Unique 3-SAT: find the one assignment that makes a formula true.

    A formula is clauses of three literals (a variable or its negation, no variable twice); at least one
    literal of each must be true. With n variables and M = 3 n + `extra_clauses` rows for clauses, which are
    more than a formula without redundant clauses was found to have, the cells of a puzzle are

        answer 1 | ... | answer n | clause 1: three literals | ... | clause M: three literals

    A formula is made around a random assignment: random clauses that are true under it, each ruling out
    something, until nothing else is left. Then every clause that is implied by the others is removed, in
    random order, so that each clause is needed, and `extra_clauses` redundant ones are mixed in, which make
    it easier. Exactly one solution is left, so any right answer is the stored one.

    Tokens: PAD = 0 (rows without a clause), BLANK = 1 (an answer's cell in the puzzle), FALSE = 2, TRUE = 3,
    variable v = 4 + v, its negation = 4 + n + v. Only the n answers are judged.
    Rating: the decisions of a DPLL search (Davis, Logemann and Loveland 1962) until the solution is found
    and proved the only one, mean over 16 orders of the variables.
    Class: a formula up to renaming variables, negating them throughout, and the orders of clauses and of
    the literals in them. Different classes may share a key (rarely), and then they go to the same split.
    Augmentation: rotations of the clauses and orders of the literals. Renaming and negating change tokens
    together with answers, which `Symmetry` cannot express; take larger pools instead.
    """

    name: ClassVar = "unique-sat"
    stream: ClassVar = 0x5A7F_0001
    pixels: ClassVar = 28

    variables: int = dial(12, 4, 20)
    """Variables of the formula."""
    extra_clauses: int = dial(0, 0, 200)
    """Redundant clauses on top of those that are needed."""

    @property
    def vocab_size(self) -> int:
        return FIRST_LITERAL + 2 * self.variables

    @property
    def _rows(self) -> int:
        return 3 * self.variables + self.extra_clauses

    @property
    def seq_len(self) -> int:
        return self.variables + 3 * self._rows

    @property
    def symmetry(self) -> Symmetry:
        """The rotations of the M rows of clauses, and the six orders of literals, the same in all clauses."""
        return _symmetry(self.variables, self._rows)

    @property
    def relations(self) -> NDArray[np.int32]:
        """1 a cell with itself, 2 literals of one clause, 3 two answers, 4 an answer with a literal, 5 a
        literal with an answer; 0 literals of different clauses."""
        n = self.variables
        clause = np.repeat(np.arange(self._rows), 3)
        found = np.full((self.seq_len,) * 2, 2, np.int32)
        found[n:, n:] *= clause[:, None] == clause
        found[:n, :n], found[:n, n:], found[n:, :n] = 3, 4, 5
        np.fill_diagonal(found, 1)
        return found

    def check(self) -> None:
        most = 7 * comb(self.variables, 3) - 3 * self.variables
        if self.extra_clauses > most:
            raise ValueError(
                f"extra_clauses must be 0 to {most} with {self.variables} variables, got {self.extra_clauses}"
            )

    def make(self, keys: NDArray[np.uint64]) -> Made:
        n, count = self.variables, len(keys)
        formulas = np.full((count, self._rows, 3), PAD - FIRST_LITERAL, np.int64)
        solutions, accepted = np.zeros(count, np.int64), np.zeros(count, np.bool_)
        kernels.make_formulas(keys, n, self.extra_clauses, formulas, solutions, accepted)
        inputs = np.full((count, self.seq_len), BLANK, np.int32)
        inputs[:, n:] = formulas.reshape(count, -1) + FIRST_LITERAL
        labels = np.full_like(inputs, IGNORE_LABEL)
        labels[:, :n] = FALSE + (solutions[:, None] >> np.arange(n) & 1)
        return inputs, labels, accepted

    def solve(self, inputs: ArrayLike, *, limit: int = 2) -> Solved:
        """Solutions by DPLL, up to `limit` for each formula [..., S].

        Raises ValueError for a wrong width or token, or a limit below 1.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        tokens = as_tokens("inputs", inputs, self.seq_len, self.vocab_size)
        shape, formulas = tokens.shape[:-1], self._formulas(tokens.reshape(-1, self.seq_len))
        counts = np.zeros(len(formulas), np.int64)
        values = np.full((len(formulas), self.variables), PAD - FALSE, np.int64)
        kernels.count_formulas(formulas, self.variables, limit, counts, values)
        return Solved((values + FALSE).astype(np.int32).reshape(*shape, -1), counts.reshape(shape))

    def _formulas(self, puzzles: NDArray[np.int32]) -> NDArray[np.int64]:
        """The literals of puzzles [N, S], int64 [N, M, 3], -1 in rows without a clause.

        Raises ValueError for a clause of fewer than three literals.
        """
        clauses = puzzles[:, self.variables :].reshape(-1, self._rows, 3)
        literals = clauses >= FIRST_LITERAL
        if (literals.any(-1) != literals.all(-1)).any() or ((clauses != PAD) & ~literals).any():
            raise ValueError("inputs: every clause must be three literals, or three times PAD")
        return np.where(literals, clauses - FIRST_LITERAL, -1).astype(np.int64)

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        n, values = self.variables, answers[:, : self.variables]
        # The truth of every token: of PAD, so that empty rows are satisfied, and of all literals.
        truth = np.zeros((len(puzzles), self.vocab_size), bool)
        truth[:, PAD] = True
        truth[:, FIRST_LITERAL:] = np.concatenate([values == TRUE, values == FALSE], axis=1)
        literals = np.take_along_axis(truth, puzzles[:, n:], axis=1)
        satisfied = literals.reshape(len(puzzles), -1, 3).any(-1).all(-1)
        return satisfied & ((values == TRUE) | (values == FALSE)).all(axis=1)

    def difficulty(self, puzzles: NDArray[np.int32], copies: int = 16) -> NDArray[np.float32]:
        """Mean over `copies` orders of the variables, which depend on the class alone."""
        if copies < 1:
            raise ValueError(f"copies must be at least 1, got {copies}")
        ratings = np.empty(len(puzzles), np.float32)
        formulas, keys = self._formulas(puzzles), self.key(puzzles)
        kernels.mean_decisions(formulas, keys, self.variables, copies, ratings)
        return ratings

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Colour refinement on the graph of variables, literals and clauses."""
        keys = np.empty(len(puzzles), np.uint64)
        kernels.refine(self._formulas(puzzles), self.variables, keys)
        return keys

    def text(self, shown: Shown, color: bool) -> str:
        return drawing.text(shown, self.variables, color)

    def panels(self, shown: Shown) -> list[Panel]:
        return drawing.panels(shown, self.variables)

    def board(self, shown: Shown, cell: int) -> Image.Image:
        return drawing.board(shown, self.variables, cell)


@cache
def _symmetry(variables: int, rows: int) -> Symmetry:
    clauses = variables + np.arange(3 * rows).reshape(rows, 3)
    answers = np.arange(variables)
    rotations = [np.roll(clauses, k, axis=0).ravel() for k in range(rows)]
    orders = [clauses[:, list(order)].ravel() for order in permutations(range(3))]
    return Symmetry(
        tuple(
            np.stack([np.concatenate([answers, moved]) for moved in table]) for table in (rotations, orders)
        )
    )
