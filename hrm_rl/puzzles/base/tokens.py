"""What all families share: checks of token arrays, exact match, row hashes, symmetries of a square, and the
colors of drawings as text.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.counter_rng import fold
from hrm_rl.puzzles.pool import IGNORE_LABEL

FAINT, BOLD, CYAN, RED, RED_UNDERLINED = "2", "1", "36", "1;31", "1;4;31"
"""Looks of text in terminals, as ANSI codes."""


def as_tokens(name: str, values: ArrayLike, cells: int, vocab_size: int | None = None) -> NDArray[np.int32]:
    """`values` as int32 [..., cells]; ValueError for another width or dtype, or a token outside
    0 .. vocab_size - 1, if `vocab_size` is given."""
    array = np.asarray(values)
    if array.ndim == 0 or array.shape[-1] != cells:
        raise ValueError(f"{name} must be [..., {cells}], got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integer tokens, got dtype {array.dtype}")
    if vocab_size is not None and array.size and not (array.min() >= 0 and array.max() < vocab_size):
        wrong = array[(array < 0) | (array >= vocab_size)][0]
        raise ValueError(f"{name} holds token {wrong}; there are 0 to {vocab_size - 1}")
    return np.ascontiguousarray(array, dtype=np.int32)


def as_pair(
    inputs: ArrayLike, answers: ArrayLike, cells: int, vocab_size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Puzzles and answers of one shape [..., cells]; an answer may hold any token."""
    puzzles = as_tokens("inputs", inputs, cells, vocab_size)
    given = as_tokens("answers", answers, cells)
    if given.shape != puzzles.shape:
        raise ValueError(f"answers must have the shape of inputs {puzzles.shape}, got {given.shape}")
    return puzzles, given


def is_exact(labels: ArrayLike, answers: ArrayLike) -> NDArray[np.bool_]:
    """Whether answers equal the labels in all labelled cells: bool [...] for [..., S]."""
    labels, answers = np.asarray(labels), np.asarray(answers)
    if labels.shape != answers.shape:
        raise ValueError(f"answers must have the shape of labels {labels.shape}, got {answers.shape}")
    return ((labels == IGNORE_LABEL) | (labels == answers)).all(axis=-1)


def hash_rows(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """A 64-bit hash of every row of integers [N, S], the order of its cells included: uint64 [N]."""
    return fold(np.full(len(rows), rows.shape[1], np.uint64), *rows.T)


def dihedral(size: int) -> NDArray[np.int64]:
    """The eight rotations and reflections of a square as a cell table: int64 [8, size * size]."""
    grid = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(square, k) for square in (grid, grid.T) for k in range(4)]
    return np.stack([turn.ravel() for turn in turns])


def check_shape(family: Any, where: object, vocab_size: int, seq_len: int, hint: str = "") -> None:
    """Raise ValueError if puzzles of that shape, found in `where`, cannot be of the family."""
    if seq_len != family.seq_len or vocab_size > family.vocab_size:
        raise ValueError(
            f"{where} has {seq_len} cells and {vocab_size} tokens a puzzle, {family.words} has "
            f"{family.seq_len} and {family.vocab_size}: other dials, or another family{hint}"
        )


def paint(text: str, look: str, color: bool = True) -> str:
    """`text` as terminals print it with an ANSI code (none if it is ""), or unchanged without `color`."""
    return f"\x1b[{look}m{text}\x1b[0m" if color and look else text


def cell_name(cell: int, size: int) -> str:
    """Name of a cell of a square in messages, counted from 1: "row 1, column 2" for cell 1."""
    return f"row {cell // size + 1}, column {cell % size + 1}"
