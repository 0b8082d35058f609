"""Sudoku of 4x4, 6x6 and 9x9: generate, solve, rate, check, symmetries and the held-out split, files.

One code path serves all sizes; boxes are 2x2, 2 rows by 3 columns, and 3x3. A board is S = size * size
tokens in reading order: PAD = 0 (never in a board), BLANK = 1, digit d is token d + 1. So the vocabulary
has size + 2 tokens, 11 for 9x9, as in the reference's Sudoku dataset.

    puzzles = sudoku.generate(1000, size=9, seed=0, split="train")
    solution, count = sudoku.solve(puzzles.inputs, size=9)
    print(sudoku.draw(puzzles.inputs[0], size=9, draft=solution[0]))
"""

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.splits import SPLITS
from hrm_rl.puzzles.sudoku.check import check_puzzle, is_valid
from hrm_rl.puzzles.sudoku.classes import (
    SPLIT_VERSION,
    class_key,
    in_split,
    in_test_split,
    symmetry,
)
from hrm_rl.puzzles.sudoku.csv import read_csv, write_csv
from hrm_rl.puzzles.sudoku.family import Sudoku
from hrm_rl.puzzles.sudoku.generate import generate
from hrm_rl.puzzles.sudoku.layout import BLANK, FIRST_DIGIT, PAD, SIZES, check_size, layout
from hrm_rl.puzzles.sudoku.picture import picture
from hrm_rl.puzzles.sudoku.solve import Effort, Solved, rate, search_effort, solve
from hrm_rl.puzzles.sudoku.text import draw, parse, to_text
from hrm_rl.puzzles.tokens import is_exact

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
    "class_key",
    "draw",
    "generate",
    "in_split",
    "in_test_split",
    "is_exact",
    "is_valid",
    "parse",
    "picture",
    "rate",
    "read_csv",
    "search_effort",
    "seq_len",
    "solve",
    "symmetry",
    "to_text",
    "units",
    "vocab_size",
    "write_csv",
]


def vocab_size(size: int = 9) -> int:
    """Tokens of a size: PAD, BLANK and the digits; ValueError for an unknown size."""
    return check_size(size) + 2


def seq_len(size: int = 9) -> int:
    """Cells of a board; ValueError for an unknown size."""
    return check_size(size) ** 2


def units(size: int = 9) -> NDArray[np.int64]:
    """The cells of every row, column and box, in this order: int64 [3 * size, size], a new array.

    ValueError for an unknown size.
    """
    return layout(size).units.astype(np.int64)
