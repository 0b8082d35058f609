"""Lights Out: find the buttons that turn every light off."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.counter_rng import below, choose
from hrm_rl.puzzles.base.dials import dial, module_functions
from hrm_rl.puzzles.base.relations import neighbours
from hrm_rl.puzzles.base.tokens import RED, as_tokens, dihedral, hash_rows, paint
from hrm_rl.puzzles.family import Made
from hrm_rl.puzzles.square import SquareFamily

PAD, OFF, LIT, LEAVE, PRESS = range(5)
SIZES = (2, 3, 6, 7, 8, 10)

_LAMP: pictures.Color = (255, 214, 92)


@dataclass(frozen=True)
class LightsOut(SquareFamily):
    """Lights Out: find the buttons that turn every light off.

    Pressing a light of the square toggles it and its neighbours above, below, left and right. Order and
    double presses do not matter, so an answer is a set of buttons. The sizes are those on which every
    pattern has exactly one answer; on 4, 5 and 9 the presses are linearly dependent modulo 2.

    Tokens: PAD = 0, OFF = 1 and LIT = 2 in puzzles, LEAVE = 3 and PRESS = 4 in answers.
    Rating: the number of presses.
    Class and augmentation: rotations and reflections of the square. Keys are equal exactly within a class.
    """

    name: ClassVar = "lights-out"
    stream: ClassVar = 0x0FF5_0001
    characters: ClassVar = "_01.x"
    one_answer: ClassVar = True
    pixels: ClassVar = 36

    size: int = dial(6, choices=SIZES)
    """Width and height of the square."""
    presses: int | None = dial(None, 1, 100)
    """Buttons of the answer, at most size x size. By default each is pressed with probability 1/2, and all
    patterns are equally likely."""

    vocab_size: ClassVar = 5

    @property
    def relations(self) -> NDArray[np.int32]:
        """Itself and the four neighbours: `neighbours`."""
        return neighbours(self.size)

    def check(self) -> None:
        most = self.size**2
        if self.presses is not None and self.presses > most:
            raise ValueError(f"presses must be 1 to {most} on {self.size}x{self.size}, got {self.presses}")

    def make(self, keys: NDArray[np.uint64]) -> Made:
        pressed = np.zeros((len(keys), self.seq_len), np.int64)
        _press(keys, self.presses or 0, pressed)
        lights = pressed @ toggles(self.size).astype(np.int64) % 2
        inputs, labels = (lights + OFF).astype(np.int32), (pressed + LEAVE).astype(np.int32)
        return inputs, labels, np.asarray(pressed.any(axis=1))

    def stream_numbers(self) -> tuple[int, ...]:
        return self.size, self.presses or 0

    def solve(self, inputs: ArrayLike) -> NDArray[np.int32]:
        """The answer of every puzzle: LEAVE or PRESS, int32 [..., S] for lights [..., S]."""
        lights = as_tokens("inputs", inputs, self.seq_len, self.vocab_size) == LIT
        presses = (lights.astype(np.int64) @ _inverse(self.size)) % 2
        return (presses + LEAVE).astype(np.int32)

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        answered = ((answers == LEAVE) | (answers == PRESS)).all(axis=1)
        toggled = (answers == PRESS).astype(np.int64) @ toggles(self.size).astype(np.int64) % 2
        return answered & (toggled == (puzzles == LIT)).all(axis=1)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[np.int64]:
        return (self.solve(puzzles) == PRESS).sum(axis=1)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        return np.min([hash_rows(puzzles[:, turned]) for turned in dihedral(self.size)], axis=0)

    def text(self, shown: pictures.Shown, color: bool) -> str:
        """`o` is on, `.` off, `(o)` a press; a mistake stands between stars."""
        cells = []
        for light, answer, wrong in zip(shown.puzzle, shown.answer, shown.wrong, strict=True):
            lamp = "o" if light == LIT else "."
            if wrong and answer >= LEAVE:
                cells.append(paint(f"*{lamp}*", RED, color))
            else:
                cells.append(f"({lamp})" if answer == PRESS else f" {lamp} ")
        starts = range(0, self.seq_len, self.size)
        return "\n".join("".join(cells[start : start + self.size]).rstrip() for start in starts)

    def panels(self, shown: pictures.Shown) -> list[pictures.Panel]:
        """Lights with a disc for a press, a ring for a missing one."""
        tiles = []
        for light, answer, wrong in zip(shown.puzzle, shown.answer, shown.wrong, strict=True):
            text = "\u25cf" if answer == PRESS else "\u25cb" if answer == LEAVE and wrong else ""
            ground = _LAMP if light == LIT else pictures.GIVEN_CELL
            tiles.append(pictures.Tile(text, pictures.MISTAKE if wrong else pictures.DRAFT, ground))
        return [pictures.Panel(tiles, self.size)]

    def board(self, shown: pictures.Shown, cell: int) -> Image.Image:
        """Lights that are on are yellow; a press is a blue disc, red if wrong; a missing press a red ring."""
        size = self.size
        grounds = [_LAMP if light == LIT else pictures.GIVEN_CELL for light in shown.puzzle]
        lamps = [pictures.Tile(ground=ground) for ground in grounds]
        board = pictures.tiles(lamps, size, cell)
        disc = pictures.disc_mask(0.55 * cell)
        ring = pictures.disc_mask(0.55 * cell, hole=0.6)
        inset = pictures.margin(cell) + (cell - disc.width + 1) // 2
        for index, (answer, wrong) in enumerate(zip(shown.answer, shown.wrong, strict=True)):
            place = (inset + index % size * cell, inset + index // size * cell)
            if answer == PRESS:
                board.paste(pictures.MISTAKE if wrong else pictures.DRAFT, place, disc)
            elif answer == LEAVE and wrong:
                board.paste(pictures.MISTAKE, place, ring)
        return board


__getattr__ = module_functions(LightsOut)


@cache
def toggles(size: int = 6) -> NDArray[np.bool_]:
    """The lights that each button toggles: bool [S, S], a row a button. Do not write into it."""
    rows, columns = np.divmod(np.arange(size * size), size)
    distance = abs(rows[:, None] - rows) + abs(columns[:, None] - columns)
    return distance <= 1


@cache
def _inverse(size: int) -> NDArray[np.int64]:
    """The inverse of `toggles` modulo 2, by Gauss and Jordan: int64 [S, S]."""
    cells = size * size
    work = np.concatenate([toggles(size), np.eye(cells, dtype=bool)], axis=1)
    for column in range(cells):
        pivot = column + int(np.argmax(work[column:, column]))
        assert work[pivot, column], f"on {size}x{size}, answers are not unique"
        work[[column, pivot]] = work[[pivot, column]]
        others = work[:, column].copy()
        others[column] = False
        work[others] ^= work[column]
    return work[:, cells:].astype(np.int64)


@njit(nogil=True)
def _press(keys, presses, pressed):
    """Press `presses` random buttons of pressed [N, S], all 0; if 0, each with probability 1/2."""
    cells = pressed.shape[1]
    stream = np.empty(1, np.uint64)
    order = np.empty(cells, np.int64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        if presses == 0:
            for cell in range(cells):
                pressed[k, cell] = below(stream, 2)
            continue
        choose(stream, order, presses)
        for cell in order[:presses]:
            pressed[k, cell] = 1
