"""Compiled cores of ARC's augmentation: random candidates, a hash of the whole augmented task, its boards.

A grid's hash is a sum over its cells of place[cell] * color[c], modulo 2**64, with random numbers for
places and for colors, black too, so that it depends on the shape. Summing the cells of each color first
(`color_sums`) leaves ten products for every augmentation, instead of up to 900. A task's hash adds up
those of its pairs, so their order does not count, as in the reference.

The eight symmetries of a square, by the reference's numbers: a cell's row and column are counted from the
other end (FLIPS_ROW, FLIPS_COLUMN) and then exchanged (SWAPS). They are the identity, three rotations
(counterclockwise), left-right, upside down, transposed, and mirrored at the other diagonal.
"""

import numpy as np

from hrm_rl.compiling import njit
from hrm_rl.puzzles.arc.tokens import EOS, FIRST_COLOR, SIDE
from hrm_rl.puzzles.base.counter_rng import GOLDEN, below, mix64

SWAPS = (False, True, False, True, False, False, True, True)
FLIPS_ROW = (False, False, True, True, False, True, False, True)
FLIPS_COLUMN = (False, True, True, False, True, False, False, True)
INVERSES = (0, 3, 2, 1, 4, 5, 6, 7)


@njit()
def _moved(symmetry, row, column, height, width):
    """The new row and column of a cell of a grid of that height and width."""
    if FLIPS_ROW[symmetry]:
        row = height - 1 - row
    if FLIPS_COLUMN[symmetry]:
        column = width - 1 - column
    return (column, row) if SWAPS[symmetry] else (row, column)


@njit()
def color_sums(grid, places, sums):
    """Add a grid, uint8 [h, w], to sums, uint64 [8, 10]: numbers of places [30, 30], by color."""
    height, width = grid.shape
    for symmetry in range(8):
        for row in range(height):
            for column in range(width):
                new_row, new_column = _moved(symmetry, row, column, height, width)
                sums[symmetry, grid[row, column]] += places[new_row, new_column]


@njit()
def draw_augmentations(keys, symmetries, colors):
    """Fill symmetries [K] and colors [K, 10] with those of the streams keys, uint64 [K]."""
    stream = np.empty(1, np.uint64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        symmetries[k] = below(stream, 8)
        for color in range(10):
            colors[k, color] = color
        for last in range(9, 1, -1):  # black stays
            other = 1 + below(stream, last)
            colors[k, last], colors[k, other] = colors[k, other], colors[k, last]


@njit()
def hash_augmented(sums, symmetries, colors, numbers):
    """Hashes, uint64 [K], of a task whose grids have sums [2 * pairs, 8, 10], input before output."""
    hashes = np.zeros(len(symmetries), np.uint64)
    for k in range(len(symmetries)):
        symmetry = symmetries[k]
        for pair in range(0, len(sums), 2):
            both = np.uint64(0)
            for grid in range(pair, pair + 2):
                total = np.uint64(0)
                for color in range(10):
                    total += numbers[colors[k, color]] * sums[grid, symmetry, color]
                both = both * GOLDEN + mix64(total)
            hashes[k] += mix64(both)
    return hashes


@njit()
def place_grids(grids, sizes, symmetries, colors, corners, boards):
    """Put grids uint8 [N, 30, 30] of sizes [N, 2], transformed, on boards of tokens int32 [N, 30, 30].

    `corners` [N, 2] are the new grids' top left cells; the boards are preset to PAD.
    """
    for n in range(len(grids)):
        symmetry = symmetries[n]
        height, width = sizes[n, 0], sizes[n, 1]
        top, left = corners[n, 0], corners[n, 1]
        for row in range(height):
            for column in range(width):
                new_row, new_column = _moved(symmetry, row, column, height, width)
                token = FIRST_COLOR + colors[n, grids[n, row, column]]
                boards[n, top + new_row, left + new_column] = token
        high, wide = (width, height) if SWAPS[symmetry] else (height, width)
        if top + high < SIDE:
            boards[n, top + high, left : left + wide] = EOS
        if left + wide < SIDE:
            boards[n, top : top + high, left + wide] = EOS
