"""Sudoku as a family."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrm_rl.compiling import by_parts
from hrm_rl.puzzles.base.board_text import cells_of
from hrm_rl.puzzles.base.dials import dial
from hrm_rl.puzzles.base.picture import Panel, Shown
from hrm_rl.puzzles.family import Made
from hrm_rl.puzzles.files.cell_text import CellText
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry
from hrm_rl.puzzles.square import SquareFamily
from hrm_rl.puzzles.sudoku import drawing, kernels, random_kernels
from hrm_rl.puzzles.sudoku.check import broken_units, what_is_wrong
from hrm_rl.puzzles.sudoku.classes import SPLIT_SALT, class_key, symmetry
from hrm_rl.puzzles.sudoku.layout import BLANK, SIZES, layout
from hrm_rl.puzzles.sudoku.solve import rate
from hrm_rl.settings import SettingError


@dataclass(frozen=True)
class Sudoku(SquareFamily):
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
    favoured: ClassVar = ((1, 3, 5, 7), (2, 3, 6, 7), (4, 5, 6, 7))
    pixels: ClassVar = 40
    written: ClassVar = (
        "a board is its digits and . 0 _ or a space for a blank: on one line, in rows, or drawn"
    )

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
    def symmetry(self) -> Symmetry:
        return symmetry(self.size)

    @property
    def relations(self) -> NDArray[np.int32]:
        """1 for the same row, 2 for the same column and 4 for the same box, added up."""
        units = layout(self.size).cell_units
        same = units[:, None, :] == units[None, :, :]
        return (same @ np.array([1, 2, 4])).astype(np.int32)

    @property
    def cell_text(self) -> CellText:
        """Digits, and '.' (read also: '0', '_' and a space) for a blank."""
        digits = "123456789"[: self.size]
        reads = {character: token for token, character in enumerate("." + digits, start=BLANK)}
        return CellText(".." + digits, {**dict.fromkeys("0_ ", BLANK), **reads}, self._cell_name, self.cells)

    @classmethod
    def cells(cls, text: str) -> str:
        """As `cells_of`; spaces and commas may part cells, and a draft's digit, ``(5)``, is a blank."""
        if wrong := re.search(r"\*\d\*", text):
            raise ValueError(f"cells such as {wrong[0]} are wrong digits of a draft; give the puzzle alone")
        return cells_of(re.sub(r"\(\d\)", " . ", text), spaced=True)

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
                f"extra_givens must be two numbers, 0 <= least <= most <= {self.seq_len}, got {list(given)}",
                "extra_givens",
            )

    @property
    def stream_start(self) -> tuple[int, ...]:
        """The first number stands for the family and its version."""
        return 0x5D0C_0001, self.size

    def generate(self, count: int, **options: Any) -> PuzzleArrays:
        """As `Family.generate`, with ``source`` None.

        Without a split, the givens of puzzle k with n extra givens contain those with fewer. At least one
        blank is left, however many extra givens are wanted.
        """
        return dataclasses.replace(super().generate(count, **options), source=None)

    def make(self, keys: NDArray[np.uint64]) -> Made:
        tables, cells = layout(self.size), self.seq_len

        def sides(some: NDArray[np.uint64]) -> NDArray[np.int8]:
            boards, solutions = made = np.zeros((2, len(some), cells), np.int8)
            work = kernels.scratch(tables)
            random_kernels.generate_boards(tables, some, *self.extra_givens, boards, solutions, work)
            return made

        puzzles, answers = np.concatenate(by_parts(sides, keys), axis=1).astype(np.int32) + BLANK
        return puzzles, answers, np.ones(len(keys), np.bool_)

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether answers keep the givens and have every digit once in each row, column and box."""
        kept = ((puzzles <= BLANK) | (puzzles == answers)).all(axis=1)
        return kept & ~broken_units(answers, self.size).any(axis=1)

    def explain(self, puzzle: NDArray[np.int32], answer: NDArray[np.int32]) -> str:
        return what_is_wrong(puzzle, answer, self.size)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[np.float32]:
        return rate(puzzles, self.size)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        return class_key(puzzles, self.size)

    def text(self, shown: Shown, color: bool) -> str:
        return drawing.text(shown, self.size, color)

    def panels(self, shown: Shown) -> list[Panel]:
        return drawing.panels(shown, self.size)

    def board(self, shown: Shown, cell: int) -> Image.Image:
        return drawing.board(shown, self.size, cell)
