import numpy as np
import pytest

from hrm_rl.puzzles import family, life
from hrm_rl.puzzles.base.counter_rng import stream_keys
from hrm_rl.puzzles.life import ALIVE, DEAD, Life


def torus(picture: str) -> np.ndarray:
    return np.array([ALIVE if c == "#" else DEAD for c in picture if c in ".#"])


def step(board: np.ndarray) -> np.ndarray:
    """One step of a bool [n, n] torus, by the definition."""
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    around = sum(np.roll(board, shift, (0, 1)).astype(int) for shift in shifts)
    return (around == 3) | (board & (around == 2))


GLIDER = ".#...." + "..#..." + "###..." + "......" * 3
BLINKER = "......" * 2 + ".###.." + "......" * 3
BLOCK = "......" * 2 + ".##..." * 2 + "......" * 2


def test_a_glider_glides_around_the_torus():
    start = torus(GLIDER)
    for times in range(1, 7):
        moved = np.roll(start.reshape(6, 6), (times, times), (0, 1)).ravel()
        np.testing.assert_array_equal(life.run(start, size=6, steps=4 * times), moved)


@pytest.mark.parametrize(("size", "steps"), [(5, 3), (9, 6), (12, 11)])
def test_generations_are_right_and_none_comes_twice(size, steps):
    puzzles = life.generate(30, seed=2, size=size, steps=steps, rate=True)
    for start, end, rating in zip(puzzles.inputs, puzzles.labels, puzzles.rating, strict=True):
        board = (start == ALIVE).reshape(size, size)
        seen, changes = [board], 0
        for _ in range(steps):
            board = step(board)
            changes += (board != seen[-1]).sum()
            seen.append(board)
        np.testing.assert_array_equal(board.ravel(), end == ALIVE)
        assert len({generation.tobytes() for generation in seen}) == steps + 1
        assert board.any() and rating == changes


@pytest.mark.parametrize(
    ("start", "steps", "lively"),
    [
        (BLOCK, 1, False),  # still
        (BLINKER, 1, True),  # one step leads somewhere new
        (BLINKER, 2, False),  # two lead back
        (GLIDER, 23, True),
        (GLIDER, 24, False),  # all around a torus of six
        ("......" * 2 + ".##..." + "......" * 3, 1, False),  # dies out
        ("......" * 2 + ".#.#.." + "..#..." + "......" * 2, 1, True),
    ],
)
def test_patterns_that_settle_are_rejected(start, steps, lively):
    patterns, accepted = (torus(start) == ALIVE)[None].copy(), np.zeros(1, bool)
    life._evolve(patterns, 6, steps, np.zeros(1, np.int64), accepted)
    assert accepted[0] == lively


def test_of_random_starts_exactly_the_lively_are_kept():
    keys = stream_keys(1, np.arange(300, dtype=np.uint64))
    starts, _, accepted = Life(5, 8).make(keys)
    for start, kept in zip(starts, accepted, strict=True):
        boards = [(start == ALIVE).reshape(5, 5)]
        for _ in range(8):
            boards.append(step(boards[-1]))
        fresh = len({board.tobytes() for board in boards}) == 9
        assert kept == (fresh and boards[-1].any())
    assert 0 < accepted.sum() < 300


def test_the_symmetry_is_the_whole_group_and_moves_with_time():
    symmetry = life.symmetry(size=5, steps=2)
    assert [len(table) for table in symmetry.cell_tables] == [5, 5, 8]
    start = life.generate(1, size=5, steps=2).inputs
    many = np.repeat(start, 3000, axis=0)
    copies, ends = symmetry.apply(many, life.run(many, size=5, steps=2), np.random.default_rng(0))
    np.testing.assert_array_equal(life.run(copies, size=5, steps=2), ends)
    assert len(np.unique(copies, axis=0)) == 200  # 8 * 25: no symmetry maps this start to itself


def test_key_tells_patterns_apart():
    patterns = life.generate(500, size=6, steps=1).inputs
    keys = life.class_key(patterns, size=6, steps=1)
    assert len(np.unique(keys)) == 500
    start = torus(GLIDER)
    other = start.copy()
    other[0] = ALIVE
    assert life.class_key(start, size=6) != life.class_key(other, size=6)


def test_a_torus_that_is_too_small_is_named(monkeypatch):
    monkeypatch.setattr(family, "MAX_ATTEMPTS", 200)
    with pytest.raises(ValueError, match=r"200 attempts gave no puzzle 0 of life.*steps=60.*few"):
        life.generate(1, size=4, steps=60)
