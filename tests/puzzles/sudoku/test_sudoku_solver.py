"""Sudoku's solver, ratings and judgements against brute force and by hand."""

import numpy as np
import pytest

from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.sudoku.check import broken_units

sizes = pytest.mark.parametrize("size", sudoku.SIZES)

HARD = {  # generated; the hardest of 1,500
    ".3..9.84..5...6......24..6.36.9.....7.....9.1.....4.7...64....39..8..2......3...8": (
        "632195847451786329879243165365971482724658931198324576586412793913867254247539618"
    ),
    ".4.....1...3..56..7..2...38.....9.86.1...3.5.58......4..93.1...4...9.......5.....": (
        "648937215123845679795216438372459186914683752586172394259361847461798523837524961"
    ),
    "1.2....5..3...96..6..4.7...............2..593....9.2.8.....1...8....396.9...6..8.": (
        "142836759738159642695427831289315476416278593357694218564981327821743965973562184"
    ),
}
EASY = "135496872879532461462781395783614529546329718291857643954168237317245986628973154"


@pytest.mark.parametrize("question", HARD)
def test_hard_puzzles_are_solved(question):
    tokens = sudoku.parse(question)
    solution, count = sudoku.solve(tokens, 9)
    assert count == 1
    assert sudoku.to_text(solution) == HARD[question]
    assert sudoku.search_effort(tokens, 9).backtracks > 0


def test_4x4_counts_agree_with_brute_force(grids4, count4):
    rng = np.random.default_rng(0)
    boards = np.where(rng.random((2000, 16)) < 0.3, grids4[rng.integers(0, 288, 2000)], 1)
    boards[::2, 5] = rng.integers(1, 6, 1000)  # some of these contradict themselves
    solution, count = sudoku.solve(boards, 4)
    truth = count4(boards)
    np.testing.assert_array_equal(count, np.minimum(truth, 2))
    assert set(count.tolist()) == {0, 1, 2}
    assert sudoku.is_valid(boards[count > 0], solution[count > 0], 4).all()
    assert (solution[count == 0] == sudoku.PAD).all()


@sizes
def test_the_empty_board_has_several_solutions(size):
    empty = np.full(size * size, sudoku.BLANK)
    solution, count = sudoku.solve(empty, size)
    assert count == 2
    assert sudoku.is_valid(empty, solution, size)


def test_a_hopeless_board_is_refuted_and_a_cap_gives_up():
    # Column 9 needs a 9 in row 1, whose 9 is elsewhere by then.
    board = sudoku.parse("12345678." + "........9" + "." * 63)
    assert sudoku.solve(board, 9)[1] == 0
    empty = np.full(81, sudoku.BLANK)
    assert sudoku.solve(empty, 9, max_guesses=3)[1] == -1


def test_rating_is_a_constant_of_the_puzzle():
    inputs = sudoku.generate(30, 9, seed=1).inputs
    ratings = sudoku.rate(inputs, 9)
    assert ratings.dtype == np.float32
    np.testing.assert_array_equal(ratings, sudoku.rate(inputs, 9))
    np.testing.assert_array_equal(ratings[7], sudoku.rate(inputs[7], 9))


def test_rating_separates_hard_from_easy_and_varies_little_between_copies():
    hard = np.stack([sudoku.parse(question) for question in HARD])
    ratings = sudoku.rate(hard, 9, copies=300)
    assert (ratings > 10).all()
    copies, _ = sudoku.symmetry(9).apply(hard, hard, np.random.default_rng(0))
    np.testing.assert_allclose(sudoku.rate(copies, 9, copies=300), ratings, rtol=0.2)
    easy = sudoku.parse(EASY)
    easy[::5] = sudoku.BLANK
    assert sudoku.rate(easy, 9) == 0


def test_4x4_rating_is_rounds_of_naked_singles(minimal4):
    ratings = sudoku.rate(minimal4, 4)
    # No minimal 4x4 puzzle, so no unique one, needs more than naked singles.
    assert set(ratings.tolist()) == {2, 3, 4, 5}
    assert sudoku.search_effort(minimal4, 4).guesses.sum() == 0
    for puzzle, rating in zip(minimal4[::5000], ratings[::5000], strict=True):
        assert rating == rounds(puzzle)
    full = sudoku.generate(1, 4, extra_givens=16)
    assert sudoku.rate(full.inputs, 4) == 1
    assert sudoku.rate(full.labels, 4) == 0


def rounds(puzzle: np.ndarray) -> int:
    board, count = [int(token) for token in puzzle], 0
    while 1 in board:
        found = {}
        for cell in (c for c in range(16) if board[c] == 1):
            seen = {board[c] for unit in sudoku.units(4) if cell in unit for c in unit}
            if len(free := {2, 3, 4, 5} - seen) == 1:
                found[cell] = free.pop()
        assert found
        for cell, token in found.items():
            board[cell] = token
        count += 1
    return count


@sizes
def test_no_rating_without_exactly_one_solution(size):
    boards = np.full((2, size * size), sudoku.BLANK)
    boards[1, :2] = 2  # the same digit twice in a row
    assert np.isnan(sudoku.rate(boards, size)).all()


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
