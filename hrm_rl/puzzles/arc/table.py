"""The examples of augmented ARC tasks, made on demand: millions, from a few megabytes.

The split "training" has all pairs of training tasks and the train pairs of the others; the splits
"validation" and "evaluation" have the test pairs of these tasks. All use the same puzzle identifiers, so a
task's embedding, learned from its train pairs, serves its test pairs. A test pair of another than a training
task is never trained on, even if another task contains it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.arc.augment import Augmented
from hrm_rl.puzzles.arc.kernels import SWAPS, place_grids
from hrm_rl.puzzles.arc.tasks import Pair, task_key
from hrm_rl.puzzles.arc.tokens import PAD, SEQ_LEN, SIDE, Grid, as_labels
from hrm_rl.puzzles.base.counter_rng import mix64_array, stream_keys
from hrm_rl.puzzles.pool import PuzzleArrays, Puzzles, row_numbers

Split = Literal["training", "validation", "evaluation"]
SPLITS: tuple[Split, ...] = ("training", "evaluation")
_SAME = {"train": "training", "test": "evaluation"}
_STREAM = 0x4F4646534554
_CHUNK = 1 << 13


def check_split(split: str, *also: Split) -> Split:
    """One of `SPLITS`, or `also`; accepts "train" and "test", the names of other families, too."""
    for known in (*SPLITS, *also):
        if _SAME.get(split, split) == known:
            return known
    raise ValueError(f"split must be {' or '.join(SPLITS)} (ARC has no other); got {split!r}")


@dataclass(frozen=True, eq=False)
class Pairs:
    """The P original pairs of a split, as arrays."""

    task: NDArray[np.int64]  # [P]: number in `collection.tasks`; pairs of a task follow each other
    number: NDArray[np.int64]  # [P]: of the pair in its task: train pairs from 0, then test pairs
    inputs: NDArray[np.uint8]  # [P, 900]: colors, the grid at the top left; 0 elsewhere
    outputs: NDArray[np.uint8]  # [P, 900]
    input_sizes: NDArray[np.int64]  # [P, 2]: rows and columns
    output_sizes: NDArray[np.int64]  # [P, 2]
    left_out: int  # number of pairs left out because they are test pairs of an evaluation task

    def __len__(self) -> int:
        return len(self.task)


def pairs_of(augmented: Augmented, split: str) -> Pairs:
    """The pairs of a split; ValueError for another split, or one without pairs."""
    split = check_split(split, "validation")
    collection = augmented.collection
    tested = {pair.key() for task in collection.evaluation + collection.validation for pair in task.test}
    found: list[tuple[int, int, Pair]] = []
    left_out = 0
    for place, (task, role) in enumerate(zip(collection.tasks, collection.roles, strict=True)):
        for number, pair in enumerate(task.pairs):
            if split != (role if number >= len(task.train) else "training"):
                continue
            if split == "training" and pair.key() in tested:
                left_out += 1
            else:
                found.append((place, number, pair))
    if not found:
        raise ValueError(f"{collection.name} has no {split} tasks; choose {' or '.join(SPLITS)}")
    places, numbers, pairs = zip(*found, strict=True)
    (inputs, input_sizes), (outputs, output_sizes) = map(_flat, zip(*pairs, strict=True))
    numbered = np.array(places), np.array(numbers)
    return Pairs(*numbered, inputs, outputs, input_sizes, output_sizes, left_out)


def _flat(grids: tuple[Grid, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Grids at the top left of boards, [P, 900], and their sizes, [P, 2]."""
    boards = np.zeros((len(grids), SIDE, SIDE), np.uint8)
    for board, grid in zip(boards, grids, strict=True):
        board[: grid.shape[0], : grid.shape[1]] = grid
    return boards.reshape(-1, SEQ_LEN), np.array([grid.shape for grid in grids])


class _Layout(NamedTuple):
    """The tasks of a split."""

    task: NDArray[np.int64]  # [T]: number in the collection
    first_pair: NDArray[np.int64]  # [T]
    size: NDArray[np.int64]  # [T]: number of pairs
    first_row: NDArray[np.int64]  # [T + 1]


