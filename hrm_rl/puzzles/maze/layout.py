"""A maze's tokens and sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.tokens import as_tokens

PAD, WALL, SPACE, START, GOAL, PATH = range(6)
CHARACTERS = ".# SGo"
"""One a token. WALL to PATH are written as in the reference's maze files; '.' is PAD."""
VOCAB_SIZE = len(CHARACTERS)

SIZES = range(3, 101)


def check(size: int) -> int:
    """The size as an int; ValueError if it is not 3 to 100."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size not in SIZES:
        raise ValueError(f"size must be {SIZES[0]} to {SIZES[-1]}, got {size!r}")
    return int(size)


def as_mazes(name: str, values: ArrayLike, size: int) -> NDArray[np.int8]:
    """`values` as int8 [..., size * size]; ValueError for another width or an unknown token."""
    return as_tokens(name, values, size**2, VOCAB_SIZE).astype(np.int8)
