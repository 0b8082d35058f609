"""Runs on a folder of ARC tasks."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import hrm_rl
from hrm_rl.cli import main
from hrm_rl.puzzles import IGNORE_LABEL, arc
from hrm_rl.puzzles.arc.family import ArcPuzzles
from hrm_rl.training.data import training_data
from hrm_rl.training.data.arc_files import open_arc
from hrm_rl.training.data_settings import FamilyData

FOLDER = Path(__file__).parents[2] / "puzzles" / "arc_tasks"
SIDE = max(task.side for task in arc.read_folder(FOLDER).tasks)
TINY = {
    "batch_size": 4,
    "max_steps": 2,
    "log_every": 1,
    "validate_every": 2,
    "threads": 1,
    "dtype": "float32",
}
TINY |= {"model.hidden_size": 16, "model.num_heads": 2, "model.puzzle_emb_ndim": 16, "compile": "no"}
DATA = {"file": str(FOLDER), "dials": {"size": SIDE, "augmentations": 2}}


def test_tasks_keep_their_split_and_their_rows() -> None:
    """What validates is demonstrated and not trained on; the original versions come first."""
    kind = ArcPuzzles(augmentations=3)
    stored = open_arc(FOLDER, kind, None)
    used = stored.folder.augmented.collection
    assert [len(part) for part in (used.training, used.validation, used.evaluation)] == [2, 1, 3]
    tests = sum(len(task.test) for task in used.evaluation)
    rows = stored.rows("test")
    ids = stored.take("test", rows).puzzle_identifiers
    assert sorted(rows) == list(range(len(rows)))
    assert set(ids[:tests]) <= set(stored.folder.augmented.starts) and len(set(ids)) > len(set(ids[:tests]))
    data = training_data(FamilyData("arc", {"augmentations": 3}, file=str(FOLDER)))
    drawn = data.source.draw(torch.arange(3000))
    assert set(drawn.puzzle_identifiers.tolist()) == set(range(1, data.source.num_ids))
    asked = data.validation.inputs[:, None] == drawn.inputs.numpy()[None]
    same_task = data.validation.puzzle_identifiers[:, None] == drawn.puzzle_identifiers.numpy()[None]
    assert not (asked.all(-1) & same_task).any()
    puzzle = (torch.as_tensor(x) for x in (data.validation.inputs, *[data.validation.labels] * 2))
    assert data.validator(*puzzle).all()


def test_a_smaller_board_shows_the_same_grids() -> None:
    boards = [open_arc(FOLDER, ArcPuzzles(side, 2), None) for side in (SIDE, 30)]
    small, large = (stored.take("test", stored.rows("test")) for stored in boards)
    np.testing.assert_array_equal(small.puzzle_identifiers, large.puzzle_identifiers)
    for ours, theirs in ((small.inputs, large.inputs), (small.labels, large.labels)):
        np.testing.assert_array_equal(
            ours, theirs.reshape(-1, 30, 30)[:, :SIDE, :SIDE].reshape(len(ours), -1)
        )


def test_tasks_that_do_not_fit_are_counted() -> None:
    folder = open_arc(FOLDER, ArcPuzzles(SIDE - 1), None).folder
    count = folder.left_out("training") + folder.left_out("evaluation")
    assert (
        folder.left_out()
        == count
        == len(arc.read_folder(FOLDER).tasks) - len(folder.augmented.collection.tasks)
    )
    assert f"; {count} tasks left out: a grid is over {SIDE - 1}x{SIDE - 1}" in folder.words and count


def test_a_vote_mends_a_wrong_single_view() -> None:
    stored = open_arc(FOLDER, ArcPuzzles(SIDE, 3), None)
    labels = stored.take("test", stored.rows("test")).labels
    right = np.where(labels == IGNORE_LABEL, arc.PAD, labels)
    wrong = right.copy()
    wrong[:4] = arc.PAD  # of the original test inputs
    shares = []
    for answers in (right, wrong, right[:4], wrong[:4]):
        found = SimpleNamespace(answers=answers, q_halt=np.zeros(len(answers)))
        score = stored.votes("test", found)
        shares.append((score["single_view"], score["pass@1"], score["pass@2"]))
    assert shares == [(1, 1, 1), (0, 1, 1), (1, 1, 1), (0, 0, 0)]


def test_train_resume_and_vote(tmp_path, capsys) -> None:
    hrm_rl.train("arc-small", tmp_path / "run", TINY | {"data": DATA}, progress=False)
    hrm_rl.train(None, tmp_path / "run", {"max_steps": 3}, resume=True, progress=False)
    assert main(["eval", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"] == 3 and found["left_out"] == 0 and found["learned_count"] == 0
    assert 0 <= found["single_view"] <= 1 and found["pass@1"] <= found["pass@2"]
    one = FOLDER / "training"
    assert main(["eval", str(tmp_path / "run"), "--data", str(one)]) == 2
    assert "other tasks than" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": None}, "family arc needs a folder of ARC task files"),
        ({"dials": {"size": 2}}, "has no task whose grids fit 2x2; size"),
        ({"dials": {"size": 31}}, "size must be 1 to 30, got 31"),
        ({"dials": {"width": 5}}, "width is not a dial of arc; it has size"),
        ({"curriculum": "1 size=5"}, "a curriculum is for generated puzzles"),
        ({"size": 5}, "size is a setting of sudoku; arc has dials"),
    ],
)
def test_bad_settings_are_refused(tmp_path, changes, words) -> None:
    data = {name: value for name, value in (DATA | changes).items() if value is not None}
    with pytest.raises(ValueError, match=words):
        hrm_rl.train("arc-small", tmp_path / "run", {"data": data})
