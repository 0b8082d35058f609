"""The reference's dataset folders: written and read back, file by file, and damaged ones."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.puzzles import IGNORE_LABEL, PuzzleArrays, maze, sudoku
from hrm_rl.puzzles.files.cache import read_csv_cached
from hrm_rl.puzzles.files.dataset import read_dataset, write_dataset


def pool(count: int, identifiers: list[int] | None = None, seed: int = 0) -> PuzzleArrays:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 6, (count, 9))
    labels[:, 2] = IGNORE_LABEL
    ids = np.zeros(count, int) if identifiers is None else np.array(identifiers)
    rating = np.where(np.arange(count) % 2, np.nan, rng.random(count))
    return PuzzleArrays(rng.integers(0, 6, (count, 9)), labels, ids, rating)


def same(read: PuzzleArrays, given: PuzzleArrays) -> None:
    for name in ("inputs", "labels", "puzzle_identifiers", "rating"):
        np.testing.assert_array_equal(getattr(read, name), getattr(given, name))


def test_round_trip(tmp_path: Path) -> None:
    train, test = pool(12), pool(5, seed=1)
    write_dataset(tmp_path / "data", train=train, test=test)
    for split, given in (("train", train), ("test", test)):
        read = read_dataset(tmp_path / "data", split)
        same(read.arrays(), given)
        same(read.take([3, 1]), given.take([3, 1]))
        assert isinstance(read.puzzles.inputs, np.memmap) and len(read) == len(given)
        assert read.identifiers == ("<blank>",)
        assert read.puzzles.place(3).endswith(f"{split}, example 3")
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("family", [sudoku, maze])
def test_our_worlds_round_trip(tmp_path: Path, family: Any) -> None:
    train = family.generate(10, 9, rate=True)
    family.write_csv(tmp_path / "train.csv", train, 9)
    write_dataset(tmp_path / "data", train=read_csv_cached(tmp_path / "train.csv"))
    read = read_dataset(tmp_path / "data")
    same(read.arrays(), train)
    assert read.metadata.vocab_size == family.vocab_size(9)
    assert read.puzzles.inputs.dtype == np.uint8
    with pytest.raises(ValueError, match=r"test/dataset\.json: is missing"):
        read_dataset(tmp_path / "data", "test")


def test_the_files_are_those_of_the_reference(tmp_path: Path) -> None:
    """Puzzle 1 has the examples 0 to 2, puzzle 2 example 3, both of group 0; and so on."""
    train = pool(7, [1, 1, 1, 2, 0, 0, 3])
    names = ["<blank>", "a", "a-turned", "b"]
    groups = {"train": [4, 4, 4, 4, 9, 8, 0]}
    write_dataset(tmp_path / "data", train=train, groups=groups, identifiers=names, vocab_size=12)
    folder = tmp_path / "data" / "train"
    assert json.loads((tmp_path / "data" / "identifiers.json").read_text()) == names
    assert json.loads((folder / "dataset.json").read_text()) == {
        "seq_len": 9,
        "vocab_size": 12,
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "num_puzzle_identifiers": 4,
        "total_groups": 4,
        "mean_puzzle_examples": 7 / 5,
        "sets": ["all"],
    }

    def load(name: str) -> list[int]:
        array = np.load(folder / f"all__{name}.npy")
        assert array.dtype == np.int32
        return array.tolist()

    assert load("puzzle_indices") == [0, 3, 4, 5, 6, 7]
    assert load("puzzle_identifiers") == [1, 2, 0, 0, 3]
    assert load("group_indices") == [0, 2, 3, 4, 5]
    labels = np.load(folder / "all__labels.npy")
    assert (labels[:, 2] == 0).all() and labels.dtype == np.uint8
    same(read_dataset(tmp_path / "data").arrays(), train)


def test_an_epoch_takes_one_puzzle_from_every_group(tmp_path: Path) -> None:
    ids = [1, 1, 1, 2, 0, 0, 3]
    groups = [4, 4, 4, 4, 9, 8, 0]
    write_dataset(tmp_path / "data", train=pool(7, ids), groups={"train": groups})
    data = read_dataset(tmp_path / "data")
    seen, rng = set(), np.random.default_rng(0)
    for _ in range(50):
        rows = data.epoch(rng).tolist()
        first = [row for row in rows if row < 4]
        assert set(first) in ({0, 1, 2}, {3}) and sorted(set(rows) - set(first)) == [4, 5, 6]
        at = rows.index(first[0])
        assert rows[at : at + len(first)] == first and len(rows) == len(set(rows))
        seen.add(tuple(rows))
    assert len(seen) > 30


def test_read_one_of_several_sets(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", train=pool(4))
    folder = tmp_path / "data" / "train"
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(about | {"sets": ["all", "more"]}))
    with pytest.raises(ValueError, match="has the sets all, more: choose one with set_name"):
        read_dataset(tmp_path / "data")
    assert len(read_dataset(tmp_path / "data", set_name="all")) == 4
    with pytest.raises(ValueError, match=r"train/more__inputs\.npy: is missing"):
        read_dataset(tmp_path / "data", set_name="more")
    with pytest.raises(ValueError, match="has no set 'none', but all, more"):
        read_dataset(tmp_path / "data", set_name="none")
    with pytest.raises(FileNotFoundError, match="no dataset folder at"):
        read_dataset(tmp_path / "nowhere")


def test_a_folder_of_the_reference_without_ours_beside(tmp_path: Path) -> None:
    """No ratings, no identifiers.json; other integer types; labels of -100."""
    write_dataset(tmp_path / "data", train=pool(4), ignore_label_id=-100)
    folder = tmp_path / "data" / "train"
    (folder / "all__rating.npy").unlink()
    (tmp_path / "data" / "identifiers.json").unlink()
    for name in ("inputs", "labels", "group_indices"):
        array = np.load(folder / f"all__{name}.npy")
        np.save(folder / f"all__{name}.npy", array.astype(np.int64))
    read = read_dataset(tmp_path / "data")
    assert read.identifiers is None and np.isnan(read.arrays().rating).all()
    np.testing.assert_array_equal(read.arrays().labels, pool(4).labels)


def array(change: Any) -> Any:
    def harm(file: Path) -> None:
        np.save(file, change(np.load(file)))

    return harm


def about(**changes: Any) -> Any:
    def harm(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return harm


def text(content: str) -> Any:
    return lambda file: file.write_text(content)


def archive(file: Path) -> None:
    with open(file, "wb") as stream:
        np.savez(stream, a=[1])


HARMS = [
    ("train/all__inputs.npy", array(lambda a: a[:, :8]), r"shape \[6, 8\], should be \[6, 9\]"),
    ("train/all__labels.npy", array(lambda a: a[:5]), r"shape \[5, 9\], should be \[6, 9\]"),
    ("train/all__labels.npy", array(lambda a: a.astype(float)), "should hold integers"),
    ("train/all__inputs.npy", array(lambda a: a[:0]), "at least one; holds|not a whole .npy"),
    ("train/all__inputs.npy", array(lambda a: a + 1), "example . has token 6; vocab_size is 6"),
    ("train/all__labels.npy", array(lambda a: a - 100), "token .*; vocab_size is 6"),
    ("train/all__puzzle_indices.npy", array(lambda a: a[::-1]), "begins with 6, should begin with"),
    ("train/all__puzzle_indices.npy", array(lambda a: a[[0, 2, 1, *range(3, 7)]]), "2 is 1 after 2"),
    ("train/all__puzzle_indices.npy", array(lambda a: a[:-1]), "ends with 5, but there are 6 ex"),
    ("train/all__group_indices.npy", array(lambda a: a[:-1]), "ends with 5, but there are 6 puz"),
    ("train/all__group_indices.npy", array(lambda a: a[:1]), "ends with 0, but"),
    ("train/all__puzzle_identifiers.npy", array(lambda a: a[1:]), "has 5 entries"),
    ("train/all__puzzle_identifiers.npy", array(lambda a: a + 1), "holds 1; num_puzzle_identi"),
    ("train/all__rating.npy", array(lambda a: a[1:]), "has 5 entries, there are 6 examples"),
    ("train/all__inputs.npy", lambda file: os.truncate(file, 150), "not a whole .npy"),
    ("train/all__inputs.npy", lambda file: os.truncate(file, 0), "not a whole .npy"),
    ("train/all__labels.npy", lambda file: file.unlink(), "is missing"),
    ("train/all__labels.npy", lambda file: np.save(file, [None], allow_pickle=True), "not a whole"),
    ("train/all__labels.npy", archive, "not a whole .npy file"),
    ("train/dataset.json", lambda file: file.unlink(), "is missing"),
    ("train/dataset.json", text("{"), "cannot be read as JSON"),
    ("train/dataset.json", text("[" * 100_000), "cannot be read as JSON"),
    ("train/dataset.json", text("[1]"), r"must be an object, got \[1\]"),
    ("train/dataset.json", text("{}"), "it lacks seq_len"),
    ("train/dataset.json", about(seq_len=0), "seq_len must be an integer >= 1, got 0"),
    ("train/dataset.json", about(vocab_size="6"), "vocab_size must be an integer, got '6'"),
    ("train/dataset.json", about(pad_id=6), "pad_id 6 is beyond vocab_size 6"),
    ("train/dataset.json", about(total_groups=5), "total_groups is 5, group_indices has 6"),
    ("train/dataset.json", about(mean_puzzle_examples=0), r"mean_puzzle_examples must lie in"),
    ("train/dataset.json", about(sets=[]), "sets must be a list of names"),
    ("train/dataset.json", about(sets=["../all"]), "sets must be a list of names"),
    ("identifiers.json", text('["<blank>", "a"]'), "has 2 names; num_puzzle_identifiers is 1"),
    ("identifiers.json", text("{}"), "should be a list of names"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "data"
    given = pool(6)
    given.inputs[0], given.labels[1, 3] = 5, 5
    write_dataset(path, train=given)
    return path


@pytest.mark.parametrize(("file", "harm", "message"), HARMS)
def test_bad_folders_are_refused_by_file(
    folder: Path, tmp_path: Path, file: str, harm: Any, message: str
) -> None:
    path = Path(shutil.copytree(folder, tmp_path / "data"))
    harm(path / file)
    with pytest.raises(ValueError, match=message) as caught:
        read_dataset(path)
    named = str(caught.value).split(": ")[0]
    assert named == str(path / file) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": None}, "there is nothing to write"),
        ({"train": pool(3).take(slice(0))}, "there is nothing to write"),
        ({"test": PuzzleArrays(*np.ones((2, 2, 4), int), [0, 0], [0.0, 0])}, "got .4, 9."),
        ({"vocab_size": 5}, "puzzle . hold 5; ignore_label_id is 0, vocab_size 5"),
        ({"ignore_label_id": None}, "cells without a label: give ignore_label_id"),
        ({"ignore_label_id": 3}, "labels of train puzzle . hold 3; ignore_label_id is 3"),
        ({"groups": {"test": [1]}}, "groups of 'test', but no such puzzles"),
        ({"groups": {"train": [1]}}, r"groups of train must be \[6\], got \[1\]"),
        ({"groups": {"train": [1, 2, 1, 3, 4, 5]}}, "rows of a group, and of a puzzle, stand"),
        ({"train": pool(2, [1, 1]), "groups": {"train": [1, 2]}}, "and of a puzzle, stand together"),
        ({"train": pool(2, [0, 2]), "identifiers": ["<blank>"]}, "1 names for 3 puzzle identi"),
        ({"train": pool(2, [0, -2])}, "train puzzles have the identifier -2"),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "data", **{"train": pool(6)} | arguments)
    assert os.listdir(tmp_path) == []


def test_nothing_is_overwritten(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="already exists and is not empty"):
        write_dataset(folder, train=pool(2))
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", train=pool(2))
    assert len(read_dataset(tmp_path / "empty")) == 2
