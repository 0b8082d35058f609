"""Solutions, counts and judgements of mazes against an account of them by sets of cells."""

import numpy as np
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hrm_rl.puzzles import maze
from hrm_rl.puzzles.maze import GOAL, PATH, SPACE, START, WALL


def neighbours(cell: int, size: int) -> list[int]:
    row, column = divmod(cell, size)
    around = [(row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column)]
    return [r * size + c for r, c in around if 0 <= r < size and 0 <= c < size]


def shortest_paths(row: np.ndarray, size: int) -> list[list[int]]:
    """All of them, in the order of up, left, right, down at every fork; cells from start to goal."""
    start, goal = int(np.argmax(row == START)), int(np.argmax(row == GOAL))
    paths = [[start]]
    seen = {start}
    while paths and not any(path[-1] == goal for path in paths):
        longer = [
            [*path, near]
            for path in paths
            for near in neighbours(path[-1], size)
            if row[near] != WALL and near not in seen
        ]
        seen.update(path[-1] for path in longer)
        paths = longer
    return [path for path in paths if path[-1] == goal]


def excess(row: np.ndarray, answer: np.ndarray, size: int) -> int:
    """By the definition: allowed changes only, a chain without branches, in one piece."""
    if ((answer != row) & ~((row == SPACE) & (answer == PATH))).any():
        return -1
    cells = {cell for cell in range(size**2) if answer[cell] in (START, GOAL, PATH)}
    for cell in cells:
        touching = sum(near in cells for near in neighbours(cell, size))
        if touching != (2 if answer[cell] == PATH else 1):
            return -1
    piece = edge = {int(np.argmax(row == START))}
    while edge:
        edge = {near for cell in edge for near in neighbours(cell, size) if near in cells} - piece
        piece = piece | edge
    return len(cells) - len(shortest_paths(row, size)[0]) if piece == cells else -1


@examples(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(3, 7))
def test_judged_as_by_the_definition(maze_cases, seed, size):
    for row, answer in maze_cases(seed, size):
        wanted = excess(row, answer, size)
        assert maze.path_excess(row, answer, size) == wanted
        # Shortest if and only if in one piece with as few cells as any way has; no word on branches.
        assert maze.is_valid(row, answer, size) == (wanted == 0)


def test_the_cases_are_of_every_kind(maze_cases):
    kinds, rings = [], 0
    for seed in range(40):
        for row, answer in maze_cases(seed, 6):
            kinds.append(excess(row, answer, 6))
            cells = np.flatnonzero(np.isin(answer, (START, GOAL, PATH)))
            chained = all(
                np.isin(neighbours(cell, 6), cells).sum() == (2 if answer[cell] == PATH else 1)
                for cell in cells
            )
            rings += chained and kinds[-1] == -1 and bool((answer >= WALL).all())
    assert kinds.count(-1) > 50 and kinds.count(0) > 50 and sum(k > 0 for k in kinds) > 10
    assert rings > 3  # a path and, apart from it, a closed ring


@examples(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6))
def test_solved_counted_and_drawn_as_by_listing_all_paths(maze_cases, seed, size):
    for row, _ in maze_cases(seed, size):
        paths = shortest_paths(row, size)
        solution, moves, count = maze.solve(row, size)
        assert (moves, count) == (len(paths[0]) - 1, len(paths))
        # The first in the order of up, left, right, down is the one drawn.
        wanted = row.copy()
        wanted[paths[0][1:-1]] = PATH
        np.testing.assert_array_equal(solution, wanted)
        assert maze.rate(row, size) == moves
        break


def test_a_maze_without_a_way():
    row = maze.parse("S# ## G  ")
    solution, moves, paths = maze.solve(row, 3)
    assert (solution == maze.PAD).all() and moves == -1 and paths == 0
    assert np.isnan(maze.rate(row, 3))
    assert maze.path_excess(row, row, 3) == -1


def test_so_many_paths_that_they_are_capped():
    row = np.full(2500, SPACE)
    row[[0, -1]] = START, GOAL
    assert maze.solve(row, 50).paths == maze.COUNT_CAP
    assert maze.solve(np.concatenate([[3], np.full(23, 2), [4]]), 5).paths == 70  # 8 over 4


def test_a_question_that_is_one_is_solved():
    row = maze.parse("S   #   G")
    assert maze.to_text(maze.check_puzzle(row, 3)) == "Soo #o  G"
