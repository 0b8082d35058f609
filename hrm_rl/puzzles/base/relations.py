"""How the cells of a puzzle are related: a class for every ordered pair of cells, as integers [S, S]."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNRELATED = 0
"""The class of pairs without a relation; no attention head starts by favouring it."""
MOST_CLASSES = 256

_CROSS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def as_relations(values: ArrayLike, cells: int) -> NDArray[np.int32]:
    """`values` as int32 [cells, cells].

    Raises ValueError for another shape or dtype, or a class outside 0 .. 255.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = None
    if array is None or array.shape != (cells, cells):
        got = "rows of different lengths" if array is None else f"shape {list(array.shape)}"
        raise ValueError(f"relations must be [{cells}, {cells}], a class for every pair of cells; got {got}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"relations must hold integer classes, got dtype {array.dtype}")
    wrong = (array < 0) | (array >= MOST_CLASSES)
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise ValueError(
            f"relations must hold classes 0 to {MOST_CLASSES - 1}, got {array[i, j]} for cells {i} and {j}"
        )
    return array.astype(np.int32)


def neighbours(size: int, *, corners: bool = False, torus: bool = False) -> NDArray[np.int32]:
    """Classes of a square board, int32 [size**2, size**2].

    1 is a cell with itself, 2 to 5 with the neighbour above, below, left and right; with `corners`, 6 to 9
    are the diagonal ones. On a `torus` the edges meet.
    """
    cell = np.arange(size * size)
    row, column = cell // size, cell % size
    down, right = row[None] - row[:, None], column[None] - column[:, None]
    found = np.full((size * size,) * 2, UNRELATED, np.int32)
    steps = _CROSS + (_DIAGONAL if corners else ())
    # Backwards, so that on a tiny torus a pair with two relations keeps the first.
    for number, (y, x) in reversed(list(enumerate(steps, start=1))):
        same = ((down - y) % size == 0) & ((right - x) % size == 0) if torus else (down == y) & (right == x)
        found[same] = number
    return found
