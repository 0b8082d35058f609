"""Custom puzzles: of no family here, known by their shape alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hrm_rl.puzzles.pool import PuzzleArrays


@dataclass(frozen=True)
class CustomPuzzles:
    """Puzzles that come from a dataset folder, with the attributes of a family that their shape gives."""

    vocab_size: int
    """Number of tokens, PAD = 0 included."""
    seq_len: int
    """Cells of a puzzle."""

    name: ClassVar = "custom"
    symmetry: ClassVar = None
    augmentation: ClassVar = None
    picture: ClassVar = None

    @property
    def source_name(self) -> str:
        """As banks name them."""
        return self.name

    @property
    def words(self) -> str:
        """As messages call them: "puzzles of 30 cells and 12 tokens"."""
        return f"puzzles of {self.seq_len} cells and {self.vocab_size} tokens"

    def generate(
        self, count: int, *, seed: int = 0, split: str | None = None, rate: bool = False
    ) -> PuzzleArrays:
        """Raises ValueError: there is no generator."""
        raise ValueError(f"{self.words} can only come from a dataset folder")
