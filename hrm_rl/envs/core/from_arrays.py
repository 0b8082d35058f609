"""Puzzles given as arrays, as a source; every cell is checked."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hrm_rl.envs.core.source import PoolSource, Validator
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry


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
    """A pool of these puzzles; all are drawn equally often.

    Args:
        inputs: integers [N, S], tokens of the questions.
        labels: integers [N, S], tokens of the answers; `IGNORE_LABEL` (-100) in cells without a label.
        vocab_size: tokens are 0 .. vocab_size - 1; by default as many as the arrays need.
        puzzle_identifiers: integers [N], rows of the puzzle embedding; 0 for all by default.
        num_ids: number of identifiers; by default as many as the arrays need.
        rating: numbers [N], a difficulty; NaN if unknown, the default for all.
        symmetry: applied at random to every puzzle drawn.
        validator: `validator(inputs [B, S], answers [B, S]) -> bool [B]` in torch, for puzzles with several
            right answers.
        device: of the pool.

    Raises:
        ValueError: an array of the wrong form; the message names the field and the row.
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
    if vocab_size is None:
        vocab_size = int(max(questions.max(), answers.max(), 0)) + 1
    labelled = answers != IGNORE_LABEL
    _check_tokens("inputs", questions, np.ones_like(labelled), vocab_size)
    _check_tokens("labels", answers, labelled, vocab_size)
    if not labelled.any(axis=1).all():
        row = int(np.argmin(labelled.any(axis=1)))
        raise ValueError(f"labels: row {row} has no label, every cell is {IGNORE_LABEL}")
    if symmetry is not None:
        _check_symmetry(symmetry, cells, vocab_size)
    identifiers = _identifiers(puzzle_identifiers, count, num_ids)
    arrays = PuzzleArrays(questions, answers, identifiers, _ratings(rating, count))  # type: ignore[arg-type]
    return PoolSource(
        arrays,
        vocab_size,
        symmetry=symmetry,
        device=device,
        validator=validator,
        num_ids=num_ids,
    )


def take_pool(inputs: ArrayLike, labels: ArrayLike, settings: dict[str, Any]) -> PoolSource:
    """`source_from_arrays` with its settings, which are removed from `settings`; `device` stays there."""
    names = [name for name in signature(source_from_arrays).parameters if name in settings]
    given = {name: settings[name] if name == "device" else settings.pop(name) for name in names}
    return source_from_arrays(inputs, labels, **given)


def _check_tokens(name: str, array: NDArray[Any], where: NDArray[Any], vocab_size: int) -> None:
    wrong = where & ((array < 0) | (array >= vocab_size))
    if wrong.any():
        row, cell = np.argwhere(wrong)[0]
        also = f" (or {IGNORE_LABEL} for no label)" if name == "labels" else ""
        raise ValueError(
            f"{name}: row {row}, cell {cell} holds {array[row, cell]}; "
            f"tokens are 0 to {vocab_size - 1}{also}"
        )


def _identifiers(values: ArrayLike | None, count: int, num_ids: int | None) -> NDArray[Any]:
    if values is None:
        return np.zeros(count, np.int64)
    identifiers = _vector("puzzle_identifiers", values, count, np.integer)
    limit = np.iinfo(np.int32).max + 1 if num_ids is None else num_ids
    wrong = (identifiers < 0) | (identifiers >= limit)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"puzzle_identifiers: row {row} holds {identifiers[row]}; they are 0 to {limit - 1}"
        )
    return identifiers


def _ratings(values: ArrayLike | None, count: int) -> NDArray[np.float32]:
    if values is None:
        return np.full(count, np.nan, np.float32)
    ratings = _vector("rating", values, count, np.number)
    if np.isinf(ratings).any():
        row = int(np.argmax(np.isinf(ratings)))
        raise ValueError(f"rating: row {row} is {ratings[row]}; NaN stands for unknown")
    return ratings.astype(np.float32)


def _matrix(name: str, values: ArrayLike) -> NDArray[Any]:
    """Integers [N, S]; raises ValueError naming the row that differs."""
    try:
        array = _array(values)
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
    array = _array(values)
    if array.shape != (count,):
        raise ValueError(f"{name} must be [{count}], one a puzzle, got shape {array.shape}")
    if not np.issubdtype(array.dtype, kind):
        wanted = "integers" if kind is np.integer else "numbers"
        raise ValueError(f"{name} must hold {wanted}, got dtype {array.dtype}")
    return array


def _array(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)


def _check_symmetry(symmetry: Symmetry, cells: int, vocab_size: int) -> None:
    acts_on = symmetry.cell_tables[0].shape[1] if symmetry.cell_tables else cells
    if acts_on != cells:
        raise ValueError(f"symmetry acts on {acts_on} cells, the puzzles have {cells}")
    if symmetry.permuted_tokens is not None and symmetry.permuted_tokens[1] > vocab_size:
        raise ValueError(
            f"symmetry permutes tokens up to {symmetry.permuted_tokens[1] - 1}, "
            f"the vocabulary ends at {vocab_size - 1}"
        )
