"""The reference's dataset folders, read and written (`dataset/common.py`, `puzzle_dataset.py` there).

    data/train/dataset.json                 sizes of the set, see `Metadata`
    data/train/all__inputs.npy              integers [N, S]: one row an example
    data/train/all__labels.npy              integers [N, S]
    data/train/all__puzzle_indices.npy      [P + 1]: puzzle p's examples are p's entry up to the next
    data/train/all__puzzle_identifiers.npy  [P]: the row of the puzzle embedding
    data/train/all__group_indices.npy       [G + 1]: group g's puzzles, likewise
    data/test/...                           the same
    data/identifiers.json                   a name for each identifier

A puzzle may have several examples (ARC's pairs), and a group several puzzles (a puzzle and its augmented
copies). In training the reference takes the groups in random order, one random puzzle from each, and that
puzzle's examples in random order, until a batch is full; it drops the examples that do not fit, and the
last batch if it is not full. So every group counts the same, however many copies it has. `Dataset.epoch`
gives that order. A test covers every example once, in order.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.relations import as_relations
from hrm_rl.puzzles.files.dataset_writer import RELATIONS_FILE, write_dataset
from hrm_rl.puzzles.files.metadata import Metadata, read_json_file, read_metadata, refuse
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.puzzles.pool import CHUNK, PuzzleArrays
from hrm_rl.stored.npy import read_npy

__all__ = ["Dataset", "Metadata", "read_dataset", "write_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """One set of a split; its examples are memory-mapped."""

    metadata: Metadata
    puzzles: PuzzleTable  # the N examples
    puzzle_indices: NDArray[np.int64]  # [P + 1]: the first example of each puzzle, and N
    group_indices: NDArray[np.int64]  # [G + 1]: the first puzzle of each group, and P
    identifiers: tuple[str, ...] | None  # of puzzles, by number; None without identifiers.json

    def __len__(self) -> int:
        return len(self.puzzles)

    def take(self, rows: ArrayLike | slice) -> PuzzleArrays:
        """Some examples, in memory: see `PuzzleTable.take`."""
        return self.puzzles.take(rows)

    def arrays(self) -> PuzzleArrays:
        """All examples, in memory. A pool of them weighs examples equally, not groups: see `epoch`."""
        return self.puzzles.arrays()

    def epoch(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of one epoch of training, int64 [K]: a random puzzle from every group, in random order.

        All examples of a puzzle stand together, in random order.
        """
        groups = rng.permutation(len(self.group_indices) - 1)
        first, last = self.group_indices[groups], self.group_indices[groups + 1]
        chosen = rng.integers(first, last)
        starts, sizes = self.puzzle_indices[chosen], np.diff(self.puzzle_indices)[chosen]
        turn = np.repeat(np.arange(len(groups)), sizes)
        rows = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes - starts, sizes)
        return rows[np.lexsort((rng.random(len(rows)), turn))]


