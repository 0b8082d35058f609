"""Writing the reference's dataset folders; `hrm_rl.puzzles.files.dataset` describes the format."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.files import write_text, written_whole
from hrm_rl.puzzles.base.relations import as_relations
from hrm_rl.puzzles.files.metadata import Metadata
from hrm_rl.puzzles.files.table import PuzzleTable
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays

_BLANK_NAME = "<blank>"
RELATIONS_FILE = "relations.npy"


def write_dataset(
    path: str | os.PathLike[str],
    train: PuzzleArrays | PuzzleTable | None = None,
    test: PuzzleArrays | PuzzleTable | None = None,
    *,
    vocab_size: int | None = None,
    ignore_label_id: int | None = 0,
    groups: Mapping[str, ArrayLike] | None = None,
    identifiers: Sequence[str] | None = None,
    relations: ArrayLike | None = None,
) -> None:
    """Write a folder that the reference can train on and `read_dataset` reads.

    Consecutive rows of one identifier above 0 are examples of one puzzle; every other row is a puzzle of
    its own. Ratings go into an additional file (``all__rating.npy``), which the reference ignores; sources
    are not kept. The folder appears whole or not at all.

    Args:
        path: the folder to make.
        train: the puzzles to train on; None writes none.
        test: the puzzles to test on; None writes none.
        vocab_size: number of tokens; None is one more than the largest.
        ignore_label_id: written for ``IGNORE_LABEL``: no label may be that token. None if every cell has a
            label.
        groups: by split, one integer a row; rows of one group follow each other. By default every puzzle
            is its own group.
        identifiers: names of the puzzle identifiers, the first for identifier 0.
        relations: a class for each ordered pair of cells, integers [S, S] (``relations.npy``, which the
            reference ignores), for a model with `relation_bias`.

    Raises ValueError if `path` exists and is not empty, there are no puzzles, or they do not fit the format
    or each other (the message names the fault); OSError if the folder cannot be written.
    """
    root = Path(path)
    splits = {name: p for name, p in (("train", train), ("test", test)) if p is not None}
    _check_request(root, splits, groups or {})
    top = max(
        int(max(part.inputs.max(), part.labels.max()))
        for puzzles in splits.values()
        for part in puzzles.chunks()
    )
    ids = 1 + max(int(puzzles.puzzle_identifiers.max()) for puzzles in splits.values())
    if identifiers is not None and len(identifiers) < ids:
        raise ValueError(f"{len(identifiers)} names for {ids} puzzle identifiers")
    names = list(identifiers or [_BLANK_NAME, *(f"puzzle-{number}" for number in range(1, ids))])
    metadata = Metadata(
        seq_len=next(iter(splits.values())).seq_len,
        vocab_size=top + 1 if vocab_size is None else vocab_size,
        pad_id=0,
        ignore_label_id=ignore_label_id,
        blank_identifier_id=0,
        num_puzzle_identifiers=len(names),
        total_groups=0,  # of each split, like the next
        mean_puzzle_examples=0,
        sets=("all",),
    )
    related = None if relations is None else as_relations(relations, metadata.seq_len)
    with written_whole(root) as building:
        for split, puzzles in splits.items():
            (building / split).mkdir(parents=True)
            _write_split(building / split, split, puzzles, metadata, (groups or {}).get(split))
        write_text(building / "identifiers.json", json.dumps(names))
        if related is not None:
            np.save(building / RELATIONS_FILE, related)


def _check_request(
    root: Path, splits: Mapping[str, PuzzleArrays | PuzzleTable], groups: Mapping[str, ArrayLike]
) -> None:
    if not splits or not all(map(len, splits.values())):
        raise ValueError("there is nothing to write: give puzzles to train, test or both")
    unknown = sorted(set(groups) - set(splits))
    if unknown:
        raise ValueError(f"groups of {unknown[0]!r}, but no such puzzles are given")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{root} already exists and is not empty; choose another folder")
    lengths = sorted({puzzles.seq_len for puzzles in splits.values()})
    if len(lengths) > 1:
        raise ValueError(f"train and test must have the same number of cells, got {lengths}")


def _write_split(
    folder: Path,
    split: str,
    puzzles: PuzzleArrays | PuzzleTable,
    metadata: Metadata,
    groups: ArrayLike | None,
) -> None:
    _write_tokens(folder, split, puzzles, metadata)
    ids = np.asarray(puzzles.puzzle_identifiers)
    if ids.min() < 0:
        raise ValueError(f"{split} puzzles have the identifier {ids.min()}")
    begins = np.ones(len(ids), bool)
    begins[1:] = (ids[1:] != ids[:-1]) | (ids[1:] == 0)
    group_begins = begins if groups is None else _group_begins(split, np.asarray(groups), begins)
    starts = np.flatnonzero(begins)
    of_group = np.searchsorted(starts, np.flatnonzero(group_begins))
    arrays = {
        "puzzle_identifiers": ids[starts],
        "puzzle_indices": np.append(starts, len(ids)),
        "group_indices": np.append(of_group, len(starts)),
    }
    for name, values in arrays.items():
        np.save(folder / f"all__{name}.npy", values.astype(np.int32))
    if not np.isnan(puzzles.rating).all():
        np.save(folder / "all__rating.npy", np.asarray(puzzles.rating, np.float32))
    mean = len(ids) / len(starts)
    about = asdict(replace(metadata, total_groups=len(of_group), mean_puzzle_examples=mean))
    write_text(folder / "dataset.json", json.dumps(about))


def _group_begins(split: str, groups: NDArray[Any], begins: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows are the first of their group, given those that are the first of their puzzle."""
    if groups.shape != begins.shape:
        raise ValueError(f"groups of {split} must be [{len(begins)}], got {list(groups.shape)}")
    first = np.ones(len(groups), bool)
    first[1:] = groups[1:] != groups[:-1]
    if len(np.unique(groups)) != first.sum() or (first & ~begins).any():
        raise ValueError(f"groups of {split}: rows of a group, and of a puzzle, stand together")
    return first


def _write_tokens(folder: Path, split: str, puzzles: PuzzleArrays | PuzzleTable, metadata: Metadata) -> None:
    """The files of inputs and labels; ValueError for a token that the format cannot hold."""
    ignored = metadata.ignore_label_id
    small = metadata.vocab_size <= 256 and (ignored is None or 0 <= ignored < 256)
    files = {
        name: np.lib.format.open_memmap(
            folder / f"all__{name}.npy",
            mode="w+",
            dtype=np.uint8 if small else np.int32,
            shape=(len(puzzles), puzzles.seq_len),
        )
        for name in ("inputs", "labels")
    }
    row = 0
    for part in puzzles.chunks():
        hidden = part.labels == IGNORE_LABEL
        if ignored is None and hidden.any():
            raise ValueError(f"{split} puzzles have cells without a label: give ignore_label_id")
        for name, tokens in (("inputs", part.inputs), ("labels", part.labels)):
            wrong = (tokens < 0) | (tokens >= metadata.vocab_size)
            if name == "labels":
                wrong = (wrong | (tokens == ignored)) & ~hidden
            if wrong.any():
                at = row + int(np.argmax(wrong.any(axis=1)))
                reason = f"ignore_label_id is {ignored}, vocab_size {metadata.vocab_size}"
                raise ValueError(f"{name} of {split} puzzle {at} hold {tokens[wrong][0]}; {reason}")
        files["inputs"][row : row + len(part)] = part.inputs
        files["labels"][row : row + len(part)] = np.where(hidden, ignored or 0, part.labels)
        row += len(part)
    for file in files.values():
        file.flush()
