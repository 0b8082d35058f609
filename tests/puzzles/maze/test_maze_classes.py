import numpy as np

from hrm_rl.puzzles import maze


def images(row: np.ndarray, size: int) -> list[np.ndarray]:
    square = row.reshape(size, size)
    return [np.rot90(s, k).ravel() for s in (square, square.T) for k in range(4)]


def test_the_eight_images_are_one_class_and_walked_backwards_too():
    puzzles = maze.generate(30, 9, seed=1, perfect=True)
    keys = maze.class_key(puzzles.inputs, 9)
    assert len(set(keys.tolist())) == 30
    swap = np.array([0, 1, 2, maze.GOAL, maze.START, 5])
    for row, key in zip(puzzles.inputs, keys, strict=True):
        for image in images(row, 9):
            assert maze.class_key(image, 9) == key
            assert maze.class_key(swap[image], 9) == key
        moved = row.copy()
        cell = int(np.argmax(row == maze.SPACE))
        moved[cell] = maze.WALL
        assert maze.class_key(moved, 9) != key


def test_the_key_of_sizes_and_of_walls_and_ends_differ():
    blank = maze.parse("S#G      ")
    assert maze.class_key(blank, 3) != maze.class_key(maze.parse("#SG      "), 3)
    grids = {maze.class_key(np.full(n * n, maze.WALL), n).item() for n in (3, 4, 5)}
    assert len(grids) == 3


def test_an_image_of_the_answer_answers_the_image():
    """With several shortest paths, the label may be another one than `solve` draws."""
    for perfect in (False, True):
        puzzles = maze.generate(20, 9, seed=3, perfect=perfect)
        rng = np.random.default_rng(0)
        inputs, labels = maze.symmetry(9).apply(puzzles.inputs, puzzles.labels, rng)
        assert (maze.solve(inputs, 9).solution == labels).all() == perfect
