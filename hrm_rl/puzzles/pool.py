"""Pools of puzzles, and the symmetries that map puzzles to puzzles.

Both are frozen records of NumPy arrays. Environments, trainers and files read them and know no family by
name; families make them and know none of their readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

IGNORE_LABEL = -100
"""Label of a cell that is neither learned nor judged (the reference's ``IGNORE_LABEL_ID``)."""
CHUNK = 1 << 16  # puzzles read at a time


def _as_int32(name: str, values: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, got dtype {array.dtype}")
    kept = np.ascontiguousarray(array, dtype=np.int32)
    if not np.can_cast(array.dtype, np.int32) and (kept != array).any():
        raise ValueError(f"{name} holds {np.atleast_1d(array)[kept != array][0]}, which does not fit 32 bits")
    return kept


def row_numbers(indices: ArrayLike | slice, count: int) -> NDArray[np.int64]:
    """The rows that integers [K], a bool mask [count] or a slice select; an empty list selects none."""
    if isinstance(indices, slice):
        return np.arange(*indices.indices(count))
    array = np.asarray(indices)
    if array.dtype == np.bool_:
        return np.arange(count)[array]
    return np.atleast_1d(array.astype(np.int64) if array.size == 0 else array)


class Puzzles:
    """N puzzles of S cells, in memory or not; `take` reads some of them."""

    inputs: NDArray[np.integer[Any]]
    """[N, S]; a subclass without it overrides the length and `seq_len`."""

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    @property
    def seq_len(self) -> int:
        """Cells a puzzle, S."""
        return int(self.inputs.shape[1])

    def take(self, indices: ArrayLike | slice) -> PuzzleArrays:
        """The puzzles at `indices`, in memory: integers [K], a bool mask [N] or a slice."""
        raise NotImplementedError

    def arrays(self) -> PuzzleArrays:
        """All puzzles, in memory: 8 * S bytes a puzzle and more."""
        return self.take(slice(None))

    def chunks(self, rows: int = CHUNK) -> Iterator[PuzzleArrays]:
        """All puzzles in order, `rows` at a time."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))


@dataclass(frozen=True, eq=False)
class PuzzleArrays(Puzzles):
    """A pool of N puzzles of one family, S cells each.

    Raises ValueError for shapes that do not fit each other, or tokens that are not integers.
    """

    inputs: NDArray[np.int32]
    """[N, S]: the puzzle's tokens."""
    labels: NDArray[np.int32]
    """[N, S]: the solution's tokens; ``IGNORE_LABEL`` in cells without a label."""
    # None is only ever an argument: the attributes of a pool are arrays.
    puzzle_identifiers: NDArray[np.int32] = None  # type: ignore[assignment]
    """[N]: the row of the puzzle embedding; by default 0."""
    rating: NDArray[np.float32] = None  # type: ignore[assignment]
    """[N]: difficulty in the family's unit; NaN for unrated puzzles, the default."""
    source: tuple[str, ...] | None = None
    """The origin of each puzzle, one name a puzzle; None if unknown."""

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.inputs))
        ids, rating = self.puzzle_identifiers, self.rating
        arrays = {
            "inputs": _as_int32("inputs", self.inputs),
            "labels": _as_int32("labels", self.labels),
            "puzzle_identifiers": _as_int32(
                "puzzle_identifiers", np.zeros(count, np.int32) if ids is None else ids
            ),
            "rating": np.ascontiguousarray(np.full(count, np.nan) if rating is None else rating, "f4"),
        }
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        if self.source is not None:
            object.__setattr__(self, "source", tuple(self.source))
        self._check(count)

    def _check(self, count: int) -> None:
        if self.inputs.ndim != 2:
            raise ValueError(f"inputs must be [N, S], got shape {self.inputs.shape}")
        if self.labels.shape != self.inputs.shape:
            raise ValueError(
                f"labels must have the shape of inputs {self.inputs.shape}, got {self.labels.shape}"
            )
        for name in ("puzzle_identifiers", "rating"):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(f"{name} must be [{count}], one a puzzle, got shape {shape}")
        if self.source is not None and len(self.source) != count:
            raise ValueError(f"source must name {count} puzzles, got {len(self.source)} names")

    def take(self, indices: ArrayLike | slice) -> PuzzleArrays:
        rows = row_numbers(indices, len(self))
        return PuzzleArrays(
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            puzzle_identifiers=self.puzzle_identifiers[rows],
            rating=self.rating[rows],
            source=None if self.source is None else tuple(self.source[row] for row in rows),
        )

    def distinct(self) -> PuzzleArrays:
        """The puzzles without those whose inputs and identifier an earlier one has."""
        rows = np.column_stack((self.inputs, self.puzzle_identifiers))
        first = np.unique(rows, axis=0, return_index=True)[1]
        return self if len(first) == len(self) else self.take(np.sort(first))


