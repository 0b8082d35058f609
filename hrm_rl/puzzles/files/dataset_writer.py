"""Writing the reference's dataset folders; the format is told in `dataset_folder`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hrm_rl.puzzles.files.metadata import Metadata
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays

_CHUNK = 1 << 16
_BLANK_NAME = "<blank>"


def write_dataset(
    path: str | os.PathLike[str],
    train: PuzzleArrays | PuzzleTable | None = None,
    test: PuzzleArrays | PuzzleTable | None = None,
    *,
    vocab_size: int | None = None,
    ignore_label_id: int | None = 0,
    groups: Mapping[str, ArrayLike] | None = None,
    identifiers: Sequence[str] | None = None,
) -> None:
    """Writes a folder that the reference can train on, and that `read_dataset` gives back.

    Rows that follow each other under one identifier above 0 are examples of one puzzle; every other row
    is a puzzle of its own. Ratings go into a file beside (``all__rating.npy``), which the reference does
    not look at; sources are not kept. The folder appears whole or not at all.

    Args:
        path: the folder to make.
        train: the training puzzles.
        test: the test puzzles; one of both may be missing.
        vocab_size: number of tokens; None is one more than the largest there is.
        ignore_label_id: what stands for ``IGNORE_LABEL``: no label may be that token. None where every
            cell is asked.
        groups: by split, an integer a row: rows of one group follow each other. By default every puzzle
            is its own group.
        identifiers: names of the puzzle identifiers, the first for identifier 0.

    Raises:
        ValueError: `path` exists and is not empty, nothing to write, or puzzles that do not fit the
            format or each other (says which).
        OSError: the folder cannot be written.
    """
    root = Path(path)
    splits = {name: p for name, p in (("train", train), ("test", test)) if p is not None}
    if not splits or not all(map(len, splits.values())):
        raise ValueError("there is nothing to write: give puzzles to train, test or both")
    unknown = sorted(set(groups or ()) - set(splits))
    if unknown:
        raise ValueError(f"groups of {unknown[0]!r}, which is not written")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} exists already; name a new folder")
    lengths = sorted({puzzles.seq_len for puzzles in splits.values()})
    if len(lengths) > 1:
        raise ValueError(f"train and test must have the same number of cells, got {lengths}")
    top = max(
        int(max(part.inputs.max(), part.labels.max()))
        for puzzles in splits.values()
        for part in _parts(puzzles)
    )
    ids = 1 + max(int(puzzles.puzzle_identifiers.max()) for puzzles in splits.values())
    if identifiers is not None and len(identifiers) < ids:
        raise ValueError(f"{len(identifiers)} names for {ids} puzzle identifiers")
    names = (
        list(identifiers)
        if identifiers is not None
        else [_BLANK_NAME, *(f"puzzle-{number}" for number in range(1, ids))]
    )
    vocabulary = top + 1 if vocab_size is None else vocab_size
    building = root.with_name(f".{root.name}.{os.getpid()}.tmp")
    try:
        for split, puzzles in splits.items():
            (building / split).mkdir(parents=True)
            group = None if groups is None else groups.get(split)
            shape = _Shape(vocabulary, ignore_label_id, len(names))
            _write_split(building / split, split, puzzles, shape, group)
        (building / "identifiers.json").write_text(json.dumps(names), encoding="utf-8")
        os.replace(building, root)
    finally:
        shutil.rmtree(building, ignore_errors=True)


@dataclass(frozen=True)
class _Shape:
    vocab_size: int
    ignore_label_id: int | None
    identifiers: int


def _parts(puzzles: PuzzleArrays | PuzzleTable) -> Iterator[PuzzleArrays]:
    for start in range(0, len(puzzles), _CHUNK):
        yield puzzles.take(slice(start, start + _CHUNK))


def _write_split(
    folder: Path,
    split: str,
    puzzles: PuzzleArrays | PuzzleTable,
    shape: _Shape,
    groups: ArrayLike | None,
) -> None:
    count, ignored = len(puzzles), shape.ignore_label_id
    small = shape.vocab_size <= 256 and (ignored is None or 0 <= ignored < 256)
    files = {
        name: np.lib.format.open_memmap(
            folder / f"all__{name}.npy",
            mode="w+",
            dtype=np.uint8 if small else np.int32,
            shape=(count, puzzles.seq_len),
        )
        for name in ("inputs", "labels")
    }
    row = 0
    for part in _parts(puzzles):
        hidden = part.labels == IGNORE_LABEL
        if ignored is None and hidden.any():
            raise ValueError(f"{split} puzzles have cells that are not asked: give ignore_label_id")
        for name, tokens in (("inputs", part.inputs), ("labels", part.labels)):
            wrong = (tokens < 0) | (tokens >= shape.vocab_size)
            if name == "labels":
                wrong = (wrong | (tokens == ignored)) & ~hidden
            if wrong.any():
                at = row + int(np.argmax(wrong.any(axis=1)))
                reason = f"ignore_label_id is {ignored}, vocab_size {shape.vocab_size}"
                raise ValueError(f"{name} of {split} puzzle {at} hold {tokens[wrong][0]}; {reason}")
        files["inputs"][row : row + len(part)] = part.inputs
        files["labels"][row : row + len(part)] = np.where(hidden, ignored or 0, part.labels)
        row += len(part)
    for file in files.values():
        file.flush()

    ids = np.asarray(puzzles.puzzle_identifiers)
    if ids.min() < 0:
        raise ValueError(f"{split} puzzles have the identifier {ids.min()}")
    begins = np.ones(count, bool)
    begins[1:] = (ids[1:] != ids[:-1]) | (ids[1:] == 0)
    group_begins = begins
    if groups is not None:
        numbers = np.asarray(groups)
        if numbers.shape != (count,):
            raise ValueError(f"groups of {split} must be [{count}], got {list(numbers.shape)}")
        group_begins = np.ones(count, bool)
        group_begins[1:] = numbers[1:] != numbers[:-1]
        if len(np.unique(numbers)) != group_begins.sum() or (group_begins & ~begins).any():
            raise ValueError(f"groups of {split}: rows of a group, and of a puzzle, stand together")
    starts = np.flatnonzero(begins)
    of_group = np.searchsorted(starts, np.flatnonzero(group_begins))
    arrays = {
        "puzzle_identifiers": ids[starts],
        "puzzle_indices": np.append(starts, count),
        "group_indices": np.append(of_group, len(starts)),
    }
    for name, values in arrays.items():
        np.save(folder / f"all__{name}.npy", values.astype(np.int32))
    if not np.isnan(puzzles.rating).all():
        np.save(folder / "all__rating.npy", np.asarray(puzzles.rating, np.float32))
    metadata = Metadata(
        seq_len=puzzles.seq_len,
        vocab_size=shape.vocab_size,
        pad_id=0,
        ignore_label_id=ignored,
        blank_identifier_id=0,
        num_puzzle_identifiers=shape.identifiers,
        total_groups=len(of_group),
        mean_puzzle_examples=count / len(starts),
        sets=("all",),
    )
    (folder / "dataset.json").write_text(json.dumps(asdict(metadata)), encoding="utf-8")
