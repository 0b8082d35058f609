"""A maze's tokens and sizes."""

import numpy as np

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
