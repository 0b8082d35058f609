"""A board is read as people write it, and as we draw it."""

import re

import numpy as np
import pytest

from hrm_rl.puzzles import maze, sudoku

BOARDS = {size: sudoku.generate(3, size, seed=2) for size in (4, 6, 9)}


def rows(text: str) -> list[str]:
    size = round(len(text) ** 0.5)
    return [text[k : k + size] for k in range(0, len(text), size)]


WAYS = {
    "line": lambda text: text,
    "line with an end": lambda text: f"\n{text}\n",
    "rows": lambda text: "\n".join(rows(text)),
    "windows": lambda text: "\r\n".join(rows(text)) + "\r\n",
    "spaced": lambda text: "\n".join(map(" ".join, rows(text))),
    "spaced line": lambda text: " ".join(text),
    "blank lines": lambda text: "\n\n".join(map(" ".join, rows(text))),
    "commas": lambda text: ",\n".join(map(",".join, rows(text))),
    "list": lambda text: str([list(map(int, re.sub("[._]", "0", row))) for row in rows(text)]),
    "slashes": lambda text: "/".join(rows(text)),
    "quoted": lambda text: f"'{text}'",
    "spreadsheet": lambda text: "\n".join(map("\t".join, rows(text))),
    "empty cells": lambda text: "\n".join(map(",".join, rows(text))).replace(".", ""),
    "printed with a caption": lambda text: (
        f"1 puzzle. The first:\n{sudoku.draw(sudoku.parse(text), len(rows(text)))}\nSolved, after 3."
    ),
    "boxes": lambda text: "\n".join(f"║{' │ '.join(row)}║\n╟───┼───╢" for row in rows(text)),
}


@pytest.mark.parametrize("blank", [".", "0", "_", " "])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", BOARDS)
def test_sudokus_in_every_form(size, way, blank) -> None:
    if blank == " " and way not in ("line", "line with an end", "rows", "windows"):
        return  # spaces stand between cells
    for board in BOARDS[size].inputs:
        text = WAYS[way](sudoku.to_text(board).replace(".", blank))
        np.testing.assert_array_equal(sudoku.parse(text, size), board)
        np.testing.assert_array_equal(sudoku.parse(text), board)


@pytest.mark.parametrize("size", BOARDS)
@pytest.mark.parametrize("color", [False, True])
def test_what_is_drawn_is_read(size, color) -> None:
    for board, solution in zip(BOARDS[size].inputs, BOARDS[size].labels, strict=True):
        for draft in (None, solution):
            drawn = sudoku.draw(board, size, draft, color=color)
            np.testing.assert_array_equal(sudoku.parse(drawn), board)
    mazes = maze.generate(3, size, seed=1)
    for board, label in zip(mazes.inputs, mazes.labels, strict=True):
        for row in (board, label):
            drawn = f"The first:\n{maze.draw(board, row, size=size, color=color)}\n"
            np.testing.assert_array_equal(maze.parse(drawn), row)
            cut = [line.rstrip() for line in rows(maze.to_text(row))]
            if max(map(len, cut)) == size:
                np.testing.assert_array_equal(maze.parse("\n".join(cut)), row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 cells; a 4x4 Sudoku has 16 .*on one line, in rows, or drawn"),
        ("1..", "3 cells"),
        ("1...\n....\n...\n....", "row 3 has 3 cells, row 1 has 4"),
        ("1 . . .\n. . . .\n. . .\n. . . .", "row 3 has 3 cells, row 1 has 4"),
        ("x" + "." * 15, r"is 'x'; the characters of tokens are '0_ .1234' \(a board is"),
        ("+----+\n|*1*.|", r"cells such as \*1\* are wrong digits of a draft"),
        ("-" * 16, "is '-'"),
        ("+---+", "0 cells"),
        ("+---+\n+---+", "0 cells"),
        ("1.3.\n" * 5, "20 cells; a 4x4 Sudoku has 16"),
    ],
)
def test_what_is_not_a_board_is_refused_with_the_forms(text, message) -> None:
    with pytest.raises(ValueError, match=message):
        sudoku.parse(text, 4)
