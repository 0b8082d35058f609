"""The puzzles that a trained model is evaluated or recorded on.

They are generated, or come from a CSV or a dataset folder; by default from the run itself. It stands on the
training floor, since runs, puzzle kinds and the reader of stored puzzles do.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hrm_rl.evaluation.evaluate import Evaluation
from hrm_rl.messages import note_fewer
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.data.arc_files import ArcFiles
from hrm_rl.training.data.puzzle_files import CsvFile
from hrm_rl.training.open_run import Trained

GENERATED = 1000
"""Generated puzzles of each split, by default."""


def pools(
    trained: Trained,
    splits: Sequence[str] = ("validation", "test"),
    *,
    data: Path | None = None,
    puzzles: int | None = None,
    seed: int = 0,
) -> dict[str, PuzzleArrays]:
    """Puzzles of each split, by name.

    Args:
        trained: the run; its kind of puzzles is generated.
        splits: any of train, validation, test.
        data: a CSV, whose puzzles belong to the split of their class, or a dataset folder, whose test/ is
            for tests and whose train/ is divided. By default generated puzzles, or, for custom puzzles,
            the folder that the run learned from.
        puzzles: how many of each split; by default 1000 generated ones, or all of the data.
        seed: of the generated puzzles.

    Raises:
        ValueError or FileNotFoundError: anything wrong with the data, or no puzzle of these splits in it.
    """
    data = data or trained.learned_folder()
    if data is None:
        count, kind = puzzles or GENERATED, trained.kind
        made = {split: generated_puzzles(kind, split, count, seed, rate=True) for split in splits}
        return {
            split: dataclasses.replace(part, source=(kind.source_name,) * len(part))
            for split, part in made.items()
        }
    stored = trained.open(data)
    rows = {split: stored.rows(split)[:puzzles] for split in splits}
    if not any(len(found) for found in rows.values()):
        raise ValueError(f"{data} has no puzzle of a class for {' or '.join(splits)} among its {len(stored)}")
    for split, found in rows.items():
        note_fewer(len(found), puzzles, f"{data} ({split})")
    return {split: stored.take(split, found) for split, found in rows.items()}


def solved_tasks(
    trained: Trained, found: Evaluation, split: str | None = None, data: Path | None = None
) -> dict[str, float | int]:
    """`ArcFiles.votes` of answers to an `evaluation_pool`; {} for pairs learned from, or other puzzles."""
    data = data or trained.learned_folder()
    if split == "train" or data is None or not isinstance(trained.kind, ArcPuzzles):
        return {}
    stored = trained.open(data)
    assert isinstance(stored, ArcFiles)
    return stored.votes(split or "test", found)


def evaluation_pool(
    trained: Trained,
    split: str | None = None,
    *,
    data: Path | None = None,
    puzzles: int | None = None,
    seed: int = 0,
) -> PuzzleArrays:
    """The puzzles of one evaluation: of a split, by default test, or else all of a CSV.

    Args:
        split: train, validation or test.
        trained, data, puzzles, seed: as in `pools`.

    Raises:
        ValueError or FileNotFoundError: as `pools`.
    """
    data = data or trained.learned_folder()
    if split is None and data is not None and not data.is_dir():
        stored = trained.open(data)
        assert isinstance(stored, CsvFile)
        first = stored.first(puzzles)
        note_fewer(len(first), puzzles, data)
        return first
    name = split or "test"
    return pools(trained, (name,), data=data, puzzles=puzzles, seed=seed)[name]
