import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.puzzles import sudoku

sizes = pytest.mark.parametrize("size", sudoku.SIZES)


def test_minimal_4x4_puzzles_have_36_classes_and_as_many_keys(minimal4, canonical4):
    assert len(minimal4) == 85_632
    keys, first, members = np.unique(sudoku.class_key(minimal4, 4), return_index=True, return_counts=True)
    assert len(keys) == 36
    # A third of all puzzles is plenty to meet all classes, and saves the brute force time.
    some = minimal4[::3]
    pairs = np.stack([canonical4(some), sudoku.class_key(some, 4).astype(np.int64)])
    assert len(np.unique(pairs[0])) == len(np.unique(pairs, axis=1).T) == 36
    assert len(np.unique(canonical4(minimal4[first]))) == 36
    for split, classes, share in (("test", 9, 1 / 4), ("validation", 3, 1 / 16)):
        inside = sudoku.in_split(keys, split)
        assert inside.sum() == classes
        assert members[inside].sum() / members.sum() == pytest.approx(share, abs=0.01)


@sizes
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), extra=st.integers(0, 30))
def test_key_is_the_same_in_every_copy(size, seed, extra):
    puzzle = sudoku.generate(1, size, seed=seed, extra_givens=min(extra, size * size))
    inputs, labels = np.repeat(puzzle.inputs, 8, axis=0), np.repeat(puzzle.labels, 8, axis=0)
    copies, solutions = sudoku.symmetry(size).apply(inputs, labels, np.random.default_rng(seed))
    keys = sudoku.class_key(copies, size)
    assert (keys == sudoku.class_key(puzzle.inputs, size)).all()
    assert keys.dtype == np.uint64
    # The copies are puzzles too: same number of givens, right, unique, and solved by the copied solution.
    assert sudoku.is_valid(copies, solutions, size).all()
    found, count = sudoku.solve(copies, size)
    assert (count == 1).all()
    np.testing.assert_array_equal(found, solutions)


@sizes
def test_key_tells_different_puzzles_apart(size):
    puzzle = sudoku.generate(1, size).inputs
    givens = np.flatnonzero(puzzle[0] != sudoku.BLANK)
    emptied = np.repeat(puzzle, len(givens), axis=0)
    emptied[np.arange(len(givens)), givens] = sudoku.BLANK
    assert (sudoku.class_key(emptied, size) != sudoku.class_key(puzzle, size)).all()
    if size == 9:
        many = sudoku.generate(300, 9).inputs
        assert len(np.unique(sudoku.class_key(many, 9))) == 300


def test_key_knows_that_6x6_boxes_do_not_transpose():
    board = np.full((6, 6), sudoku.BLANK)
    board[0, 0], board[1, 0] = 2, 3  # in one band of two rows, and in one column
    across = board.T.copy()  # in one row, and in one stack of three columns
    keys = sudoku.class_key(np.stack([board.ravel(), across.ravel()]), 6)
    assert keys[0] != keys[1]
    square = np.full((9, 9), sudoku.BLANK)
    square[0, 0], square[1, 0] = 2, 3
    keys = sudoku.class_key(np.stack([square.ravel(), square.T.ravel()]), 9)
    assert keys[0] == keys[1]


@pytest.mark.parametrize(("size", "shapes"), [(4, [8, 8, 2]), (6, [48, 72]), (9, [1296, 1296, 2])])
def test_symmetry_tables_are_the_whole_group(size, shapes):
    symmetry = sudoku.symmetry(size)
    assert [len(table) for table in symmetry.cell_tables] == shapes
    assert symmetry.permuted_tokens == (sudoku.FIRST_DIGIT, size + 2)
    units = {frozenset(unit) for unit in sudoku.units(size).tolist()}
    for table in symmetry.cell_tables:
        assert len(np.unique(table, axis=0)) == len(table)
        for element in table[:: max(1, len(table) // 50)]:
            assert {frozenset(element[unit].tolist()) for unit in sudoku.units(size)} == units


def test_every_class_is_in_one_split():
    keys = sudoku.class_key(sudoku.generate(2000, 6).inputs, 6)
    inside = np.stack([sudoku.in_split(keys, split) for split in sudoku.SPLITS])
    assert (inside.sum(axis=0) == 1).all()
    np.testing.assert_allclose(inside.mean(axis=1), [11 / 16, 1 / 16, 4 / 16], atol=0.04)
