"""Stored puzzles by split: a CSV divided by class, or a dataset folder, whose test/ is for tests alone."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.family import in_split
from hrm_rl.puzzles.files import csv as family_csv
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.dataset import Dataset, read_dataset
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.training.kind import OWN, PuzzleKind

# Bytes from which on a CSV is read through a cache beside it.
_LARGE_FILE = 16_000_000


@dataclass(frozen=True)
class CsvFile:
    """A file of puzzles, each in the split of its class."""

    path: Path
    kind: PuzzleKind
    puzzles: PuzzleArrays | PuzzleTable

    num_ids = 1

    def __len__(self) -> int:
        return len(self.puzzles)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Which puzzles belong to a split."""
        return np.flatnonzero(self.kind.module.in_split(self._keys, split))

    def take(self, split: str, rows: NDArray[np.int64]) -> PuzzleArrays:
        """Some of them, in memory. Raises ValueError for a Sudoku with several solutions."""
        found = self.puzzles.take(rows)
        if self.kind.family == "sudoku" and len(rows):
            self._refuse_ambiguous(found, rows)
        if found.source is None:
            found = dataclasses.replace(found, source=(self.path.stem,) * len(found))
        return found

    def first(self, count: int | None) -> PuzzleArrays:
        """The first of the file, whatever their split."""
        return self.take("test", np.arange(len(self.puzzles))[:count])

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        return self.kind.class_keys(self.puzzles.inputs)

    def _refuse_ambiguous(self, found: PuzzleArrays, rows: NDArray[np.int64]) -> None:
        size = self.kind.dials["size"]
        several = sudoku.solve(found.inputs, size).solutions_found > 1
        if not several.any():
            return
        if isinstance(self.puzzles, PuzzleTable):
            place = self.puzzles.place(int(rows[np.argmax(several)]))
            raise ValueError(f"{place}, question: this puzzle has several solutions")
        sudoku.read_csv(self.path, size, unique=True)  # says which line


@dataclass(frozen=True)
class Folder:
    """A dataset folder. Its train/ is divided: a sixteenth of its classes (of its groups, where
    puzzles are of no known family) validates, and all others are learned from."""

    path: Path
    kind: PuzzleKind
    opened: dict[str, Dataset] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._part("train"))

    @property
    def num_ids(self) -> int:
        return self._part("train").metadata.num_puzzle_identifiers

    def rows(self, split: str) -> NDArray[np.int64]:
        """Which examples of test/, for the test split, or of train/ belong to a split."""
        if split == "test":
            return np.arange(len(self._part("test")))
        return np.flatnonzero(self._validates if split == "validation" else ~self._validates)

    def take(self, split: str, rows: NDArray[np.int64]) -> PuzzleArrays:
        """Some of them, in memory."""
        found = self._part(split).take(rows)
        return dataclasses.replace(found, source=(self.path.name,) * len(found))

    def rows_of_groups(self, rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
        """Those training rows that belong to `count` groups, chosen at random."""
        groups = _groups(self._part("train"))[rows]
        there = np.unique(groups)
        if len(there) <= count:
            return rows
        chosen = np.random.default_rng(seed).permutation(there)[:count]
        return rows[np.isin(groups, chosen)]

    @cached_property
    def _validates(self) -> NDArray[np.bool_]:
        """Which examples of train/ validate."""
        data = self._part("train")
        if self.kind.family == OWN:
            return _held_out_groups(len(data.group_indices) - 1)[_groups(data)]
        keys = self.kind.class_keys(data.puzzles.inputs)
        held_out: NDArray[np.bool_] = self.kind.module.in_split(keys, "validation")
        return held_out

    def _part(self, split: str) -> Dataset:
        name = "test" if split == "test" else "train"
        if name not in self.opened:
            data = read_dataset(self.path, name)
            shape = data.metadata.vocab_size, data.metadata.seq_len
            self.kind.check_shape(self.path / name, *shape, hint=_TURN)
            self.opened[name] = data
        return self.opened[name]


Stored = CsvFile | Folder


def open_stored(path: str | os.PathLike[str], kind: PuzzleKind) -> Stored:
    """The puzzles of a CSV or a dataset folder, which have to be of a kind.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: anything wrong in it, or puzzles of another shape; names file and line or field.
    """
    path = Path(path)
    if path.is_dir():
        return Folder(path, kind)
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}")
    return CsvFile(path, kind, _read_csv(path, kind))


def _read_csv(path: Path, kind: PuzzleKind) -> PuzzleArrays | PuzzleTable:
    if kind.family == OWN:
        raise ValueError(f"{path}: {kind.words} come as a dataset folder, not as a file")
    if kind.family == "sudoku" or kind.family == "maze":
        size = kind.dials["size"]
        if path.stat().st_size >= _LARGE_FILE:
            return read_csv_cached(path, "maze" if kind.family == "maze" else "sudoku", size)
        puzzles: PuzzleArrays = kind.module.read_csv(path, size)
        return puzzles

    def are_right(puzzles: PuzzleArrays) -> NDArray[np.bool_]:
        top = int(max(puzzles.inputs.max(), puzzles.labels.max())) + 1
        kind.check_shape(path, top, puzzles.seq_len, hint=_TURN)
        found: NDArray[np.bool_] = kind.module.is_valid(
            puzzles.inputs, puzzles.labels, **kind.dials
        )
        return found

    return family_csv.read_csv(path, kind.module.CHARACTERS, are_right)


_TURN = "; say its size (--data.size) or dials (--data.dials), or --data.family own of a folder"


def _groups(data: Dataset) -> NDArray[np.int64]:
    """The group of every example, [N]."""
    puzzles = np.repeat(np.arange(len(data.puzzle_indices) - 1), np.diff(data.puzzle_indices))
    groups = np.repeat(np.arange(len(data.group_indices) - 1), np.diff(data.group_indices))
    return groups[puzzles]


def _held_out_groups(count: int) -> NDArray[np.bool_]:
    """Which of so many groups validate: by their number, and one at the least if there are two."""
    held_out = in_split(np.arange(count), "validation")
    if count > 1 and not held_out.any():
        held_out[-1] = True
    return held_out
