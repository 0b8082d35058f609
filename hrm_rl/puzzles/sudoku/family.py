"""Sudoku as a family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.dials import dial
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry
from hrm_rl.puzzles.sudoku.check import is_valid
from hrm_rl.puzzles.sudoku.classes import SPLIT_SALT, class_key, symmetry
from hrm_rl.puzzles.sudoku.csv import read_csv, write_csv
from hrm_rl.puzzles.sudoku.generate import generate
from hrm_rl.puzzles.sudoku.layout import SIZES
from hrm_rl.puzzles.sudoku.picture import picture
from hrm_rl.puzzles.sudoku.solve import rate
from hrm_rl.puzzles.sudoku.text import draw
from hrm_rl.settings import SettingError

if TYPE_CHECKING:
    import os


@dataclass(frozen=True)
class Sudoku(Family):
    """Sudoku: fill the grid so that every row, column and box has every digit once.

    Boxes are 2x2 (size 4), 2 rows by 3 columns (size 6), or 3x3 (size 9). Every puzzle has one solution. A
    random full grid loses cells in random order while the solution stays unique, which leaves a minimal
    puzzle; then `extra_givens` more cells of the solution are revealed at random.

    Tokens: PAD = 0 (in no board), BLANK = 1, digit d = d + 1; size x size cells in reading order.
    Rating: backtracks of a solver, mean over 16 symmetric copies; for 4x4, rounds of naked singles.
    Class and augmentation: digits renamed; rows in a band, bands, columns in a stack and stacks moved;
    transposed if boxes are square.
    """

    name: ClassVar = "sudoku"
    split_salt: ClassVar = SPLIT_SALT

    size: int = dial(9, choices=SIZES)
    """Width and height of the board."""
    extra_givens: tuple[int, int] = dial((0, 0))
    """Least and most givens beyond a minimal puzzle, drawn uniformly; 0 0 is hardest. In Python one number
    sets both."""

    def __post_init__(self) -> None:
        given = self.extra_givens
        pair = (given, given) if isinstance(given, (int, np.integer)) else tuple(given)
        object.__setattr__(self, "extra_givens", pair)
        super().__post_init__()

    @property
    def vocab_size(self) -> int:
        return self.size + 2

    @property
    def seq_len(self) -> int:
        return self.size**2

    @property
    def symmetry(self) -> Symmetry:
        return symmetry(self.size)

    @property
    def words(self) -> str:
        return f"{self.size}x{self.size} Sudoku"

    @property
    def source_name(self) -> str:
        """As banks name its puzzles: "sudoku-4x4+0..2"."""
        low, high = self.extra_givens
        name = f"sudoku-{self.size}x{self.size}+{low}"
        return f"{name}..{high}" if high > low else name

    def check(self) -> None:
        given = self.extra_givens
        whole = len(given) == 2 and all(isinstance(n, (int, np.integer)) for n in given)
        if not whole or not 0 <= given[0] <= given[1] <= self.seq_len:
            raise SettingError(
                f"extra_givens must be two numbers, 0 <= least <= most <= {self.seq_len}, "
                f"got {list(given)}",
                "extra_givens",
            )

    def generate(
        self, count: int, *, seed: int = 0, split: str | None = None, rate: bool = False
    ) -> PuzzleArrays:
        """The puzzles 0 .. count - 1 of a seed; ``source`` is None. See `Family.generate`."""
        return generate(
            count,
            self.size,
            seed=seed,
            extra_givens=self.extra_givens,
            split=split,
            rate=rate,
        )

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        return is_valid(puzzles, answers, self.size)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[np.float32]:
        return rate(puzzles, self.size)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        return class_key(puzzles, self.size)

    def draw(self, inputs: ArrayLike, *args: Any, **options: Any) -> str:
        return draw(inputs, self.size, *args, **options)

    def picture(self, inputs: ArrayLike, *args: Any, **options: Any) -> NDArray[np.uint8]:
        return picture(inputs, self.size, *args, **options)

    def read_csv(self, path: str | os.PathLike[str]) -> PuzzleArrays:
        return read_csv(path, self.size)

    def write_csv(self, path: str | os.PathLike[str], puzzles: PuzzleArrays) -> None:
        write_csv(path, puzzles, self.size)
