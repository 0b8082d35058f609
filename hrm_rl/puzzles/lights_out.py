"""Lights Out: which buttons to press so that every light goes off.

A square of lights; pressing one toggles it and its neighbours above, below, left and right. The order
of presses does not matter, nor do double ones, so an answer is a set of buttons. Known here are the sizes on
which every pattern of lights has exactly one answer: 2, 3, 6, 7, 8 and 10 (on 4, 5 and 9 the presses are
linearly dependent modulo 2). PAD = 0; a puzzle's cells are OFF = 1 or LIT = 2, its labels LEAVE = 3 or
PRESS = 4.

    puzzles = lights_out.generate(1000, seed=0, size=6, presses=8)

Rated by the number of presses, which `presses` sets; without it every button is pressed or not alike, and
so every pattern as likely as another. The rotations and reflections of the square are its symmetry, and
`class_key` is equal exactly for puzzles that they turn into each other.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.counter_rng import below
from hrm_rl.puzzles.family import (
    Dial,
    Made,
    as_pair,
    as_shown,
    as_tokens,
    check_dials,
    dihedral,
    hash_rows,
    in_split,
    is_exact,
    make_puzzles,
    source_name,
)
from hrm_rl.puzzles.pool import PuzzleArrays, Symmetry

__all__ = [
    "CHARACTERS",
    "DIALS",
    "GENERATOR_VERSION",
    "LEAVE",
    "LIT",
    "OFF",
    "PAD",
    "PRESS",
    "class_key",
    "draw",
    "generate",
    "in_split",
    "is_exact",
    "is_valid",
    "picture",
    "rate",
    "seq_len",
    "solve",
    "symmetry",
    "toggles",
    "vocab_size",
]

PAD, OFF, LIT, LEAVE, PRESS = 0, 1, 2, 3, 4
CHARACTERS = "_01.x"
GENERATOR_VERSION = 1
SIZES = (2, 3, 6, 7, 8, 10)
DIALS = (
    Dial("size", 6, None, None, "width and height of the square", choices=SIZES),
    Dial(
        "presses", None, 1, 100, "buttons of the answer, at most size x size; any number if unset"
    ),
)

_STREAM = 0x0FF5_0001
_LAMP: pictures.Color = (255, 214, 92)


def vocab_size(size: int = 6, presses: int | None = None) -> int:
    """PAD, OFF, LIT, LEAVE and PRESS."""
    _check(size, presses)
    return 5


def seq_len(size: int = 6, presses: int | None = None) -> int:
    """Lights of the square."""
    _check(size, presses)
    return size * size


def generate(
    count: int,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    size: int = 6,
    presses: int | None = None,
) -> PuzzleArrays:
    """Random patterns, at least one light on; arguments as in `Family.generate`, dials as in `DIALS`.

    Raises:
        ValueError: a bad argument, or a split that seems to have no such pattern.
    """
    _check(size, presses)
    dials = {"size": size} | ({} if presses is None else {"presses": presses})
    return make_puzzles(
        partial(_make, size, presses),
        partial(class_key, size=size),
        partial(_rate, size=size) if rate else None,
        count,
        cells=size * size,
        name=source_name("lights_out", GENERATOR_VERSION, dials),
        stream=(_STREAM, GENERATOR_VERSION, size, presses or 0),
        seed=seed,
        split=split,
    )


@cache
def toggles(size: int = 6) -> NDArray[np.bool_]:
    """What each button toggles: bool [S, S], a row a button. Not to be written into."""
    _check(size)
    rows, columns = np.divmod(np.arange(size * size), size)
    distance = abs(rows[:, None] - rows) + abs(columns[:, None] - columns)
    return distance <= 1


def solve(inputs: ArrayLike, size: int = 6) -> NDArray[np.int32]:
    """The answer of every puzzle: LEAVE or PRESS, int32 [..., S] for lights [..., S]."""
    _check(size)
    lights = as_tokens("inputs", inputs, size * size, 5) == LIT
    presses = (lights.astype(np.int64) @ _inverse(size)) % 2
    return (presses + LEAVE).astype(np.int32)


def is_valid(
    inputs: ArrayLike, answers: ArrayLike, size: int = 6, presses: int | None = None
) -> NDArray[np.bool_]:
    """Whether pressing turns all lights off: bool [...] for [..., S]."""
    _check(size, presses)
    puzzles, given = as_pair(inputs, answers, size * size, 5)
    answered = ((given == LEAVE) | (given == PRESS)).all(axis=-1)
    pressed = (given == PRESS).astype(np.int64) @ toggles(size).astype(np.int64) % 2
    return answered & (pressed == (puzzles == LIT)).all(axis=-1)


def rate(inputs: ArrayLike, size: int = 6, presses: int | None = None) -> NDArray[np.float32]:
    """Buttons to press: float32 [N] for [N, S]."""
    _check(size, presses)
    return (solve(inputs, size) == PRESS).sum(axis=-1).astype(np.float32)


_rate = rate  # where an argument hides it


def class_key(inputs: ArrayLike, size: int = 6, presses: int | None = None) -> NDArray[np.uint64]:
    """The least hash of the eight rotations and reflections: uint64 [N] for [N, S]."""
    _check(size, presses)
    tokens = as_tokens("inputs", inputs, size * size, 5)
    rows = tokens.reshape(-1, size * size)
    hashes = [hash_rows(rows[:, turned]) for turned in dihedral(size)]
    return np.min(hashes, axis=0).reshape(tokens.shape[:-1])


@cache
def symmetry(size: int = 6, presses: int | None = None) -> Symmetry:
    """The eight rotations and reflections of the square."""
    _check(size, presses)
    return Symmetry((dihedral(size),))


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
    *,
    size: int = 6,
    presses: int | None = None,
) -> str:
    """The lights, `o` on and `.` off, and around them the draft's presses, or without one the labels'.

    A press reads `(o)`. A cell that the draft has wrong stands between stars (red in color).
    """
    _check(size, presses)
    lights, shown, wrong = as_shown(inputs, draft, labels, size * size, 5)
    answer = np.asarray(labels) if draft is None and labels is not None else shown
    lines = []
    for row in range(size):
        line = ""
        for cell in range(row * size, (row + 1) * size):
            light = "o" if lights[cell] == LIT else "."
            pressed = answer[cell] == PRESS
            if wrong[cell] and answer[cell] >= LEAVE:
                text = f"*{light}*"
                line += f"\x1b[1;31m{text}\x1b[0m" if color else text
            else:
                line += f"({light})" if pressed else f" {light} "
        lines.append(line.rstrip())
    return "\n".join(lines)


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 36,
    *,
    size: int = 6,
    presses: int | None = None,
) -> NDArray[np.uint8]:
    """Lights that are on are yellow; a press of the draft is a blue disc, red where it is wrong.

    A press that the draft lacks is a red ring. Arguments and return as in
    `hrm_rl.puzzles.family.Family.picture`.
    """
    _check(size, presses)
    pictures.check_cell(cell)
    lights, shown, wrong = as_shown(inputs, draft, labels, size * size, 5)
    grounds = [_LAMP if light == LIT else pictures.GIVEN_CELL for light in lights]
    board = pictures.tiles(
        [
            [pictures.Tile(ground=ground) for ground in grounds[r * size : (r + 1) * size]]
            for r in range(size)
        ],
        cell,
    )

    disc = pictures.disc_mask(0.55 * cell)
    ring = pictures.disc_mask(0.55 * cell, hole=0.6)
    edge = pictures.margin(cell)
    inset = (cell - disc.width + 1) // 2
    for index in range(size * size):
        place = (edge + index % size * cell + inset, edge + index // size * cell + inset)
        if shown[index] == PRESS:
            board.paste(pictures.MISTAKE if wrong[index] else pictures.DRAFT, place, disc)
        elif shown[index] == LEAVE and wrong[index]:
            board.paste(pictures.MISTAKE, place, ring)
    return pictures.frame(board, cell, caption, q)


def _check(size: int, presses: int | None = None) -> None:
    check_dials(DIALS, {"size": size, "presses": presses})
    if presses is not None and presses > size * size:
        raise ValueError(f"presses must be 1 to {size * size} on {size}x{size}, got {presses}")


@cache
def _inverse(size: int) -> NDArray[np.int64]:
    """The inverse of `toggles` modulo 2, by Gauss and Jordan: int64 [S, S]."""
    cells = size * size
    work = np.concatenate([toggles(size), np.eye(cells, dtype=bool)], axis=1)
    for column in range(cells):
        pivot = column + int(np.argmax(work[column:, column]))
        assert work[pivot, column], f"{size}x{size} is no size with unique answers"
        work[[column, pivot]] = work[[pivot, column]]
        others = work[:, column].copy()
        others[column] = False
        work[others] ^= work[column]
    return work[:, cells:].astype(np.int64)


def _make(size: int, presses: int | None, keys: NDArray[np.uint64]) -> Made:
    pressed = np.zeros((len(keys), size * size), np.int64)
    _press(keys, presses or 0, pressed)
    lights = pressed @ toggles(size).astype(np.int64) % 2
    inputs, labels = (lights + OFF).astype(np.int32), (pressed + LEAVE).astype(np.int32)
    return inputs, labels, np.asarray(pressed.any(axis=1))


@njit(cache=True, nogil=True)
def _press(keys, presses, pressed):
    """Presses so many random buttons of pressed [N, S], all 0; each or not where `presses` is 0."""
    cells = pressed.shape[1]
    stream = np.empty(1, np.uint64)
    order = np.empty(cells, np.int64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        if presses == 0:
            for cell in range(cells):
                pressed[k, cell] = below(stream, 2)
            continue
        for cell in range(cells):
            order[cell] = cell
        for i in range(presses):
            j = i + below(stream, cells - i)
            order[i], order[j] = order[j], order[i]
            pressed[k, order[i]] = 1
