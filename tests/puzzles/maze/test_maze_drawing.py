"""Mazes as text and as pictures."""

import numpy as np

from hrm_rl.puzzles import maze
from hrm_rl.puzzles.base import picture

TEXT = "S  # # # # G    "
MAZE = maze.parse(TEXT)
ANSWER = maze.parse("Soo# #o# #oG    ")


def test_text_round_trip():
    row = maze.generate(1, 7, seed=0).labels[0]
    np.testing.assert_array_equal(maze.parse(maze.to_text(row)), row)
    assert maze.to_text([maze.PAD, *ANSWER[1:]]) == ".oo# #o# #oG    "


def test_drawn_as_text():
    draft = ANSWER.copy()
    draft[[3, 10, 12]] = maze.PATH, maze.SPACE, maze.PATH
    assert maze.draw(MAZE, size=4).splitlines() == [
        "+----+",
        "|S  #|",
        "| # #|",
        "| # G|",
        "|    |",
        "+----+",
    ]
    assert maze.draw(MAZE, draft, size=4).splitlines()[1:5] == ["|Soo!|", "| #o#|", "| # G|", "|o   |"]
    assert maze.draw(MAZE, draft, ANSWER, size=4).splitlines()[4] == "|x   |"
    assert "\x1b[36mo\x1b[0m" in maze.draw(MAZE, draft, size=4, color=True)


def test_another_shortest_path_is_no_mistake():
    row, label = maze.parse("S       G"), maze.parse("Soo  o  G")
    other = maze.parse("S  o  ooG")
    assert "x" not in maze.draw(row, other, label, size=3)
    assert "x" in maze.draw(row, maze.parse("S  o  o G"), label, size=3)


def test_colors_stand_where_they_mean_something():
    draft = ANSWER.copy()
    draft[[3, 12]] = maze.PATH, maze.PATH
    drawn = maze.picture(MAZE, draft, ANSWER, size=4, cell=20)
    inside = drawn[5:-5, 5:-5].reshape(4, 20, 4, 20, 3).swapaxes(1, 2).reshape(16, 400, 3)

    def cells_with(color: tuple[int, int, int]) -> set[int]:
        return set(np.flatnonzero((inside == color).all(-1).any(-1)).tolist())

    assert cells_with(picture.DRAFT) == {1, 2, 6, 10}
    assert cells_with(picture.MISTAKE_CELL) == {12}
    assert cells_with(picture.MISTAKE) == {3, 12}
    assert cells_with(picture.HALT) == {0} and cells_with(picture.CONTINUE) == {11}
    walls = set(np.flatnonzero(MAZE == maze.WALL).tolist())
    assert walls - {3} <= cells_with(picture.THICK_LINE)


def test_cells_of_large_mazes_are_smaller():
    big = maze.generate(1, 40, seed=0, perfect=True).inputs[0]
    assert maze.picture(big, size=40).shape == (640 + 10, 640 + 10, 3)
    assert maze.picture(MAZE, size=4).shape == (160 + 20, 160 + 20, 3)
