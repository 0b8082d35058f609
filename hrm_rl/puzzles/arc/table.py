"""The examples of augmented ARC tasks, made when they are asked for: millions, from a few megabytes.

What is learned (split "training") are all pairs of training tasks and the train pairs of evaluation
tasks; what is asked (split "evaluation") are the test pairs of evaluation tasks. Both have the same puzzle
identifiers, so that a task's embedding, learned from its train pairs, is there when its test pairs come.
A pair that is asked is never learned, whichever task brings it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.arc.augment import Augmented, task_key
from hrm_rl.puzzles.arc.kernels import SWAPS, place_grids
from hrm_rl.puzzles.arc.tasks import Pair
from hrm_rl.puzzles.arc.tokens import PAD, SEQ_LEN, SIDE, as_labels
from hrm_rl.puzzles.counter_rng import mix64_array, stream_keys
from hrm_rl.puzzles.pool import PuzzleArrays

Split = Literal["training", "evaluation"]
SPLITS: tuple[Split, ...] = ("training", "evaluation")
_SAME = {"train": "training", "test": "evaluation"}
_STREAM = 0x4F4646534554
_CHUNK = 1 << 13


def check_split(split: str) -> Split:
    """ "training" or "evaluation"; "train" and "test", as of other families, are these too."""
    name = _SAME.get(split, split)
    for known in SPLITS:
        if name == known:
            return known
    raise ValueError(f"split must be {' or '.join(SPLITS)} (ARC has no other); got {split!r}")


@dataclass(frozen=True, eq=False)
class Pairs:
    """The P pairs of a split, not augmented, as arrays.

    Attributes:
        task: int64 [P], number of the task in `collection.tasks`; pairs of a task follow each other.
        number: int64 [P], of the pair: the train pairs count from 0, the test pairs then go on.
        inputs: uint8 [P, 900], colors, the grid at the top left; 0 elsewhere.
        outputs: uint8 [P, 900].
        input_sizes: int64 [P, 2], rows and columns.
        output_sizes: int64 [P, 2].
        left_out: pairs that were not taken because an evaluation task asks for them.
    """

    task: NDArray[np.int64]
    number: NDArray[np.int64]
    inputs: NDArray[np.uint8]
    outputs: NDArray[np.uint8]
    input_sizes: NDArray[np.int64]
    output_sizes: NDArray[np.int64]
    left_out: int

    def __len__(self) -> int:
        return len(self.task)


def pairs_of(augmented: Augmented, split: str) -> Pairs:
    """The pairs of a split.

    Raises:
        ValueError: another split, or none of its pairs are there.
    """
    split = check_split(split)
    collection = augmented.collection
    asked = {pair.key() for task in collection.evaluation for pair in task.test}
    found: list[tuple[int, int, Pair]] = []
    left_out = 0
    for place, task in enumerate(collection.tasks):
        evaluated = place >= len(collection.training)
        for number, pair in enumerate(task.pairs):
            is_test = number >= len(task.train)
            if split == "evaluation":
                if evaluated and is_test:
                    found.append((place, number, pair))
            elif not (evaluated and is_test):
                if pair.key() in asked:
                    left_out += 1
                else:
                    found.append((place, number, pair))
    if not found:
        raise ValueError(f"{collection.name} has no {split} tasks, so nothing for split {split!r}")
    return Pairs(
        np.array([place for place, _, _ in found], np.int64),
        np.array([number for _, number, _ in found], np.int64),
        _flat([pair.input for _, _, pair in found]),
        _flat([pair.output for _, _, pair in found]),
        np.array([pair.input.shape for _, _, pair in found], np.int64),
        np.array([pair.output.shape for _, _, pair in found], np.int64),
        left_out,
    )


def _flat(grids: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    boards = np.zeros((len(grids), SIDE, SIDE), np.uint8)
    for board, grid in zip(boards, grids, strict=True):
        board[: grid.shape[0], : grid.shape[1]] = grid
    return boards.reshape(-1, SEQ_LEN)


@dataclass(frozen=True, eq=False)
class ArcTable:
    """Every augmented example of a split, a row each; `take` makes those that are asked for.

    Rows of an identifier follow each other, as in the reference's files, so `write_dataset` of
    `hrm_rl.puzzles.files.dataset_writer` can write them all.

    Attributes:
        augmented: tasks, identifiers and augmentations.
        split: "training" or "evaluation".
        translate: put grids at random places of the board, as the reference does in training: all but
            about one example of each augmented task.
        seed: of those places.
    """

    augmented: Augmented
    split: str = "training"
    translate: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "split", check_split(self.split))
        _ = self.pairs  # a split without any is refused here

    @cached_property
    def pairs(self) -> Pairs:
        """The pairs, not augmented."""
        return pairs_of(self.augmented, self.split)

    @cached_property
    def _layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """By task of the split: its number, its first pair, and its first row (with the end)."""
        tasks, first = np.unique(self.pairs.task, return_index=True)
        sizes = np.diff(np.append(first, len(self.pairs)))
        rows = sizes * np.diff(self.augmented.starts)[tasks]
        return tasks, first, np.concatenate([[0], np.cumsum(rows)])

    def __len__(self) -> int:
        return int(self._layout[2][-1])

    @property
    def seq_len(self) -> int:
        """Cells a puzzle, 900."""
        return SEQ_LEN

    def where(self, rows: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Puzzle identifiers [K] of rows [K], and which of `pairs` they show [K]."""
        wanted = np.asarray(rows, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"rows are 0 to {len(self) - 1}")
        tasks, first_pair, first_row = self._layout
        place = np.searchsorted(first_row, wanted, side="right") - 1
        sizes = np.diff(np.append(first_pair, len(self.pairs)))
        augmentation, pair = np.divmod(wanted - first_row[place], sizes[place])
        return self.augmented.starts[tasks[place]] + augmentation, first_pair[place] + pair

    @cached_property
    def puzzle_identifiers(self) -> NDArray[np.int32]:
        """Of all rows: int32 [N]."""
        return self.where(np.arange(len(self)))[0].astype(np.int32)

    @property
    def rating(self) -> NDArray[np.float32]:
        """Nobody rates ARC's tasks: NaN [N]."""
        return np.broadcast_to(np.float32("nan"), len(self))

    def groups(self) -> NDArray[np.int64]:
        """The task of every row, int64 [N]: the reference's groups."""
        return self.augmented.task_of(self.puzzle_identifiers)

    def take(self, indices: ArrayLike | slice) -> PuzzleArrays:
        """Some rows, in memory: integers [K], a bool mask [N] or a slice."""
        if isinstance(indices, slice):
            rows = np.arange(*indices.indices(len(self)))
        else:
            rows = np.asarray(indices)
            rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.atleast_1d(rows)
        identifiers, pair = self.where(rows)
        symmetries = self.augmented.symmetries[identifiers]
        colors = self.augmented.colors[identifiers]
        corners = self._corners(identifiers, pair, symmetries)
        pairs = self.pairs
        inputs, outputs = np.full((2, len(rows), SIDE, SIDE), PAD, np.int32)
        for boards, grids, sizes in (
            (inputs, pairs.inputs, pairs.input_sizes),
            (outputs, pairs.outputs, pairs.output_sizes),
        ):
            squares = grids[pair].reshape(-1, SIDE, SIDE)
            place_grids(squares, sizes[pair], symmetries, colors, corners, boards)
        names = {i: self.augmented.name(i) for i in set(identifiers.tolist())}
        return PuzzleArrays(
            inputs=inputs.reshape(-1, SEQ_LEN),
            labels=as_labels(outputs.reshape(-1, SEQ_LEN)),
            puzzle_identifiers=identifiers.astype(np.int32),
            rating=np.full(len(rows), np.nan, np.float32),
            source=tuple(
                f"{self.augmented.collection.name}/{names[i]}/{number}"
                for i, number in zip(identifiers.tolist(), pairs.number[pair], strict=True)
            ),
        )

    def chunks(self, rows: int = _CHUNK) -> Iterator[PuzzleArrays]:
        """All rows in order, so many at a time."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    def arrays(self) -> PuzzleArrays:
        """All rows, in memory: 7,200 bytes each, and gigabytes for 1,000 augmentations."""
        return self.take(slice(None))

    def _corners(
        self,
        identifiers: NDArray[np.int64],
        pair: NDArray[np.int64],
        symmetries: NDArray[np.uint8],
    ) -> NDArray[np.int64]:
        """Where grids begin, int64 [K, 2]: the top left corner, or anywhere that both of a pair fit."""
        if not self.translate:
            return np.zeros((len(pair), 2), np.int64)
        pairs, starts = self.pairs, self.augmented.starts
        task = pairs.task[pair]
        keys = stream_keys(
            _STREAM,
            self.seed,
            self._task_keys[task],
            (identifiers - starts[task]).astype(np.uint64),
            pairs.number[pair].astype(np.uint64),
        )
        three = np.add(keys[:, None], np.arange(1, 4), dtype=np.uint64, casting="unsafe")
        numbers = mix64_array(three) >> np.uint64(33)
        larger = np.maximum(pairs.input_sizes[pair], pairs.output_sizes[pair])
        swap = np.array(SWAPS)[symmetries]
        room = SIDE + 1 - np.where(swap[:, None], larger[:, ::-1], larger)
        corners = numbers[:, :2].astype(np.int64) % room
        _, first_pair, _ = self._layout
        sizes = np.diff(np.append(first_pair, len(pairs)))
        size = sizes[np.searchsorted(first_pair, pair, side="right") - 1]
        stays = numbers[:, 2].astype(np.int64) % size == 0
        return np.where(stays[:, None], 0, corners)

    @cached_property
    def _task_keys(self) -> NDArray[np.uint64]:
        return np.array(
            [task_key(task.name) for task in self.augmented.collection.tasks], np.uint64
        )
