"""Prefix parity: of every bit, whether the ones up to it are odd in number.

The shortest function that one look does not compute: cell i needs all cells before it. A puzzle is a row
of `length` cells: PAD = 0, ZERO = 1, ONE = 2. The label of bit i is ONE where bits 0 .. i hold an odd number
of ones, else ZERO. With `min_length` below `length` puzzles are of random lengths, PAD behind them and
nothing asked there.

    puzzles = prefix_parity.generate(1000, seed=0, length=32, min_length=8)

Rated by the number of ones: so often does the answer change on its way. A class is one row of bits,
whatever the padding; there is no symmetry that `Symmetry` could express, so nothing augments.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles import picture as pictures
from hrm_rl.puzzles.counter_rng import mix64_array
from hrm_rl.puzzles.family import (
    Dial,
    Made,
    as_pair,
    as_shown,
    as_tokens,
    check_dials,
    in_split,
    is_exact,
    make_puzzles,
    source_name,
)
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays

__all__ = [
    "CHARACTERS",
    "DIALS",
    "GENERATOR_VERSION",
    "ONE",
    "PAD",
    "ZERO",
    "class_key",
    "draw",
    "generate",
    "in_split",
    "is_exact",
    "is_valid",
    "picture",
    "rate",
    "seq_len",
    "symmetry",
    "vocab_size",
]

PAD, ZERO, ONE = 0, 1, 2
CHARACTERS = "_01"
GENERATOR_VERSION = 1
DIALS = (
    Dial("length", 16, 4, 1024, "bits of the longest puzzle, and cells"),
    Dial(
        "min_length", None, 4, 1024, "bits of the shortest puzzle; without it all are of one length"
    ),
)

_STREAM = 0xBA51_0001
_COLUMNS = 16  # of a drawing; longer rows are broken


def vocab_size(length: int = 16, min_length: int | None = None) -> int:
    """PAD, ZERO and ONE."""
    _check(length, min_length)
    return 3


def seq_len(length: int = 16, min_length: int | None = None) -> int:
    """`length`."""
    _check(length, min_length)
    return length


def generate(
    count: int,
    *,
    seed: int = 0,
    split: str | None = None,
    rate: bool = False,
    length: int = 16,
    min_length: int | None = None,
) -> PuzzleArrays:
    """Random bits, each 0 or 1 alike; arguments as in `Family.generate`, dials as in `DIALS`.

    Raises:
        ValueError: a bad argument, or min_length above length.
    """
    _check(length, min_length)
    low = length if min_length is None else min_length
    dials = {"length": length} | ({} if min_length is None else {"min_length": min_length})
    return make_puzzles(
        partial(_make, length, low),
        partial(class_key, length=length),
        partial(_rate, length=length) if rate else None,
        count,
        cells=length,
        name=source_name("prefix_parity", GENERATOR_VERSION, dials),
        stream=(_STREAM, GENERATOR_VERSION, length, low),
        seed=seed,
        split=split,
    )


def is_valid(
    inputs: ArrayLike, answers: ArrayLike, length: int = 16, min_length: int | None = None
) -> NDArray[np.bool_]:
    """Whether every bit has its parity: bool [...] for [..., S]; answers behind the bits do not count."""
    _check(length, min_length)
    puzzles, given = as_pair(inputs, answers, length, 3)
    labels = _labels(puzzles)
    return ((labels == IGNORE_LABEL) | (labels == given)).all(axis=-1)


def rate(inputs: ArrayLike, length: int = 16, min_length: int | None = None) -> NDArray[np.float32]:
    """The number of ones: float32 [N] for [N, S]."""
    _check(length, min_length)
    return (as_tokens("inputs", inputs, length, 3) == ONE).sum(axis=-1).astype(np.float32)


_rate = rate  # where an argument hides it


def class_key(
    inputs: ArrayLike, length: int = 16, min_length: int | None = None
) -> NDArray[np.uint64]:
    """A hash of the bits, their number included and the padding not: uint64 [N] for [N, S]."""
    _check(length, min_length)
    tokens = as_tokens("inputs", inputs, length, 3)
    # Padding on the right hashes to the same as none: cells are summed, each mixed with its place.
    places = np.arange(1, length + 1, dtype=np.uint64)
    cells = mix64_array(places * np.uint64(4) + tokens.astype(np.uint64))
    return mix64_array(np.where(tokens == PAD, np.uint64(0), cells).sum(axis=-1, dtype=np.uint64))


def symmetry(length: int = 16, min_length: int | None = None) -> None:
    """None: reversing a row reverses no answer, and exchanging 0 and 1 flips only every other one."""
    _check(length, min_length)


def draw(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    color: bool = False,
    *,
    length: int = 16,
    min_length: int | None = None,
) -> str:
    """The bits, and below them the draft, mistakes between stars (red in color), 16 bits a line.

    Without a draft the line below shows the labels, if there are any.
    """
    _check(length, min_length)
    bits, shown, wrong = as_shown(inputs, draft, labels, length, 3)
    answers = labels if draft is None and labels is not None else shown
    answers = np.where(bits == PAD, PAD, answers)
    lines = []
    for start in range(0, length, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        lines.append("bits   " + "".join(f" {_character(bit)} " for bit in bits[part]))
        if draft is None and labels is None:
            continue
        cells = []
        for answer, mistake in zip(answers[part], wrong[part], strict=True):
            text = f"*{_character(answer)}*" if mistake else f" {_character(answer)} "
            cells.append(f"\x1b[1;4;31m{text}\x1b[0m" if mistake and color else text)
        lines.append("parity " + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)


def picture(
    inputs: ArrayLike,
    draft: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    caption: str | None = None,
    q: tuple[float, float] | None = None,
    cell: int = 28,
    *,
    length: int = 16,
    min_length: int | None = None,
) -> NDArray[np.uint8]:
    """Bits (ones dark) in rows of 16, below each row the draft: blue, or red where it is wrong.

    Arguments and return as in `hrm_rl.puzzles.family.Family.picture`; without a draft its rows are empty.
    """
    _check(length, min_length)
    pictures.check_cell(cell)
    bits, shown, wrong = as_shown(inputs, draft, labels, length, 3)
    columns = min(length, _COLUMNS)
    rows: list[list[pictures.Tile]] = []
    for start in range(0, length, columns):
        cells = range(start, min(start + columns, length))
        padding = [pictures.Tile()] * (columns - len(cells))
        rows.append([_bit_tile(int(bits[c])) for c in cells] + padding)
        answers = [
            pictures.Tile()
            if draft is None or bits[c] == PAD
            else _answer_tile(int(shown[c]), bool(wrong[c]))
            for c in cells
        ]
        rows.append(answers + padding)
    # A pair of rows each, with paper between, so that bits and answers stay together.
    pairs = [pictures.tiles(rows[i : i + 2], cell) for i in range(0, len(rows), 2)]
    return pictures.frame(pictures.on_top(pairs), cell, caption, q)


def _bit_tile(token: int) -> pictures.Tile:
    if token == PAD:
        return pictures.Tile()
    ground = pictures.THIN_LINE if token == ONE else pictures.GIVEN_CELL
    return pictures.Tile(_character(token), pictures.GIVEN, ground, pictures.GIVEN_WEIGHT)


def _answer_tile(token: int, wrong: bool) -> pictures.Tile:
    if wrong:
        look = (pictures.MISTAKE, pictures.MISTAKE_CELL, pictures.MISTAKE_WEIGHT)
    else:
        look = (pictures.DRAFT, pictures.PAPER, pictures.DRAFT_WEIGHT)
    return pictures.Tile(_character(token), *look)


def _character(token: int) -> str:
    return CHARACTERS[token] if token != PAD else "·"


def _check(length: int, min_length: int | None) -> None:
    check_dials(DIALS, {"length": length, "min_length": min_length})
    if min_length is not None and min_length > length:
        raise ValueError(f"min_length must be 4 to length={length}, got {min_length}")


def _labels(inputs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Parities of every prefix, int32 [..., S]."""
    odd = np.cumsum(inputs == ONE, axis=-1) % 2
    return np.where(inputs == PAD, IGNORE_LABEL, np.where(odd, ONE, ZERO)).astype(np.int32)


def _make(length: int, low: int, keys: NDArray[np.uint64]) -> Made:
    """A word of 64 random bits hangs on (key, its number); bit 64 j + i is bit i of word j."""
    words = np.arange(1, (length + 63) // 64 + 1, dtype=np.uint64)
    random = mix64_array(mix64_array(keys)[:, None] + words)  # [K, words]
    bits = (random[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    bits = bits.reshape(len(keys), 64 * len(words))[:, :length].astype(np.int32)
    spread = mix64_array(~keys) >> np.uint64(32)
    bits_used = low + ((spread * np.uint64(length - low + 1)) >> np.uint64(32)).astype(np.int64)
    inputs = np.where(np.arange(length) < bits_used[:, None], bits + ZERO, PAD).astype(np.int32)
    return inputs, _labels(inputs), np.ones(len(keys), bool)
