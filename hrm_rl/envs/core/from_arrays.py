"""Anybody's own puzzles as a source: arrays in, checked to the cell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hrm_rl.envs.core.source import PoolSource, Validator
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry

POOL_SETTINGS = (
    "vocab_size",
    "puzzle_identifiers",
    "num_ids",
    "rating",
    "symmetry",
    "validator",
)
"""What `source_from_arrays` takes beside the puzzles and a device."""


def source_from_arrays(
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    vocab_size: int | None = None,
    puzzle_identifiers: ArrayLike | None = None,
    num_ids: int | None = None,
    rating: ArrayLike | None = None,
    symmetry: Symmetry | None = None,
    validator: Validator | None = None,
    device: torch.device | str = "cpu",
) -> PoolSource:
    """A pool of these puzzles; each is drawn as likely as another.

    Args:
        inputs: integers [N, S], tokens of the questions.
        labels: integers [N, S], tokens of the answers; `IGNORE_LABEL` (-100) where nothing is asked.
        vocab_size: tokens are 0 .. vocab_size - 1; by default as many as the arrays need.
        puzzle_identifiers: integers [N], rows of the puzzle embedding; 0 for all by default.
        num_ids: how many identifiers there are; by default as many as the arrays need.
        rating: numbers [N], a difficulty; NaN, or None for all, where it is not known.
        symmetry: applied at random to every puzzle drawn.
        validator: `validator(inputs [B, S], answers [B, S]) -> bool [B]` in torch, for puzzles with several
            right answers.
        device: where the pool lies.

    Raises:
        ValueError: an array of another form; the message names the field, and the row where one is wrong.
    """
    questions = _matrix("inputs", inputs)
    answers = _matrix("labels", labels)
    count, cells = questions.shape
    if not count or not cells:
        raise ValueError(f"inputs must hold at least one puzzle of one cell, got {count} x {cells}")
    if answers.shape != questions.shape:
        raise ValueError(
            f"labels must have the shape of inputs {questions.shape}, got {answers.shape}"
        )
    asked = answers != IGNORE_LABEL
    if vocab_size is None:
        vocab_size = int(max(questions.max(), answers.max(), 0)) + 1
    every = np.ones_like(asked)
    for name, array, where in (("inputs", questions, every), ("labels", answers, asked)):
        wrong = where & ((array < 0) | (array >= vocab_size))
        if wrong.any():
            row, cell = np.argwhere(wrong)[0]
            also = f" (or {IGNORE_LABEL} where nothing is asked)" if name == "labels" else ""
            raise ValueError(
                f"{name}: row {row}, cell {cell} holds {array[row, cell]}; "
                f"tokens are 0 to {vocab_size - 1}{also}"
            )
    if not asked.any(axis=1).all():
        row = int(np.argmin(asked.any(axis=1)))
        raise ValueError(f"labels: row {row} asks for nothing, every cell is {IGNORE_LABEL}")
    if symmetry is not None:
        _check_symmetry(symmetry, cells, vocab_size)
    identifiers = np.zeros(count, np.int64)
    if puzzle_identifiers is not None:
        identifiers = _vector("puzzle_identifiers", puzzle_identifiers, count, np.integer)
        limit = np.iinfo(np.int32).max + 1 if num_ids is None else num_ids
        wrong = (identifiers < 0) | (identifiers >= limit)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"puzzle_identifiers: row {row} holds {identifiers[row]}; they are 0 to {limit - 1}"
            )
    ratings = np.full(count, np.nan)
    if rating is not None:
        ratings = _vector("rating", rating, count, np.number)
        if np.isinf(ratings).any():
            row = int(np.argmax(np.isinf(ratings)))
            raise ValueError(f"rating: row {row} is {ratings[row]}; NaN stands for not known")
    arrays = PuzzleArrays(questions, answers, identifiers, ratings.astype(np.float32))  # type: ignore[arg-type]
    return PoolSource(
        arrays,
        vocab_size,
        symmetry=symmetry,
        device=device,
        validator=validator,
        num_ids=num_ids,
    )


def _matrix(name: str, values: ArrayLike) -> NDArray[Any]:
    """Integers [N, S]; ValueError naming the row that is none."""
    try:
        array = np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)
    except ValueError:
        assert isinstance(values, Sequence)
        row = next(i for i, cells in enumerate(values) if np.shape(cells) != np.shape(values[0]))
        raise ValueError(
            f"{name}: row {row} has shape {np.shape(values[row])}, row 0 {np.shape(values[0])}"
        ) from None
    if array.ndim != 2:
        raise ValueError(f"{name} must be [N, S], a puzzle a row, got shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integer tokens, got dtype {array.dtype}")
    return array


def _vector(name: str, values: ArrayLike, count: int, kind: type) -> NDArray[Any]:
    """Numbers [N], one a puzzle."""
    array = np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)
    if array.shape != (count,):
        raise ValueError(f"{name} must be [{count}], one a puzzle, got shape {array.shape}")
    if not np.issubdtype(array.dtype, kind):
        wanted = "integers" if kind is np.integer else "numbers"
        raise ValueError(f"{name} must hold {wanted}, got dtype {array.dtype}")
    return array


def _check_symmetry(symmetry: Symmetry, cells: int, vocab_size: int) -> None:
    acts_on = symmetry.cell_tables[0].shape[1] if symmetry.cell_tables else cells
    if acts_on != cells:
        raise ValueError(f"symmetry acts on {acts_on} cells, the puzzles have {cells}")
    if symmetry.permuted_tokens is not None and symmetry.permuted_tokens[1] > vocab_size:
        raise ValueError(
            f"symmetry permutes tokens up to {symmetry.permuted_tokens[1] - 1}, "
            f"the vocabulary ends at {vocab_size - 1}"
        )
