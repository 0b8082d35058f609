import numpy as np
import pytest

from hrm_rl.puzzles import maze

KINDS = [{}, {"perfect": True}, {"perfect": True, "braid": 0.5}]


def open_around(grid: np.ndarray) -> np.ndarray:
    """How many of a cell's four neighbours hold: int [n, n] for bool [n, n]."""
    wide = np.pad(grid, 1).astype(int)
    return wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]


@pytest.mark.parametrize("dials", KINDS)
@pytest.mark.parametrize("size", [3, 6, 13])
def test_every_maze_has_the_solution_it_claims(size, dials):
    puzzles = maze.generate(20, size, seed=1, rate=True, **dials)
    for token in (maze.START, maze.GOAL):
        assert ((puzzles.inputs == token).sum(axis=1) == 1).all()
    assert np.isin(puzzles.inputs, [maze.WALL, maze.SPACE, maze.START, maze.GOAL]).all()
    assert maze.is_valid(puzzles.inputs, puzzles.labels, size).all()
    moves = (puzzles.labels == maze.PATH).sum(axis=1) + 1
    np.testing.assert_array_equal(puzzles.rating, moves)
    np.testing.assert_array_equal(maze.solve(puzzles.inputs, size).solution, puzzles.labels)
    if not dials:
        assert moves.min() >= 4 * size - 9
    assert len({row.tobytes() for row in puzzles.inputs}) > (2 if size == 3 else 18)


def test_thirty_by_thirty_is_as_hard_as_maze_hard():
    puzzles = maze.generate(4, seed=3, rate=True)
    assert puzzles.inputs.shape == (4, 900) and puzzles.rating.min() > 110
    walls = (puzzles.inputs == maze.WALL).mean(axis=1)
    assert walls.min() > 0.33 and walls.max() < 0.45


@pytest.mark.parametrize("size", [3, 4, 9, 12])
def test_a_perfect_maze_is_a_tree(size):
    for row in maze.generate(5, size, seed=2, perfect=True).inputs:
        grid = (row != maze.WALL).reshape(size, size)
        cells = 2 * ((size + 1) // 2) ** 2 - 1  # every second one, and the doors between them
        assert grid.sum() == cells and open_around(grid)[grid].sum() == 2 * (cells - 1)
        reached = (row == maze.START).reshape(size, size)
        for _ in range(cells):
            reached = reached | (grid & (open_around(reached) > 0))
        assert (reached == grid).all()


@pytest.mark.parametrize("size", [7, 10])
def test_braid_opens_dead_ends(size):
    def dead_ends(braid: float) -> int:
        rows = maze.generate(10, size, seed=4, perfect=True, braid=braid).inputs != maze.WALL
        grids = rows.reshape(-1, size, size)
        return sum(int((grid & (open_around(grid) == 1)).sum()) for grid in grids)

    few, half, all_of_them = dead_ends(0), dead_ends(0.5), dead_ends(1)
    assert few > half > all_of_them == 0
    assert (maze.solve(maze.generate(20, 15, perfect=True).inputs, 15).paths == 1).all()
