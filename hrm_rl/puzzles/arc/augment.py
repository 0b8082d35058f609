"""Augmented ARC tasks: how symmetries and color permutations are chosen, named and undone.

An augmentation is one of the eight symmetries of a square, by the reference's numbers, and a permutation
of the colors that leaves 0, black, alone. Each augmented task has its own puzzle identifier; its name
contains the augmentation, so that answers can be transformed back.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.arc.kernels import (
    FLIPS_COLUMN,
    FLIPS_ROW,
    INVERSES,
    SWAPS,
    color_sums,
    draw_augmentations,
    hash_augmented,
)
from hrm_rl.puzzles.arc.tasks import ArcTask, Collection, task_key
from hrm_rl.puzzles.arc.tokens import COLORS, SEQ_LEN, SIDE, Grid
from hrm_rl.puzzles.base.counter_rng import stream_keys

SYMMETRIES = 8
IDENTITY_COLORS = tuple(range(COLORS))
_ATTEMPTS = 5  # candidates drawn for each augmentation wanted, as in the reference
_STREAM = 0x415243  # separates these random numbers from others
_NUMBERS = stream_keys(_STREAM, 0, np.arange(SEQ_LEN + COLORS, dtype=np.uint64))
_PLACES, _COLOR_NUMBERS = _NUMBERS[:SEQ_LEN].reshape(SIDE, SIDE), _NUMBERS[SEQ_LEN:]
_NAME = re.compile(r"(?P<task>.*)_t(?P<symmetry>[0-7])_(?P<colors>0[1-9]{9})", re.DOTALL)

_Augmentations = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Symmetries [K] and colors [K, 10]."""


def turn(grid: Grid, symmetry: int) -> Grid:
    """A grid under one of the eight symmetries; [h, w] becomes [w, h] for 1, 3, 6 and 7."""
    _check_symmetry(symmetry)
    # The flips are of the old grid's coordinates, so they come before the swap.
    turned = grid[::-1] if FLIPS_ROW[symmetry] else grid
    turned = turned[:, ::-1] if FLIPS_COLUMN[symmetry] else turned
    return turned.T if SWAPS[symmetry] else turned


def _check_symmetry(symmetry: int) -> None:
    if not 0 <= symmetry < SYMMETRIES:
        raise ValueError(f"symmetry must be 0 to {SYMMETRIES - 1}, got {symmetry}")


def check_colors(colors: ArrayLike) -> NDArray[np.uint8]:
    """Ten colors, each once, 0 first: color c becomes colors[c]. ValueError for other arrays."""
    array = np.asarray(colors)
    if array.shape != (COLORS,) or sorted(array.tolist()) != list(range(COLORS)) or array[0] != 0:
        raise ValueError(f"colors must be 0 and a permutation of 1 to 9, got {array.tolist()}")
    return array.astype(np.uint8)


def transform(grid: Grid, symmetry: int, colors: ArrayLike = IDENTITY_COLORS) -> Grid:
    """A grid with its colors renamed (c to colors[c]), under a symmetry."""
    return turn(check_colors(colors)[grid], symmetry)


def invert(grid: Grid, symmetry: int, colors: ArrayLike = IDENTITY_COLORS) -> Grid:
    """Undo `transform` of the same symmetry and colors."""
    _check_symmetry(symmetry)
    return np.argsort(check_colors(colors)).astype(np.uint8)[turn(grid, INVERSES[symmetry])]


def augmented_name(task: str, symmetry: int, colors: ArrayLike) -> str:
    """The name of an augmented task in the reference's form, "007bbfb7_t3_0412365789"."""
    return f"{task}_t{symmetry}_{''.join(map(str, check_colors(colors).tolist()))}"


def parse_name(name: str) -> tuple[str, int, tuple[int, ...]]:
    """Task, symmetry and colors of a name; a name of another form is that of an original task."""
    match = _NAME.fullmatch(name)
    if match is None or len(set(match["colors"])) < COLORS:
        return name, 0, IDENTITY_COLORS
    return match["task"], int(match["symmetry"]), tuple(map(int, match["colors"]))


