"""Where puzzles come from: a source maps keys to puzzles, purely, on the device."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.hashing import below, stream
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays, Symmetry
from hrm_rl.tensors import usable_device

Validator = Callable[..., Tensor]
"""`validator(inputs [B, S], answers [B, S]) -> bool [B]`: whether an answer is right, stored or not.

Three attributes are optional:

- `needs_labels`: if true, it is also called with labels [B, S], for example for a shortest path's length.
- `metrics(inputs, answers, labels) -> dict` of tensors [B]: more figures of the answers, for the info of
  every step. The names must not change between calls, nor be those of `Judgement`.
- `on_host`: if true, for checks that need the host. It is called with labels and with rows (bool [B]): those
  that end at this step with an answer other than the stored one. It may wait for the device and returns False
  on other rows; rows that go on are valid only if correct."""


class Puzzles(NamedTuple):
    """A batch of puzzles on a device."""

    inputs: Tensor  # [B, S] int32
    labels: Tensor  # [B, S] int32; IGNORE_LABEL = not judged
    puzzle_identifiers: Tensor  # [B] int64
    rating: Tensor  # [B] float32; -1 = unrated (NaN, unequal to itself, fails Gymnasium's checker)


class Source(Protocol):
    """Anything that turns keys into puzzles. The same key always gives the same puzzle."""

    vocab_size: int
    seq_len: int
    num_ids: int
    validator: Validator | None

    def draw(self, keys: Tensor, /) -> Puzzles:
        """The puzzles of these keys, int64 [B]. Pure, of static shape, no host synchronisation."""


def check_source(source: Source, rows: int, device: torch.device) -> None:
    """Draw once and check the result: errors in a custom source would show far from it, or not at all.

    Raises ValueError, naming the field, if an attribute is missing or the puzzles of the keys 0 .. rows - 1
    have the wrong type, shape or dtype, or a number out of range.
    """
    named = type(source).__name__
    for name in ("vocab_size", "seq_len", "num_ids", "validator", "draw"):
        if not hasattr(source, name):
            hint = " (None if only the stored answer is right)" if name == "validator" else ""
            raise ValueError(f"the source {named} has no {name}{hint}")
    drawn = source.draw(torch.arange(rows, device=device))
    if not isinstance(drawn, Puzzles):
        raise ValueError(f"{named}.draw must return Puzzles, got {type(drawn).__name__}")
    board, row = (rows, source.seq_len), (rows,)
    tokens, ids = source.vocab_size, source.num_ids
    for name, shape, count in (
        ("inputs", board, tokens),
        ("labels", board, tokens),
        ("puzzle_identifiers", row, ids),
        ("rating", row, None),
    ):
        problem = _problem(name, getattr(drawn, name), shape, count, device)
        if problem:
            raise ValueError(f"{named}.draw: {name} {problem}")


def _problem(
    name: str, values: object, shape: tuple[int, ...], count: int | None, device: torch.device
) -> str | None:
    """What is wrong with a drawn column, if anything; a column of integers has a `count`."""
    if not isinstance(values, Tensor):
        return f"must be a tensor, got {type(values).__name__}"
    if values.device.type != torch.device(device).type:
        return f"must be on the keys' device {device}, got {values.device}"
    if values.shape != shape:
        return f"of {shape[0]} keys must have the shape {shape}, got {tuple(values.shape)}"
    if count is None:
        return None if values.is_floating_point() else f"must be floating-point, got {values.dtype}"
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        return f"must be integers, got {values.dtype}"
    if values.is_meta:  # a trial of shapes has no numbers
        return None
    wrong = (values < 0) | (values >= count)
    also = ""
    if name == "labels":
        wrong &= values != IGNORE_LABEL
        also = f", or {IGNORE_LABEL} for no label"
    return f"hold {int(values[wrong][0])}; they are 0 to {count - 1}{also}" if wrong.any() else None


class _Arrays:
    """Puzzle arrays on a device.

    Raises ValueError for no puzzles, or a `num_ids` that does not count all identifiers.
    """

    def __init__(
        self,
        arrays: PuzzleArrays,
        vocab_size: int,
        *,
        device: torch.device | str = "cpu",
        validator: Validator | None = None,
        num_ids: int | None = None,
    ) -> None:
        if not len(arrays):
            raise ValueError("a source needs at least one puzzle, got none")
        top = int(arrays.puzzle_identifiers.max()) + 1
        if num_ids is not None and num_ids < top:
            raise ValueError(f"num_ids={num_ids}, but the puzzles name identifier {top - 1}")
        self.vocab_size = vocab_size
        self.seq_len = arrays.inputs.shape[1]
        self.num_ids = top if num_ids is None else num_ids
        self.validator = validator
        self.device = usable_device(device)
        self.count = len(arrays)
        rating = torch.as_tensor(arrays.rating, dtype=torch.float32, device=self.device)
        self.table = Puzzles(
            torch.as_tensor(arrays.inputs, dtype=torch.int32, device=self.device),
            torch.as_tensor(arrays.labels, dtype=torch.int32, device=self.device),
            torch.as_tensor(arrays.puzzle_identifiers, dtype=torch.int64, device=self.device),
            torch.where(rating.isnan(), -1.0, rating),
        )

    def rows(self, index: Tensor) -> Puzzles:
        return Puzzles(*(column.index_select(0, index) for column in self.table))


class PoolSource(_Arrays):
    """A pool of puzzles times a symmetry group: a key picks a puzzle and a group element by hash."""

    def __init__(
        self,
        arrays: PuzzleArrays,
        vocab_size: int,
        *,
        symmetry: Symmetry | None = None,
        device: torch.device | str = "cpu",
        validator: Validator | None = None,
        num_ids: int | None = None,
        relations: NDArray[np.int32] | None = None,
    ) -> None:
        super().__init__(arrays, vocab_size, device=device, validator=validator, num_ids=num_ids)
        self.relations = relations
        """How cells are related, [S, S] (see `Family.relations`); None if it is not known."""
        self.permuted_tokens = symmetry.permuted_tokens if symmetry else None
        self.cell_tables = [
            torch.as_tensor(table, dtype=torch.int64, device=self.device)
            for table in (symmetry.cell_tables if symmetry else ())
        ]

    def draw(self, keys: Tensor) -> Puzzles:
        puzzles = self.rows(below(stream(keys, 0), self.count))
        inputs, labels = puzzles.inputs, puzzles.labels
        positions: Tensor | None = None
        for number, table in enumerate(self.cell_tables, start=1):
            chosen = table.index_select(0, below(stream(keys, number), table.shape[0]))  # [B, S]
            positions = chosen if positions is None else positions.gather(1, chosen)
        if positions is not None:
            inputs, labels = inputs.gather(1, positions), labels.gather(1, positions)
        if self.permuted_tokens is not None:
            tokens = self._token_map(keys)
            inputs = tokens.gather(1, inputs.long())
            labels = torch.where(labels == IGNORE_LABEL, labels, tokens.gather(1, labels.clamp_min(0).long()))
        return puzzles._replace(inputs=inputs, labels=labels)

    def _token_map(self, keys: Tensor) -> Tensor:
        """A random permutation of the permuted tokens, the others fixed; int32 [B, V]."""
        assert self.permuted_tokens is not None
        low, high = self.permuted_tokens
        counters = torch.arange(low, high, device=keys.device) + 1000
        order = stream(keys[:, None], counters).argsort(dim=1)  # ranks of hashes: uniform
        identity = torch.arange(self.vocab_size, dtype=torch.int32, device=keys.device)
        tokens = identity.expand(keys.shape[0], -1).clone()
        tokens[:, low:high] = (order + low).int()
        return tokens


class SequentialSource(_Arrays):
    """Puzzles in their order, key by index; keys past the end give padded rows without labels."""

    def draw(self, keys: Tensor) -> Puzzles:
        puzzles = self.rows(keys.clamp(0, self.count - 1))
        past = (keys >= self.count)[:, None]
        return puzzles._replace(labels=torch.where(past, IGNORE_LABEL, puzzles.labels))
