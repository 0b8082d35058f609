"""Voting over augmentations: many answers to a test input, transformed back; the most frequent ones count.

    table = ArcTable(augment(load("arc-agi-1")), "evaluation")
    voting = Voting(table)
    for rows in ...:
        puzzles = table.take(rows)
        ...                                     # answers int [K, 900] and q_halt [K] of a model
        voting.add(rows, answers, q_halt)
    voting.score()["pass@2"]["all_tests"]

As in the reference, a grid ranks by how many augmentations gave it, then by the mean of sigmoid(q_halt)
over these. Remaining ties are broken by the grid itself, so the order of answers never matters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hrm_rl.puzzles.arc.augment import invert
from hrm_rl.puzzles.arc.table import ArcTable
from hrm_rl.puzzles.arc.tokens import FIRST_COLOR, SIDE, Grid, crop_sizes, side_of

ATTEMPTS = (1, 2, 10, 100, 1000)

_Key = tuple[tuple[int, ...], bytes]


@dataclass(frozen=True)
class Candidate:
    """A grid that some augmentations gave."""

    grid: Grid
    count: int
    q: float  # mean of sigmoid(q_halt) over those


class Voting:
    """Counts answers to an evaluation table's rows, in any order and in any number of calls.

    The table must be without translation, since a grid is read at the top left corner.
    """

    def __init__(self, table: ArcTable) -> None:
        if table.translate:
            raise ValueError("votes need a table with translate=False: grids are read at the corner")
        self.table = table
        # By pair, then by grid: sigmoid(q_halt) of every vote.
        self._votes: dict[int, dict[_Key, list[float]]] = {}
        self._seen = np.zeros(len(table), bool)

    def add(self, rows: ArrayLike, answers: ArrayLike, q_halt: ArrayLike | None = None) -> None:
        """Count the answers int [K, S] of any tokens to rows [K] of the table, each once.

        An answer without a grid counts as the empty grid. `q_halt` are logits [K]; None weighs all alike.
        Raises ValueError for shapes that do not fit, a row that has voted, or a NaN in `q_halt`.
        """
        places, boards = np.atleast_1d(np.asarray(rows)), np.asarray(answers)
        side, cells = self.table.side, self.table.seq_len
        if places.ndim != 1 or boards.shape != (len(places), cells):
            raise ValueError(f"answers must be [{places.size}, {cells}], one a row, got shape {boards.shape}")
        logits = np.zeros(len(places)) if q_halt is None else np.asarray(q_halt, np.float64)
        if logits.shape != places.shape or np.isnan(logits).any():
            raise ValueError(f"q_halt must be [{len(places)}] numbers, one a row")
        if self._seen[places].any() or len(np.unique(places)) < len(places):
            raise ValueError("a row has voted already: every row votes once")
        identifiers, pairs = self.table.where(places)
        self._seen[places] = True
        augmented = self.table.augmented
        chances = 0.5 * (1 + np.tanh(logits / 2))
        for board, size, identifier, pair, q in zip(
            boards.reshape(-1, side, side),
            crop_sizes(boards).tolist(),
            identifiers.tolist(),
            pairs.tolist(),
            chances.tolist(),
            strict=True,
        ):
            grid = (board[: size[0], : size[1]] - FIRST_COLOR).astype(np.uint8)
            grid = invert(grid, int(augmented.symmetries[identifier]), augmented.colors[identifier])
            votes = self._votes.setdefault(pair, {})
            votes.setdefault((grid.shape, grid.tobytes()), []).append(q)

    def ranking(self, pair: int) -> list[Candidate]:
        """The candidates of a test input (a number in `table.pairs`), best first."""
        # fsum is exact, so neither the mean nor a tie depends on the order of votes.
        ranked = [
            (-len(chances), -math.fsum(chances) / len(chances), key)
            for key, chances in self._votes.get(pair, {}).items()
        ]
        return [
            Candidate(np.frombuffer(data, np.uint8).reshape(shape), -count, -q)
            for count, q, (shape, data) in sorted(ranked)
        ]

    def solved(self, attempts: Sequence[int] = ATTEMPTS) -> np.ndarray:
        """Whether the right grid is among the first candidates: bool [pairs, len(attempts)]."""
        pairs = self.table.pairs
        found = np.zeros((len(pairs), len(attempts)), bool)
        for pair, (height, width) in enumerate(pairs.output_sizes):
            right = pairs.outputs[pair].reshape(SIDE, SIDE)[:height, :width]
            for rank, candidate in enumerate(self.ranking(pair)):
                if np.array_equal(candidate.grid, right):
                    found[pair] = rank < np.asarray(attempts)
        return found

    def score(self, attempts: Sequence[int] = ATTEMPTS) -> dict[str, dict[str, float]]:
        """The share of tasks solved, of all tasks of the table, by attempts ("pass@2").

        For each k: `all_tests`, a task counts if all its test inputs are solved (ARC's rule, and the
        reference's); `fractional`, it counts by the share of its test inputs that are. A test input without
        votes is not solved. Raises ValueError for a number of attempts below 1.
        """
        if not attempts or min(attempts) < 1:
            raise ValueError(f"attempts must be numbers of 1 or more, got {list(attempts)}")
        solved = self.solved(attempts)
        first = np.unique(self.table.pairs.task, return_index=True)[1]
        sizes = np.diff(np.append(first, len(solved)))
        counts = np.add.reduceat(solved.astype(np.int64), first, axis=0)  # [tasks, attempts]
        return {
            f"pass@{k}": {
                "all_tests": float((counts[:, column] == sizes).mean()),
                "fractional": float((counts[:, column] / sizes).mean()),
            }
            for column, k in enumerate(attempts)
        }

    @property
    def votes(self) -> int:
        """Number of rows that have voted."""
        return int(self._seen.sum())


def is_valid(labels: ArrayLike, answers: ArrayLike) -> np.ndarray:
    """Whether answers have the labels' grids, both at the top left corner: bool [N] for [N, 900].

    Weaker than exact: the cells beside the grid may hold any tokens that end it.
    """
    wanted, given = np.asarray(labels), np.asarray(answers)
    if wanted.shape != given.shape:
        raise ValueError(f"answers must have the shape of labels {wanted.shape}, got {given.shape}")
    sizes, cells = crop_sizes(wanted), np.arange(wanted.shape[1])
    rows, columns = np.divmod(cells, side_of(len(cells)))
    inside = (rows < sizes[:, :1]) & (columns < sizes[:, 1:])
    return (sizes == crop_sizes(given)).all(axis=1) & ((wanted == given) | ~inside).all(axis=1)
