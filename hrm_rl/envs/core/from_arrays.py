"""Puzzles given as arrays, as a source; every cell is checked."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from hrm_rl.envs.core.source import PoolSource, Validator
from hrm_rl.envs.options import unknown_option
from hrm_rl.puzzles.base.relations import as_relations
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry
from hrm_rl.tensors import below, refuse


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
    relations: ArrayLike | None = None,
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
        relations: integers [S, S], a class for each ordered pair of cells, 0 for unrelated, for a model with
            `relation_bias`: `make_model(config, envs.source.relations)`.
        device: of the pool.

    Raises:
        ValueError: an array of the wrong form; the message names the field and the row.
    """
    questions, answers = _array("inputs", inputs), _array("labels", labels)
    identifiers = _array("puzzle_identifiers", puzzle_identifiers)
    ratings = _array("rating", rating)
    if not questions.size:
        raise ValueError(f"inputs must hold at least one puzzle of one cell, got shape {questions.shape}")
    if rating is not None and not np.issubdtype(ratings.dtype, np.number):
        raise ValueError(f"rating must hold numbers, got dtype {ratings.dtype}")
    arrays = PuzzleArrays(questions, answers, identifiers, ratings)
    # Their values as given: PuzzleArrays keeps 32 bits.
    if vocab_size is None:
        vocab_size = int(max(questions.max(), answers.max(), 0)) + 1
    labelled = answers != IGNORE_LABEL
    known = f"tokens are 0 to {vocab_size - 1}"
    refuse("inputs", questions, ~below(questions, vocab_size), known)
    known += f" (or {IGNORE_LABEL} for no label)"
    refuse("labels", answers, labelled & ~below(answers, vocab_size), known)
    if not labelled.any(axis=1).all():
        row = int(np.argmin(labelled.any(axis=1)))
        raise ValueError(f"labels: row {row} has no label, every cell is {IGNORE_LABEL}")
    if identifiers is not None:
        limit = np.iinfo(np.int32).max + 1 if num_ids is None else num_ids
        wrong = ~below(identifiers, limit)
        refuse("puzzle_identifiers", identifiers, wrong, f"they are 0 to {limit - 1}")
    if ratings is not None:
        refuse("rating", ratings, np.isinf(ratings), "NaN stands for unknown")
    if symmetry is not None:
        _check_symmetry(symmetry, questions.shape[1], vocab_size)
    related = None if relations is None else as_relations(relations, questions.shape[1])
    return PoolSource(
        arrays,
        vocab_size,
        symmetry=symmetry,
        device=device,
        validator=validator,
        num_ids=num_ids,
        relations=related,
    )


def take_pool(
    inputs: ArrayLike, labels: ArrayLike, settings: dict[str, Any], environment: Callable[..., Any]
) -> PoolSource:
    """`source_from_arrays` with its settings, which are removed from `settings`; `device` stays there.

    Raises ValueError for a setting that neither it nor the environment has.
    """
    of_source, of_environment = (signature(f).parameters for f in (source_from_arrays, environment))
    known = [name for name in of_source if name not in ("inputs", "labels", "device")]
    known += [name for name in of_environment if name not in ("num_envs", "source")]
    for name in settings:
        if name not in known:
            raise unknown_option(name, known)
    names = [name for name in of_source if name in settings]
    given = {name: settings[name] if name == "device" else settings.pop(name) for name in names}
    return source_from_arrays(inputs, labels, **given)


def _array(name: str, values: ArrayLike | None) -> Any:
    """The values in NumPy, None if there are none. Raises ValueError naming the row that differs."""
    if values is None:
        return None
    try:
        return np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)
    except ValueError:
        assert isinstance(values, Sequence)
        row = next(i for i, cells in enumerate(values) if np.shape(cells) != np.shape(values[0]))
        raise ValueError(
            f"{name}: row {row} has shape {np.shape(values[row])}, row 0 {np.shape(values[0])}"
        ) from None


def _check_symmetry(symmetry: Symmetry, cells: int, vocab_size: int) -> None:
    acts_on = symmetry.cell_tables[0].shape[1] if symmetry.cell_tables else cells
    if acts_on != cells:
        raise ValueError(f"symmetry acts on {acts_on} cells, the puzzles have {cells}")
    if symmetry.permuted_tokens is not None and symmetry.permuted_tokens[1] > vocab_size:
        raise ValueError(
            f"symmetry permutes tokens up to {symmetry.permuted_tokens[1] - 1}, "
            f"the vocabulary ends at {vocab_size - 1}"
        )
