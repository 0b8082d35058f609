"""Mazes as a family: dials and generator."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrm_rl.compiling import by_parts
from hrm_rl.puzzles.base.counter_rng import stream_keys
from hrm_rl.puzzles.base.dials import dial, switch
from hrm_rl.puzzles.base.picture import Panel, Shown
from hrm_rl.puzzles.base.relations import neighbours
from hrm_rl.puzzles.base.tokens import dihedral
from hrm_rl.puzzles.family import Made
from hrm_rl.puzzles.files.cell_text import CellText
from hrm_rl.puzzles.maze import drawing, kernels
from hrm_rl.puzzles.maze.layout import CHARACTERS, SIZES, VOCAB_SIZE, WALL
from hrm_rl.puzzles.maze.solve import path_excess, solve, what_is_wrong
from hrm_rl.puzzles.pool import Symmetry
from hrm_rl.puzzles.square import SquareFamily

_WALL_STREAM, _END_STREAM = 0x3A2E_0001, 0x3A2E_0002
_TRIES = 200_000  # mazes tried for one that is kept: some seconds
_BRAID_STEPS = 65536


@dataclass(frozen=True)
class Maze(SquareFamily):
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
    def pixels(self) -> int:
        """480 / size, 16 to 40."""
        return min(max(480 // self.size, 16), 40)

    @property
    def cell_text(self) -> CellText:
        """The characters ``# SG``, and ``o`` for a path; no '.', which is PAD."""
        reads = {CHARACTERS[token]: token for token in range(WALL, VOCAB_SIZE)}
        return CellText(CHARACTERS, reads, self._cell_name)

    @property
    def relations(self) -> NDArray[np.int32]:
        """Itself and the four neighbours: `neighbours`."""
        return neighbours(self.size)

    @property
    def augmentation(self) -> Symmetry | None:
        """That of perfect mazes without `braid`. Of several shortest paths, a turned label is not the one
        that `solve` would draw, though it is as short."""
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
            raise ValueError(f"braid is for perfect mazes; got braid={self.braid} with perfect=False")
        # A shortest path has at most three cells of any four that make a square.
        longest, size = 3 * ((self.size + 1) // 2) ** 2 - 1, self.size
        if self.min_path is not None and self.min_path > longest:
            raise ValueError(f"min_path must be 1 to {longest} in a {size}x{size} maze, got {self.min_path}")

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
        dials = size, self.perfect, self._braid_steps, least, _TRIES

        def sides(some: NDArray[np.uint64]) -> NDArray[np.int8]:
            mazes, labels = made = np.zeros((2, len(some), self.seq_len), np.int8)
            if kernels.generate(*dials, some, mazes, labels, kernels.scratch(size)) < len(some):
                raise ValueError(
                    f"{_TRIES:,} mazes of {size}x{size} had no shortest path of min_path={least} moves; "
                    "a smaller min_path is more likely"
                )
            return made

        mazes, labels = np.concatenate(by_parts(sides, keys), axis=1).astype(np.int32)
        return mazes, labels, np.ones(len(keys), np.bool_)

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        return path_excess(puzzles, answers, self.size) == 0

    def explain(self, puzzle: NDArray[np.int32], answer: NDArray[np.int32]) -> str:
        return what_is_wrong(puzzle, answer, self.size)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[np.float64]:
        moves = solve(puzzles, self.size).moves
        return np.where(moves < 0, np.nan, moves)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        """A 64-bit hash of the 8 images of a maze, with start and goal either way round."""
        keys = np.empty(len(puzzles), np.uint64)
        kernels.class_keys(self.size, *_tables(self.size), puzzles.astype(np.int8), keys)
        return keys

    def text(self, shown: Shown, color: bool) -> str:
        return drawing.text(shown, self.size, color)

    def panels(self, shown: Shown) -> list[Panel]:
        return drawing.panels(shown, self.size)

    def board(self, shown: Shown, cell: int) -> Image.Image:
        return drawing.board(shown, self.size, cell)


@cache
def _tables(size: int) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Images of each cell [S, 8], and random numbers of places for walls and for ends, [S] each."""
    places = np.arange(size * size, dtype=np.uint64)
    images = np.ascontiguousarray(dihedral(size).T)
    return images, stream_keys(_WALL_STREAM, size, places), stream_keys(_END_STREAM, size, places)
