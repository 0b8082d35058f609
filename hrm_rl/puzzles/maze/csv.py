"""Maze files in the format of Maze-Hard: ``source,question,answer,rating``, a maze a line.

A 30x30 maze is 900 characters of ``# SG``; its answer is the same with ``o`` on the way.
"""

from __future__ import annotations

import os
from functools import partial

import numpy as np

from hrm_rl.puzzles.files.csv import CsvFormat, read_puzzles, write_puzzles
from hrm_rl.puzzles.maze.check import is_valid, what_is_wrong
from hrm_rl.puzzles.maze.layout import check
from hrm_rl.puzzles.maze.text import cell_text, size_of
from hrm_rl.puzzles.pool import PuzzleArrays


def csv_format(question: str, size: int | None = None) -> CsvFormat:
    """The format of a file from its first question; ValueError for another length than the size's."""
    size = size_of(question, size)
    return CsvFormat(
        cell_text(size), partial(is_valid, size=size), partial(what_is_wrong, size=size)
    )


def read_csv(
    path: str | os.PathLike[str], size: int | None = None, *, limit: int | None = None
) -> PuzzleArrays:
    """Read and check a file of mazes. Every answer must be its maze with any one shortest path drawn.

    `size` is the cells a side, inferred by default. The columns of the file, `limit`, return and errors are
    those of `hrm_rl.puzzles.sudoku.read_csv`.
    """
    if size is not None:
        check(size)
    return read_puzzles(path, partial(csv_format, size=size), limit)[0]


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, size: int = 30) -> None:
    """Write mazes so that `read_csv` gives them back; identifiers are not kept.

    The file appears whole or not at all.

    Raises:
        ValueError: a size out of range, mazes of another width, unknown tokens, or a label row that is
            not its maze with a shortest path (the message names it).
        OSError: the file cannot be written.
    """
    size = check(size)
    right = is_valid(arrays.inputs, arrays.labels, size)
    if not right.all():
        row = int(np.argmin(right))
        reason = what_is_wrong(arrays.inputs[row], arrays.labels[row], size)
        raise ValueError(f"the label of puzzle {row} {reason}")
    write_puzzles(path, arrays, cell_text(size))
