"""Views of puzzles: each puzzle under elements of its family's symmetry group, and answers mapped back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.counter_rng import fold, stream_keys
from hrm_rl.puzzles.pool import Symmetry, map_tokens

# Groups of at most so many elements are counted through, so that no view comes twice.
_SMALL = 64


@dataclass(frozen=True, eq=False)
class Views:
    """R elements of a symmetry group, one a row."""

    positions: NDArray[np.int64]
    """[R, S]: the cell that each cell takes its token from."""
    images: NDArray[np.int32] | None
    """[R, T]: what the free tokens become; None if tokens keep their meaning."""
    first: int
    """The first free token."""

    def take(self, rows: slice | NDArray[np.int64]) -> "Views":
        """The elements of these rows."""
        return Views(self.positions[rows], None if self.images is None else self.images[rows], self.first)

    def apply(self, tokens: NDArray[np.int32]) -> NDArray[np.int32]:
        """Map tokens [R, S], row by row."""
        moved = np.take_along_axis(tokens, self.positions, axis=1)
        return moved if self.images is None else map_tokens(moved, self.images, self.first)

    def undo(self, tokens: NDArray[Any]) -> NDArray[Any]:
        """Map tokens [R, ..., S] of views back."""
        plain = tokens.reshape(len(tokens), -1)
        if self.images is not None:
            inverse = (self.images.argsort(1) + self.first).astype(np.int32)
            plain = map_tokens(plain.astype(np.int32), inverse, self.first)
        places = np.expand_dims(self.positions, tuple(range(1, tokens.ndim - 1)))
        found, places = np.empty_like(tokens), np.broadcast_to(places, tokens.shape)
        np.put_along_axis(found, places, plain.reshape(tokens.shape).astype(tokens.dtype), axis=-1)
        return found


def views_of(symmetry: Symmetry, keys: ArrayLike, width: int, cells: int) -> Views:
    """`width` elements for each key, int64 [N], a key's together: the identity, and others drawn by hash.

    Raises ValueError for a `width` beyond a group of at most 64 elements, all of which it takes in turn.
    """
    number = np.tile(np.arange(width), np.size(keys))
    streams = stream_keys(np.repeat(np.asarray(keys, np.int64).view(np.uint64), width), number)
    tables, free, images = symmetry.cell_tables, symmetry.permuted_tokens, None
    sizes = [len(table) for table in tables]
    chosen: Sequence[NDArray[Any]]
    if free is None and math.prod(sizes) <= _SMALL:
        if width > math.prod(sizes):
            raise ValueError(f"a puzzle has {math.prod(sizes)} views, fewer than {width} trajectories")
        chosen = np.unravel_index(number, sizes)
    else:
        drawn = [fold(streams, place) % np.uint64(size) for place, size in enumerate(sizes)]
        chosen = [np.where(number > 0, index.astype(np.int64), 0) for index in drawn]
    if free is not None:
        ranks = np.stack([fold(streams, 1000 + token) for token in range(*free)], axis=1)
        ranks[number == 0] = np.arange(len(range(*free)), dtype=np.uint64)
        images = (ranks.argsort(1) + free[0]).astype(np.int32)
    positions = np.broadcast_to(np.arange(cells), (len(number), cells))
    for table, index in zip(tables, chosen, strict=True):
        positions = np.take_along_axis(positions, table[index], axis=1)
    return Views(positions, images, free[0] if free else 0)
