"""Which puzzles a run learned from, so that a score which counts them can be given apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting import puzzle_ids
from hrm_rl.puzzles import CustomPuzzles
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.pool import PuzzleArrays

Keys = NDArray[np.uint64]


def puzzle_keys(kind: Family | CustomPuzzles, puzzles: PuzzleArrays) -> Keys:
    """A number that puzzles share which are the same to a learner: uint64 [N].

    Those of a class, since training applies symmetries; of custom puzzles those with the same answer too.
    """
    if isinstance(kind, CustomPuzzles):
        return np.asarray(puzzle_ids(puzzles.inputs, puzzles.labels))
    return kind.class_key(puzzles.inputs)


def scores_apart(correct: NDArray[np.bool_], learned: NDArray[np.bool_] | None) -> dict[str, Any]:
    """The figures of the puzzles that were learned from and of the others, both bool [N].

    `learned_count`, None if it is not known; if it is not 0, also `held_out_count`,
    `learned_exact_accuracy` and `held_out_exact_accuracy`, which is None without such puzzles.
    """
    if learned is None or not learned.any():
        return {"learned_count": None if learned is None else 0}
    found: dict[str, Any] = {}
    for name, rows in (("learned", learned), ("held_out", ~learned)):
        found[f"{name}_count"] = int(rows.sum())
        found[f"{name}_exact_accuracy"] = float(correct[rows].mean()) if rows.any() else None
    return found


def told_apart(figures: Mapping[str, Any]) -> str:
    """`scores_apart` as a sentence; empty if no puzzle was learned from."""
    if figures.get("learned_count", 0) is None:
        return "Which of these puzzles it learned from is not known."
    if not figures.get("learned_count"):
        return ""
    learned, held_out = figures["learned_count"], figures["held_out_count"]
    text = f"{learned} of these {learned + held_out} puzzles were learned from"
    if not held_out:
        return f"All {learned} puzzles were learned from: the score does not count for new ones."
    solved = [f"{100 * figures[f'{name}_exact_accuracy']:.1f} %" for name in ("learned", "held_out")]
    return f"{text} ({solved[0]} of them solved); of the {held_out} held out {solved[1]} are solved."
