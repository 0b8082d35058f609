"""Pointer chase: follow the arrows of a map from a start, so many hops, one after the other.

A map sends each of n nodes to a node. The cells of a puzzle, S = 1 + nodes + hops:

    start | where node 0 points | ... | where node nodes-1 points | answer 1 | ... | answer `hops`

with the tokens PAD = 0, BLANK = 1 and node j as j + 2. Of the answer cells, the first h are BLANK, h the
puzzle's hops, and the rest PAD; cell k stands for the node after k hops. Asked for is the last BLANK alone,
so that everything before it has to be thought; `trajectory=True` asks for all of them. With `min_hops` below
`hops` the number of hops is random.

Maps are uniform among those whose walk from the start meets h + 1 different nodes: one that came back
early would be a shorter chase in disguise. Rated by its hops, the least number of look-ups in a row.

A class is a map with its start, up to renaming the nodes; its `class_key` looks at neither names nor hops.
Renaming nodes moves cells and tokens together, which `Symmetry` cannot express, so nothing augments: take
larger pools instead.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.counter_rng import below, mix64
from hrm_rl.puzzles.family import (
    Made,
    as_pair,
    as_tokens,
    in_split,
    is_exact,
    make_puzzles,
    source_name,
)
from hrm_rl.puzzles.pointer_chase.layout import BLANK, DIALS, FIRST_NODE, PAD, check_all
from hrm_rl.puzzles.pointer_chase.picture import draw, picture
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays

__all__ = [
    "BLANK",
    "CHARACTERS",
    "DIALS",
    "FIRST_NODE",
    "GENERATOR_VERSION",
    "PAD",
    "class_key",
    "draw",
    "generate",
    "in_split",
    "is_exact",
    "is_valid",
    "picture",
    "rate",
    "seq_len",
    "symmetry",
    "vocab_size",
]

CHARACTERS = None
GENERATOR_VERSION = 1

_STREAM = 0x9C5E_0001
_REFINEMENTS = 8
_SELF = np.uint64(0xA0761D6478BD642F)
_START_COLOR = np.uint64(0x2545F4914F6CDD1D)


def vocab_size(
    nodes: int = 16, hops: int = 8, min_hops: int | None = None, trajectory: bool = False
) -> int:
    """PAD, BLANK and the nodes."""
    check_all(nodes, hops, min_hops, trajectory)
    return nodes + 2


def seq_len(
    nodes: int = 16, hops: int = 8, min_hops: int | None = None, trajectory: bool = False
) -> int:
    """The start, the map and the answers."""
    check_all(nodes, hops, min_hops, trajectory)
    return 1 + nodes + hops


def generate(
    count: int,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> PuzzleArrays:
    """Random chases; arguments as in `Family.generate`, dials as in `DIALS`.

    `trajectory` changes the labels and nothing else.

    Raises:
        ValueError: a bad argument, as many hops as nodes, or min_hops above hops.
    """
    check_all(nodes, hops, min_hops, trajectory)
    low = hops if min_hops is None else min_hops
    dials = {"nodes": nodes, "hops": hops} | ({} if min_hops is None else {"min_hops": min_hops})
    return make_puzzles(
        partial(_make, nodes, low, hops, trajectory),
        partial(class_key, nodes=nodes, hops=hops),
        partial(_rate, nodes=nodes, hops=hops) if rate else None,
        count,
        cells=1 + nodes + hops,
        name=source_name("pointer_chase", GENERATOR_VERSION, dials),
        stream=(_STREAM, GENERATOR_VERSION, nodes, low, hops),
        seed=seed,
        split=split,
    )


def is_valid(
    inputs: ArrayLike,
    answers: ArrayLike,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> NDArray[np.bool_]:
    """Whether what is asked for is right: bool [...] for [..., S]; other cells do not count."""
    check_all(nodes, hops, min_hops, trajectory)
    puzzles, given = as_pair(inputs, answers, 1 + nodes + hops, nodes + 2)
    labels = _labels(puzzles, nodes, hops, trajectory)
    return ((labels == IGNORE_LABEL) | (labels == given)).all(axis=-1)


def rate(
    inputs: ArrayLike,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> NDArray[np.float32]:
    """The number of hops: float32 [N] for [N, S]."""
    check_all(nodes, hops, min_hops, trajectory)
    tokens = as_tokens("inputs", inputs, 1 + nodes + hops, nodes + 2)
    return (tokens[..., 1 + nodes :] == BLANK).sum(axis=-1).astype(np.float32)


_rate = rate  # where an argument hides it


def class_key(
    inputs: ArrayLike,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> NDArray[np.uint64]:
    """A number that maps with a start share if renaming nodes turns one into the other.

    Colour refinement on the graph of the map, its start marked. Different classes may share a number
    too (rarely), and then they go to the same split. uint64 [N] for [N, S].
    """
    check_all(nodes, hops, min_hops, trajectory)
    tokens = as_tokens("inputs", inputs, 1 + nodes + hops, nodes + 2)
    rows = np.ascontiguousarray(tokens.reshape(-1, tokens.shape[-1])[:, : 1 + nodes])
    if rows.size and rows.min() < FIRST_NODE:
        raise ValueError("inputs: the start and every node's arrow must be nodes, 2 or more")
    keys = np.empty(len(rows), np.uint64)
    _refine(rows - FIRST_NODE, keys)
    return keys.reshape(tokens.shape[:-1])


def symmetry(
    nodes: int = 16, hops: int = 8, min_hops: int | None = None, trajectory: bool = False
) -> None:
    """None: renaming a node also moves its cell, which tables of cells and of tokens cannot say."""
    check_all(nodes, hops, min_hops, trajectory)


def _labels(
    inputs: NDArray[np.int32], nodes: int, hops: int, trajectory: bool
) -> NDArray[np.int32]:
    """The nodes asked for, int32 [..., S]."""
    labels = np.full(inputs.shape, IGNORE_LABEL, np.int32)
    answers = inputs[..., 1 + nodes :]
    arrows = inputs[..., 1 : 1 + nodes]
    at = inputs[..., :1]
    asked = (answers == BLANK).sum(axis=-1, keepdims=True)
    for hop in range(hops):
        at = np.take_along_axis(arrows, np.clip(at - FIRST_NODE, 0, nodes - 1), axis=-1)
        here = (asked > hop) if trajectory else (asked == hop + 1)
        labels[..., 1 + nodes + hop] = np.where(here, at, IGNORE_LABEL)[..., 0]
    return labels


def _make(nodes: int, low: int, high: int, trajectory: bool, keys: NDArray[np.uint64]) -> Made:
    inputs = np.zeros((len(keys), 1 + nodes + high), np.int32)
    _fill(keys, nodes, low, high, inputs)
    return inputs, _labels(inputs, nodes, high, trajectory), np.ones(len(keys), bool)


@njit(cache=True, nogil=True)
def _fill(keys, nodes, low, high, inputs):
    """Start, arrows and blanks of inputs int32 [N, 1 + nodes + high]: a walk without repeats, then the rest.

    Uniform under the condition: every such map has exactly one walk of h + 1 nodes from its start, all walks
    are alike, and what the other nodes point at is free.
    """
    stream = np.empty(1, np.uint64)
    order = np.empty(nodes, np.int64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        hops = low + below(stream, high - low + 1)
        for node in range(nodes):
            order[node] = node
        for i in range(hops + 1):
            j = i + below(stream, nodes - i)
            order[i], order[j] = order[j], order[i]
        inputs[k, 0] = order[0] + 2
        for node in range(nodes):
            inputs[k, 1 + node] = below(stream, nodes) + 2
        for i in range(hops):
            inputs[k, 1 + order[i]] = order[i + 1] + 2
            inputs[k, 1 + nodes + i] = 1


@njit(cache=True, nogil=True)
def _refine(rows, keys):
    """Colour refinement of maps int [N, 1 + nodes] of nodes from 0, the start first, into keys [N]."""
    nodes = rows.shape[1] - 1
    old, new = np.empty(nodes, np.uint64), np.empty(nodes, np.uint64)
    for k in range(len(rows)):
        for node in range(nodes):
            old[node] = mix64(np.uint64(nodes))
        old[rows[k, 0]] = _START_COLOR
        for _ in range(_REFINEMENTS):
            for node in range(nodes):
                new[node] = mix64(old[node] ^ _SELF) + mix64(~old[rows[k, 1 + node]])
            for node in range(nodes):
                new[rows[k, 1 + node]] += mix64(old[node])
            for node in range(nodes):
                old[node] = mix64(new[node])
        total = np.uint64(0)
        for node in range(nodes):
            total += old[node]
        keys[k] = mix64(total)
