"""What Sudoku, maze and ARC refuse, each with the words that name the fault."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import arc, maze, sudoku
from hrm_rl.puzzles.arc.tasks import parse_task
from hrm_rl.puzzles.sudoku import is_exact

ONES = np.ones(16, int)
MAZE = maze.parse("S   #   G")
BOARD = arc.encode(np.array([[1, 0, 2]], np.uint8))
DOT = np.zeros((1, 1), np.uint8)


def sudokus(**changes: Any) -> Any:
    return sudoku.generate(**{"count": 1, "size": 4, **changes})


def mazes(**changes: Any) -> Any:
    return maze.generate(**{"count": 2, "size": 5, **changes})


SUDOKU = [
    (lambda: sudoku.parse("." * 80), "80 cells; a Sudoku has size . size, with size 4, 6, 9"),
    (lambda: sudoku.parse("." * 25), "25 cells; a Sudoku has size . size, with size 4, 6, 9"),
    (lambda: sudoku.parse("." * 16, 9), "16 cells; a 9x9 Sudoku has 81"),
    (lambda: sudoku.parse("." * 16, 5), "size must be 4, 6, 9, got 5"),
    (lambda: sudoku.parse("." * 6 + "x" + "." * 9), r"character 7 \(row 2, column 3\) is 'x'"),
    (lambda: sudoku.parse("." * 15 + "²"), r"character 16 \(row 4, column 4\) is '²'"),
    (lambda: sudoku.parse(".7" + "." * 34), r"character 2 .* is '7'; .* are '0_ .123456'"),
    (lambda: sudoku.to_text([1] * 15), "15 cells; a Sudoku has"),
    (lambda: sudoku.to_text([[1] * 16]), r"must be \[S\], got shape \(1, 16\)"),
    (lambda: sudoku.to_text([6] * 16), "holds token 6; there are 0 to 5"),
    *(
        (lambda words=words: sudoku.draw(*words), message)
        for words, message in (
            ((ONES[None], 4), r"one puzzle \[S\] .*got shape \(1, 16\)"),
            ((np.ones(81, int), 4), r"inputs must be \[..., 16\]"),
            ((7 * ONES, 4), "inputs holds token 7; there are 0 to 5"),
            ((ONES, 5), "size must be 4, 6, 9, got 5"),
            ((ONES, 4, ONES[:15]), r"draft must be \[..., 16\]"),
            ((ONES, 4, ONES[None]), r"draft must be \[S\] as inputs \(16,\), got \(1, 16\)"),
            ((ONES, 4, 9 * ONES), "draft holds token 9"),
            ((ONES, 4, None, ONES[:15]), r"labels must be \[..., 16\]"),
            ((ONES, 4, None, ONES[None]), r"labels must be \[S\] as inputs"),
        )
    ),
    (lambda: sudoku.picture(ONES[None], 4), "one puzzle"),
    (lambda: sudoku.picture(ONES, 4, cell=10), "cell must be >= 16 pixels, got 10"),
    (lambda: sudoku.solve(np.ones((2, 16), int), 9), r"tokens must be \[..., 81\].*\(2, 16\)"),
    (lambda: sudoku.solve(6 * ONES, 4), "holds token 6"),
    (lambda: sudoku.solve(np.ones(16), 4), "integer tokens, got dtype float64"),
    (lambda: sudoku.rate(ONES, 4, copies=0), "copies must be at least 1, got 0"),
    (lambda: sudoku.class_key(ONES, 5), "size must be 4, 6, 9, got 5"),
    (lambda: sudoku.class_key(0 * ONES, 4), "inputs holds token 0"),
    (lambda: sudoku.in_split(ONES, "dev"), "one of train, validation, test; got 'dev'"),
    (lambda: sudoku.is_valid(np.ones((2, 16), int), ONES, 4), r"of inputs \(2, 16\), got \(16,\)"),
    (lambda: is_exact(np.ones((2, 16), int), ONES), r"of labels \(2, 16\), got \(16,\)"),
    (lambda: sudoku.check_puzzle(np.ones((2, 16), int), 4), r"one puzzle .*got shape \(2, 16\)"),
    *(
        (lambda text=text: sudoku.check_puzzle(sudoku.parse(text), 4), message)
        for text, message in (
            ("1..1" + "." * 12, "two 1s in row 1, at row 1, column 1 and row 1, column 4"),
            ("3.......3.......", "two 3s in column 1, at row 1, column 1 and row 3, column 1"),
            ("4....4..........", "two 4s in box 1, at row 1, column 1 and row 2, column 2"),
            ("123....4........", "no solution"),
            ("1" + "." * 15, r"several solutions \(1 clues\)"),
        )
    ),
    *(
        (lambda size=size: sudokus(size=size), f"size must be 4, 6, 9, got {size!r}")
        for size in (0, 5, 16, "nine")
    ),
    (lambda: sudokus(seed=2**64), "seed must lie in"),
    (lambda: sudokus(extra_givens=-2), r"0 <= least <= most <= 16, got \[-2, -2\]"),
    (lambda: sudokus(extra_givens=(1, 2, 3)), r"got \[1, 2, 3\]"),
    (lambda: sudokus(extra_givens="many"), "got .'m'"),
    # With a single blank, 4x4 has two classes, and none of them is for validation.
    (
        lambda: sudokus(extra_givens=16, split="validation"),
        r"no puzzle 0 of sudoku-4x4\+16 in the 'validation' split",
    ),
]
MAZES = [
    (lambda: maze.parse("S G"), "3 cells; a Maze has size . size, with size 3 to 100"),
    (lambda: maze.parse("S  G"), "4 cells; a Maze has size"),
    (lambda: maze.parse("S  # # # # G    ", 3), "16 cells; a 3x3 Maze has 9"),
    (lambda: maze.parse("S  #.# # # G    "), r"5 \(row 2, column 1\) is '.'; .* are '# SGo'"),
    (lambda: maze.is_valid(MAZE, MAZE[None], 3), "shape"),
    (lambda: maze.check_puzzle(MAZE[None], 3), r"\[S\]"),
    (lambda: maze.check_puzzle(MAZE[:-1], 3), "must be"),
    (lambda: maze.check_puzzle(MAZE + 5, 3), "token"),
    *(
        (lambda text=text: maze.check_puzzle(maze.parse(text, 3), 3), message)
        for text, message in (
            ("SS  G    ", "2 cells are the start; a maze has one"),
            ("S        ", "0 cells are the goal; a maze has one"),
            ("S#  #  #G", "no way leads from the start to the goal"),
            ("So      G", "row 1, column 2: the question has a path drawn in it"),
        )
    ),
    (lambda: mazes(size=2), "size must be 3 to 100, got 2"),
    (lambda: mazes(size=101), "size must be 3 to 100, got 101"),
    (lambda: mazes(size=9.0), "size must be 3 to 100, got 9.0"),
    (lambda: mazes(perfect=1), "perfect must be True or False, got 1"),
    (lambda: mazes(perfect=True, braid=1.5), "braid must be 0.0 to 1.0, got 1.5"),
    (lambda: mazes(size=4, min_path=11), "200,000 mazes of 4x4 had no shortest path of min_path=11"),
]
ARC = [
    (lambda: arc.encode(np.ones((3, 2), np.uint8), 28, 0), r"3x2 grid does not fit at \(28, 0\)"),
    (
        lambda: arc.crop(np.zeros(899, int)),
        r"a board is \[900\], or another square of at most 30 a side, got 899",
    ),
    (lambda: arc.crop(np.zeros(900)), "dtype float64"),
    (lambda: arc.draw(BOARD + 12 * (BOARD == 1)), "token 13"),
    (lambda: arc.picture(BOARD, cell=7), "cell must be >= 8 pixels, got 7"),
    *(
        (lambda colors=colors: arc.transform(DOT, 0, colors), "0 and a permutation of 1 to 9")
        for colors in ([1, 0, *range(2, 10)], range(9), [0, 1, 1, *range(3, 10)])
    ),
    (lambda: arc.transform(DOT, -1), "symmetry must be 0 to 7, got -1"),
    (lambda: arc.invert(DOT, 8), "symmetry must be 0 to 7, got 8"),
    (lambda: arc.augment(arc.Collection("c", (), ()), -1), "0 or more, got -1"),
    (lambda: arc.augment(arc.Collection("c", (), ()), seed=1 << 64), "seed must lie in"),
    (lambda: arc.combine([]), "at least one collection"),
    (lambda: arc.load("arc-agi-3"), "one of arc-agi-1, arc-agi-2; got 'arc-agi-3'"),
    (lambda: arc.check_split("validation"), r"training or evaluation .*got 'validation'"),
    (lambda: arc.read_folder(".", "test"), "one of training, evaluation; got 'test'"),
    (
        lambda: parse_task(
            {k: [{"input": [[1]], "output": [[1]]}] for k in ("train", "test")}, "task_t3_0123456789", "file"
        ),
        "rename it",
    ),
]


@pytest.mark.parametrize(("call", "message"), SUDOKU + MAZES + ARC)
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
