"""Life: the pattern of Conway's game after so many steps on a torus.

A torus of size x size cells, DEAD = 1 or ALIVE = 2 (PAD = 0 is never there), in reading order. A cell is
alive after a step if three of its eight neighbours are, or two and it was alive itself (Conway 1970, B3/S23).
The label is the pattern after `steps` steps: each step needs the one before, so `steps` is a known serial
depth.

It would not be one for patterns that settle: therefore a puzzle has no pattern twice among its generations
0 .. steps (none has died out, become still or begun to blink or cycle before `steps`), and something lives
in the last. Starts are random with three cells in eight alive.

    puzzles = life.generate(1000, seed=0, size=12, steps=4)

Rated by how many cells change on the way, summed over the steps. Shifts of the torus, rotations and
reflections are its symmetry, and the class of a puzzle is its start up to them, whatever `steps` is.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.counter_rng import below, mix64
from hrm_rl.puzzles.family import (
    Dial,
    Made,
    as_pair,
    as_shown,
    as_tokens,
    check_dials,
    dihedral,
    in_split,
    is_exact,
    make_puzzles,
    source_name,
)
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry

__all__ = [
    "ALIVE",
    "CHARACTERS",
    "DEAD",
    "DIALS",
    "GENERATOR_VERSION",
    "PAD",
    "class_key",
    "draw",
    "generate",
    "in_split",
    "is_exact",
    "is_valid",
    "picture",
    "rate",
    "run",
    "seq_len",
    "symmetry",
    "vocab_size",
]

PAD, DEAD, ALIVE = 0, 1, 2
CHARACTERS = "_.#"
GENERATOR_VERSION = 1
DIALS = (
    Dial("size", 10, 4, 32, "width and height of the torus"),
    Dial("steps", 4, 1, 64, "steps to look ahead; small tori settle before many"),
)

_STREAM = 0x11FE_0001
_REFINEMENTS = 6
_COLORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # of dead and alive cells


def vocab_size(size: int = 10, steps: int = 4) -> int:
    """PAD, DEAD and ALIVE."""
    _check(size, steps)
    return 3


def seq_len(size: int = 10, steps: int = 4) -> int:
    """Cells of the torus."""
    _check(size, steps)
    return size * size


def generate(
    count: int,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    size: int = 10,
    steps: int = 4,
) -> PuzzleArrays:
    """Random starts that do not settle; arguments as in `Family.generate`, dials as in `DIALS`.

    Raises:
        ValueError: a bad argument, or a torus too small for so many steps without a repeat.
    """
    _check(size, steps)
    dials = {"size": size, "steps": steps}
    return make_puzzles(
        partial(_make, size, steps),
        partial(class_key, size=size),
        partial(_rate, **dials) if rate else None,
        count,
        cells=size * size,
        name=source_name("life", GENERATOR_VERSION, dials),
        stream=(_STREAM, GENERATOR_VERSION, size, steps),
        seed=seed,
        split=split,
    )


def run(patterns: ArrayLike, size: int = 10, steps: int = 4) -> NDArray[np.int32]:
    """Patterns after `steps` steps: int32 [..., S] for [..., S]. Whatever is not ALIVE counts as dead."""
    _check(size, steps)
    return _run(as_tokens("patterns", patterns, size * size, 3), size, steps)[0]


def is_valid(
    inputs: ArrayLike, answers: ArrayLike, size: int = 10, steps: int = 4
) -> NDArray[np.bool_]:
    """Whether answers are what becomes of the inputs: bool [...] for [..., S]."""
    _check(size, steps)
    puzzles, given = as_pair(inputs, answers, size * size, 3)
    return (_run(puzzles, size, steps)[0] == given).all(axis=-1)


def rate(inputs: ArrayLike, size: int = 10, steps: int = 4) -> NDArray[np.float32]:
    """Cells that change, summed over the steps: float32 [N] for [N, S]."""
    _check(size, steps)
    return _run(as_tokens("inputs", inputs, size * size, 3), size, steps)[1]


_rate = rate  # where an argument hides it


def class_key(inputs: ArrayLike, size: int = 10, steps: int = 4) -> NDArray[np.uint64]:
    """A number that patterns share if shifts, rotations and reflections turn one into the other.

    Colour refinement on the torus, neighbours at a side told from those at a corner. Different classes may
    share a number too (rarely), and then they go to the same split. uint64 [N] for [N, S].
    """
    _check(size, steps)
    tokens = as_tokens("inputs", inputs, size * size, 3)
    rows = np.ascontiguousarray(tokens.reshape(-1, size * size) == ALIVE)
    keys = np.empty(len(rows), np.uint64)
    _refine(rows, size, keys)
    return keys.reshape(tokens.shape[:-1])


@cache
def symmetry(size: int = 10, steps: int = 4) -> Symmetry:
    """All shifts, rotations and reflections of the torus: 8 * size**2 elements."""
    _check(size, steps)
    grid = np.arange(size * size).reshape(size, size)
    down = np.stack([np.roll(grid, k, axis=0).ravel() for k in range(size)])
    across = np.stack([np.roll(grid, k, axis=1).ravel() for k in range(size)])
    return Symmetry((down, across, dihedral(size)))


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
    *,
    size: int = 10,
    steps: int = 4,
) -> str:
    """The start and, beside it, the draft, or without one the labels, if there are any.

    Living cells are `#`. A cell that the draft has wrong is `X` where it should be dead and `o` where it
    should live (red in color).
    """
    _check(size, steps)
    start, shown, wrong = as_shown(inputs, draft, labels, size * size, 3)
    ends = draft is not None or labels is not None
    after = np.asarray(labels) if draft is None and labels is not None else shown
    lines = [f"{'start':<{2 * size - 1}}   after {steps}" if ends else "start"]
    for row in range(size):
        cells = range(row * size, (row + 1) * size)
        line = " ".join(_character(start[c]) for c in cells)
        if ends:
            line += "   " + " ".join(_answer(after[c], bool(wrong[c]), color) for c in cells)
        lines.append(line)
    return "\n".join(lines)


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 20,
    *,
    size: int = 10,
    steps: int = 4,
) -> NDArray[np.uint8]:
    """The start (dark cells live) and beside it the draft (blue cells live), empty without one.

    A cell that the draft has wrong is red where it should be dead, pale red where it should live.
    Arguments and return as in `hrm_rl.puzzles.family.Family.picture`.
    """
    _check(size, steps)
    pictures.check_cell(cell)
    start, shown, wrong = as_shown(inputs, draft, labels, size * size, 3)
    left = [pictures.Tile(ground=pictures.GIVEN if t == ALIVE else None) for t in start]
    right = [pictures.Tile(ground=_ground(shown[c], bool(wrong[c]))) for c in range(size * size)]
    if draft is None:
        right = [pictures.Tile()] * size**2
    boards = [
        pictures.tiles([side[r * size : (r + 1) * size] for r in range(size)], cell)
        for side in (left, right)
    ]
    return pictures.frame(pictures.side_by_side(boards), cell, caption, q)


def _ground(token: int, wrong: bool) -> pictures.Color | None:
    if wrong:
        return pictures.MISTAKE if token == ALIVE else pictures.MISTAKE_CELL
    return pictures.DRAFT if token == ALIVE else None


def _character(token: int) -> str:
    return "#" if token == ALIVE else "."


def _answer(token: int, wrong: bool, color: bool) -> str:
    if not wrong:
        return _character(token)
    text = "X" if token == ALIVE else "o"
    return f"\x1b[1;31m{text}\x1b[0m" if color else text


def _check(size: int, steps: int) -> None:
    check_dials(DIALS, {"size": size, "steps": steps})


def _make(size: int, steps: int, keys: NDArray[np.uint64]) -> Made:
    starts = np.zeros((len(keys), size * size), np.bool_)
    _random_starts(keys, starts)
    ends, accepted = starts.copy(), np.zeros(len(keys), np.bool_)
    _evolve(ends, size, steps, np.zeros(len(keys), np.int64), accepted)
    tokens = [np.where(side, ALIVE, DEAD).astype(np.int32) for side in (starts, ends)]
    return tokens[0], tokens[1], accepted


def _run(
    patterns: NDArray[np.int32], size: int, steps: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Patterns after the steps, and how many cells changed on the way."""
    alive = np.ascontiguousarray(patterns.reshape(-1, size * size) == ALIVE)
    changes, lively = np.zeros(len(alive), np.int64), np.zeros(len(alive), np.bool_)
    _evolve(alive, size, steps, changes, lively)
    tokens = np.where(alive, ALIVE, DEAD).astype(np.int32).reshape(patterns.shape)
    return tokens, changes.astype(np.float32).reshape(patterns.shape[:-1])


