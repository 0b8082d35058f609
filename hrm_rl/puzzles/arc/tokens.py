"""ARC grids as tokens: the reference's 30x30 board, and the way back.

A grid of h rows and w columns of colors 0 to 9 lies on a board of 30x30 cells in reading order: PAD 0, EOS 1,
color c is token c + 2. If the board has room, EOS fills the row below the grid, as wide as the grid, and
the column to its right, as high as the grid; the corner between them stays PAD.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.puzzles.pool import IGNORE_LABEL

SIDE = 30
SEQ_LEN = SIDE * SIDE
PAD, EOS, FIRST_COLOR = 0, 1, 2
COLORS = 10
VOCAB_SIZE = FIRST_COLOR + COLORS

Grid = NDArray[np.uint8]
"""Colors [h, w], both 1 to 30."""


def vocab_size() -> int:
    """Tokens: PAD, EOS and ten colors."""
    return VOCAB_SIZE


def seq_len() -> int:
    """Cells of the board."""
    return SEQ_LEN


def check_grid(value: object, where: str) -> Grid:
    """A grid uint8 [h, w] from nested lists or an array of 1 to 30 rows of 1 to 30 integers 0 to 9.

    Raises ValueError for anything else; the message begins with `where` and names the wrong row and cell.
    """
    if isinstance(value, np.ndarray):
        if not np.issubdtype(value.dtype, np.integer):
            raise ValueError(f"{where}: a grid holds integers, got dtype {value.dtype}")
        fits = value.ndim == 2 and value.size and max(value.shape) <= SIDE
        if fits and value.min() >= 0 and value.max() < COLORS:
            return value.astype(np.uint8)
        value = value.tolist()  # the checks below name the fault
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}: a grid is a list of rows, got {_short(value)}")
    if not 1 <= len(value) <= SIDE:
        raise ValueError(f"{where}: {len(value)} rows; a grid has 1 to {SIDE}")
    for number, row in enumerate(value):
        place = f"{where}, row {number}"
        if not isinstance(row, (list, tuple)):
            raise ValueError(f"{place}: a row is a list of colors, got {_short(row)}")
        if not 1 <= len(row) <= SIDE:
            raise ValueError(f"{place}: {len(row)} cells; a row has 1 to {SIDE}")
        if len(row) != len(value[0]):
            raise ValueError(f"{place}: {len(row)} cells, row 0 has {len(value[0])}")
        for column, color in enumerate(row):
            if type(color) is not int or not 0 <= color < COLORS:
                raise ValueError(f"{place}, cell {column}: {_short(color)}; colors are 0 to {COLORS - 1}")
    return np.array(value, np.uint8)


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, (str, float, bool, type(None))) else ""
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value) if abs(value) < 10**12 else "a huge number"
    if not text:
        text = "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."


def encode(grid: Grid, top: int = 0, left: int = 0) -> NDArray[np.int32]:
    """A grid on the board, its corner at (top, left): int32 [900]. ValueError if it does not fit there."""
    height, width = grid.shape
    bottom, right = top + height, left + width
    if min(top, left) < 0 or max(bottom, right) > SIDE:
        raise ValueError(f"a {height}x{width} grid does not fit at ({top}, {left}) of {SIDE}x{SIDE}")
    board = np.full((SIDE, SIDE), PAD, np.int32)
    board[top:bottom, left:right] = grid.astype(np.int32) + FIRST_COLOR
    if bottom < SIDE:
        board[bottom, left:right] = EOS
    if right < SIDE:
        board[top:bottom, right] = EOS
    return board.ravel()


def as_labels(tokens: NDArray[np.int32]) -> NDArray[np.int32]:
    """Tokens as labels: PAD is neither learned nor judged. A new array."""
    return np.where(tokens == PAD, np.int32(IGNORE_LABEL), tokens)


def side_of(cells: int) -> int:
    """Cells a side of a square board. Raises ValueError for a number of cells that no board has."""
    side = math.isqrt(cells)
    if side * side != cells or not 1 <= side <= SIDE:
        raise ValueError(f"a board is [{SEQ_LEN}], or another square of at most {SIDE} a side, got {cells}")
    return side


def crop_sizes(tokens: ArrayLike) -> NDArray[np.int64]:
    """Rows and columns of the grids on boards: int64 [N, 2] for integers [N, 900], or smaller boards.

    A board's grid is the largest rectangle of colors at its top left corner, the one of fewest rows if there
    are several; (0, 0) if the corner has no color.
    """
    boards = _boards(tokens)
    color = (boards >= FIRST_COLOR) & (boards < VOCAB_SIZE)
    # Number of colored cells at the left of each row, and of all rows down to it.
    widths = np.minimum.accumulate(np.logical_and.accumulate(color, axis=2).sum(axis=2), axis=1)
    areas = widths * np.arange(1, boards.shape[1] + 1)
    best = areas.argmax(axis=1)
    columns = np.take_along_axis(widths, best[:, None], axis=1)[:, 0]
    return np.stack([np.where(columns > 0, best + 1, 0), columns], axis=1)


def crop(tokens: ArrayLike) -> Grid:
    """The grid of a board, uint8 [h, w]; [0, 0] if it has none. See `crop_sizes`.

    Any integers are a board, since any may be a network's answer.
    """
    row = np.asarray(tokens)[None]
    height, width = crop_sizes(row)[0]
    board = _boards(row)[0, :height, :width]
    return (board - FIRST_COLOR).astype(np.uint8)


def _boards(tokens: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(tokens)
    if array.ndim != 2:
        raise ValueError(f"boards are [N, {SEQ_LEN}], got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"boards hold integer tokens, got dtype {array.dtype}")
    side = side_of(array.shape[1])
    return array.reshape(-1, side, side)