@dataclass(frozen=True, eq=False)
class Augmented:
    """A collection's tasks and their augmentations, with one puzzle identifier each.

    Identifier 0 is the reference's blank one. Those of a task follow each other, the original task first.
    """

    collection: Collection
    starts: NDArray[np.int64]
    """[T + 1]: each task's first identifier, and the number of identifiers."""
    symmetries: NDArray[np.uint8]
    """[I], by identifier."""
    colors: NDArray[np.uint8]
    """[I, 10], by identifier."""

    @property
    def num_ids(self) -> int:
        """Number of identifiers, the blank one included."""
        return int(self.starts[-1])

    def task_of(self, identifiers: ArrayLike) -> NDArray[np.int64]:
        """Numbers in `collection.tasks` of identifiers above 0; int64 of their shape."""
        wanted = np.asarray(identifiers)
        if wanted.size and (wanted.min() < 1 or wanted.max() >= self.num_ids):
            raise ValueError(f"identifiers of tasks are 1 to {self.num_ids - 1}")
        return np.searchsorted(self.starts, wanted, side="right") - 1

    def name(self, identifier: int) -> str:
        """Name of the original or augmented task; "<blank>" for 0."""
        if identifier == 0:
            return "<blank>"
        task = int(self.task_of(identifier))
        name = self.collection.tasks[task].name
        if identifier == self.starts[task]:
            return name
        return augmented_name(name, int(self.symmetries[identifier]), self.colors[identifier])

    def names(self) -> list[str]:
        """All names, by identifier: the reference's identifiers.json."""
        return [self.name(identifier) for identifier in range(self.num_ids)]


def augment(collection: Collection, count: int = 1000, seed: int = 0) -> Augmented:
    """Choose each task's augmentations: up to `count`, no two of which give the same task.

    The choice depends on the task's name and the seed alone, not on other tasks. A task of few colors has
    fewer augmentations; 5 * count candidates are tried. The original does not count.

    Raises ValueError for a count below 0 or a seed outside 0 .. 2**64 - 1.
    """
    if count < 0:
        raise ValueError(f"augmentations must be 0 or more, got {count}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must lie in 0 .. 2**64 - 1, got {seed}")
    # The blank identifier comes first.
    parts = [_identity(), *(_choose(task, count, seed) for task in collection.tasks)]
    symmetries, colors = (np.concatenate(part) for part in zip(*parts, strict=True))
    starts = np.cumsum([len(part[0]) for part in parts])
    return Augmented(collection, starts, symmetries, colors)


def _identity() -> _Augmentations:
    return np.zeros(1, np.uint8), np.arange(COLORS, dtype=np.uint8)[None]


def _choose(task: ArcTask, count: int, seed: int) -> _Augmentations:
    """Different augmented tasks, the identity first."""
    symmetries, colors = _identity()
    sums = _color_sums(task)
    # Most candidates differ, so the first round tries only a few more than `count`.
    tried, end, most = 0, min(count + count // 8 + 8, _ATTEMPTS * count), _ATTEMPTS * count
    while len(symmetries) <= count and tried < most:
        drawn = _candidates(task_key(task.name), seed, tried, end)
        symmetries = np.concatenate([symmetries, drawn[0]])
        colors = np.concatenate([colors, drawn[1]])
        hashes = hash_augmented(sums, symmetries, colors, _COLOR_NUMBERS)
        kept = np.sort(np.unique(hashes, return_index=True)[1])[: count + 1]
        symmetries, colors, tried, end = symmetries[kept], colors[kept], end, most
    return symmetries, colors


def _candidates(key: int, seed: int, start: int, end: int) -> _Augmentations:
    """The random augmentations `start` to `end` - 1 of a task."""
    keys = stream_keys(_STREAM, seed, key, np.arange(start, end, dtype=np.uint64))
    symmetries = np.empty(end - start, np.uint8)
    colors = np.empty((end - start, COLORS), np.uint8)
    draw_augmentations(keys, symmetries, colors)
    return symmetries, colors


def _color_sums(task: ArcTask) -> NDArray[np.uint64]:
    """uint64 [2 * pairs, 8, 10], see `hrm_rl.puzzles.arc.kernels.color_sums`."""
    grids = [grid for pair in task.pairs for grid in pair]
    sums = np.zeros((len(grids), SYMMETRIES, COLORS), np.uint64)
    for grid, by_color in zip(grids, sums, strict=True):
        color_sums(np.ascontiguousarray(grid), _PLACES, by_color)
    return sums
