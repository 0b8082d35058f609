import numpy as np
import pytest

from hrm_rl.puzzles import IGNORE_LABEL, PuzzleArrays, Symmetry
from hrm_rl.puzzles.pool import concatenate


def pool(count: int = 3, cells: int = 4, **changes) -> PuzzleArrays:
    fields = {
        "inputs": np.arange(count * cells).reshape(count, cells),
        "labels": np.zeros((count, cells), np.int64),
        "puzzle_identifiers": np.arange(count),
        "rating": np.arange(count) / 2,
        "source": tuple("abcdefgh"[:count]),
    }
    return PuzzleArrays(**{**fields, **changes})


def test_dtypes_of_a_pool():
    arrays = pool()
    assert len(arrays) == 3
    assert arrays.seq_len == 4
    assert arrays.inputs.dtype == arrays.labels.dtype == arrays.puzzle_identifiers.dtype == np.int32
    assert arrays.rating.dtype == np.float32


def test_identifiers_and_ratings_may_be_left_out():
    arrays = PuzzleArrays([[1, 2], [2, 1], [1, 1]], [[2, 1], [1, 2], [1, 1]])
    assert arrays.puzzle_identifiers.tolist() == [0, 0, 0] and arrays.rating.shape == (3,)
    assert np.isnan(arrays.rating).all() and arrays.rating.dtype == np.float32
    assert len(arrays.take([2])) == 1 and len(concatenate([arrays, arrays])) == 6
    with pytest.raises(ValueError, match=r"inputs must be \[N, S\], got shape \(1,\)"):
        PuzzleArrays(3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros(12, int)}, r"inputs must be \[N, S\], got shape \(12,\)"),
        ({"labels": np.zeros((3, 5), int)}, r"shape of inputs \(3, 4\), got \(3, 5\)"),
        ({"puzzle_identifiers": np.zeros(2, int)}, r"puzzle_identifiers must be \[3\]"),
        ({"rating": np.zeros((3, 1))}, r"rating must be \[3\]"),
        ({"source": ("a",)}, "source must name 3 puzzles, got 1"),
        ({"inputs": np.zeros((3, 4))}, "inputs must hold integers, got dtype float64"),
    ],
)
def test_pool_refuses_what_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        pool(**changes)


@pytest.mark.parametrize("indices", [[2, 0], np.array([True, False, True]), slice(1, None), 1])
def test_take_indexes_every_field_alike(indices):
    arrays = pool()
    rows = np.atleast_1d(np.arange(3)[indices])
    taken = arrays.take(indices)
    np.testing.assert_array_equal(taken.inputs, arrays.inputs[rows])
    np.testing.assert_array_equal(taken.puzzle_identifiers, rows)
    np.testing.assert_array_equal(taken.rating, rows / 2)
    assert taken.source == tuple("abc"[row] for row in rows)


@pytest.mark.parametrize("nothing", [[], np.zeros(0, int), np.zeros(3, bool), slice(0)])
def test_take_of_nothing_is_an_empty_pool(nothing):
    taken = pool().take(nothing)
    assert taken.inputs.shape == (0, 4) and taken.source == ()


def test_concatenate():
    both = concatenate([pool(2), pool(1, source=None)])
    np.testing.assert_array_equal(both.puzzle_identifiers, [0, 1, 0])
    assert both.source == ("a", "b", "")
    assert concatenate([pool(2, source=None)]).source is None
    with pytest.raises(ValueError, match="got none"):
        concatenate([])
    with pytest.raises(ValueError, match=r"\[4, 9\]"):
        concatenate([pool(), pool(cells=9)])


def test_symmetry_composes_tables_left_to_right():
    # With one choice a table the drawn element is known: new[c] = old[first[second[c]]].
    first, second = np.array([[1, 2, 0]]), np.array([[0, 2, 1]])
    mapped, labels = Symmetry((first, second)).apply(
        np.array([[10, 20, 30]]), np.array([[1, 2, 3]]), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(mapped, [[20, 10, 30]])
    np.testing.assert_array_equal(labels, [[2, 1, 3]])


def test_symmetry_permutes_only_free_tokens_and_alike_in_labels():
    symmetry = Symmetry((np.arange(6)[None],), permuted_tokens=(2, 5))
    inputs, labels = (np.tile(row, (200, 1)) for row in (range(6), [IGNORE_LABEL, 1, 2, 3, 4, 9]))
    mapped, mapped_labels = symmetry.apply(inputs, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(mapped[:, [0, 1, 5]], inputs[:, [0, 1, 5]])
    np.testing.assert_array_equal(mapped_labels[:, [0, 1, 5]], labels[:, [0, 1, 5]])
    np.testing.assert_array_equal(mapped[:, 2:5], mapped_labels[:, 2:5])
    assert len(np.unique(mapped[:, 2:5], axis=0)) == 6  # all orders of three tokens turn up


def test_symmetry_draws_every_element_from_the_generator_given():
    table = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    inputs = np.tile([5, 6, 7], (100, 1))
    draws = [Symmetry((table,)).apply(inputs, inputs, np.random.default_rng(3))[0] for _ in "ab"]
    np.testing.assert_array_equal(*draws)
    assert len(np.unique(draws[0], axis=0)) == 3


@pytest.mark.parametrize(
    ("tables", "tokens", "message"),
    [
        ((np.array([[0, 0, 1]]),), None, "not a permutation"),
        ((np.arange(3),), None, r"must be \[G, S\]"),
        ((np.arange(3)[None], np.arange(4)[None]), None, r"cell_tables\[1\]"),
        ((np.arange(3)[None],), (3, 3), "first < end"),
    ],
)
def test_symmetry_refuses_bad_tables(tables, tokens, message):
    with pytest.raises(ValueError, match=message):
        Symmetry(tables, tokens)


def test_symmetry_refuses_other_boards():
    with pytest.raises(ValueError, match="acts on 3 cells, the puzzles have 4"):
        Symmetry((np.arange(3)[None],)).apply(
            np.zeros((1, 4), int), np.zeros((1, 4), int), np.random.default_rng(0)
        )
