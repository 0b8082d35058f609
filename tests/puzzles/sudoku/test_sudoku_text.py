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


def test_parse_tokens():
    tokens = sudoku.parse(QUESTION)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [1, 1, 1, 1, 1, 5, 1, 2, 1, 1, 3, 1, 1, 1, 1, 5]


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("." * 80, None, "80 characters; a 9x9 Sudoku has 81, 6x6 36, 4x4 16"),
        ("." * 80, 9, "80 characters; a 9x9 Sudoku has 81, 6x6 36, 4x4 16"),
        ("", None, "0 characters"),
        ("." * 16, 9, "16 characters; a 9x9 Sudoku has 81"),
        ("." * 6 + "x" + "." * 9, None, r"character 7 \(row 2, column 3\) is 'x'"),
        ("." * 15 + "²", None, r"character 16 \(row 4, column 4\) is '²'"),
        (
            ".7" + "." * 34,
            None,
            r"character 2 \(row 1, column 2\) is '7'; a 6x6 Sudoku has digits 1 to 6",
        ),
        ("." * 16, 5, "known sizes are 4, 6, 9"),
    ],
)
def test_parse_names_what_was_given(text, size, message):
    with pytest.raises(ValueError, match=message):
        sudoku.parse(text, size)


def test_to_text_shows_empty_cells_alike_and_refuses_others():
    assert sudoku.to_text([0, 1, 2, 5] * 4) == "..14" * 4
    with pytest.raises(ValueError, match=r"got shape \(15,\)"):
        sudoku.to_text([1] * 15)
    with pytest.raises(ValueError, match="holds token 6; there are 0 to 5"):
        sudoku.to_text([6] * 16)


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


@pytest.mark.parametrize("size", sudoku.SIZES)
def test_draw_is_rectangular(size):
    puzzle = sudoku.generate(1, size)
    lines = sudoku.draw(puzzle.inputs[0], size, draft=puzzle.labels[0]).split("\n")
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == {4: 7, 6: 10, 9: 13}[size]
    given = (puzzle.inputs[0] != sudoku.BLANK).sum()
    assert sum(line.count("(") for line in lines) == size * size - given


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": np.ones((1, 16), int)}, r"one puzzle \[S\] .*got shape \(1, 16\)"),
        ({"inputs": np.ones(81, int)}, r"inputs must be \[..., 16\]"),
        ({"draft": np.ones(15, int)}, r"draft must be \[..., 16\]"),
        ({"labels": np.ones(15, int)}, r"labels must be \[..., 16\]"),
        ({"draft": np.full(16, 9)}, "draft holds token 9"),
    ],
)
def test_draw_refuses_other_boards(arguments, message):
    with pytest.raises(ValueError, match=message):
        sudoku.draw(**{"inputs": np.ones(16, int), "size": 4, **arguments})
