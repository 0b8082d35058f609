"""Sudoku files in the format of Sudoku-Extreme: ``source,question,answer,rating``, a puzzle a line."""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from hrm_rl.puzzles.files.csv import CsvFormat, read_puzzles, write_puzzles
from hrm_rl.puzzles.files.rows import refuse
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku.check import is_valid, what_is_wrong
from hrm_rl.puzzles.sudoku.layout import as_boards, check_size
from hrm_rl.puzzles.sudoku.solve import solve
from hrm_rl.puzzles.sudoku.text import cell_text, size_of


def csv_format(question: str, size: int | None = None) -> CsvFormat:
    """The format of a file from its first question; ValueError for another length than the size's."""
    size = size_of(question, size)
    return CsvFormat(
        cell_text(size), partial(is_valid, size=size), partial(what_is_wrong, size=size)
    )


def read_csv(
    path: str | os.PathLike[str],
    size: int | None = None,
    *,
    limit: int | None = None,
    unique: bool = False,
) -> PuzzleArrays:
    """Read and check a file of puzzles. Every answer must be a full grid that keeps its question's givens.

    Args:
        path: a CSV file with the columns source, question, answer, rating in any order; further columns
            and empty lines are ignored. Blanks are '.' or '0'. A blank rating is NaN.
        size: 4, 6 or 9; None infers it from the first question.
        limit: keep at most this many puzzles; None keeps all. All lines are checked.
        unique: solve every puzzle kept, and refuse one with several solutions.

    Returns:
        The puzzles in file order, identifiers 0; ``source`` is None if the column is blank throughout.

    Raises:
        ValueError: anything wrong in the file; the message names file, line and field.
        OSError: the file cannot be read.
    """
    if size is not None:
        check_size(size)
    arrays, lines = read_puzzles(path, partial(csv_format, size=size), limit)
    if unique:
        several = solve(arrays.inputs, int(arrays.seq_len**0.5)).solutions_found > 1
        if several.any():
            line = int(lines[np.argmax(several)])
            refuse(path, line, "question", "this puzzle has several solutions")
    return arrays


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, size: int = 9) -> None:
    """Write puzzles so that `read_csv` gives them back; identifiers are not kept.

    The file appears whole or not at all.

    Raises:
        ValueError: unknown size, boards of another width, tokens beyond the size, or a label row that
            is not a solution of its puzzle (the message names it).
        OSError: the file cannot be written.
    """
    as_boards("inputs", arrays.inputs, check_size(size))
    right = is_valid(arrays.inputs, arrays.labels, size)
    if not right.all():
        raise ValueError(f"the labels of puzzle {int(np.argmin(right))} are not its solution")
    write_puzzles(path, arrays, cell_text(size))