@dataclass(frozen=True, eq=False)
class ArcTable(Puzzles):
    """Every augmented example of a split, a row each; `take` makes some of them.

    Rows of an identifier follow each other, as in the reference's files, so `write_dataset` of
    `hrm_rl.puzzles.files.dataset_writer` can write them all.
    """

    augmented: Augmented
    split: str = "training"
    """One of `SPLITS`, or "validation" (of `Collection.held_out`)."""
    translate: bool = False
    """Put grids at random places of the board, as the reference does in training, except for about one
    example of each augmented task."""
    seed: int = 0
    """Of those places."""
    side: int = SIDE
    """Cells a side of the board, at least as many as the largest grid has."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", check_split(self.split, "validation"))
        pairs = self.pairs  # raises for a split without pairs
        largest = int(max(pairs.input_sizes.max(), pairs.output_sizes.max()))
        if not largest <= self.side <= SIDE:
            raise ValueError(f"side must be {largest}, the largest grid's, to {SIDE}; got {self.side}")

    @cached_property
    def pairs(self) -> Pairs:
        """The original pairs."""
        return pairs_of(self.augmented, self.split)

    @cached_property
    def _layout(self) -> _Layout:
        task, first = np.unique(self.pairs.task, return_index=True)
        size = np.diff(np.append(first, len(self.pairs)))
        rows = size * np.diff(self.augmented.starts)[task]
        return _Layout(task, first, size, np.concatenate([[0], np.cumsum(rows)]))

    def __len__(self) -> int:
        return int(self._layout.first_row[-1])

    @property
    def seq_len(self) -> int:
        """Cells a puzzle, 900 by default."""
        return self.side**2

    def where(self, rows: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Puzzle identifiers [K] of rows [K], and their rows of `pairs` [K]."""
        wanted = np.asarray(rows, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"rows are 0 to {len(self) - 1}")
        layout = self._layout
        place = np.searchsorted(layout.first_row, wanted, side="right") - 1
        augmentation, pair = np.divmod(wanted - layout.first_row[place], layout.size[place])
        first_identifier = self.augmented.starts[layout.task[place]]
        return first_identifier + augmentation, layout.first_pair[place] + pair

    @cached_property
    def puzzle_identifiers(self) -> NDArray[np.int32]:
        """Of all rows: int32 [N]."""
        return self.where(np.arange(len(self)))[0].astype(np.int32)

    @property
    def rating(self) -> NDArray[np.float32]:
        """NaN [N]: ARC's tasks are unrated."""
        return np.broadcast_to(np.float32("nan"), len(self))

    def groups(self) -> NDArray[np.int64]:
        """The task of every row, int64 [N]: the reference's groups."""
        return self.augmented.task_of(self.puzzle_identifiers)

    def take(self, indices: ArrayLike | slice) -> PuzzleArrays:
        identifiers, pair = self.where(row_numbers(indices, len(self)))
        symmetries = self.augmented.symmetries[identifiers]
        colors = self.augmented.colors[identifiers]
        corners = self._corners(identifiers, pair, symmetries)
        pairs = self.pairs
        inputs, outputs = np.full((2, len(pair), SIDE, SIDE), PAD, np.int32)
        for boards, grids, sizes in (
            (inputs, pairs.inputs, pairs.input_sizes),
            (outputs, pairs.outputs, pairs.output_sizes),
        ):
            squares = grids[pair].reshape(-1, SIDE, SIDE)
            place_grids(squares, sizes[pair], symmetries, colors, corners, boards)
        prefix = self.augmented.collection.name
        names = {i: f"{prefix}/{self.augmented.name(i)}" for i in set(identifiers.tolist())}
        numbers = pairs.number[pair].tolist()
        return PuzzleArrays(
            inputs=self._cells(inputs),
            labels=as_labels(self._cells(outputs)),
            puzzle_identifiers=identifiers.astype(np.int32),
            source=tuple(f"{names[i]}/{n}" for i, n in zip(identifiers, numbers, strict=True)),
        )

    def _cells(self, boards: NDArray[np.int32]) -> NDArray[np.int32]:
        """The cells of the table's boards, [K, S], of boards [K, 30, 30]."""
        return boards[:, : self.side, : self.side].reshape(len(boards), -1)

    def chunks(self, rows: int = _CHUNK) -> Iterator[PuzzleArrays]:
        """All rows in order, `rows` at a time; a row takes 7,200 bytes."""
        return super().chunks(rows)

    def _corners(
        self, identifiers: NDArray[np.int64], pair: NDArray[np.int64], symmetries: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        """Top left corners of grids, int64 [K, 2]: the board's, or random ones where both grids fit."""
        if not self.translate:
            return np.zeros((len(pair), 2), np.int64)
        pairs = self.pairs
        task = pairs.task[pair]
        augmentation = identifiers - self.augmented.starts[task]
        numbers = (self._task_keys[task], augmentation, pairs.number[pair])
        keys = stream_keys(_STREAM, self.seed, *numbers)
        three = np.add(keys[:, None], np.arange(1, 4), dtype=np.uint64, casting="unsafe")
        random = (mix64_array(three) >> np.uint64(33)).astype(np.int64)
        larger = np.maximum(pairs.input_sizes[pair], pairs.output_sizes[pair])
        swap = np.array(SWAPS)[symmetries]
        room = self.side + 1 - np.where(swap[:, None], larger[:, ::-1], larger)
        size = self._layout.size[np.searchsorted(self._layout.task, task)]
        stays = random[:, 2] % size == 0
        return np.where(stays[:, None], 0, random[:, :2] % room)

    @cached_property
    def _task_keys(self) -> NDArray[np.uint64]:
        return np.array([task_key(task.name) for task in self.augmented.collection.tasks], np.uint64)
