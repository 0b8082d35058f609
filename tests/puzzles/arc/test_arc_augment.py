"""Augmented ARC tasks: transforms are undone, names hold them, and no two give the same task."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hrm_rl.puzzles import arc
from hrm_rl.puzzles.arc.augment import augment

GRIDS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 9))
COLORS = st.permutations(range(1, 10)).map(lambda order: (0, *order))
NUMPYS = (
    lambda grid: grid,
    lambda grid: np.rot90(grid, 1),
    lambda grid: np.rot90(grid, 2),
    lambda grid: np.rot90(grid, 3),
    np.fliplr,
    np.flipud,
    np.transpose,
    lambda grid: np.fliplr(np.rot90(grid, 1)),
)
"""The reference's eight, by number (dataset/common.py)."""


@settings(max_examples=60, deadline=None)
@given(GRIDS, st.integers(0, 7), COLORS)
def test_a_transform_is_numpys_and_is_undone(
    grid: np.ndarray, symmetry: int, colors: tuple[int, ...]
) -> None:
    there = arc.transform(grid, symmetry, colors)
    np.testing.assert_array_equal(there, np.array(colors)[NUMPYS[symmetry](grid)])
    np.testing.assert_array_equal(arc.invert(there, symmetry, colors), grid)
    np.testing.assert_array_equal(arc.transform(arc.invert(grid, symmetry, colors), symmetry, colors), grid)


@given(st.sampled_from(["007bbfb7", "Center_1", "a_t3_b"]), st.integers(0, 7), COLORS)
def test_a_name_holds_its_transform(task: str, symmetry: int, colors: tuple[int, ...]) -> None:
    name = arc.augmented_name(task, symmetry, colors)
    assert arc.parse_name(name) == (task, symmetry, colors)
    assert arc.parse_name(task) == (task, 0, tuple(range(10)))


def test_names_have_the_references_form() -> None:
    colors = [0, 4, 1, 2, 3, 6, 5, 7, 8, 9]
    assert arc.augmented_name("007bbfb7", 3, colors) == "007bbfb7_t3_0412365789"
    assert arc.parse_name("a_t3_0112345678") == ("a_t3_0112345678", 0, tuple(range(10)))


@pytest.fixture(scope="module")
def augmented(tasks: arc.Collection) -> arc.Augmented:
    return augment(tasks, 200)


def contents(augmented: arc.Augmented, identifier: int) -> tuple:
    """An augmented task's pairs, whatever their order."""
    task = augmented.collection.tasks[int(augmented.task_of(identifier))]
    by = int(augmented.symmetries[identifier]), augmented.colors[identifier]
    pairs = (arc.Pair(*(arc.transform(grid, *by) for grid in pair)) for pair in task.pairs)
    return tuple(sorted(pair.key() for pair in pairs))


def test_no_two_identifiers_are_one_task(augmented: arc.Augmented) -> None:
    """The hash is of sums; here are the tasks themselves."""
    for task, (start, end) in enumerate(zip(augmented.starts, augmented.starts[1:], strict=False)):
        seen = {contents(augmented, identifier) for identifier in range(start, end)}
        assert len(seen) == end - start > 1
        assert augmented.name(start) == augmented.collection.tasks[task].name
        assert contents(augmented, start) == contents(augment(augmented.collection, 0), task + 1)


def test_a_task_has_as_many_as_there_are(augmented: arc.Augmented) -> None:
    """Of one color beside black and without symmetry there are 8 * 9 tasks; of many colors enough."""
    counts = dict(zip((t.name for t in augmented.collection.tasks), np.diff(augmented.starts), strict=True))
    assert counts["negative"] == 72
    assert counts["mirror"] == 201


GRID_PAIRS = [
    ([[0, 3]], [[0], [3]]),  # turned, one is the other
    ([[0, 0]], [[0], [0]]),
    ([[1, 2], [2, 1]], [[1]]),
    ([[0, 0, 0]], [[3, 0]]),
]


@pytest.mark.parametrize(("shown", "wanted"), GRID_PAIRS, ids=str)
def test_all_that_differ_are_found(shown: list, wanted: list) -> None:
    """Of two colors beside black at most, by trying them all."""
    pair = arc.Pair(np.array(shown, np.uint8), np.array(wanted, np.uint8))
    seen = set()
    for symmetry in range(8):
        for one in range(1, 10):
            for two in (color for color in range(1, 10) if color != one):
                rest = [c for c in range(1, 10) if c not in (one, two)]
                colors = [0, one, two, two, *rest[:6]]  # 2 and 3 never stand together
                turned = (NUMPYS[symmetry](np.array(colors, np.uint8)[grid]) for grid in pair)
                seen.add(arc.Pair(*turned).key())
    tasks = arc.Collection("one", (arc.ArcTask("one", (pair,), ()),), ())
    assert augment(tasks, 1000).num_ids == 1 + len(seen)


def test_names_and_numbers_go_together(augmented: arc.Augmented) -> None:
    names = augmented.names()
    assert len(names) == len(set(names)) == augmented.num_ids and names[0] == "<blank>"
    for identifier in range(1, augmented.num_ids, 37):
        task, symmetry, colors = arc.parse_name(names[identifier])
        assert task == augmented.collection.tasks[int(augmented.task_of(identifier))].name
        assert symmetry == augmented.symmetries[identifier]
        assert colors == tuple(augmented.colors[identifier])
    # Saved models depend on these numbers.
    assert names[1:4] == ["mirror", "mirror_t4_0462571893", "mirror_t6_0247815963"]
    assert names[202:204] == ["tile", "tile_t3_0586729134"] and len(names) == 1078
    for wrong in (-1, 0, augmented.num_ids):
        with pytest.raises(ValueError, match="identifiers of tasks are 1 to"):
            augmented.task_of(wrong)


def test_a_tasks_augmentations_depend_on_its_name_and_the_seed(augmented: arc.Augmented) -> None:
    tasks = augmented.collection
    alone = augment(arc.Collection("one", (), tasks.training[1:2]), 200)
    start, end = augmented.starts[1:3]
    np.testing.assert_array_equal(alone.colors[1:], augmented.colors[start:end])
    np.testing.assert_array_equal(alone.symmetries[1:], augmented.symmetries[start:end])
    other = augment(tasks, 200, seed=1)
    assert (other.colors[start : start + 9] != augmented.colors[start : start + 9]).any()
    few = augment(tasks, 5)
    np.testing.assert_array_equal(few.colors[1:7], augmented.colors[1:7])
