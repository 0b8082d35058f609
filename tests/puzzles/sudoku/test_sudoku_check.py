import numpy as np
import pytest

from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.sudoku.check import broken_units

sizes = pytest.mark.parametrize("size", sudoku.SIZES)


@sizes
def test_every_single_wrong_cell_is_seen(size):
    puzzle = sudoku.generate(1, size)
    cells = size * size
    inputs = np.repeat(puzzle.inputs, cells, axis=0)
    for step in range(1, size + 2):  # every other token, PAD and BLANK among them
        answers = np.repeat(puzzle.labels, cells, axis=0)
        diagonal = np.arange(cells)
        answers[diagonal, diagonal] = (answers[diagonal, diagonal] + step) % (size + 2)
        assert not sudoku.is_valid(inputs, answers, size).any()
        assert not sudoku.is_exact(np.repeat(puzzle.labels, cells, axis=0), answers).any()


@sizes
def test_a_right_grid_that_breaks_the_givens_is_not_valid(size):
    puzzle = sudoku.generate(1, size)
    renamed = np.where(puzzle.labels == 2, 3, np.where(puzzle.labels == 3, 2, puzzle.labels))
    blank = np.full_like(puzzle.inputs, sudoku.BLANK)
    assert sudoku.is_valid(blank, renamed, size).all()
    assert not sudoku.is_valid(puzzle.inputs, renamed, size).any()


def test_rows_and_columns_are_not_enough():
    latin = (np.add.outer(np.arange(9), np.arange(9)) % 9 + 2).reshape(1, 81)
    blank = np.full((1, 81), sudoku.BLANK)
    assert not sudoku.is_valid(blank, latin, 9).any()
    boxes = np.tile((np.arange(9).reshape(3, 3) + 2), (3, 3)).reshape(1, 81)
    assert not sudoku.is_valid(blank, boxes, 9).any()


@sizes
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64])
def test_units_of_any_integers_are_judged_alike(size, dtype):
    """A 9 is bit 9 of a unit, which a byte does not have."""
    answers = sudoku.generate(3, size).labels.astype(dtype)
    assert not broken_units(answers, size).any()
    answers[:, 0] = answers[:, 1]
    assert broken_units(answers, size)[:, 0].all()


def test_wild_tokens_are_wrong_and_no_error():
    puzzle = sudoku.generate(1, 4)
    for token in (-100, -1, 0, 1, 6, 7, 40, 2**31 - 1):
        answers = puzzle.labels.copy()
        answers[0, 3] = token
        assert not sudoku.is_valid(puzzle.inputs, answers, 4).any()


@sizes
def test_check_puzzle_returns_the_solution(size):
    puzzle = sudoku.generate(1, size)
    np.testing.assert_array_equal(sudoku.check_puzzle(puzzle.inputs[0], size), puzzle.labels[0])
