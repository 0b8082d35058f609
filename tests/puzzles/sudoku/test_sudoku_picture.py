"""Pictures of Sudokus: colors mark the right cells, and a change in one part leaves the rest alone."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hrm_rl.puzzles import IGNORE_LABEL, sudoku
from hrm_rl.puzzles.picture import CONTINUE, DRAFT, GIVEN, HALT, MISTAKE, MISTAKE_CELL

CELL = 32
MARGIN = CELL // 4
QUESTION, ANSWER = "1....4.1..2....4", "1324243141233214"


def board(**boards: Any) -> NDArray[np.uint8]:
    return sudoku.picture(sudoku.parse(QUESTION), 4, cell=CELL, **boards)


def cells(picture: NDArray[np.uint8], size: int, cell: int = CELL) -> NDArray[np.uint8]:
    """What lies inside the lines of every cell, [S, height, width, 3]."""
    margin, inset = max(5, round(cell / 4)), 3
    corners = margin + np.arange(size) * cell
    return np.stack(
        [
            picture[y + inset : y + cell - inset, x + inset : x + cell - inset]
            for y in corners
            for x in corners
        ]
    )


def has(pixels: NDArray[np.uint8], color: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Which of [..., height, width, 3] have the color somewhere."""
    return (pixels == color).all(-1).any((-2, -1))


@pytest.mark.parametrize("cell", [24, 40])
@pytest.mark.parametrize("size", sudoku.SIZES)
def test_colors_stand_where_they_mean_something(size: int, cell: int) -> None:
    puzzle = sudoku.generate(1, size, seed=5)
    inputs, labels = puzzle.inputs[0], puzzle.labels[0]
    rng = np.random.default_rng(size)
    blank = inputs == sudoku.BLANK
    draft = np.where(
        blank & (rng.random(size**2) < 0.5), rng.integers(2, size + 2, size**2), labels
    )
    draft = np.where(blank & (rng.random(size**2) < 0.2), sudoku.BLANK, draft)
    wrong = (draft != labels) & (draft != sudoku.BLANK)
    assert 0 < wrong.sum() < blank.sum()
    drawn = cells(sudoku.picture(inputs, size, draft=draft, labels=labels, cell=cell), size, cell)
    filled = blank & (draft != sudoku.BLANK)
    np.testing.assert_array_equal(has(drawn, MISTAKE_CELL), wrong)
    np.testing.assert_array_equal(has(drawn, MISTAKE), wrong)
    np.testing.assert_array_equal(has(drawn, DRAFT), filled & ~wrong)
    np.testing.assert_array_equal(has(drawn, GIVEN), ~blank)


@pytest.mark.parametrize("size", sudoku.SIZES)
def test_every_digit_looks_different_and_the_same_everywhere(size: int) -> None:
    labels = sudoku.generate(1, size).labels[0]
    drawn = cells(sudoku.picture(labels, size), size, 40).reshape(size**2, -1)
    looks = [np.unique(drawn[labels == token], axis=0) for token in np.unique(labels)]
    assert [len(look) for look in looks] == [1] * size
    assert len(np.unique(np.concatenate(looks), axis=0)) == size


def test_an_overwritten_given_is_a_mistake() -> None:
    draft = sudoku.parse(ANSWER)
    draft[5] = 2  # was a given 4
    for labels in (sudoku.parse(ANSWER), np.full(16, IGNORE_LABEL)):
        drawn = cells(board(draft=draft, labels=labels), 4)
        assert has(drawn, MISTAKE).nonzero()[0].tolist() == [5]


@pytest.mark.parametrize("size", sudoku.SIZES)
@pytest.mark.parametrize("cell", [16, 24, 33, 48])
def test_the_shape_depends_on_no_content(size: int, cell: int) -> None:
    puzzle = sudoku.generate(1, size)
    contents: list[dict[str, Any]] = [
        {"caption": "", "q": (np.nan, np.nan)},
        {"caption": "segment 1 of 8", "q": (0.0, -5.0), "draft": puzzle.labels[0]},
        {"caption": "a line that is far too long " * 5, "q": (np.inf, -np.inf)},
    ]
    pictures = [sudoku.picture(puzzle.inputs[0], size, cell=cell, **each) for each in contents]
    assert len({picture.shape for picture in pictures}) == 1
    assert all(picture.dtype == np.uint8 for picture in pictures)
    assert all((picture[:, [0, -1]] == 255).all() for picture in pictures)  # nothing is cut off


def test_caption_and_bars_change_nothing_but_their_strips() -> None:
    plain = board()
    height = len(plain)
    captions = [board(caption=text) for text in ("segment 1 of 8", "segment 2 of 8")]
    both = [board(caption="segment 1 of 8", q=q) for q in ((2.0, -2.0), (-1.0, 3.0))]
    for picture in captions + both:
        np.testing.assert_array_equal(picture[:height], plain)
    assert (captions[0] != captions[1]).any()
    np.testing.assert_array_equal(both[0][: len(captions[0])], captions[0])
    np.testing.assert_array_equal(both[1][: len(captions[0])], captions[0])
    without_caption = board(q=(2.0, -2.0))
    np.testing.assert_array_equal(without_caption[height:], both[0][len(captions[0]) :])


def test_bars_are_as_long_as_the_probabilities() -> None:
    def lengths(q_halt: float, q_continue: float) -> list[int]:
        strip = sudoku.picture(sudoku.parse(QUESTION), 4, q=(q_halt, q_continue), cell=48)
        return [int((strip == color).all(-1).sum(1).max()) for color in (HALT, CONTINUE)]

    full = lengths(np.inf, np.inf)
    assert full[0] == full[1] > 50
    assert lengths(-np.inf, np.inf) == [0, full[1]]
    assert lengths(0.0, np.log(3)) == [
        pytest.approx(share * full[0], abs=1) for share in (0.5, 0.75)
    ]
    assert lengths(np.nan, 0.0)[0] == 0
    assert (board(q=(np.nan, 0.0)) != board(q=(-np.inf, 0.0))).any()  # unknown is not zero


def test_same_arguments_same_pixels_in_a_new_array() -> None:
    arguments: dict[str, Any] = {"draft": sudoku.parse(ANSWER), "caption": "x", "q": (1.0, 2.0)}
    first = board(**arguments)
    want = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(board(**arguments), want)
