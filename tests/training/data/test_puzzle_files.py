"""Files and folders by split: what is learned from, what validates, and what stays closed."""

import shutil

import numpy as np
import pytest
import torch

from hrm_rl.puzzles import CustomPuzzles, PuzzleArrays, maze, sudoku
from hrm_rl.puzzles.files.dataset import write_dataset
from hrm_rl.puzzles.maze import Maze
from hrm_rl.puzzles.prefix_parity import PrefixParity
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.config import Layer, resolve
from hrm_rl.training.data import puzzle_files, training_data
from hrm_rl.training.data.puzzle_files import open_stored
from hrm_rl.training.presets import FamilyData, SudokuData

MAZE = {"size": 7, "perfect": True}


def rows(arrays) -> set:
    return {row.tobytes() for row in np.asarray(arrays, np.int32)}


def own_puzzles(count: int, first: int = 1) -> PuzzleArrays:
    """Three examples of each of `count` puzzles, which share nothing but their identifier."""
    rng = np.random.default_rng(first)
    ids = np.repeat(np.arange(first, first + count), 3)
    tokens = rng.integers(1, 9, (len(ids), 7))
    return PuzzleArrays(tokens, tokens[:, ::-1], ids, np.full(len(ids), np.nan, np.float32))


@pytest.fixture
def mazes(tmp_path):
    """A folder with 60 mazes in train/ and 9 in test/."""
    made = maze.generate(60, seed=3, **MAZE), maze.generate(9, seed=4, split="test", **MAZE)
    write_dataset(tmp_path / "mazes", *made, vocab_size=6)
    return tmp_path / "mazes", *made


def test_a_folders_train_is_divided_by_class_and_its_test_left_closed(mazes) -> None:
    folder, train, test = mazes
    data = FamilyData("maze", MAZE, file=str(folder))
    found = training_data(data)
    learned, validating = found.source.table.inputs.numpy(), found.validation.inputs
    held_out = maze.in_split(maze.class_key(train.inputs, 7), "validation")
    assert 0 < held_out.sum() < 60
    assert rows(learned) == rows(train.inputs[~held_out])
    np.testing.assert_array_equal(validating, train.inputs[held_out])
    assert str(folder) in found.description and found.source.cell_tables

    kind = data.kind
    assert rows(open_stored(folder, kind).take("test", np.arange(9)).inputs) == rows(test.inputs)
    shutil.rmtree(folder / "test")
    assert training_data(data).source.count == len(learned)


def test_a_group_is_taken_whole_or_not_at_all(tmp_path) -> None:
    """A puzzle and its augmented copies: train_puzzles counts groups."""
    few = sudoku.generate(12, 4, seed=1, split="train")
    symmetry, rng = sudoku.symmetry(4), np.random.default_rng(0)
    copies = few.take(np.repeat(np.arange(12), 4))
    inputs, labels = symmetry.apply(copies.inputs, copies.labels, rng)
    many = PuzzleArrays(inputs, labels, copies.puzzle_identifiers, copies.rating)
    groups = {"train": np.repeat(np.arange(12), 4)}
    write_dataset(tmp_path / "folder", many, vocab_size=6, groups=groups)
    data = SudokuData(size=4, file=str(tmp_path / "folder"), train_puzzles=5, validation_puzzles=3)
    found = training_data(data)
    assert found.source.count == 20
    assert len(set(sudoku.class_key(found.source.table.inputs.numpy(), 4).tolist())) <= 5
    assert len(found.validation) == 3 and "generated ones" in found.description


def test_puzzles_of_no_family_bring_their_shape_and_identifiers(tmp_path) -> None:
    write_dataset(tmp_path / "own", own_puzzles(20), own_puzzles(4, first=21), vocab_size=9)
    words = {"data.family": "own", "data.file": str(tmp_path / "own")}
    preset = resolve(Layer(words, "sudoku-extreme")).preset
    model = preset.model
    assert (model.vocab_size, model.seq_len, model.num_puzzle_identifiers) == (9, 7, 25)
    found = training_data(preset.data)
    ids = set(found.source.table.puzzle_identifiers.tolist())
    held_out = set(found.validation.puzzle_identifiers.tolist())
    assert found.source.num_ids == 25 and held_out and not ids & held_out
    assert ids | held_out == set(range(1, 21))
    assert found.validator is None and found.picture is None
    assert rows(found.source.draw(torch.arange(50)).inputs.numpy()) <= rows(own_puzzles(20).inputs)


