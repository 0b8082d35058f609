"""Examples of augmented ARC tasks: their boards, and which are for training and for evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import arc
from hrm_rl.puzzles.arc.table import SPLITS
from hrm_rl.puzzles.files.dataset import read_dataset
from hrm_rl.puzzles.files.dataset_writer import write_dataset
from hrm_rl.puzzles.pool import IGNORE_LABEL


@pytest.fixture(scope="module")
def augmented(tasks: arc.Collection) -> arc.Augmented:
    return arc.augment(tasks, 12)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("translate", [False, True])
def test_every_row_is_its_pair_transformed(augmented: arc.Augmented, split: str, translate: bool) -> None:
    table = arc.ArcTable(augmented, split, translate)
    puzzles = table.arrays()
    identifiers, pairs = table.where(np.arange(len(table)))
    moved = 0
    for row in range(len(table)):
        task = int(augmented.task_of(identifiers[row]))
        number = int(table.pairs.number[pairs[row]])
        pair = augmented.collection.tasks[task].pairs[number]
        name, *by = arc.parse_name(augmented.name(identifiers[row]))
        assert puzzles.source[row] == f"arc_tasks/{augmented.name(identifiers[row])}/{number}"
        assert name == augmented.collection.tasks[task].name
        shown = [arc.transform(grid, *by) for grid in pair]
        board = puzzles.inputs[row].reshape(30, 30)
        top, left = np.argwhere(board >= 2).min(axis=0)
        moved += (top, left) != (0, 0)
        wanted_input, wanted = (arc.encode(grid, top, left) for grid in shown)
        np.testing.assert_array_equal(puzzles.inputs[row], wanted_input)
        np.testing.assert_array_equal(puzzles.labels[row], arc.as_labels(wanted))
    # About one example of each augmented task stays, and what fills the board cannot move.
    at_most = {"training": 0.8, "evaluation": 0.4}[split]
    assert moved == 0 if not translate else 0.1 < moved / len(table) < at_most
    np.testing.assert_array_equal(puzzles.puzzle_identifiers, identifiers)
    assert (puzzles.labels == IGNORE_LABEL).any() and np.isnan(puzzles.rating).all()


def test_test_pairs_are_never_trained_on(augmented: arc.Augmented) -> None:
    tasks = augmented.collection
    learn, ask = (arc.ArcTable(augmented, split) for split in SPLITS)
    learned, asked = (
        {(tasks.tasks[k].name, int(n)) for k, n in zip(t.pairs.task, t.pairs.number, strict=True)}
        for t in (learn, ask)
    )
    assert asked == {
        (task.name, len(task.train) + k) for task in tasks.evaluation for k in range(len(task.test))
    }
    everything = {(task.name, k) for task in tasks.tasks for k in range(len(task.pairs))}
    # A train pair of "turned" is a test pair of "transpose".
    assert everything - learned - asked == {("turned", 1)} and learn.pairs.left_out == 1
    assert not learned & asked
    known = set(learn.puzzle_identifiers.tolist())
    assert known == set(range(1, augmented.num_ids)) >= set(ask.puzzle_identifiers.tolist())


def test_rows_can_be_taken_in_any_way(augmented: arc.Augmented) -> None:
    table = arc.ArcTable(augmented, "train", translate=True, seed=3)
    assert table.split == "training" and table.seq_len == 900
    everything = table.arrays()
    rows = np.array([5, 0, len(table) - 1, 5])
    mask = np.zeros(len(table), bool)
    mask[rows] = True
    for index in (rows, mask, slice(3, None, 11), 4):
        some, wanted = table.take(index), everything.take(index)
        np.testing.assert_array_equal(some.inputs, wanted.inputs)
        np.testing.assert_array_equal(some.labels, wanted.labels)
        assert some.source == wanted.source
    chunks = list(table.chunks(100))
    assert sum(map(len, chunks)) == len(table) and len(chunks[0]) == 100
    np.testing.assert_array_equal(chunks[1].inputs, everything.inputs[100:200])
    other = arc.ArcTable(augmented, "train", translate=True, seed=4).take(rows)
    assert (other.inputs != everything.inputs[rows]).any()
    with pytest.raises(IndexError, match="rows are 0 to"):
        table.take([len(table)])


def test_a_split_without_tasks_is_refused(augmented: arc.Augmented) -> None:
    learned_only = arc.augment(arc.Collection("c", augmented.collection.training, ()), 0)
    with pytest.raises(ValueError, match="c has no evaluation tasks"):
        arc.ArcTable(learned_only, "evaluation")


def test_it_writes_the_references_folder(augmented: arc.Augmented, tmp_path: Path) -> None:
    """Puzzles and groups as the reference has them: augmented tasks, and their tasks."""
    learn, ask = (arc.ArcTable(augmented, split) for split in SPLITS)
    groups = {"train": learn.groups(), "test": ask.groups()}
    names, size = augmented.names(), arc.vocab_size()
    options: Any = {"vocab_size": size, "groups": groups, "identifiers": names}
    write_dataset(tmp_path / "arc", learn, ask, **options)  # type: ignore[arg-type]
    for split, table in (("train", learn), ("test", ask)):
        read = read_dataset(tmp_path / "arc", split)
        for field in ("inputs", "labels", "puzzle_identifiers"):
            found, wanted = (getattr(data.arrays(), field) for data in (read, table))
            np.testing.assert_array_equal(found, wanted)
        assert len(read.group_indices) - 1 == len(set(table.pairs.task.tolist()))
        assert read.identifiers == tuple(names)
