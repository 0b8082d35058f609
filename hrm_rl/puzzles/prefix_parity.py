"""Prefix parity: for every bit, whether the number of ones up to it is odd."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrm_rl.puzzles.base import picture as pictures
from hrm_rl.puzzles.base.counter_rng import mix64_array
from hrm_rl.puzzles.base.dials import dial, module_functions
from hrm_rl.puzzles.base.tokens import RED, paint
from hrm_rl.puzzles.family import Family, Made
from hrm_rl.puzzles.pool import IGNORE_LABEL

PAD, ZERO, ONE = range(3)

_COLUMNS = 16  # of a drawing; longer rows are broken


@dataclass(frozen=True)
class PrefixParity(Family):
    """Prefix parity: for every bit, whether the number of ones up to it is odd.

    The shortest function that one look does not compute: cell i depends on all cells before it. Bits are
    random. Rows shorter than `length` end in padding, which is not judged.

    Tokens: PAD = 0, ZERO = 1, ONE = 2; a label is ONE for an odd number of ones.
    Rating: the number of ones, which is how often the parity flips.
    Class: one row of bits, whatever the padding. It has no augmentation: no symmetry of cells or tokens
    maps labels to labels.
    """

    name: ClassVar = "prefix-parity"
    stream: ClassVar = 0xBA51_0001
    characters: ClassVar = "_01"
    one_answer: ClassVar = True
    pixels: ClassVar = 28

    length: int = dial(16, 4, 1024)
    """Bits of the longest row, and cells of a puzzle."""
    min_length: int | None = dial(None, 4, 1024)
    """Bits of the shortest row, for rows of random lengths. By default all have `length` bits."""

    vocab_size: ClassVar = 3

    @property
    def seq_len(self) -> int:
        return self.length

    @property
    def _shortest(self) -> int:
        return self.length if self.min_length is None else self.min_length

    def check(self) -> None:
        if self._shortest > self.length:
            raise ValueError(f"min_length must be 4 to length={self.length}, got {self.min_length}")

    def stream_numbers(self) -> tuple[int, ...]:
        return self.length, self._shortest

    def make(self, keys: NDArray[np.uint64]) -> Made:
        """Bit 64 j + i of a puzzle is bit i of word j, a hash of (key, j)."""
        words = np.arange(1, (self.length + 63) // 64 + 1, dtype=np.uint64)
        random = mix64_array(mix64_array(keys)[:, None] + words)  # [K, words]
        bits = (random[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        bits = bits.reshape(len(keys), -1)[:, : self.length].astype(np.int32)
        spread = mix64_array(~keys) >> np.uint64(32)
        lengths = np.uint64(self.length - self._shortest + 1)
        used = self._shortest + ((spread * lengths) >> np.uint64(32)).astype(np.int64)
        is_bit = np.arange(self.length) < used[:, None]
        inputs = np.where(is_bit, bits + ZERO, PAD).astype(np.int32)
        return inputs, _labels(inputs), np.ones(len(keys), bool)

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        labels = _labels(puzzles)
        return ((labels == IGNORE_LABEL) | (labels == answers)).all(axis=1)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[Any]:
        return (puzzles == ONE).sum(axis=1)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        # Each bit is mixed with its place and all are summed, so padding on the right changes nothing.
        places = np.arange(1, self.length + 1, dtype=np.uint64)
        bits = mix64_array(places * np.uint64(4) + puzzles.astype(np.uint64))
        return mix64_array(np.where(puzzles == PAD, np.uint64(0), bits).sum(1, dtype=np.uint64))

    def text(self, shown: pictures.Shown, color: bool) -> str:
        """16 bits a line, the parities below them; a mistake stands between stars."""
        bits = [f" {_character(bit)} " for bit in shown.puzzle]
        parities = []
        for bit, answer, wrong in zip(shown.puzzle, shown.answer, shown.wrong, strict=True):
            character = _character(PAD if bit == PAD else answer)
            parities.append(paint(f"*{character}*", RED, color) if wrong else f" {character} ")
        lines = []
        for start in range(0, self.length, _COLUMNS):
            part = slice(start, start + _COLUMNS)
            lines.append("bits   " + "".join(bits[part]))
            if shown.answered:
                lines.append("parity " + "".join(parities[part]))
        return "\n".join(line.rstrip() for line in lines)

    def panels(self, shown: pictures.Shown) -> list[pictures.Panel]:
        """Bits (ones dark) in rows of 16, the draft below each row: blue, or red if wrong."""
        columns = min(self.length, _COLUMNS)
        padding = [pictures.Tile()] * (-self.length % columns)
        bits = [_bit_tile(int(bit)) for bit in shown.puzzle] + padding
        answers = [
            pictures.answer_tile(_character(answer), wrong)
            if shown.answered and bit != PAD
            else pictures.Tile()
            for bit, answer, wrong in zip(shown.puzzle, shown.answer, shown.wrong, strict=True)
        ] + padding
        parts = (slice(start, start + columns) for start in range(0, self.length, columns))
        return [pictures.Panel(bits[part] + answers[part], columns) for part in parts]

    def board(self, shown: pictures.Shown, cell: int) -> Image.Image:
        """As `panels`; paper between the pairs of rows keeps bits and answers together."""
        panels = self.panels(shown)
        return pictures.on_top([pictures.tiles(panel.tiles, panel.columns, cell) for panel in panels])


__getattr__ = module_functions(PrefixParity)


def _labels(inputs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Parities of every prefix, int32 [N, S]."""
    odd = np.cumsum(inputs == ONE, axis=1) % 2
    return np.where(inputs == PAD, IGNORE_LABEL, np.where(odd, ONE, ZERO)).astype(np.int32)


def _bit_tile(token: int) -> pictures.Tile:
    if token == PAD:
        return pictures.Tile()
    ground = pictures.THIN_LINE if token == ONE else pictures.GIVEN_CELL
    return pictures.Tile(_character(token), pictures.GIVEN, ground, pictures.GIVEN_WEIGHT)


def _character(token: int) -> str:
    return "01"[token - ZERO] if token != PAD else "·"
