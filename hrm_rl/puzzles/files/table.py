"""Puzzles that stay on disk: as many as a file has, read a row at a time from memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, row_indices

_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class PuzzleTable:
    """N puzzles of S cells, mostly not in memory; `take` reads some of them.

    Attributes:
        name: of the file or folder they are from.
        inputs: integers [N, S], memory-mapped.
        labels: integers [N, S], memory-mapped; `ignore_label` where nothing is asked.
        puzzle_identifiers: int32 [N], memory-mapped where there are any but 0.
        rating: float32 [N], memory-mapped; NaN where unrated.
        ignore_label: the label that `take` turns into ``IGNORE_LABEL``; None where there is none.
        source_bytes: uint8, the names of all sources in one, UTF-8; None where nobody says.
        source_ends: int64 [N], where each puzzle's name ends in them.
        lines: int32 [N], the line of the file that each puzzle stands in; None where it is no text.
    """

    name: str
    inputs: NDArray[Any]
    labels: NDArray[Any]
    puzzle_identifiers: NDArray[np.int32]
    rating: NDArray[np.float32]
    ignore_label: int | None = None
    source_bytes: NDArray[np.uint8] | None = None
    source_ends: NDArray[np.int64] | None = None
    lines: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def seq_len(self) -> int:
        """Cells a puzzle, S."""
        return int(self.inputs.shape[1])

    def take(self, indices: ArrayLike | slice) -> PuzzleArrays:
        """The puzzles at `indices`, in memory: integers [K], a bool mask [N] or a slice."""
        rows: Any = indices
        if not isinstance(indices, slice):
            rows = row_indices(indices)
            rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.atleast_1d(rows)
        labels = np.array(self.labels[rows], dtype=np.int32)
        if self.ignore_label is not None:
            labels[labels == self.ignore_label] = IGNORE_LABEL
        return PuzzleArrays(
            inputs=np.array(self.inputs[rows], dtype=np.int32),
            labels=labels,
            puzzle_identifiers=np.array(self.puzzle_identifiers[rows], dtype=np.int32),
            rating=np.array(self.rating[rows], dtype=np.float32),
            source=self._sources(rows),
        )

    def arrays(self) -> PuzzleArrays:
        """All of them, in memory: 8 * S bytes a puzzle and more."""
        return self.take(slice(None))

    def chunks(self, rows: int = _CHUNK) -> Iterator[PuzzleArrays]:
        """All of them in order, so many at a time."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    def place(self, row: int) -> str:
        """Where a puzzle stands, for messages: "train.csv, line 7" or "data/train, example 5"."""
        if self.lines is None:
            return f"{self.name}, example {row}"
        return f"{self.name}, line {self.lines[row]}"

    def _sources(self, rows: Any) -> tuple[str, ...] | None:
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


ClassKey = Callable[[NDArray[np.int32]], NDArray[np.uint64]]
"""`class_key(inputs [N, S]) -> uint64 [N]`, a family's with its dials bound."""


def check_disjoint(
    train: PuzzleTable | PuzzleArrays, test: PuzzleTable | PuzzleArrays, class_key: ClassKey
) -> None:
    """ValueError if a puzzle of one class is both trained on and tested on.

    Two puzzles of a class are the same up to the symmetries of their family. The message names the first
    such test puzzle, its counterpart, and their number.

    Args:
        train: puzzles to learn from.
        test: puzzles to be asked.
        class_key: of both; `functools.partial(sudoku.class_key, size=9)`, say.
    """
    seen, asked = _keys(train, class_key), _keys(test, class_key)
    shared = np.isin(asked, seen)
    if not shared.any():
        return
    row = int(np.argmax(shared))
    twin = int(np.argmax(seen == asked[row]))
    raise ValueError(
        f"{_place(test, row, 'test')} is the same puzzle as {_place(train, twin, 'train')}, but for "
        f"symmetry; {int(shared.sum())} of {len(test)} test puzzles are trained on too"
    )


def _keys(puzzles: PuzzleTable | PuzzleArrays, class_key: ClassKey) -> NDArray[np.uint64]:
    if not len(puzzles):
        return np.zeros(0, np.uint64)
    starts = range(0, len(puzzles), _CHUNK)
    return np.concatenate(
        [
            class_key(np.asarray(puzzles.inputs[start : start + _CHUNK], np.int32))
            for start in starts
        ]
    )


def _place(puzzles: PuzzleTable | PuzzleArrays, row: int, name: str) -> str:
    return puzzles.place(row) if isinstance(puzzles, PuzzleTable) else f"{name} puzzle {row}"
