"""Which 9x9 Sudokus a model fails at: by the technique that a human solver needs, and near the end.

    python experiments/sudoku_9x9/techniques.py runs/sudoku-9x9

A puzzle's grade is the hardest technique of a solver that tries them in this order: naked singles, hidden
singles, locked candidates, backtracking; the last by the number of refuted guesses, a mean over symmetric
copies. Near the end: solutions of these puzzles with 1 to 5 empty cells, which have one solution. Puzzles
of classes that the run learned from are left out. Results go to RUN/techniques.json too.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hrm_rl.evaluation import record
from hrm_rl.puzzles.pool import PuzzleArrays, concatenate
from hrm_rl.puzzles.sudoku import Sudoku, rate, search_effort, solve
from hrm_rl.puzzles.sudoku.layout import BLANK, layout
from hrm_rl.training.open_run import Trained, open_trained

GRADES = ("naked singles", "hidden singles", "locked candidates")
BACKTRACKS = (5, 20, 100, np.inf)
EMPTY = (1, 2, 3, 4, 5, 15, 30, 45, 50, 52, 54, 56, 64)
NEAR_THE_END = 5


@dataclass(frozen=True)
class Techniques:
    """Judge a 9x9 Sudoku model by the technique that a puzzle needs, and near the end."""

    run: tyro.conf.Positional[Path]
    """A run folder or model."""
    puzzles: int = 1000
    """Puzzles of 0 to 57 extra givens, as many minimal ones, and as many for each number of empty cells."""
    times: tuple[int, ...] = (1, 4, 8)
    """Segments, over the limit in training."""


def solved_by_singles(boards: NDArray[np.int8], hidden: bool) -> NDArray[np.bool_]:
    """Which boards int8 [N, 81], 0 = blank, naked (and, with `hidden`, hidden) singles solve: bool [N]."""
    tables = layout(9)
    peers, units = tables.peers.astype(int), tables.units.astype(int)
    bits = np.where(boards > 0, 1 << boards.astype(int), 0)
    while True:
        seen = np.bitwise_or.reduce(bits[:, peers], axis=2)
        free = np.where(bits == 0, 0b1111111110 & ~seen, 0)
        found = np.where(free & (free - 1) == 0, free, 0)
        if hidden:
            once, twice = np.zeros((2, len(boards), len(units)), int)
            for cells in units.T:
                twice |= once & free[:, cells]
                once |= free[:, cells]
            for unit, cells in enumerate(units):
                alone = free[:, cells] & (once & ~twice)[:, unit, None]
                found[:, cells] = np.where(found[:, cells] == 0, alone & -alone, found[:, cells])
        if not found.any():
            return (bits > 0).all(1)
        bits |= found


def grades(puzzles: PuzzleArrays) -> NDArray[np.str_]:
    """The hardest technique of each puzzle: str [N]."""
    boards = np.maximum(puzzles.inputs - BLANK, 0).astype(np.int8)
    found = np.full(len(puzzles), "", dtype="<U40")
    solved = (
        solved_by_singles(boards, hidden=False),
        solved_by_singles(boards, hidden=True),
        search_effort(puzzles.inputs, 9).guesses == 0,
    )
    for grade, by in zip(GRADES, solved, strict=True):
        found[(found == "") & by] = grade
    backtracks = rate(puzzles.inputs, 9)
    for most in BACKTRACKS:
        name = f"backtracking, at most {most}" if np.isfinite(most) else "backtracking, more"
        found[(found == "") & (backtracks <= most)] = name
    return found


def near_the_end(puzzles: PuzzleArrays, empty: int, seed: int = 0) -> PuzzleArrays:
    """The puzzles with all but `empty` random cells filled in, without those of several solutions."""
    rng = np.random.default_rng([seed, empty])
    inputs = puzzles.labels.copy()
    cells = rng.random(inputs.shape).argsort(1)[:, :empty]
    np.put_along_axis(inputs, cells, BLANK, axis=1)
    unique = solve(inputs, 9).solutions_found == 1
    return PuzzleArrays(inputs[unique], puzzles.labels[unique])


def held_out(trained: Trained, puzzles: PuzzleArrays) -> PuzzleArrays:
    learned = trained.learned(puzzles)
    return puzzles if learned is None else puzzles.take(np.flatnonzero(~learned))


def shares(correct: NDArray[np.bool_], groups: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """The number and the share solved, after each number of segments, of the puzzles of each group."""
    return {
        name: {"puzzles": int(rows.sum()), "solved": correct[rows].mean(0).tolist()}
        for name, rows in groups.items()
        if rows.any()
    }


def main(options: Techniques) -> None:
    trained = open_trained(options.run)
    limit = trained.model.config.halt_max_steps
    rooms = [limit * factor for factor in options.times]
    pools = [
        Sudoku(9, extra).generate_distinct(options.puzzles, seed=2, split="test")
        for extra in ((0, 57), (0, 0))
    ]
    pools[1:1] = [near_the_end(pools[0], empty) for empty in range(1, NEAR_THE_END + 1)]
    puzzles = held_out(trained, concatenate([PuzzleArrays(p.inputs, p.labels) for p in pools]))
    bank = record(trained.model, puzzles, max(rooms), batch_size=128)
    correct = bank.correct[:, [room - 1 for room in rooms]]
    graded, empty = grades(puzzles), (puzzles.inputs == BLANK).sum(1)
    near = empty <= NEAR_THE_END
    names = [*GRADES, *(f"backtracking, at most {n}" for n in BACKTRACKS[:-1]), "backtracking, more"]
    spans = zip((0, *EMPTY), EMPTY, strict=False)
    tables = {
        "technique": shares(correct, {name: (graded == name) & ~near for name in names}),
        "empty cells": shares(
            correct,
            {
                f"{low + 1} to {high}" if high > low + 1 else f"{high}": (low < empty) & (empty <= high)
                for low, high in spans
            },
        ),
    }
    for title, rows in tables.items():
        table = Table(title, "puzzles", *(f"{room} segments" for room in rooms))
        for name, row in rows.items():
            table.add_row(name, str(row["puzzles"]), *(f"{100 * share:.1f}" for share in row["solved"]))
        Console(width=120).print(table)
    report = {"segments": rooms, "puzzles": len(puzzles), **tables}
    (options.run / "techniques.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Techniques)))
