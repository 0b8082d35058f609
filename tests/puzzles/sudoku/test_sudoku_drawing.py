"""Sudokus as text and as pictures, and what all pictures share: captions, bars, one shape."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hrm_rl.puzzles import IGNORE_LABEL, sudoku
from hrm_rl.puzzles.base.picture import CONTINUE, DRAFT, GIVEN, HALT, MISTAKE, MISTAKE_CELL

TEXT, SOLVED = ".....4.1..2....4", "1342243141233214"
QUESTION, ANSWER = sudoku.parse(TEXT), sudoku.parse(SOLVED)
CELL = 32
DRAFT_4 = sudoku.parse("2.42243141233214")  # the first cell wrong, the second still open


def lines(draft: Any = None, labels: Any = None, **options: Any) -> list[str]:
    """Drawn rows without the frame."""
    drawn = sudoku.draw(QUESTION, 4, draft=draft, labels=labels, **options).split("\n")
    assert drawn[::3] == ["+--------+--------+"] * 3
    return [line for line in drawn if line[0] == "|"]


@pytest.mark.parametrize("size", sudoku.SIZES)
def test_text_round_trip(size: int) -> None:
    for tokens in sudoku.generate(3, size).inputs:
        text = sudoku.to_text(tokens)
        assert len(text) == size * size
        np.testing.assert_array_equal(sudoku.parse(text), tokens)
        np.testing.assert_array_equal(sudoku.parse(f" {text.replace('.', '0')}\n", size), tokens)
        drawn = sudoku.draw(tokens, size).split("\n")
        assert len({len(line) for line in drawn}) == 1
        assert len(drawn) == {4: 7, 6: 10, 9: 13}[size]
    assert sudoku.to_text([0, 1, 2, 5] * 4) == "..14" * 4


@pytest.mark.parametrize(
    ("draft", "labels", "wanted"),
    [
        (None, None, ["|  .  .  |  .  .  |", "|  .  4  |  .  1  |"]),
        (DRAFT_4, ANSWER, ["| *2* .  | (4)(2) |", "| (2) 4  | (3) 1  |"]),
        # Without labels: the 2 clashes with one in its row and one in its column.
        (DRAFT_4, None, ["| *2* .  | (4)*2* |", "| *2* 4  | (3) 1  |"]),
        # A draft that is empty on a given stands on that given.
        (np.full(16, sudoku.BLANK), ANSWER, ["|  .  .  |  .  .  |", "|  .  4  |  .  1  |"]),
        (None, ANSWER, ["| (1)(3) | (4)(2) |", "| (2) 4  | (3) 1  |"]),
    ],
)
def test_drawn_as_text(draft: Any, labels: Any, wanted: list[str]) -> None:
    assert lines(draft, labels)[:2] == wanted
    colored = sudoku.draw(QUESTION, 4, draft=draft, labels=labels, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == sudoku.draw(QUESTION, 4, draft, labels)
    kinds = {re.sub(r"\d", "0", cell) for cell in re.findall(r"\(\d\)|\*\d\*| \d ", "".join(wanted))}
    assert len(set(re.findall(r"\x1b\[[0-9;]+m(?=.\d)", colored))) == len(kinds)


@pytest.mark.parametrize("labels", [None, ANSWER, np.full(16, IGNORE_LABEL)])
def test_an_overwritten_given_is_a_mistake(labels: Any) -> None:
    draft = ANSWER.copy()
    draft[5] = 2  # was a given 4
    assert "*1*" in lines(draft, labels)[1]
    if labels is not None:
        drawn = cells(board(draft=draft, labels=labels), 4)
        assert has(drawn, MISTAKE).nonzero()[0].tolist() == [5]


def board(**boards: Any) -> NDArray[np.uint8]:
    return sudoku.picture(QUESTION, 4, cell=CELL, **boards)


def cells(picture: NDArray[np.uint8], size: int, cell: int = CELL) -> NDArray[np.uint8]:
    """What lies inside the lines of every cell, [S, height, width, 3]."""
    margin, inset = max(5, round(cell / 4)), 3
    corners = margin + np.arange(size) * cell
    inner = [slice(corner + inset, corner + cell - inset) for corner in corners]
    return np.stack([picture[y, x] for y in inner for x in inner])


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
    draft = np.where(blank & (rng.random(size**2) < 0.5), rng.integers(2, size + 2, size**2), labels)
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


def test_caption_and_bars_change_nothing_but_their_strips() -> None:
    plain = board()
    height = len(plain)
    captions = [board(caption=text) for text in ("segment 1 of 8", "far too long " * 9)]
    assert captions[0].shape == captions[1].shape
    both = [board(caption="segment 1 of 8", q=q) for q in ((2.0, -2.0), (-1.0, 3.0))]
    for picture in captions + both:
        np.testing.assert_array_equal(picture[:height], plain)
        assert (picture[:, [0, -1]] == 255).all()  # nothing is cut off
    assert (captions[0] != captions[1]).any()
    np.testing.assert_array_equal(both[0][: len(captions[0])], captions[0])
    np.testing.assert_array_equal(both[1][: len(captions[0])], captions[0])
    without_caption = board(q=(2.0, -2.0))
    np.testing.assert_array_equal(without_caption[height:], both[0][len(captions[0]) :])


def test_bars_are_as_long_as_the_probabilities() -> None:
    def lengths(q_halt: float, q_continue: float) -> list[int]:
        strip = sudoku.picture(QUESTION, 4, q=(q_halt, q_continue), cell=48)
        return [int((strip == color).all(-1).sum(1).max()) for color in (HALT, CONTINUE)]

    full = lengths(np.inf, np.inf)
    assert full[0] == full[1] > 50
    assert lengths(-np.inf, np.inf) == [0, full[1]]
    assert lengths(0.0, np.log(3)) == pytest.approx([0.5 * full[0], 0.75 * full[0]], abs=1)
    assert lengths(np.nan, 0.0)[0] == 0
    assert (board(q=(np.nan, 0.0)) != board(q=(-np.inf, 0.0))).any()  # unknown is not zero


def test_same_arguments_same_pixels_in_a_new_array() -> None:
    arguments: dict[str, Any] = {"draft": ANSWER, "caption": "x", "q": (1.0, 2.0)}
    first = board(**arguments)
    want = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(board(**arguments), want)
