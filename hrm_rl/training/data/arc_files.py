"""A folder of ARC tasks by split."""

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrm_rl.evaluation.evaluate import Evaluation
from hrm_rl.puzzles.arc.family import ArcFolder, ArcPuzzles
from hrm_rl.puzzles.arc.table import ArcTable
from hrm_rl.puzzles.arc.vote import Voting
from hrm_rl.puzzles.pool import PuzzleArrays


def open_arc(path: str | os.PathLike[str], kind: ArcPuzzles, most: int | None) -> "ArcFiles":
    """A folder's tasks, of training and of evaluation tasks the first `most`. Raises as `ArcPuzzles.open`."""
    return ArcFiles(Path(path), kind, kind.open(path, most))


@dataclass(frozen=True)
class ArcFiles:
    """The tasks of a folder that fit the board. Training tasks and the demonstrations of all tasks are
    learned from; the test pairs of some training tasks validate, those of evaluation tasks are the test."""

    path: Path
    kind: ArcPuzzles
    folder: ArcFolder
    tables: dict[str, ArcTable] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table("train"))

    @property
    def num_ids(self) -> int:
        return self.folder.augmented.num_ids

    def table(self, split: str) -> ArcTable:
        """The examples of a split."""
        if split not in self.tables:
            self.tables[split] = self.folder.table(split)
        return self.tables[split]

    def rows(self, split: str) -> NDArray[np.int64]:
        """The rows of a split: all original pairs, then the first augmented version of each, and so on."""
        if split == "validation" and not self.folder.augmented.collection.validation:
            return np.arange(0)
        version, pair = self._versions(split)
        return np.lexsort((pair, version))

    def take(self, split: str, rows: NDArray[np.int64]) -> PuzzleArrays:
        """Some of them, in memory, at the corner of the board."""
        if not len(rows):
            return PuzzleArrays(*np.zeros((2, 0, self.kind.seq_len), np.int32))
        return dataclasses.replace(self.table(split), translate=False).take(rows)

    def sample(self, split: str, count: int, seed: int) -> PuzzleArrays:
        """At most `count` random rows of a split."""
        rows = self.rows(split)
        chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
        return self.take(split, np.sort(rows[chosen]))

    def originals(self) -> PuzzleArrays:
        """The pairs that are learned from, not augmented."""
        return self.take("train", np.flatnonzero(self._versions("train")[0] == 0))

    def votes(self, split: str, found: Evaluation) -> dict[str, float | int]:
        """The share of tasks solved, from the answers to the first of `rows(split)`.

        `single_view` counts the first answer to the original test inputs alone, pass@1 and pass@2 the one and
        two most frequent answers to their augmented versions. A task is solved if all its test inputs are.
        """
        table, rows = self.table(split), self.rows(split)[: len(found.answers)]
        voting, single = Voting(table), Voting(table)
        original = self._versions(split)[0][rows] == 0
        voting.add(rows, found.answers, found.q_halt)
        single.add(rows[original], found.answers[original], found.q_halt[original])
        share = {name: score["all_tests"] for name, score in voting.score((1, 2)).items()}
        left_out = self.folder.left_out("evaluation" if split == "test" else "training")
        tasks = {"tasks": len(np.unique(table.pairs.task)), "left_out": left_out}
        return {**tasks, "single_view": single.score((1,))["pass@1"]["all_tests"], **share}

    def _versions(self, split: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each row, the number of its augmentation, 0 for the original, and its pair."""
        table = self.table(split)
        identifiers, pair = table.where(np.arange(len(table)))
        return identifiers - table.augmented.starts[table.pairs.task[pair]], pair
