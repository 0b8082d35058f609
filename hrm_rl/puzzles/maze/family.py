"""Mazes as a family: dials and generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.dials import dial, switch
from hrm_rl.puzzles.family import Family, Made
from hrm_rl.puzzles.maze import kernels
from hrm_rl.puzzles.maze.check import is_valid
from hrm_rl.puzzles.maze.classes import class_key, symmetry
from hrm_rl.puzzles.maze.csv import read_csv, write_csv
from hrm_rl.puzzles.maze.layout import CHARACTERS, SIZES, VOCAB_SIZE
from hrm_rl.puzzles.maze.picture import picture
from hrm_rl.puzzles.maze.solve import rate
from hrm_rl.puzzles.maze.text import draw
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry

if TYPE_CHECKING:
    import os

_TRIES = 200_000  # mazes tried for one that is kept: some seconds
_BRAID_STEPS = 65536


@dataclass(frozen=True)
class Maze(Family):
    """Maze: find a shortest path from S to G.

    Without `perfect`, walls stand at random, a share of 36 to 42 % of all cells, and a maze is kept if its
    shortest path has `min_path` moves or more, as in Maze-Hard (111 at 30x30). Such mazes have very many
    shortest paths (10^6 and more at 30x30), and the label is one of them, so an answer may be valid without
    being exact. `perfect` mazes are corridors carved depth first, in which the shortest path is the only
    path; every dead end that `braid` opens makes a loop.

    Goal and start are the farthest cell from a random one and the farthest from that. The label's path is
    the one that takes, from every cell, the first of up, left, right, down that leads nearer to the goal.

    The environment's info also has `path_excess`: 0 for a shortest path, n for a path that is n moves too
    long, -1 for an answer that draws no single path from start to goal.

    Tokens: PAD = 0 (in no maze), WALL = 1, SPACE = 2, START = 3, GOAL = 4, and PATH = 5 in answers, on every
    cell between start and goal; size x size cells in reading order.
    Rating: the moves of a shortest path.
    Class: rotations and reflections, with start and goal either way round.
    Augmentation: rotations and reflections of mazes with one path (perfect, braid 0). A turned label is not
    the label of the turned maze if there are several shortest paths.
    """

    name: ClassVar = "maze"
    stream: ClassVar = 0x3A2E
    characters: ClassVar = CHARACTERS

    size: int = dial(30, SIZES[0], SIZES[-1])
    """Cells a side."""
    perfect: bool = switch()
    """Corridors with one path between any two cells, instead of random walls."""
    braid: float = dial(0.0, 0.0, 1.0)
    """Share of a perfect maze's dead ends that are opened."""
    min_path: int | None = dial(None, 1, 7499)
    """Least moves of a shortest path. By default 4 x size - 9, and 1 for perfect mazes."""

    vocab_size: ClassVar = VOCAB_SIZE

    @property
    def seq_len(self) -> int:
        return self.size**2

    @property
    def symmetry(self) -> Symmetry:
        return symmetry(self.size)

    @property
    def augmentation(self) -> Symmetry | None:
        return self.symmetry if self.perfect and self.braid == 0 else None

    @property
    def least_moves(self) -> int:
        """`min_path` or its default.

        The default for random walls is 111 at 30x30, the bound of Maze-Hard ("above 110", Wang et al. 2025,
        section 3.1). About one in a hundred random mazes of any size has a path that long.
        """
        if self.min_path is not None:
            return self.min_path
        return 1 if self.perfect else 4 * self.size - 9

    def check(self) -> None:
        if self.braid and not self.perfect:
            raise ValueError(
                f"braid is for perfect mazes; got braid={self.braid} with perfect=False"
            )
        # A shortest path has at most three cells of any four that make a square.
        longest, size = 3 * ((self.size + 1) // 2) ** 2 - 1, self.size
        if self.min_path is not None and self.min_path > longest:
            raise ValueError(
                f"min_path must be 1 to {longest} in a {size}x{size} maze, got {self.min_path}"
            )

    def stream_numbers(self) -> tuple[int, ...]:
        return self.size, self.perfect, self._braid_steps, self.least_moves

    @property
    def _braid_steps(self) -> int:
        return round(self.braid * _BRAID_STEPS)

    def named_dials(self) -> dict[str, Any]:
        exact = {"perfect": bool(self.perfect), "braid": float(self.braid)}
        return self.dials() | exact | {"min_path": self.least_moves}

    def make(self, keys: NDArray[np.uint64]) -> Made:
        """Raises ValueError if a key gives no maze with a path of `least_moves`."""
        size, least = self.size, self.least_moves
        mazes = np.zeros((len(keys), self.seq_len), np.int8)
        labels, room = np.zeros_like(mazes), kernels.scratch(size)
        made = kernels.generate(
            size, self.perfect, self._braid_steps, least, _TRIES, keys, mazes, labels, room
        )
        if made < len(keys):
            raise ValueError(
                f"{_TRIES:,} mazes of {size}x{size} had no shortest path of min_path={least} moves; "
                "a smaller min_path is more likely"
            )
        return mazes.astype(np.int32), labels.astype(np.int32), np.ones(len(keys), np.bool_)

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        return is_valid(puzzles, answers, self.size)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[np.float32]:
        return rate(puzzles, self.size)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        return class_key(puzzles, self.size)

    def draw(self, inputs: ArrayLike, *args: Any, **options: Any) -> str:
        return draw(inputs, *args, size=self.size, **options)

    def picture(self, inputs: ArrayLike, *args: Any, **options: Any) -> NDArray[np.uint8]:
        return picture(inputs, *args, size=self.size, **options)

    def read_csv(self, path: str | os.PathLike[str]) -> PuzzleArrays:
        return read_csv(path, self.size)

    def write_csv(self, path: str | os.PathLike[str], puzzles: PuzzleArrays) -> None:
        write_csv(path, puzzles, self.size)


def generate(
    count: int,
    size: int = 30,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    **dials: Any,
) -> PuzzleArrays:
    """`Maze(size, **dials).generate(count, seed=seed, split=split, rate=rate)`."""
    return Maze(size, **dials).generate(count, seed=seed, split=split, rate=rate)
