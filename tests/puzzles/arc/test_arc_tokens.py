"""ARC boards: the place of a grid and its EOS marks, and the reading of any board."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hrm_rl.puzzles import arc
from hrm_rl.puzzles.arc.tokens import crop_sizes

GRIDS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 9))


def test_a_grid_on_the_board_by_hand() -> None:
    board = arc.encode(np.array([[0, 9], [3, 4], [5, 6]], np.uint8), 1, 2).reshape(30, 30)
    wanted = np.zeros((6, 6), int)
    wanted[1:5, 2:5] = [[2, 11, 1], [5, 6, 1], [7, 8, 1], [1, 1, 0]]
    np.testing.assert_array_equal(board[:6, :6], wanted)
    assert board.sum() == wanted.sum() and arc.vocab_size() == 12 and arc.seq_len() == 900


@pytest.mark.parametrize(("top", "left"), [(0, 0), (27, 28), (27, 0), (0, 28)])
def test_marks_only_where_the_board_has_room(top: int, left: int) -> None:
    board = arc.encode(np.ones((3, 2), np.uint8), top, left).reshape(30, 30)
    assert (board == 3).sum() == 6
    assert (board == arc.EOS).sum() == (2 if top == 0 else 0) + (3 if left == 0 else 0)


@settings(max_examples=60, deadline=None)
@given(GRIDS, st.data())
def test_reading_undoes_writing(grid: np.ndarray, data: st.DataObject) -> None:
    np.testing.assert_array_equal(arc.crop(arc.encode(grid)), grid)
    # Any tokens in cells without a label.
    board = arc.encode(grid)
    free = arc.as_labels(board) == -100
    noise = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 12, 900)
    np.testing.assert_array_equal(arc.crop(np.where(free, noise, board)), grid)


def largest_rectangle(board: np.ndarray) -> tuple[int, int]:
    """By trying all of them; the first largest by rows."""
    color = ((board >= 2) & (board <= 11)).reshape(30, 30)
    best = (0, 0)
    for rows in range(1, 31):
        for columns in range(1, 31):
            if color[:rows, :columns].all() and rows * columns > best[0] * best[1]:
                best = (rows, columns)
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.05, 0.3]))
def test_junk_is_read_as_its_largest_rectangle(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    board = rng.integers(2, 12, 900)
    board = np.where(rng.random(900) < share, rng.choice([-100, -1, 0, 1, 12, 10**6], 900), board)
    assert tuple(crop_sizes(board[None])[0]) == largest_rectangle(board)
    assert arc.crop(board).shape == largest_rectangle(board)


def test_of_two_equal_rectangles_the_one_of_fewer_rows() -> None:
    board = np.zeros((30, 30), int)
    board[0, :4] = board[1, :2] = 5
    assert arc.crop(board.ravel()).shape == (1, 4)
    assert arc.crop(np.zeros(900, int)).shape == (0, 0)
