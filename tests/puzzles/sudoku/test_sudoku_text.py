import re

import numpy as np
import pytest

from hrm_rl.puzzles import IGNORE_LABEL, sudoku

QUESTION = ".....4.1..2....4"
ANSWER = "1342243141233214"


@pytest.mark.parametrize("size", sudoku.SIZES)
def test_text_round_trip(size):
    for tokens in sudoku.generate(3, size).inputs:
        text = sudoku.to_text(tokens)
        assert len(text) == size * size
        np.testing.assert_array_equal(sudoku.parse(text), tokens)
        np.testing.assert_array_equal(sudoku.parse(f" {text.replace('.', '0')}\n", size), tokens)


def test_to_text_shows_empty_cells_alike():
    assert sudoku.to_text([0, 1, 2, 5] * 4) == "..14" * 4


def test_draw_puzzle():
    assert sudoku.draw(sudoku.parse(QUESTION), 4).split("\n") == [
        "+--------+--------+",
        "|  .  .  |  .  .  |",
        "|  .  4  |  .  1  |",
        "+--------+--------+",
        "|  .  .  |  2  .  |",
        "|  .  .  |  .  4  |",
        "+--------+--------+",
    ]


def test_draw_marks_draft_and_mistakes():
    draft = sudoku.parse("2.42243141233214")  # the first cell wrong, the second still open
    drawn = sudoku.draw(sudoku.parse(QUESTION), 4, draft=draft, labels=sudoku.parse(ANSWER))
    assert drawn.split("\n") == [
        "+--------+--------+",
        "| *2* .  | (4)(2) |",
        "| (2) 4  | (3) 1  |",
        "+--------+--------+",
        "| (4)(1) |  2 (3) |",
        "| (3)(2) | (1) 4  |",
        "+--------+--------+",
    ]


def test_draw_without_labels_marks_clashes():
    draft = sudoku.parse("2.42243141233214")
    drawn = sudoku.draw(sudoku.parse(QUESTION), 4, draft=draft)
    # The 2 clashes with one in its row and one in its column; the given 2 below is never marked.
    assert drawn.split("\n")[1:3] == ["| *2* .  | (4)*2* |", "| *2* 4  | (3) 1  |"]


def test_draw_shows_an_overwritten_given_as_a_mistake():
    draft = sudoku.parse(ANSWER)
    draft[5] = 2  # was a given 4
    for labels in (None, sudoku.parse(ANSWER), np.full(16, IGNORE_LABEL)):
        drawn = sudoku.draw(sudoku.parse(QUESTION), 4, draft=draft, labels=labels)
        assert "*1*" in drawn.split("\n")[2]
    half = np.full(16, sudoku.BLANK)
    shown = sudoku.draw(sudoku.parse(QUESTION), 4, draft=half)
    assert shown == sudoku.draw(sudoku.parse(QUESTION), 4)


def test_color_adds_codes_and_nothing_else():
    arguments = {"draft": sudoku.parse("2.42243141233214"), "labels": sudoku.parse(ANSWER)}
    plain = sudoku.draw(sudoku.parse(QUESTION), 4, **arguments)
    colored = sudoku.draw(sudoku.parse(QUESTION), 4, **arguments, color=True)
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    codes = set(re.findall(r"\x1b\[[0-9;]*m(?=.\d)", colored))
    assert len(codes) == 3  # given, draft, mistake
