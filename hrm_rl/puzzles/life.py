"""Life: the pattern of Conway's game on a torus after a number of steps."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.counter_rng import below, mix64
from hrm_rl.puzzles.base.dials import dial, module_functions
from hrm_rl.puzzles.base.relations import neighbours
from hrm_rl.puzzles.base.tokens import RED, as_tokens, dihedral, paint
from hrm_rl.puzzles.family import Made
from hrm_rl.puzzles.pool import Symmetry
from hrm_rl.puzzles.square import SquareFamily

PAD, DEAD, ALIVE = range(3)

_REFINEMENTS = 6
_COLORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)  # of dead and alive cells


@dataclass(frozen=True)
class Life(SquareFamily):
    """Life: the pattern of Conway's game on a torus after a number of steps.

    A cell is alive after a step if three of its eight neighbours are, or if two are and it was alive itself
    (Conway 1970, B3/S23). Each step needs the one before, so `steps` is a known serial depth. It would not
    be one for patterns that settle: no generation 0 .. `steps` of a puzzle equals an earlier one, and
    something lives in the last. Three cells in eight of a random start are alive.

    Tokens: PAD = 0 (in no puzzle), DEAD = 1, ALIVE = 2, in reading order.
    Rating: the cells that change, summed over the steps.
    Class and augmentation: shifts of the torus, rotations and reflections of the start; `steps` does not
    count. Different classes may share a key (rarely), and then they go to the same split.
    """

    name: ClassVar = "life"
    stream: ClassVar = 0x11FE_0001
    characters: ClassVar = "_.#"
    one_answer: ClassVar = True
    pixels: ClassVar = 20

    size: int = dial(10, 4, 32)
    """Width and height of the torus."""
    steps: int = dial(4, 1, 64)
    """Steps to look ahead; patterns on a small torus settle before many."""

    vocab_size: ClassVar = 3

    @property
    def symmetry(self) -> Symmetry:
        return _symmetry(self.size)

    @property
    def relations(self) -> NDArray[np.int32]:
        """Itself and the eight neighbours on the torus: `neighbours`."""
        return neighbours(self.size, corners=True, torus=True)

    def make(self, keys: NDArray[np.uint64]) -> Made:
        starts = np.zeros((len(keys), self.seq_len), np.bool_)
        _random_starts(keys, starts)
        ends, accepted = starts.copy(), np.zeros(len(keys), np.bool_)
        _evolve(ends, self.size, self.steps, np.zeros(len(keys), np.int64), accepted)
        inputs, labels = (np.where(side, ALIVE, DEAD).astype(np.int32) for side in (starts, ends))
        return inputs, labels, accepted

    def run(self, patterns: ArrayLike) -> NDArray[np.int32]:
        """Patterns after `steps` steps: int32 [..., S] for [..., S]. Tokens but ALIVE count as dead."""
        tokens = as_tokens("patterns", patterns, self.seq_len, self.vocab_size)
        return self._run(tokens.reshape(-1, self.seq_len))[0].reshape(tokens.shape)

    def _run(self, patterns: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Patterns [N, S] after the steps, and the number of cells that changed on the way [N]."""
        alive, count = patterns == ALIVE, len(patterns)
        changes, lively = np.zeros(count, np.int64), np.zeros(count, np.bool_)
        _evolve(alive, self.size, self.steps, changes, lively)
        return np.where(alive, ALIVE, DEAD).astype(np.int32), changes

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        return (self._run(puzzles)[0] == answers).all(axis=1)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[Any]:
        return self._run(puzzles)[1]

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Colour refinement on the torus; neighbours at a side and at a corner count differently."""
        keys = np.empty(len(puzzles), np.uint64)
        _refine(puzzles == ALIVE, self.size, keys)
        return keys

    def text(self, shown: pictures.Shown, color: bool) -> str:
        """The start and, beside it, the answer. A mistake is `X` if it should be dead, else `o`."""
        size = self.size
        starts, ends = (
            ["#" if token == ALIVE else "." for token in side] for side in (shown.puzzle, shown.answer)
        )
        for cell in np.flatnonzero(shown.wrong):
            ends[cell] = paint("X" if shown.answer[cell] == ALIVE else "o", RED, color)
        lines = [f"{'start':<{2 * size - 1}}   after {self.steps}" if shown.answered else "start"]
        for first in range(0, self.seq_len, size):
            line = " ".join(starts[first : first + size])
            end = "   " + " ".join(ends[first : first + size]) if shown.answered else ""
            lines.append(line + end)
        return "\n".join(lines)

    def panels(self, shown: pictures.Shown) -> list[pictures.Panel]:
        """The start (dark cells live), and the draft (blue cells live) beside it, empty without one.

        A mistake is red if it should be dead, pale red if it should live.
        """
        grounds = [pictures.GIVEN if token == ALIVE else None for token in shown.puzzle]
        answers: list[pictures.Color | None] = [None] * self.seq_len
        if shown.answered:
            pairs = zip(shown.answer, shown.wrong, strict=True)
            answers = [_ground(int(token), bool(wrong)) for token, wrong in pairs]
        sides = ("start", grounds), (f"after {self.steps}", answers)
        return [
            pictures.Panel([pictures.Tile(ground=ground) for ground in side], self.size, title)
            for title, side in sides
        ]

    def board(self, shown: pictures.Shown, cell: int) -> Image.Image:
        """As `panels`."""
        return pictures.side_by_side(
            [pictures.tiles(panel.tiles, self.size, cell) for panel in self.panels(shown)]
        )


__getattr__ = module_functions(Life)


@cache
def _symmetry(size: int) -> Symmetry:
    """All shifts, rotations and reflections of the torus: 8 * size**2 elements."""
    grid = np.arange(size * size).reshape(size, size)
    down = np.stack([np.roll(grid, k, axis=0).ravel() for k in range(size)])
    across = np.stack([np.roll(grid, k, axis=1).ravel() for k in range(size)])
    return Symmetry((down, across, dihedral(size)))


def _ground(token: int, wrong: bool) -> pictures.Color | None:
    if wrong:
        return pictures.MISTAKE if token == ALIVE else pictures.MISTAKE_CELL
    return pictures.DRAFT if token == ALIVE else None


@njit(nogil=True)
def _random_starts(keys, starts):
    """Fill starts bool [N, S]; three cells in eight live."""
    stream = np.empty(1, np.uint64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        for cell in range(starts.shape[1]):
            starts[k, cell] = below(stream, 8) < 3


@njit(nogil=True)
def _evolve(patterns, size, steps, changes, lively):
    """Advance patterns bool [N, S] in place, count changed cells, and mark the patterns that do not settle.

    `lively` means that no generation 0 .. steps equals an earlier one, and that the last is not empty.
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


@njit(nogil=True)
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