@njit(cache=True, nogil=True)
def _random_starts(keys, starts):
    """Fills starts bool [N, S]: three cells in eight live."""
    stream = np.empty(1, np.uint64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        for cell in range(starts.shape[1]):
            starts[k, cell] = below(stream, 8) < 3


@njit(cache=True, nogil=True)
def _evolve(patterns, size, steps, changes, lively):
    """Advances patterns bool [N, S] in place; adds up changed cells and says which never repeat.

    `lively` means no generation 0 .. steps is equal to an earlier one, and the last is not empty.
    """
    history = np.zeros((steps + 1, size * size), np.bool_)
    for k in range(len(patterns)):
        history[0] = patterns[k]
        fresh = True
        for step in range(steps):
            old, new = history[step], history[step + 1]
            for row in range(size):
                up, down = (row - 1) % size * size, (row + 1) % size * size
                here = row * size
                for column in range(size):
                    left, right = (column - 1) % size, (column + 1) % size
                    count = (
                        np.int64(old[up + left])
                        + old[up + column]
                        + old[up + right]
                        + old[here + left]
                        + old[here + right]
                        + old[down + left]
                        + old[down + column]
                        + old[down + right]
                    )
                    cell = here + column
                    new[cell] = count == 3 or (count == 2 and old[cell])
                    if new[cell] != old[cell]:
                        changes[k] += 1
            for earlier in range(step + 1):
                same = True
                for cell in range(size * size):
                    if history[earlier, cell] != new[cell]:
                        same = False
                        break
                if same:
                    fresh = False
        patterns[k] = history[steps]
        lively[k] = fresh and history[steps].any()


@njit(cache=True, nogil=True)
def _refine(rows, size, keys):
    """Colour refinement of patterns bool [N, S] on the torus into keys [N]; all sums commute."""
    old, new = np.empty(size * size, np.uint64), np.empty(size * size, np.uint64)
    for k in range(len(rows)):
        for cell in range(size * size):
            old[cell] = _COLORS[np.int64(rows[k, cell])]
        for _ in range(_REFINEMENTS):
            for row in range(size):
                up, down = (row - 1) % size * size, (row + 1) % size * size
                here = row * size
                for column in range(size):
                    left, right = (column - 1) % size, (column + 1) % size
                    sides = old[up + column] + old[down + column]
                    sides += old[here + left] + old[here + right]
                    corners = old[up + left] + old[up + right]
                    corners += old[down + left] + old[down + right]
                    color = mix64(old[here + column]) + mix64(sides)
                    new[here + column] = mix64(color + mix64(~corners))
            old, new = new, old
        total = mix64(np.uint64(size))
        for cell in range(size * size):
            total += mix64(old[cell])
        keys[k] = mix64(total)
