"""Stored puzzles by split: a CSV divided by class, or a dataset folder, whose test/ is for tests alone."""

import contextlib
import dataclasses
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles import CustomPuzzles, sudoku
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.puzzles.family import Family, in_split
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.dataset import Dataset, read_dataset
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.puzzles.maze import Maze
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.data.arc_files import ArcFiles, open_arc
from hrm_rl.training.data_settings import check_folder

# CSV files of at least this many bytes are read through a cache beside them.
_LARGE_FILE = 16_000_000


@dataclass(frozen=True)
class CsvFile:
    """A file of puzzles, each in the split of its class."""

    path: Path
    kind: Family
    puzzles: PuzzleArrays | PuzzleTable

    num_ids = 1

    def __len__(self) -> int:
        return len(self.puzzles)

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split."""
        return np.flatnonzero(self.kind.in_split(self._keys, split))

    def take(self, split: str, rows: NDArray[np.int64]) -> PuzzleArrays:
        """Some of them, in memory. Raises ValueError for a Sudoku with several solutions."""
        found = self.puzzles.take(rows)
        if isinstance(self.kind, Sudoku) and len(rows):
            self._refuse_ambiguous(self.kind.size, found, rows)
        if found.source is None:
            found = dataclasses.replace(found, source=(self.path.stem,) * len(found))
        return found

    def sample(self, split: str, count: int, seed: int) -> PuzzleArrays:
        """At most `count` random puzzles of a split, each once."""
        return self.take(split, _sample(self._distinct(self.rows(split)), count, seed))

    def _distinct(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows without those that repeat an earlier one."""
        _, number, counts = np.unique(self._keys[rows], return_inverse=True, return_counts=True)
        alone = counts[number] == 1
        several = rows[~alone]
        first = np.unique(self.puzzles.inputs[several], axis=0, return_index=True)[1]
        return np.sort(np.concatenate((rows[alone], several[first])))

    def first(self, count: int | None) -> PuzzleArrays:
        """The first of the file, whatever their split."""
        return self.take("test", np.arange(len(self.puzzles))[:count])

    @cached_property
    def _keys(self) -> NDArray[np.uint64]:
        return self.kind.class_key(self.puzzles.inputs)

    def _refuse_ambiguous(self, size: int, found: PuzzleArrays, rows: NDArray[np.int64]) -> None:
        several = sudoku.solve(found.inputs, size).solutions_found > 1
        if not several.any():
            return
        if isinstance(self.puzzles, PuzzleTable):
            place = self.puzzles.place(int(rows[np.argmax(several)]))
            raise ValueError(f"{place}, question: this puzzle has several solutions")
        sudoku.read_csv(self.path, size, unique=True)  # raises, naming the line


@dataclass(frozen=True)
class Folder:
    """A dataset folder. A sixteenth of the classes in train/ (for custom puzzles, of the groups) validates;
    all others are learned from."""

    path: Path
    kind: Family | CustomPuzzles
    opened: dict[str, Dataset] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._part("train"))

    @property
    def num_ids(self) -> int:
        return self._part("train").metadata.num_puzzle_identifiers

    def rows(self, split: str) -> NDArray[np.int64]:
        """The examples of a split: those of test/ for the test split, else some of train/."""
        if split == "test":
            return np.arange(len(self._part("test")))
        return np.flatnonzero(self._validates if split == "validation" else ~self._validates)

    def take(self, split: str, rows: NDArray[np.int64]) -> PuzzleArrays:
        """Some of them, in memory."""
        found = self._part(split).take(rows)
        return dataclasses.replace(found, source=(self.path.name,) * len(found))

    def sample(self, split: str, count: int, seed: int) -> PuzzleArrays:
        """At most `count` random examples of a split; of the training split all examples of random groups."""
        rows = self.rows(split)
        if split != "train":
            return self.take(split, _sample(rows, count, seed))
        groups = _groups(self._part("train"))[rows]
        return self.take(split, rows[np.isin(groups, _sample(np.unique(groups), count, seed))])

    @cached_property
    def _validates(self) -> NDArray[np.bool_]:
        """The examples of train/ that validate, bool [N]."""
        data = self._part("train")
        if isinstance(self.kind, CustomPuzzles):
            return _held_out_groups(len(data.group_indices) - 1)[_groups(data)]
        held_out = np.zeros(len(data), bool)
        held_out[self.kind.rows_of(data.puzzles.inputs, "validation")] = True
        return held_out

    def _part(self, split: str) -> Dataset:
        name = "test" if split == "test" else "train"
        if name not in self.opened:
            data = read_dataset(self.path, name)
            check_folder(self.kind, self.path / name, data.metadata)
            self.opened[name] = data
        return self.opened[name]


Stored = CsvFile | Folder | ArcFiles


def open_stored(
    path: str | os.PathLike[str], kind: Family | CustomPuzzles, most: int | None = None
) -> Stored:
    """The puzzles of a CSV or a dataset folder, which must be of a family; of ARC the first `most` tasks.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: anything wrong in it, or puzzles of another shape; names file and line or field.
    """
    path = Path(path)
    if isinstance(kind, ArcPuzzles):
        return open_arc(path, kind, most)
    if path.is_dir():
        return Folder(path, kind)
    if not path.exists():
        raise FileNotFoundError(f"no file at {path}")
    if isinstance(kind, CustomPuzzles):
        raise ValueError(f"{path}: {kind.words} come as a dataset folder, not as a file")
    if isinstance(kind, (Sudoku, Maze)) and path.stat().st_size >= _LARGE_FILE:
        family: Literal["sudoku", "maze"] = "maze" if isinstance(kind, Maze) else "sudoku"
        with contextlib.suppress(OSError):  # without a place for the cache, read it into memory
            return CsvFile(path, kind, read_csv_cached(path, family, kind.size))
    return CsvFile(path, kind, kind.read_csv(path))


def _sample(rows: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """`count` random rows, or all rows if there are no more."""
    if len(rows) <= count:
        return rows
    return rows[np.random.default_rng(seed).permutation(len(rows))[:count]]


def _groups(data: Dataset) -> NDArray[np.int64]:
    """The group of every example, [N]."""
    puzzles = np.repeat(np.arange(len(data.puzzle_indices) - 1), np.diff(data.puzzle_indices))
    groups = np.repeat(np.arange(len(data.group_indices) - 1), np.diff(data.group_indices))
    return groups[puzzles]


def _held_out_groups(count: int) -> NDArray[np.bool_]:
    """The groups that validate, bool [count], by a hash of their number; at least one of two or more."""
    held_out = in_split(np.arange(count), "validation")
    if count > 1 and not held_out.any():
        held_out[-1] = True
    return held_out