@dataclass(frozen=True)
class CustomPuzzles:
    """Puzzles that come from a dataset folder, with the attributes of a family that their shape gives."""

    vocab_size: int
    """Number of tokens, PAD = 0 included."""
    seq_len: int
    """Cells of a puzzle."""
    relations: NDArray[np.int32] | None = field(default=None, compare=False)
    """A class for each ordered pair of cells, [S, S], as `Family.relations`."""

    name: ClassVar = "custom"
    favoured: ClassVar = None
    symmetry: ClassVar = None
    augmentation: ClassVar = None
    picture: ClassVar = None

    @property
    def source_name(self) -> str:
        """As banks name them."""
        return self.name

    @property
    def words(self) -> str:
        """As messages call them: "puzzles of 30 cells and 12 tokens"."""
        return f"puzzles of {self.seq_len} cells and {self.vocab_size} tokens"

    def generate(self, count: int, **options: Any) -> PuzzleArrays:
        """Raises ValueError: it cannot be generated."""
        raise ValueError(f"{self.words} can only come from a folder")

    generate_distinct = generate


def concatenate(pools: Sequence[PuzzleArrays]) -> PuzzleArrays:
    """One pool of all puzzles, in order.

    Sources are kept if any pool has them; puzzles without one are then named ``""``. Raises ValueError
    without a pool, or for pools of different cell counts.
    """
    if not pools:
        raise ValueError("concatenate needs at least one pool of puzzles, got none")
    lengths = sorted({pool.seq_len for pool in pools})
    if len(lengths) > 1:
        raise ValueError(f"pools must have the same number of cells a puzzle, got {lengths}")
    named = any(pool.source is not None for pool in pools)
    sources = (pool.source or ("",) * len(pool) for pool in pools)
    fields = ("inputs", "labels", "puzzle_identifiers", "rating")
    arrays = {name: np.concatenate([getattr(pool, name) for pool in pools]) for name in fields}
    return PuzzleArrays(**arrays, source=tuple(chain.from_iterable(sources)) if named else None)


@dataclass(frozen=True, eq=False)
class Symmetry:
    """A family's symmetry group, as tables that any array library can gather from.

    A group element is one index i_k into each cell table and one permutation of the free tokens.
    It maps a puzzle `old` to ``new[c] = token_map[old[positions[c]]]``, where ``positions`` starts as
    ``cell_tables[0][i_0]`` and becomes ``positions[cell_tables[k][i_k]]`` for k = 1, 2, ...

    Attributes:
        cell_tables: each int64 [G_k, S]; every row is a permutation of the S cells.
        permuted_tokens: half-open range (first, end) of the tokens that may be permuted freely;
            None if tokens keep their meaning. All other tokens map to themselves.

    Raises:
        ValueError: a table is not a [G, S] array of permutations, or the token range is empty.
    """

    cell_tables: tuple[NDArray[np.int64], ...]
    permuted_tokens: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        tables = tuple(np.ascontiguousarray(table, dtype=np.int64) for table in self.cell_tables)
        object.__setattr__(self, "cell_tables", tables)
        for k, table in enumerate(tables):
            if table.ndim != 2 or len(table) == 0 or table.shape[1] != tables[0].shape[1]:
                raise ValueError(f"cell_tables[{k}] must be [G, S], same S in all: {table.shape}")
            if not (np.sort(table, axis=1) == np.arange(table.shape[1])).all():
                raise ValueError(f"cell_tables[{k}] has a row that is not a permutation of the cells")
        if self.permuted_tokens is not None:
            first, end = self.permuted_tokens
            if not 0 <= first < end:
                raise ValueError(f"permuted_tokens must be 0 <= first < end, got {(first, end)}")

    def apply(
        self, inputs: ArrayLike, labels: ArrayLike, rng: np.random.Generator
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Map each puzzle int [N, S] and its labels by a group element that `rng` draws uniformly for it.

        Tokens outside ``permuted_tokens`` and ``IGNORE_LABEL`` pass unchanged. Returns new int32 arrays.
        Raises ValueError if the shapes are not both [N, S] with the tables' S.
        """
        inputs, labels = _as_int32("inputs", inputs), _as_int32("labels", labels)
        if inputs.ndim != 2 or inputs.shape != labels.shape:
            raise ValueError(f"inputs and labels must be [N, S], got {inputs.shape}, {labels.shape}")
        count, cells = inputs.shape
        if self.cell_tables and self.cell_tables[0].shape[1] != cells:
            expected = self.cell_tables[0].shape[1]
            raise ValueError(f"this symmetry acts on {expected} cells, the puzzles have {cells}")

        positions = np.broadcast_to(np.arange(cells), (count, cells))
        for table in self.cell_tables:
            chosen = table[rng.integers(0, len(table), size=count)]
            positions = np.take_along_axis(positions, chosen, axis=1)
        inputs = np.take_along_axis(inputs, positions, axis=1)
        labels = np.take_along_axis(labels, positions, axis=1)
        if self.permuted_tokens is None:
            return inputs, labels
        first, end = self.permuted_tokens
        token_map = np.broadcast_to(np.arange(first, end, dtype=np.int32), (count, end - first))
        token_map = rng.permuted(token_map, axis=1)
        return map_tokens(inputs, token_map, first), map_tokens(labels, token_map, first)


def map_tokens(tokens: NDArray[np.int32], token_map: NDArray[np.int32], first: int) -> NDArray[np.int32]:
    """Row i's tokens t in [first, first + K) become token_map[i, t - first]; others stay."""
    shifted = tokens - first
    free = (shifted >= 0) & (shifted < token_map.shape[1])
    mapped = np.take_along_axis(token_map, np.where(free, shifted, 0), axis=1)
    return np.where(free, mapped, tokens).astype(np.int32)
