import numpy as np
import pytest

from hrm_rl.puzzles import lights_out
from hrm_rl.puzzles.family import in_split
from hrm_rl.puzzles.lights_out import LEAVE, LIT, OFF, PRESS

sizes = pytest.mark.parametrize("size", lights_out.SIZES)


def rank(matrix: np.ndarray) -> int:
    """Rank modulo 2 of a bool matrix, by elimination on rows as numbers."""
    rows = [int("".join("01"[b] for b in row), 2) for row in matrix.astype(int)]
    found = 0
    while rows:
        pivot = rows.pop()
        if pivot:
            found += 1
            low = pivot & -pivot
            rows = [row ^ pivot if row & low else row for row in rows]
    return found


def toggled(size: int) -> np.ndarray:
    """What each button toggles, cell by cell."""
    matrix = np.zeros((size * size,) * 2, bool)
    for row in range(size):
        for column in range(size):
            for dy, dx in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
                if 0 <= row + dy < size and 0 <= column + dx < size:
                    matrix[row * size + column, (row + dy) * size + column + dx] = True
    return matrix


def test_the_sizes_are_those_with_unique_answers():
    unique = [size for size in range(2, 11) if rank(toggled(size)) == size * size]
    assert tuple(unique) == lights_out.SIZES


@sizes
def test_the_answer_is_found_and_turns_all_off(size):
    puzzles = lights_out.generate(20, seed=1, size=size)
    np.testing.assert_array_equal(lights_out.solve(puzzles.inputs, size=size), puzzles.labels)
    for lights, answer in zip(puzzles.inputs, puzzles.labels, strict=True):
        left = lights == LIT
        for button in np.flatnonzero(answer == PRESS):
            left = left ^ toggled(size)[button]
        assert not left.any() and (lights == LIT).any()


def test_of_all_512_answers_one_is_valid():
    answers = (np.arange(512)[:, None] >> np.arange(9) & 1) + LEAVE
    for lights in lights_out.generate(5, size=3).inputs:
        valid = lights_out.is_valid(np.repeat(lights[None], 512, axis=0), answers, size=3)
        np.testing.assert_array_equal(answers[valid], lights_out.solve(lights[None], size=3))


def test_every_cell_must_be_answered():
    puzzle = lights_out.generate(1, size=3)
    answer = puzzle.labels.copy()
    answer[0, np.flatnonzero(answer[0] == LEAVE)[0]] = OFF
    assert not lights_out.is_valid(puzzle.inputs, answer, size=3)


@pytest.mark.parametrize(("size", "classes"), [(2, 5), (3, 101)])
def test_keys_are_the_classes_under_rotation_and_reflection(size, classes):
    cells = size * size
    patterns = (np.arange(1, 1 << cells)[:, None] >> np.arange(cells) & 1) + OFF
    keys = np.unique(lights_out.class_key(patterns, size=size))
    assert len(keys) == classes  # by Burnside's lemma, without the dark square
    assert all(in_split(keys, split).any() for split in ("train", "validation", "test"))


@pytest.mark.parametrize("presses", [1, 4, 9])
def test_presses_are_counted(presses):
    puzzles = lights_out.generate(400, size=3, presses=presses, rate=True)
    assert set(puzzles.rating.tolist()) == {presses}
    share = (puzzles.labels == PRESS).mean(axis=0)
    assert (abs(share - presses / 9) < 0.13).all()


def test_every_pattern_is_as_likely_as_another():
    puzzles = lights_out.generate(3000, size=2).inputs
    patterns, counts = np.unique(puzzles, axis=0, return_counts=True)
    assert len(patterns) == 15 and (abs(counts - 200) < 75).all()
