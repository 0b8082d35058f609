"""Sudoku of 4x4, 6x6 and 9x9: generate, solve, rate, check, symmetries and the held-out split, files.

One code path serves all sizes; boxes are 2x2, 2 rows by 3 columns, and 3x3. A board is S = size * size
tokens in reading order: PAD = 0 (never in a board), BLANK = 1, digit d is token d + 1. So the vocabulary
has size + 2 tokens, 11 for 9x9, as in the reference's Sudoku dataset.

    puzzles = sudoku.generate(1000, size=9, seed=0, split="train")
    solution, count = sudoku.solve(puzzles.inputs, size=9)
    print(sudoku.draw(puzzles.inputs[0], size=9, draft=solution[0]))

Most functions are the methods of `Sudoku` with the size as an argument.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.splits import SPLITS
from hrm_rl.puzzles.base.tokens import is_exact
from hrm_rl.puzzles.files.rows import refuse
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry
from hrm_rl.puzzles.sudoku.check import check_puzzle
from hrm_rl.puzzles.sudoku.classes import SPLIT_VERSION
from hrm_rl.puzzles.sudoku.family import Sudoku
from hrm_rl.puzzles.sudoku.layout import BLANK, FIRST_DIGIT, PAD, SIZES, layout
from hrm_rl.puzzles.sudoku.solve import Effort, Solved, rate, search_effort, solve

__all__ = [
    "BLANK",
    "FIRST_DIGIT",
    "PAD",
    "SIZES",
    "SPLITS",
    "SPLIT_VERSION",
    "Effort",
    "Solved",
    "Sudoku",
    "check_puzzle",
    "is_exact",
    "rate",
    "search_effort",
    "solve",
]

in_split = Sudoku.in_split
parse = Sudoku.parse
to_text = Sudoku.to_text


def vocab_size(size: int = 9) -> int:
    """Tokens of a size: PAD, BLANK and the digits."""
    return Sudoku(size).vocab_size


def seq_len(size: int = 9) -> int:
    """Cells of a board."""
    return Sudoku(size).seq_len


def units(size: int = 9) -> NDArray[np.int64]:
    """The cells of every row, column and box, in this order: int64 [3 * size, size], a new array."""
    return layout(size).units.astype(np.int64)


def symmetry(size: int = 9) -> Symmetry:
    """The symmetry group of Sudokus of a size, digits included."""
    return Sudoku(size).symmetry


def generate(
    count: int,
    size: int = 9,
    *,
    seed: int = 0,
    extra_givens: int | tuple[int, int] = 0,
    split: str | None = None,
    rate: bool = False,
) -> PuzzleArrays:
    """`Sudoku(size, extra_givens).generate(count, seed=seed, split=split, rate=rate)`."""
    family = Sudoku.with_dials({"size": size, "extra_givens": extra_givens})
    return family.generate(count, seed=seed, split=split, rate=rate)


def is_valid(inputs: ArrayLike, answers: ArrayLike, size: int = 9) -> NDArray[np.bool_]:
    """Whether answers, of any tokens, keep the givens and have every digit once in each row, column and box.

    bool [...] for int [..., S]; BLANK in cells without a given.
    """
    return Sudoku(size).is_valid(inputs, answers)


def class_key(inputs: ArrayLike, size: int = 9) -> NDArray[np.uint64]:
    """A number that all puzzles of a class share, see `classes.class_key`: uint64 [...] for int [..., S]."""
    return Sudoku(size).class_key(inputs)


def draw(inputs: ArrayLike, size: int = 9, *args: Any, **options: Any) -> str:
    """A board as lines of text; other arguments as in `Sudoku.draw`."""
    return Sudoku(size).draw(inputs, *args, **options)


def picture(inputs: ArrayLike, size: int = 9, *args: Any, **options: Any) -> NDArray[np.uint8]:
    """A board as an image, uint8 [H, W, 3]; other arguments as in `Sudoku.picture`."""
    return Sudoku(size).picture(inputs, *args, **options)


def read_csv(
    path: str | os.PathLike[str], size: int | None = None, *, limit: int | None = None, unique: bool = False
) -> PuzzleArrays:
    """Read and check a file of puzzles. Every answer must be a full grid that keeps its question's givens.

    Args:
        path: a CSV file with the columns source, question, answer, rating in any order; further columns
            and empty lines are ignored. Blanks are '.' or '0'. A blank rating is NaN.
        size: 4, 6 or 9; None infers it from the first question.
        limit: keep at most this many puzzles; None keeps all. All lines are checked.
        unique: solve every puzzle kept, and refuse one with several solutions.

    Returns the puzzles in file order; ``source`` is None if the column is blank throughout. Raises ValueError
    for anything wrong in the file, naming file, line and field; OSError if it cannot be read.
    """
    arrays, lines = Sudoku.read_file(path, size, limit)
    if unique:
        several = solve(arrays.inputs, round(arrays.seq_len**0.5)).solutions_found > 1
        if several.any():
            line = int(lines[np.argmax(several)])
            refuse(path, line, "question", "this puzzle has several solutions")
    return arrays


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, size: int = 9) -> None:
    """Write puzzles so that `read_csv` gives them back; errors as in `Sudoku.write_csv`."""
    Sudoku(size).write_csv(path, arrays)
