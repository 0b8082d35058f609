"""Recorded runs as a comparison takes them: puzzles to choose on, puzzles to judge on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting.bank import TraceBank, puzzle_ids
from hrm_rl.puzzles.pool import IGNORE_LABEL

# Where one rating holds more than this share of the puzzles, ratings hardly tell them apart.
_ONE_RATING = 0.8


@dataclass(frozen=True, eq=False)
class Case:
    """A run as its bank shows it."""

    name: str
    test: TraceBank
    validation: TraceBank | None
    """None where none are recorded: then nothing can be chosen."""
    puzzles_hash: str
    """Of the whole bank."""

    @property
    def limit(self) -> int:
        """Segments a puzzle, M."""
        return self.test.num_segments


def make_case(
    name: str, bank: TraceBank, *, max_segments: int | None = None, puzzles: int | None = None
) -> Case:
    """A bank divided by split.

    Args:
        name: what messages and the report call it.
        bank: with test puzzles, and validation puzzles if anything is to be chosen.
        max_segments: judge the first so many segments only.
        puzzles: judge (and choose on) the first so many puzzles of the split only.

    Raises:
        ValueError: no test puzzles, fewer segments than asked for, or puzzles that are in both
            splits.
    """
    digest = bank.header.puzzles_hash
    if max_segments is not None:
        if max_segments > bank.num_segments:
            raise ValueError(
                f"{name} has {bank.num_segments} segments a puzzle, and --max-segments is "
                f"{max_segments}; record more with `hrm-rl trace RUN --out BANK --max-segments "
                f"{max_segments}`"
            )
        bank = bank.truncate(max_segments)
    counts = bank.counts()
    if "test" not in counts:
        raise ValueError(
            f"{name} has no test puzzles to judge on; it has {', '.join(counts)} puzzles only"
        )
    test = _first(bank.in_split("test"), puzzles)
    if "validation" not in counts:
        return Case(name, test, None, digest)
    validation = _first(bank.in_split("validation"), puzzles)
    chosen_on = puzzle_ids(validation.inputs, validation.labels)
    shared = int(np.isin(puzzle_ids(test.inputs, test.labels), chosen_on).sum())
    if shared:
        raise ValueError(
            f"{name}: {shared} of its {test.num_puzzles} test puzzles are validation puzzles too; "
            "thresholds would be chosen on the puzzles that judge them"
        )
    return Case(name, test, validation, digest)


def _first(bank: TraceBank, puzzles: int | None) -> TraceBank:
    if puzzles is None or puzzles >= bank.num_puzzles:
        return bank
    return bank.take(slice(puzzles))


class Difficulty(NamedTuple):
    """How hard the test puzzles of all runs are."""

    by: str
    """rating, or cells to fill."""
    values: NDArray[np.float64]  # [N]; NaN = unknown


def difficulty_of(cases: Sequence[Case]) -> Difficulty:
    """The puzzles' ratings, or the number of cells to fill where ratings hardly tell them apart.

    (Most 6x6 Sudokus, say, need no guess: all rated 0 by backtracks.)
    """
    rating = np.concatenate([case.test.rating for case in cases]).astype(np.float64)
    known = rating[~np.isnan(rating)]
    most_alike = np.unique(known, return_counts=True)[1].max(initial=0)
    asked = [
        (case.test.labels != IGNORE_LABEL) & (case.test.labels != case.test.inputs)
        for case in cases
    ]
    to_fill = np.concatenate([cells.sum(1) for cells in asked]).astype(np.float64)
    if 0 < most_alike <= _ONE_RATING * len(known) or np.ptp(to_fill) == 0:
        return Difficulty("rating", rating)
    return Difficulty("cells to fill", to_fill)


def on_same_puzzles(cases: Sequence[Case]) -> bool:
    """Whether every run is judged on the same test puzzles, in the same order."""
    ids = [puzzle_ids(case.test.inputs, case.test.labels) for case in cases]
    return all(np.array_equal(ids[0], other) for other in ids[1:])


def check_poolable(cases: Sequence[Case]) -> None:
    """Raises ValueError where cases are no independent runs of one kind: none at all, the same bank or
    model twice, other numbers of segments, other puzzles' lengths."""
    if not cases:
        raise ValueError("there is nothing to compare on: give a run or a bank")
    for number, case in enumerate(cases):
        for other in cases[:number]:
            _check_pair(other, case)


def _check_pair(first: Case, second: Case) -> None:
    names = f"{first.name} and {second.name}"
    one, two = first.test, second.test
    if one.header.model_hash == two.header.model_hash:
        if first.puzzles_hash == second.puzzles_hash:
            raise ValueError(f"{names} are the same bank; give each one once")
        raise ValueError(
            f"{names} record the same model; several banks are pooled as independent training runs, "
            "so record all of its puzzles in one bank"
        )
    for what, a, b in (
        ("segments a puzzle", first.limit, second.limit),
        ("cells a puzzle", one.inputs.shape[1], two.inputs.shape[1]),
    ):
        if a != b:
            hint = "; --max-segments cuts both to as many" if what.startswith("segments") else ""
            raise ValueError(f"{names} cannot be pooled: they have {a} and {b} {what}{hint}")