def read_dataset(
    path: str | os.PathLike[str], split: str = "train", *, set_name: str | None = None
) -> Dataset:
    """Open a split of a dataset folder and check all of it, each token too; its arrays stay on disk.

    A split is "train", "test" or another subfolder. `set_name` is one of several sets; None is the only one.
    Raises ValueError for a file that is missing, truncated or malformed, naming file and field;
    FileNotFoundError without a folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"no dataset folder at {root}")
    folder = root / split
    metadata = read_metadata(folder / "dataset.json")
    set_name = _set_name(folder, metadata.sets, set_name)

    def file(field: str) -> Path:
        return folder / f"{set_name}__{field}.npy"

    inputs, labels = _array(file("inputs"), 2), _array(file("labels"), 2)
    for field, array in (("inputs", inputs), ("labels", labels)):
        if array.shape != (len(inputs), metadata.seq_len):
            wanted = f"[{len(inputs)}, {metadata.seq_len}]"
            refuse(file(field), f"has shape {list(array.shape)}, should be {wanted} (seq_len)")
    groups = _array(file("group_indices"), 1).astype(np.int64)
    starts = _array(file("puzzle_indices"), 1).astype(np.int64)
    identifiers = _array(file("puzzle_identifiers"), 1)
    _check_indices(file("puzzle_indices"), starts, len(inputs), "examples")
    _check_indices(file("group_indices"), groups, len(starts) - 1, "puzzles")
    ids = metadata.num_puzzle_identifiers
    _check_identifiers(file("puzzle_identifiers"), identifiers, len(starts) - 1, ids)
    if len(metadata.sets) == 1 and len(groups) - 1 != metadata.total_groups:
        reason = f"total_groups is {metadata.total_groups}, group_indices has {len(groups) - 1}"
        refuse(folder / "dataset.json", reason)
    _check_tokens(file("inputs"), inputs, metadata.vocab_size, None)
    _check_tokens(file("labels"), labels, metadata.vocab_size, metadata.ignore_label_id)
    return Dataset(
        metadata=metadata,
        puzzles=PuzzleTable(
            name=str(folder),
            inputs=inputs,
            labels=labels,
            puzzle_identifiers=np.repeat(identifiers.astype(np.int32), np.diff(starts)),
            rating=_rating(file("rating"), len(inputs)),
            ignore_label=metadata.ignore_label_id,
        ),
        puzzle_indices=starts,
        group_indices=groups,
        identifiers=_names(root / "identifiers.json", ids),
    )


def read_relations(path: str | os.PathLike[str], cells: int) -> NDArray[np.int32] | None:
    """The relations of a dataset folder's cells, int32 [cells, cells]; None if it has none.

    Raises ValueError naming the file if it is damaged, or not of that shape.
    """
    file = Path(path) / RELATIONS_FILE
    if not file.exists():
        return None
    array = _array(file, 2)
    try:
        return as_relations(array, cells)
    except ValueError as error:
        refuse(file, str(error))


def _set_name(folder: Path, sets: tuple[str, ...], name: str | None) -> str:
    if name is None and len(sets) > 1:
        raise ValueError(f"{folder} has the sets {', '.join(sets)}: choose one with set_name")
    if name is not None and name not in sets:
        raise ValueError(f"{folder} has no set {name!r}, but {', '.join(sets)}")
    return sets[0] if name is None else name


def _array(file: Path, dimensions: int, kind: type = np.integer) -> NDArray[Any]:
    try:
        array = read_npy(file, mapped=True)
    except FileNotFoundError:
        refuse(file, "is missing")
    except (ValueError, OSError) as error:
        refuse(file, str(error).removeprefix("it ").removeprefix(f"{file} "))
    if not np.issubdtype(array.dtype, kind) or array.ndim != dimensions or not array.size:
        name = "integers" if kind is np.integer else "numbers"
        shape = "[N, S]" if dimensions == 2 else "[N]"
        got = f"{array.dtype} {list(array.shape)}"
        refuse(file, f"should hold {name} {shape}, at least one; holds {got}")
    return array


def _check_indices(file: Path, indices: NDArray[np.int64], end: int, of: str) -> None:
    if indices[0] != 0:
        refuse(file, f"begins with {indices[0]}, should begin with 0")
    falling = np.flatnonzero(indices[1:] <= indices[:-1])
    if len(falling):
        at = int(falling[0]) + 1
        refuse(file, f"is not increasing: entry {at} is {indices[at]} after {indices[at - 1]}")
    if indices[-1] != end or len(indices) < 2:
        refuse(file, f"ends with {indices[-1]}, but there are {end} {of}")


def _check_identifiers(file: Path, identifiers: NDArray[Any], puzzles: int, ids: int) -> None:
    if len(identifiers) != puzzles:
        refuse(file, f"has {len(identifiers)} entries, puzzle_indices has {puzzles} puzzles")
    wrong = (identifiers < 0) | (identifiers >= ids)
    if wrong.any():
        refuse(file, f"holds {identifiers[wrong][0]}; num_puzzle_identifiers is {ids}")


def _check_tokens(file: Path, tokens: NDArray[Any], vocab_size: int, ignored: int | None) -> None:
    for start in range(0, len(tokens), CHUNK):
        part = np.asarray(tokens[start : start + CHUNK])
        wrong = (part < 0) | (part >= vocab_size)
        if ignored is not None:
            wrong &= part != ignored
        if wrong.any():
            row = start + int(np.argmax(wrong.any(axis=1)))
            refuse(file, f"example {row} has token {part[wrong][0]}; vocab_size is {vocab_size}")


def _rating(file: Path, count: int) -> NDArray[np.float32]:
    """Our addition to the reference's files; NaN without one."""
    if not file.exists():
        return np.broadcast_to(np.float32("nan"), count)
    rating = _array(file, 1, np.floating)
    if len(rating) != count:
        refuse(file, f"has {len(rating)} entries, there are {count} examples")
    return rating


def _names(file: Path, count: int) -> tuple[str, ...] | None:
    if not file.exists():
        return None
    names = read_json_file(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        refuse(file, "should be a list of names")
    if len(names) != count:
        refuse(file, f"has {len(names)} names; num_puzzle_identifiers is {count}")
    return tuple(names)