def test_one_group_validates_on_itself_and_says_so(tmp_path) -> None:
    write_dataset(tmp_path / "own", own_puzzles(2), vocab_size=9)
    two = training_data(FamilyData("own", file=str(tmp_path / "own")))
    assert two.source.count == 3
    write_dataset(tmp_path / "one", own_puzzles(1), vocab_size=9)
    one = training_data(FamilyData("own", file=str(tmp_path / "one")))
    assert "validating on the same ones: train/ has one group" in one.description
    assert rows(one.validation.inputs) == rows(own_puzzles(1).inputs)


def test_a_csv_of_another_family(tmp_path) -> None:
    bits, file = PrefixParity(9), tmp_path / "bits.csv"
    puzzles = bits.generate(80, seed=5, rate=True)
    bits.write_csv(file, puzzles)
    found = training_data(FamilyData("prefix-parity", {"length": 9}, file=str(file)))
    for split, taken in (
        ("train", found.source.table.inputs.numpy()),
        ("validation", found.validation.inputs),
    ):
        assert rows(taken) == rows(puzzles.inputs[bits.rows_of(puzzles.inputs, split)])
    file.write_text(file.read_text().replace(",1", ",0", 1))
    with pytest.raises(ValueError, match=r"bits.csv, line \d+, answer: it does not solve"):
        open_stored(file, bits)


def test_a_large_file_is_read_through_a_cache(tmp_path, monkeypatch) -> None:
    kind = Sudoku(4)
    puzzles = sudoku.generate(40, 4, seed=3, extra_givens=(4, 8))
    sudoku.write_csv(tmp_path / "p.csv", puzzles, 4)
    plain = open_stored(tmp_path / "p.csv", kind)
    assert not (tmp_path / ".p.csv.cache").exists()
    monkeypatch.setattr(puzzle_files, "_LARGE_FILE", 10)
    cached = open_stored(tmp_path / "p.csv", kind)
    assert (tmp_path / ".p.csv.cache").is_dir()
    for split in sudoku.SPLITS:
        there = cached.rows(split)
        np.testing.assert_array_equal(there, plain.rows(split))
        taken = cached.take(split, there), plain.take(split, there)
        np.testing.assert_array_equal(taken[0].inputs, taken[1].inputs)
        assert taken[0].source == taken[1].source
    with (tmp_path / "p.csv").open("a") as file:
        file.write("x,1...............,1234341221434321,0\n")
    several = open_stored(tmp_path / "p.csv", kind)
    with pytest.raises(ValueError, match=r"p.csv, line 42, question: this puzzle has several"):
        several.first(None)
    assert len(several.first(40)) == 40


def test_what_does_not_fit_is_refused(mazes, tmp_path) -> None:
    folder, *_ = mazes
    for kind, words in (
        (Maze(6), r"mazes/train has 49 cells and 6 tokens a puzzle, maze"),
        (Sudoku(4), r"4x4 Sudoku has 16 and 6: other dials, or another family"),
        (CustomPuzzles(5, 49), r"has 49 and 5"),
    ):
        with pytest.raises(ValueError, match=words):
            open_stored(folder, kind).rows("train")
    (tmp_path / "p.csv").write_text("source,question,answer,rating\n")
    with pytest.raises(ValueError, match="come as a dataset folder, not as a file"):
        open_stored(tmp_path / "p.csv", CustomPuzzles(5, 49))
    with pytest.raises(FileNotFoundError, match="no file at"):
        open_stored(tmp_path / "none", CustomPuzzles(5, 49))
    with pytest.raises(ValueError, match=r"train/dataset.json: is missing"):
        FamilyData("own", file=str(tmp_path)).kind  # noqa: B018
