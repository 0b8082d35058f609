"""Mazes of any size: find a shortest path from S to G. Generate, solve, rate, check, draw, files.

A maze is S = size * size tokens in reading order: PAD = 0 (never in a maze), WALL = 1, SPACE = 2,
START = 3, GOAL = 4, and in answers PATH = 5 on every cell between start and goal; characters ``# SGo``
in files, as in the reference's Maze dataset.

Two worlds: random walls with long paths, like Maze-Hard (30x30, more than 110 moves), and perfect
mazes, whose path is unique. Shortest paths of the first kind are many, so an answer may be ``valid``
without being ``exact``.

    puzzles = maze.generate(100, 30, seed=0, split="train")
    solution, moves, paths = maze.solve(puzzles.inputs, 30)
    print(maze.draw(puzzles.inputs[0], draft=solution[0], size=30))
"""

from hrm_rl.puzzles.family import SPLITS, in_split
from hrm_rl.puzzles.maze.check import check_puzzle, is_valid, path_excess
from hrm_rl.puzzles.maze.classes import class_key, symmetry
from hrm_rl.puzzles.maze.csv import read_csv, write_csv
from hrm_rl.puzzles.maze.family import Maze, generate
from hrm_rl.puzzles.maze.layout import (
    CHARACTERS,
    GOAL,
    PAD,
    PATH,
    SPACE,
    START,
    VOCAB_SIZE,
    WALL,
    check,
)
from hrm_rl.puzzles.maze.picture import picture
from hrm_rl.puzzles.maze.solve import COUNT_CAP, Solved, rate, solve
from hrm_rl.puzzles.maze.text import draw, parse, to_text
from hrm_rl.puzzles.tokens import is_exact

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
    "class_key",
    "draw",
    "generate",
    "in_split",
    "is_exact",
    "is_valid",
    "parse",
    "path_excess",
    "picture",
    "rate",
    "read_csv",
    "seq_len",
    "solve",
    "symmetry",
    "to_text",
    "vocab_size",
    "write_csv",
]


def vocab_size(size: int = 30) -> int:
    """Tokens, PAD among them: 6 at every size; ValueError for a size out of range."""
    check(size)
    return VOCAB_SIZE


def seq_len(size: int = 30) -> int:
    """Cells of a maze; ValueError for a size out of range."""
    return check(size) ** 2
