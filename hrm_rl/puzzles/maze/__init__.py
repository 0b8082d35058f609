"""Mazes of any size: find a shortest path from S to G. Generate, solve, rate, check, draw, files.

A maze is S = size * size tokens in reading order: PAD = 0 (never in a maze), WALL = 1, SPACE = 2,
START = 3, GOAL = 4, and in answers PATH = 5 on every cell between start and goal; characters ``# SGo``
in files, as in the reference's Maze dataset.

There are two kinds: random walls with long paths, like Maze-Hard (30x30, more than 110 moves), and perfect
mazes, whose path is unique. A maze of the first kind has many shortest paths, so an answer may be ``valid``
without being ``exact``.

    puzzles = maze.generate(100, 30, seed=0, split="train")
    solution, moves, paths = maze.solve(puzzles.inputs, 30)
    print(maze.draw(puzzles.inputs[0], draft=solution[0], size=30))

Most functions are the methods of `Maze` with the size as an argument.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.base.tokens import is_exact
from hrm_rl.puzzles.family import SPLITS
from hrm_rl.puzzles.maze.family import Maze
from hrm_rl.puzzles.maze.layout import CHARACTERS, GOAL, PAD, PATH, SPACE, START, WALL
from hrm_rl.puzzles.maze.solve import COUNT_CAP, Solved, check_puzzle, path_excess, solve
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry

__all__ = [
    "CHARACTERS",
    "COUNT_CAP",
    "GOAL",
    "PAD",
    "PATH",
    "SPACE",
    "SPLITS",
    "START",
    "WALL",
    "Maze",
    "Solved",
    "check_puzzle",
    "is_exact",
    "path_excess",
    "solve",
]

in_split = Maze.in_split
parse = Maze.parse
to_text = Maze.to_text


def vocab_size(size: int = 30) -> int:
    """Tokens, PAD among them: 6 at every size."""
    return Maze(size).vocab_size


def seq_len(size: int = 30) -> int:
    """Cells of a maze."""
    return Maze(size).seq_len


def symmetry(size: int = 30) -> Symmetry:
    """The 8 rotations and reflections of the square; see `Maze.augmentation`."""
    return Maze(size).symmetry


def generate(
    count: int, size: int = 30, *, seed: int = 0, split: str | None = None, rate: bool = False, **dials: Any
) -> PuzzleArrays:
    """`Maze(size, **dials).generate(count, seed=seed, split=split, rate=rate)`."""
    return Maze(size, **dials).generate(count, seed=seed, split=split, rate=rate)


def is_valid(inputs: ArrayLike, answers: ArrayLike, size: int = 30) -> NDArray[np.bool_]:
    """Whether answers are their maze with a shortest path drawn and nothing else: bool [...]."""
    return Maze(size).is_valid(inputs, answers)


def rate(inputs: ArrayLike, size: int = 30) -> NDArray[np.float32]:
    """The moves of a shortest path, float32 [...] for int [..., S]; NaN if there is none."""
    return Maze(size).rate(inputs)


def class_key(inputs: ArrayLike, size: int = 30) -> NDArray[np.uint64]:
    """A number that all mazes of a class share, see `Maze.key`: uint64 [...] for int [..., S]."""
    return Maze(size).class_key(inputs)


def draw(inputs: ArrayLike, *args: Any, size: int = 30, **options: Any) -> str:
    """A maze as lines of text; other arguments as in `Maze.draw`."""
    return Maze(size).draw(inputs, *args, **options)


def picture(inputs: ArrayLike, *args: Any, size: int = 30, **options: Any) -> NDArray[np.uint8]:
    """A maze as an image, uint8 [H, W, 3]; other arguments as in `Maze.picture`."""
    return Maze(size).picture(inputs, *args, **options)


def read_csv(
    path: str | os.PathLike[str], size: int | None = None, *, limit: int | None = None
) -> PuzzleArrays:
    """Read and check a file of mazes, as `hrm_rl.puzzles.sudoku.read_csv`; any shortest path is right."""
    return Maze.read_file(path, size, limit)[0]


def write_csv(path: str | os.PathLike[str], arrays: PuzzleArrays, size: int = 30) -> None:
    """Write mazes so that `read_csv` gives them back; errors as in `Maze.write_csv`."""
    Maze(size).write_csv(path, arrays)
