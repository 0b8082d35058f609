import numpy as np
import pytest

from hrm_rl.puzzles import sudoku

sizes = pytest.mark.parametrize("size", sudoku.SIZES)


def givens(puzzles) -> np.ndarray:
    return (puzzles.inputs != sudoku.BLANK).sum(axis=1)


def test_4x4_puzzles_are_unique_and_minimal_by_brute_force(count4):
    puzzles = sudoku.generate(300, 4).inputs
    assert (count4(puzzles) == 1).all()
    for cell in range(16):
        emptied = puzzles[puzzles[:, cell] != sudoku.BLANK].copy()
        emptied[:, cell] = sudoku.BLANK
        assert len(emptied)
        assert (count4(emptied) > 1).all()


@pytest.mark.parametrize(("size", "count"), [(6, 100), (9, 40)])
def test_larger_puzzles_are_unique_and_minimal(size, count):
    puzzles = sudoku.generate(count, size)
    solution, count = sudoku.solve(puzzles.inputs, size)
    assert (count == 1).all()
    np.testing.assert_array_equal(solution, puzzles.labels)
    rows, cells = np.nonzero(puzzles.inputs != sudoku.BLANK)
    emptied = puzzles.inputs[rows]
    emptied[np.arange(len(rows)), cells] = sudoku.BLANK
    assert (sudoku.solve(emptied, size)[1] == 2).all()


def test_all_4x4_grids_are_equally_likely_within_their_class(grids4, canonical4):
    labels = sudoku.generate(20_000, 4).labels
    grids, counts = np.unique(labels, axis=0, return_counts=True)
    assert len(counts) == len(grids4) == 288
    _, classes, sizes_of_classes = np.unique(canonical4(grids), return_inverse=True, return_counts=True)
    assert sorted(sizes_of_classes) == [96, 192]
    for k in range(2):
        orbit = counts[classes == k]
        chi_square = ((orbit - orbit.mean()) ** 2 / orbit.mean()).sum()
        assert chi_square < len(orbit) + 5 * np.sqrt(2 * len(orbit))


@sizes
def test_extra_givens_reveal_more_of_the_same_puzzle(size):
    minimal = before = sudoku.generate(20, size)
    for extra in (1, 3):
        after = sudoku.generate(20, size, extra_givens=extra)
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(givens(after), givens(minimal) + extra)
        kept = before.inputs != sudoku.BLANK
        np.testing.assert_array_equal(after.inputs[kept], before.inputs[kept])
        before = after


def test_extra_givens_range_is_uniform_and_inclusive():
    added = givens(sudoku.generate(3000, 4, extra_givens=(2, 4))) - givens(sudoku.generate(3000, 4))
    values, counts = np.unique(added, return_counts=True)
    np.testing.assert_array_equal(values, [2, 3, 4])
    assert (abs(counts - 1000) < 130).all()


@sizes
def test_one_blank_is_always_left(size):
    puzzles = sudoku.generate(10, size, extra_givens=size * size)
    np.testing.assert_array_equal(givens(puzzles), size * size - 1)


def test_a_seed_may_use_all_64_bits():
    high = sudoku.generate(3, 4, seed=2**64 - 1)
    assert (high.inputs != sudoku.generate(3, 4, seed=2**63 - 1).inputs).any()
