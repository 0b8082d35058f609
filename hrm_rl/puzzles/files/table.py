"""Puzzles that stay on disk, read some rows at a time from memory-mapped arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Puzzles, row_numbers


@dataclass(frozen=True, eq=False)
class PuzzleTable(Puzzles):
    """N puzzles of S cells, mostly not in memory; `take` reads some of them."""

    name: str  # of the file or folder they come from
    inputs: NDArray[Any]  # [N, S] integers
    labels: NDArray[Any]  # [N, S] integers; `ignore_label` in cells without a label
    puzzle_identifiers: NDArray[np.int32]  # [N]
    rating: NDArray[np.float32]  # [N]; NaN for unrated puzzles
    ignore_label: int | None = None  # what `take` turns into IGNORE_LABEL
    source_bytes: NDArray[np.uint8] | None = None  # the names of all sources joined, UTF-8
    source_ends: NDArray[np.int64] | None = None  # [N]: the end of each puzzle's name in them
    lines: NDArray[np.int32] | None = None  # [N]: of each puzzle in its file, if that is a text

    def take(self, indices: ArrayLike | slice) -> PuzzleArrays:
        rows = indices if isinstance(indices, slice) else row_numbers(indices, len(self))
        labels = np.array(self.labels[rows], dtype=np.int32)
        if self.ignore_label is not None:
            labels[labels == self.ignore_label] = IGNORE_LABEL
        return PuzzleArrays(
            inputs=np.array(self.inputs[rows], dtype=np.int32),
            labels=labels,
            puzzle_identifiers=np.array(self.puzzle_identifiers[rows]),
            rating=np.array(self.rating[rows]),
            source=self._sources(rows),
        )

    def place(self, row: int) -> str:
        """Where a puzzle comes from, for messages: "train.csv, line 7" or "data/train, example 5"."""
        if self.lines is None:
            return f"{self.name}, example {row}"
        return f"{self.name}, line {self.lines[row]}"

    def _sources(self, rows: NDArray[np.int64] | slice) -> tuple[str, ...] | None:
        if self.source_bytes is None or self.source_ends is None:
            return None
        places = np.arange(len(self))[rows]
        ends = self.source_ends[places]
        starts = np.where(places > 0, self.source_ends[places - 1], 0)
        names: dict[bytes, str] = {}
        found = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            name = self.source_bytes[start:end].tobytes()
            found.append(names.setdefault(name, name.decode(errors="replace")))
        return tuple(found)


ClassKey = Callable[[NDArray[Any]], NDArray[np.uint64]]
"""`class_key(inputs [N, S]) -> uint64 [N]`: a number that puzzles of one class share."""


def check_disjoint(
    train: PuzzleTable | PuzzleArrays, test: PuzzleTable | PuzzleArrays, class_key: ClassKey
) -> None:
    """Raise ValueError if a class of puzzles is both trained on and tested on.

    Two puzzles of a class are the same up to the symmetries of their family. The message names the first
    such test puzzle, its counterpart, and their number. `class_key` is a family's, `Sudoku(9).class_key`.
    """
    seen, tested = class_key(train.inputs), class_key(test.inputs)
    shared = np.isin(tested, seen)
    if not shared.any():
        return
    row = int(np.argmax(shared))
    twin = int(np.argmax(seen == tested[row]))
    raise ValueError(
        f"{_place(test, row, 'test')} is the same puzzle as {_place(train, twin, 'train')}, but for "
        f"symmetry; {int(shared.sum())} of {len(test)} test puzzles are trained on too"
    )


def _place(puzzles: PuzzleTable | PuzzleArrays, row: int, name: str) -> str:
    return puzzles.place(row) if isinstance(puzzles, PuzzleTable) else f"{name} puzzle {row}"
