"""Mazes as environments: any shortest path is right, and how far others are off."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.envs.families.make import family_source
from hrm_rl.envs.families.validators.maze import MazeValidator, path_excess
from hrm_rl.puzzles import maze
from hrm_rl.puzzles.maze import Maze
from hrm_rl.puzzles.pool import PuzzleArrays


@examples(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(3, 7))
def test_judged_without_a_search_as_with_one(maze_cases: Any, seed: int, size: int) -> None:
    """NumPy's account searches and walks; tests/puzzles holds that against the definition."""
    cases = maze_cases(seed, size)
    if not cases:
        return
    rows, answers = (np.stack(column) for column in zip(*cases, strict=True))
    wanted = maze.path_excess(rows, answers, size)
    batch = (rows, answers, maze.solve(rows, size).solution)
    inputs, given, labels = (torch.from_numpy(array.astype(np.int32)) for array in batch)
    validator = MazeValidator(size)
    np.testing.assert_array_equal(validator(inputs, given, labels).numpy(), wanted == 0)
    np.testing.assert_array_equal(path_excess(inputs, given, labels, size).numpy(), wanted)
    metrics = validator.metrics(inputs, given, labels)["path_excess"]
    np.testing.assert_array_equal(metrics.numpy(), wanted)


@pytest.mark.parametrize("dials", [{}, {"perfect": True}])
def test_long_paths_are_walked_to_their_end(dials: dict) -> None:
    puzzles = maze.generate(3, 30, seed=1, **dials)
    inputs, labels = torch.from_numpy(puzzles.inputs), torch.from_numpy(puzzles.labels)
    assert MazeValidator(30)(inputs, labels, labels).all()
    assert (path_excess(inputs, labels, labels, 30) == 0).all()


@pytest.fixture
def square() -> PuzzleVectorEnv:
    """A 3x3 maze without walls, four times; its stored path goes right, then down."""
    rows = maze.parse("S       G")[None].repeat(4, 0)
    arrays = PuzzleArrays(rows, maze.solve(rows, 3).solution, np.zeros(4, int), np.zeros(4))
    source = SequentialSource(arrays, 6, validator=MazeValidator(3))
    return PuzzleVectorEnv(4, source, order="epoch", checker="valid")


def test_any_shortest_path_pays_and_others_have_their_excess(square: PuzzleVectorEnv) -> None:
    square.reset(seed=0)
    texts = ["Soo  o  G", "S  o  ooG", "S  o  oG ", "S       G"]  # the third moves the goal
    answer = torch.from_numpy(np.stack([maze.parse(text) for text in texts]))
    _, reward, terminated, _, info = square.step({"answer": answer, "halt": torch.ones(4)})
    assert terminated.all() and reward.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert info["correct"].tolist() == [True, False, False, False]
    assert info["valid"].tolist() == [True, True, False, False]
    assert info["path_excess"].tolist() == [0, 0, -1, -1]
    assert info["final_info"]["path_excess"].tolist() == [0, 0, -1, -1]
    assert info["_path_excess"].all() and info["final_info"]["_path_excess"].all()
    # The rows that follow are padding: nothing is asked there, nothing right.
    *_, info = square.step({"answer": answer, "halt": torch.ones(4)})
    assert not info["valid"].any() and not info["correct"].any()


def test_pools_are_augmented_where_that_keeps_the_label() -> None:
    for family, augment, turned in (
        (Maze(6, perfect=True), None, True),
        (Maze(6, perfect=True), False, False),
        (Maze(6), None, False),
        (Maze(6, perfect=True, braid=0.5), None, False),
        (Maze(6), True, True),
    ):
        source = family_source(family, pool_size=20, augment=augment)
        assert bool(source.cell_tables) == turned
