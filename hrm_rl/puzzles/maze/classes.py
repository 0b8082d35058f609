"""Maze equivalence classes: rotations, reflections, and start and goal exchanged."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.counter_rng import stream_keys
from hrm_rl.puzzles.maze import kernels
from hrm_rl.puzzles.maze.layout import as_mazes, check
from hrm_rl.puzzles.pool import Symmetry
from hrm_rl.puzzles.tokens import dihedral

_WALL_STREAM, _END_STREAM = 0x3A2E_0001, 0x3A2E_0002


def symmetry(size: int = 30) -> Symmetry:
    """The 8 rotations and reflections of the square; ValueError for a size out of range.

    They keep a maze a maze and a shortest path a shortest path, but not a label's choice among several
    shortest paths: a turned label is not the one that `solve` would draw. This does not matter
    for mazes with one path (perfect ones without `braid`).
    """
    return _symmetry(check(size))


@cache
def _symmetry(size: int) -> Symmetry:
    return Symmetry((dihedral(size),))


@cache
def _tables(size: int) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Images of each cell [S, 8], and random numbers of places for walls and for ends, [S] each."""
    places = np.arange(size * size, dtype=np.uint64)
    images = np.ascontiguousarray(dihedral(size).T)
    return images, stream_keys(_WALL_STREAM, size, places), stream_keys(_END_STREAM, size, places)


def class_key(inputs: ArrayLike, size: int = 30) -> NDArray[np.uint64]:
    """A number that all mazes of a class share: its 8 images, with start and goal either way round.

    A 64-bit hash, uint64 [...] for mazes int [..., S]. Equal classes have equal keys; two unequal ones share
    a key with a chance of 2**-64. Raises ValueError for a size out of range, a wrong width or unknown tokens.
    """
    size = check(size)
    mazes = as_mazes("inputs", inputs, size)
    rows = mazes.reshape(-1, mazes.shape[-1])
    keys = np.empty(len(rows), np.uint64)
    kernels.class_keys(size, *_tables(size), rows, keys)
    return keys.reshape(mazes.shape[:-1])
