"""The random kernels of Sudoku: grids, minimal puzzles, and ratings over random symmetric copies."""

import numpy as np

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base.counter_rng import below, mix64, shuffle
from hrm_rl.puzzles.sudoku.kernels import BITS, propagate, search

_ONE = np.uint64(1)


@njit()
def _random_grid(layout, stream, solution, work):
    """Fill `solution` by random digits in random open cells, propagating after each.

    A refuted digit is struck out; if that refutes the board, the grid starts over. No choice looks at
    cell numbers or digits, so every symmetric copy of a grid is equally likely.
    """
    cells = layout.size * layout.size
    candidates, before = work.candidates[0], work.candidates[1]
    candidates[:] = (1 << layout.size) - 1
    while True:
        open_cells = 0
        for cell in range(cells):
            v = candidates[cell]
            if v & (v - 1):
                work.branch[open_cells] = cell
                open_cells += 1
        if open_cells == 0:
            break
        cell = work.branch[below(stream, open_cells)]
        v = candidates[cell]
        bit = v & -v
        for _ in range(below(stream, BITS[v])):
            v ^= bit
            bit = v & -v
        before[:] = candidates
        candidates[cell] = bit
        work.queue[0] = cell
        if propagate(layout, candidates, work.queue, 1, layout.cell_chutes[cell], work):
            continue
        candidates[:] = before
        v = candidates[cell] ^ bit
        candidates[cell] = v
        work.queue[0] = cell
        queued = 1 if v & (v - 1) == 0 else 0
        if not propagate(layout, candidates, work.queue, queued, layout.cell_chutes[cell], work):
            candidates[:] = (1 << layout.size) - 1
    for cell in range(cells):
        solution[cell] = BITS[candidates[cell] - 1] + 1


@njit(nogil=True)
def generate_boards(layout, keys, low, high, boards, solutions, work):
    """Fill boards and solutions int8 [N, S] with a puzzle for each of the stream keys uint64 [N].

    Givens are removed in random order, each if no other digit fits its cell; the rest is a minimal
    puzzle. Then low .. high of its blanks are revealed in random order; at least one blank stays.
    """
    cells = layout.size * layout.size
    stream = np.zeros(1, np.uint64)
    order = np.arange(cells)
    other = np.zeros(cells, np.int8)
    for k in range(keys.size):
        stream[0] = keys[k]
        board, solution = boards[k], solutions[k]
        _random_grid(layout, stream, solution, work)
        board[:] = solution
        for i in range(cells):
            order[i] = i
        shuffle(stream, order)
        blanks = 0
        for cell in order:
            digit = board[cell]
            if search(layout, board, cell, digit, 1, 1 << 40, other, work) == 0:
                board[cell] = 0
                order[blanks] = cell  # only entries already visited are overwritten
                blanks += 1
        extra = min(low + below(stream, high - low + 1), blanks - 1)
        revealed = order[:blanks]
        shuffle(stream, revealed)
        for cell in revealed[:extra]:
            board[cell] = solution[cell]


@njit()
def _shuffle_lines(stream, groups, width, scratch_order, lines):
    """A random order of groups * width lines that keeps groups together, into lines[:groups * width]."""
    for group in range(groups):
        scratch_order[group] = group
    shuffle(stream, scratch_order[:groups])
    for group in range(groups):
        block = lines[group * width : (group + 1) * width]
        for i in range(width):
            block[i] = scratch_order[group] * width + i
        shuffle(stream, block)


@njit(nogil=True)
def mean_backtracks(layout, boards, copies, max_guesses, ratings, work):
    """Mean backtracks of proving uniqueness over random symmetric copies: ratings float32 [N].

    The copies of boards int8 [N, S] are drawn by a stream that starts from the board itself. NaN for
    a board without exactly one solution, or one that takes more than `max_guesses` guesses in a copy.
    """
    size = layout.size
    stream = np.zeros(1, np.uint64)
    copy, solution = np.zeros(size * size, np.int8), np.zeros(size * size, np.int8)
    order, rows, columns = np.zeros(9, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    digits = np.arange(size + 1)
    for k in range(boards.shape[0]):
        board = boards[k]
        stream[0] = 0
        for cell in range(size * size):
            stream[0] = mix64(stream[0] + np.uint64(board[cell]) + _ONE)
        total = 0
        for _ in range(copies):
            _shuffle_lines(stream, layout.box_columns, layout.box_rows, order, rows)
            _shuffle_lines(stream, layout.box_rows, layout.box_columns, order, columns)
            shuffle(stream, digits[1:])
            transposed = layout.box_rows == layout.box_columns and below(stream, 2) == 1
            for i in range(size):
                for j in range(size):
                    cell = rows[i] * size + columns[j]
                    target = j * size + i if transposed else i * size + j
                    copy[target] = digits[board[cell]]
            if search(layout, copy, -1, 0, 2, max_guesses, solution, work) != 1:
                total = -1
                break
            total += work.effort[1]
        ratings[k] = np.nan if total < 0 else total / copies
