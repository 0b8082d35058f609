"""Recorded runs for a comparison: validation puzzles to choose on, test puzzles to judge on."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting.bank import TraceBank, puzzle_ids
from hrm_rl.messages import note_fewer
from hrm_rl.puzzles.pool import IGNORE_LABEL

__all__ = ["Case", "make_case"]

# A rating shared by more than this share of the puzzles hardly tells them apart.
_ONE_RATING = 0.8


@dataclass(frozen=True, eq=False)
class Case:
    """A recorded run, divided by split."""

    name: str
    test: TraceBank
    validation: TraceBank | None
    """None if none are recorded: then nothing can be chosen."""
    puzzles_hash: str
    """Of the whole bank."""

    @property
    def limit(self) -> int:
        """Segments a puzzle, M."""
        return self.test.num_segments


def make_case(
    name: str, bank: TraceBank, *, max_segments: int | None = None, puzzles: int | None = None
) -> Case:
    """Divide a bank, named in messages and the report, by split; cut segments, and puzzles of each split.

    Raises ValueError for no test puzzles, fewer segments than `max_segments`, or puzzles in both splits.
    """
    digest = bank.header.puzzles_hash
    if max_segments is not None:
        if max_segments > bank.num_segments:
            wanted = f"--max-segments {max_segments}"
            raise ValueError(
                f"{name} has {bank.num_segments} segments a puzzle, fewer than {wanted}; record more "
                f"with `hrm-rl trace RUN --out BANK {wanted}`"
            )
        bank = bank.truncate(max_segments)
    counts = bank.counts()
    if "test" not in counts:
        raise ValueError(f"{name} has no test puzzles to judge on; it has {', '.join(counts)} puzzles only")
    for split in ("test", "validation"):
        note_fewer(counts.get(split, 0), puzzles if split in counts else None, f"{name} ({split})")
    test = bank.in_split("test").take(slice(puzzles))
    if "validation" not in counts:
        return Case(name, test, None, digest)
    validation = bank.in_split("validation").take(slice(puzzles))
    chosen_on = puzzle_ids(validation.inputs, validation.labels)
    shared = int(np.isin(puzzle_ids(test.inputs, test.labels), chosen_on).sum())
    if shared:
        raise ValueError(
            f"{name}: {shared} of its {test.num_puzzles} test puzzles are also validation puzzles; "
            "thresholds would be chosen on the puzzles that judge them"
        )
    return Case(name, test, validation, digest)


class Hardness(NamedTuple):
    """The difficulty of the test puzzles of all runs."""

    by: str
    """rating, or cells to fill."""
    values: NDArray[np.float64]  # [N]; NaN = unknown


def difficulty_of(cases: Sequence[Case]) -> Hardness:
    """The puzzles' ratings, or the number of cells to fill if ratings hardly tell them apart.

    (Most 6x6 Sudokus need no guess, so their rating by backtracks is 0.)
    """
    rating = np.concatenate([case.test.rating for case in cases]).astype(np.float64)
    known = rating[~np.isnan(rating)]
    most_alike = np.unique(known, return_counts=True)[1].max(initial=0)
    blanks = [(case.test.labels != IGNORE_LABEL) & (case.test.labels != case.test.inputs) for case in cases]
    to_fill = np.concatenate([cells.sum(1) for cells in blanks]).astype(np.float64)
    if 0 < most_alike <= _ONE_RATING * len(known) or np.ptp(to_fill) == 0:
        return Hardness("rating", rating)
    return Hardness("cells to fill", to_fill)


def on_same_puzzles(cases: Sequence[Case]) -> bool:
    """True if every run is judged on the same test puzzles, in the same order."""
    ids = [puzzle_ids(case.test.inputs, case.test.labels) for case in cases]
    return all(np.array_equal(ids[0], other) for other in ids[1:])


def check_poolable(cases: Sequence[Case]) -> None:
    """Raise ValueError unless the cases are independent runs of one kind: no bank or model twice, the same
    number of segments and of cells."""
    if not cases:
        raise ValueError("nothing to compare on: give a run or a bank")
    for first, second in itertools.combinations(cases, 2):
        names = f"{first.name} and {second.name}"
        one, two = first.test, second.test
        if one.header.model_hash == two.header.model_hash:
            if first.puzzles_hash == second.puzzles_hash:
                raise ValueError(f"{names} are the same bank; give each one once")
            raise ValueError(
                f"{names} record the same model, but banks are pooled as independent training runs; "
                "record all of its puzzles in one bank"
            )
    check_shapes([(case.name, case.limit, case.test.inputs.shape[1]) for case in cases])


def check_shapes(shapes: Sequence[tuple[str, int, int]]) -> None:
    """Raise ValueError unless these runs, each a name, segments and cells a puzzle, can be pooled."""
    words = "segments a puzzle; --max-segments cuts both to as many", "cells a puzzle"
    for (first, *mine), (second, *others) in itertools.combinations(shapes, 2):
        for what, a, b in zip(words, mine, others, strict=True):
            if a != b:
                raise ValueError(f"{first} and {second} cannot be pooled: they have {a} and {b} {what}")
