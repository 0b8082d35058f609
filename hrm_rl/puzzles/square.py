"""Families of puzzles on a square: their shape, their symmetries, and their size from a text's length."""

import dataclasses
import math
import os
from functools import cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.board_text import cells_of
from hrm_rl.puzzles.base.dials import range_of
from hrm_rl.puzzles.base.tokens import as_tokens, cell_name, dihedral
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.files.cell_text import CellText
from hrm_rl.puzzles.files.csv import CsvFormat, read_puzzles
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry


class SquareFamily(Family, abstract=True):
    """Puzzles of `size` x `size` cells in reading order; `size` is the first dial."""

    size: int
    written: ClassVar = "a board is a character a cell: on one line, in rows, or in a frame"
    """How `parse` takes a board, for messages."""

    @property
    def seq_len(self) -> int:
        return self.size**2

    @property
    def symmetry(self) -> Symmetry:
        return square_symmetry(self.size)

    @property
    def cell_text(self) -> CellText:
        return CellText(self.characters, cell_name=self._cell_name, board=self.cells)

    def _cell_name(self, cell: int) -> str:
        return f"character {cell + 1} ({cell_name(cell, self.size)})"

    @classmethod
    def of_length(cls, cells: int, size: int | None = None) -> Self:
        """The family whose puzzles have that many cells, the other dials at their defaults.

        Raises ValueError if there is none, or if it is not the family of `size`.
        """
        if size is None:
            size, sizes = math.isqrt(cells), range_of(dataclasses.fields(cls)[0])  # type: ignore[arg-type]
            if size**2 != cells or not sizes.accepts(size):
                words = f"has size * size, with size {sizes.words}"
                raise ValueError(f"{cells} cells; a {cls.__name__} {words}")
        family = cls.with_dials({"size": size})
        if family.seq_len != cells:
            raise ValueError(f"{cells} cells; a {size}x{size} {cls.__name__} has {size**2}")
        return family

    @classmethod
    def parse(cls, text: str, size: int | None = None) -> NDArray[np.int32]:
        """Tokens int32 [S] of a puzzle written with a character a cell, on one line, in rows or as drawn; the
        size follows from their number.

        Raises ValueError for another number than that of a size (of `size`, if it is given), or a character
        that is not a token's.
        """
        try:
            cells = cls.cells(text)
            return cls.of_length(len(cells), size).cell_text.read(cells)
        except ValueError as error:
            raise ValueError(f"{error} ({cls.written})") from None

    @classmethod
    def cells(cls, text: str) -> str:
        """The characters of a board's cells in reading order."""
        return cells_of(text)

    @classmethod
    def to_text(cls, tokens: ArrayLike) -> str:
        """One character a cell, the inverse of `parse`. Raises ValueError for tokens of no puzzle."""
        row = np.asarray(tokens)
        if row.ndim != 1:
            raise ValueError(f"tokens must be [S], got shape {row.shape}")
        family = cls.of_length(row.size)
        row = as_tokens("tokens", row, family.seq_len, family.vocab_size)
        return family.cell_text.write_all(row[None])[0]

    @classmethod
    def read_file(
        cls, path: str | os.PathLike[str], size: int | None = None, limit: int | None = None
    ) -> tuple[PuzzleArrays, NDArray[np.int64]]:
        """The first `limit` puzzles of a CSV file, and their lines; the size is the first question's.

        Raises ValueError for anything wrong in it, naming file, line and field; OSError if it is unreadable.
        """
        if size is not None:
            cls.with_dials({"size": size})  # refused here, and not as a fault of the file

        def format_of(question: str) -> CsvFormat:
            return cls.of_length(len(cls.cells(question)), size).csv_format(path)

        return read_puzzles(path, format_of, limit)


@cache
def square_symmetry(size: int) -> Symmetry:
    """The eight rotations and reflections of a square."""
    return Symmetry((dihedral(size),))
