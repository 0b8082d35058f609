import numpy as np
import pytest

from hrm_rl.puzzles import sudoku

COUNTS = {4: 300, 6: 100, 9: 40}
sizes = pytest.mark.parametrize("size", sudoku.SIZES)


def givens(puzzles) -> np.ndarray:
    return (puzzles.inputs != sudoku.BLANK).sum(axis=1)


@sizes
def test_shapes_and_tokens(size):
    puzzles = sudoku.generate(5, size)
    assert puzzles.inputs.shape == (5, size * size) == (5, sudoku.seq_len(size))
    assert puzzles.inputs.min() == sudoku.BLANK
    assert puzzles.labels.min() == sudoku.FIRST_DIGIT
    assert puzzles.labels.max() == size + 1 == sudoku.vocab_size(size) - 1
    assert np.isnan(puzzles.rating).all()
    assert sudoku.is_valid(puzzles.inputs, puzzles.labels, size).all()


@sizes
def test_puzzle_k_does_not_depend_on_the_count(size):
    few, many = sudoku.generate(5, size, seed=7), sudoku.generate(10, size, seed=7)
    np.testing.assert_array_equal(few.inputs, many.inputs[:5])
    np.testing.assert_array_equal(few.labels, many.labels[:5])
    assert (few.inputs != sudoku.generate(5, size, seed=8).inputs).any(axis=1).all()


@pytest.mark.parametrize("split", sudoku.SPLITS)
def test_nor_within_a_split(split):
    few = sudoku.generate(5, 4, split=split, extra_givens=(0, 3))
    many = sudoku.generate(40, 4, split=split, extra_givens=(0, 3))
    np.testing.assert_array_equal(few.inputs, many.inputs[:5])


@pytest.mark.parametrize(
    ("size", "question"),
    [
        (4, ".....4.1..2....4"),
        (6, ".3.16......324...1..16...1.2....5..."),
        (9, "..2.7....7.....69.6....5.2.......47.25....3.8...9.85......3....58......3.47..2.86"),
    ],
)
def test_the_stream_of_puzzles_stays_what_it_was(size, question):
    # Recorded data sets and runs name puzzles by (size, seed, k): these must never change.
    assert sudoku.to_text(sudoku.generate(1, size).inputs[0]) == question


def test_4x4_puzzles_are_unique_and_minimal_by_brute_force(count4):
    puzzles = sudoku.generate(COUNTS[4], 4).inputs
    assert (count4(puzzles) == 1).all()
    for cell in range(16):
        emptied = puzzles[puzzles[:, cell] != sudoku.BLANK].copy()
        emptied[:, cell] = sudoku.BLANK
        assert len(emptied)
        assert (count4(emptied) > 1).all()


@pytest.mark.parametrize("size", [6, 9])
def test_larger_puzzles_are_unique_and_minimal(size):
    puzzles = sudoku.generate(COUNTS[size], size)
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
    _, classes, sizes_of_classes = np.unique(
        canonical4(grids), return_inverse=True, return_counts=True
    )
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
        assert sudoku.is_valid(after.inputs, after.labels, size).all()
        before = after


def test_extra_givens_range_is_uniform_and_inclusive():
    added = givens(sudoku.generate(3000, 4, extra_givens=(2, 4))) - givens(sudoku.generate(3000, 4))
    values, counts = np.unique(added, return_counts=True)
    np.testing.assert_array_equal(values, [2, 3, 4])
    assert (abs(counts - 1000) < 130).all()


@sizes
def test_one_blank_is_always_left(size):
    puzzles = sudoku.generate(10, size, extra_givens=1000)
    np.testing.assert_array_equal(givens(puzzles), size * size - 1)


@sizes
@pytest.mark.parametrize("extra_givens", [0, (1, 3)])
def test_splits_share_no_class(size, extra_givens):
    keys = {}
    for split in sudoku.SPLITS:
        puzzles = sudoku.generate(COUNTS[size], size, split=split, extra_givens=extra_givens)
        keys[split] = set(sudoku.class_key(puzzles.inputs, size).tolist())
        array = np.array(list(keys[split]), np.uint64)
        assert sudoku.in_split(array, split).all()
        assert (sudoku.in_test_split(array) == (split == "test")).all()
    assert sum(map(len, keys.values())) == len(set.union(*keys.values()))


def test_rating_is_filled_on_demand():
    puzzles = sudoku.generate(20, 9, rate=True)
    np.testing.assert_array_equal(puzzles.rating, sudoku.rate(puzzles.inputs, 9))
    assert puzzles.rating.max() > 0


def test_nothing_is_a_pool_too():
    assert sudoku.generate(0, 9).inputs.shape == (0, 81)
    assert len(sudoku.generate(0, 4, split="train", rate=True)) == 0


def test_a_seed_may_use_all_64_bits():
    high = sudoku.generate(3, 4, seed=2**64 - 1)
    assert (high.inputs != sudoku.generate(3, 4, seed=2**63 - 1).inputs).any()
