"""Mazes without end: random walls as in Maze-Hard, and perfect mazes with as many loops as asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hrm_rl.puzzles.family import make_puzzles, source_name
from hrm_rl.puzzles.maze import kernels
from hrm_rl.puzzles.maze.classes import class_key
from hrm_rl.puzzles.maze.layout import least_moves
from hrm_rl.puzzles.maze.solve import rate as rate_mazes
from hrm_rl.puzzles.pool import PuzzleArrays

GENERATOR_VERSION = 1

# Tells mazes' streams from other families'.
_STREAM = 0x3A2E
_TRIES = 200_000  # mazes tried for one that is kept: some seconds
_BRAID_STEPS = 65536


def generate(
    count: int,
    size: int = 30,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    perfect: bool = False,
    braid: float = 0.0,
    min_path: int | None = None,
) -> PuzzleArrays:
    """Random mazes with a start, a goal, and a shortest path drawn in the label.

    Either walls stand at random, a share of 36 to 42 % of all cells, and the maze is kept if its
    shortest path has `min_path` moves or more. Between the same two cells there are then many shortest
    paths, 10^6 and more at 30x30. Or the maze is `perfect`: corridors without loops, carved depth first,
    in which the shortest path is the only path; `braid` then opens that share of the dead ends, which
    makes loops.

    Goal and start are the farthest cell from a random one and the farthest from that. The label's path
    is the one that from every cell takes the first of up, left, right, down that leads nearer to the
    goal. Maze k hangs only on (dials, seed, split, k), not on `count`, workers or platform.

    Args:
        count: number of mazes N.
        size: cells a side, 3 to 100.
        seed: 0 to 2**64 - 1.
        split: "train", "validation" or "test" keeps to mazes whose class lies in that split; None
            takes all.
        rate: fill in ``rating`` with the moves of a shortest path; else it is NaN.
        perfect: corridors with exactly one path between any two cells (before `braid`).
        braid: 0 to 1.
        min_path: least moves of a shortest path; None is 4 * size - 9 (111 for 30x30, as in Maze-Hard),
            and 1 for perfect mazes.

    Returns:
        N mazes of tokens WALL, SPACE, START and GOAL; labels have PATH on the way; identifiers are 0.

    Raises:
        ValueError: a bad argument, or no maze with so long a path turned up.
    """
    least = least_moves(size, perfect, braid, min_path)
    side, no_loops = int(size), bool(perfect)
    dials = {"size": side, "perfect": no_loops, "braid": float(braid), "min_path": least}
    braid_steps = round(float(braid) * _BRAID_STEPS)

    def make(
        keys: NDArray[np.uint64],
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
        mazes = np.zeros((len(keys), side**2), np.int8)
        labels = np.zeros_like(mazes)
        made = kernels.generate(
            side,
            no_loops,
            braid_steps,
            least,
            _TRIES,
            keys,
            mazes,
            labels,
            kernels.scratch(side),
        )
        if made < len(keys):
            raise ValueError(
                f"{_TRIES:,} mazes of {size}x{size} had no shortest path of min_path={least} moves; "
                "a smaller min_path is more likely"
            )
        return mazes.astype(np.int32), labels.astype(np.int32), np.ones(len(keys), np.bool_)

    return make_puzzles(
        make,
        lambda inputs: class_key(inputs, size),
        (lambda inputs: rate_mazes(inputs, size)) if rate else None,
        count,
        cells=side**2,
        name=source_name("maze", GENERATOR_VERSION, dials),
        stream=(_STREAM, GENERATOR_VERSION, side, no_loops, braid_steps, least),
        seed=seed,
        split=split,
    )
