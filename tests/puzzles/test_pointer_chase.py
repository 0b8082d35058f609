import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.puzzles import IGNORE_LABEL, pointer_chase
from hrm_rl.puzzles.pointer_chase import BLANK, FIRST_NODE, PAD


def walk(row: np.ndarray, nodes: int, hops: int) -> list[int]:
    """The nodes met from the start on, by a plain loop."""
    met = [int(row[0]) - FIRST_NODE]
    for _ in range(hops):
        met.append(int(row[1 + met[-1]]) - FIRST_NODE)
    return met


@pytest.mark.parametrize("trajectory", [False, True])
def test_labels_follow_the_arrows_and_no_node_is_met_twice(trajectory):
    dials = {"nodes": 9, "hops": 6, "min_hops": 2, "trajectory": trajectory}
    puzzles = pointer_chase.generate(200, **dials)
    for row, labels in zip(puzzles.inputs, puzzles.labels, strict=True):
        hops = int((row[10:] == BLANK).sum())
        assert 2 <= hops <= 6 and (row[10 + hops :] == PAD).all()
        met = walk(row, 9, hops)
        assert len(set(met)) == hops + 1
        want = np.full(16, IGNORE_LABEL)
        asked = range(1, hops + 1) if trajectory else [hops]
        for hop in asked:
            want[9 + hop] = met[hop] + FIRST_NODE
        np.testing.assert_array_equal(labels, want)


def test_trajectory_changes_no_puzzle():
    end = pointer_chase.generate(10, nodes=8, hops=3)
    way = pointer_chase.generate(10, nodes=8, hops=3, trajectory=True)
    np.testing.assert_array_equal(end.inputs, way.inputs)
    assert end.source == way.source


def test_all_maps_that_fit_are_alike():
    # 3 starts, 2 ways to leave each, 9 for the arrows of the other two.
    rows = pointer_chase.generate(10_800, nodes=3, hops=1).inputs[:, :4]
    maps, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(maps) == 54
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert chi_square < 53 + 5 * np.sqrt(2 * 53)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(3, 30))
def test_key_is_the_same_under_every_naming_and_for_any_hops(seed, nodes):
    row = pointer_chase.generate(1, seed=seed, nodes=nodes, hops=1).inputs[0]
    names = np.random.default_rng(seed).permutation(nodes)
    renamed = row.copy()
    renamed[0] = names[row[0] - FIRST_NODE] + FIRST_NODE
    renamed[1 + names] = names[row[1 : 1 + nodes] - FIRST_NODE] + FIRST_NODE
    longer = np.append(row, BLANK)
    keys = pointer_chase.class_key(np.stack([row, renamed]), nodes=nodes, hops=1)
    assert keys[0] == keys[1] == pointer_chase.class_key(longer, nodes=nodes, hops=2)


def test_key_tells_starts_and_maps_apart():
    rows = pointer_chase.generate(300, nodes=12, hops=3).inputs
    assert len(np.unique(pointer_chase.class_key(rows, nodes=12, hops=3))) == 300
    # 0 -> 1 -> 2 -> 2: three starts, three classes.
    arrows = np.array([1, 2, 2]) + FIRST_NODE
    rows = np.array([[start + FIRST_NODE, *arrows, BLANK] for start in range(3)])
    assert len(np.unique(pointer_chase.class_key(rows, nodes=3, hops=1))) == 3


def test_rating_is_the_number_of_hops():
    puzzles = pointer_chase.generate(300, nodes=9, hops=5, min_hops=3, rate=True)
    assert set(puzzles.rating.tolist()) == {3, 4, 5}


def test_maps_of_another_form_are_refused():
    with pytest.raises(ValueError, match="must be nodes, 2 or more"):
        pointer_chase.class_key(np.ones((1, 1 + 8 + 3), int), nodes=8, hops=3)
