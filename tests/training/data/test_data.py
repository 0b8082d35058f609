import numpy as np
import pytest
import torch

from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.pool import concatenate
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.data import generated_puzzles, training_data
from hrm_rl.training.presets import PRESETS, SudokuData

EASY = {"size": 4, "extra_givens": (4, 8)}


def split_of(inputs, name) -> np.ndarray:
    return sudoku.in_split(sudoku.class_key(inputs, 4), name)


def file_of(folder, count: int, split: str | None = None) -> str:
    puzzles = sudoku.generate(count, 4, seed=3, extra_givens=(4, 8), split=split)
    sudoku.write_csv(folder / "puzzles.csv", puzzles, 4)
    return str(folder / "puzzles.csv")


def test_every_pool_stays_in_its_split() -> None:
    """What is drawn too: a symmetry moves a puzzle within its class."""
    data = training_data(SudokuData(**EASY, train_puzzles=60, validation_puzzles=30))
    test = generated_puzzles(SudokuData(**EASY).kind, "test", 30).inputs
    train = data.source.table.inputs.numpy()
    assert (len(train), len(data.validation), len(test)) == (60, 30, 30)
    assert split_of(train, "train").all() and split_of(test, "test").all()
    assert split_of(data.validation.inputs, "validation").all()
    drawn = data.source.draw(torch.arange(50))
    assert split_of(drawn.inputs.numpy(), "train").all()
    assert data.validator(drawn.inputs, drawn.labels).all()


def test_the_puzzles_of_a_pool_are_distinct(tmp_path) -> None:
    """The quickstart's 20,000; minimal ones, which repeat soonest; those of a file that repeats itself."""
    quickstart = PRESETS["sudoku-4x4"].data
    file = tmp_path / "twice.csv"
    puzzles = sudoku.generate(200, 4, seed=3, extra_givens=(4, 8))
    sudoku.write_csv(file, concatenate([puzzles, puzzles]), 4)
    for data in (quickstart, SudokuData(size=4), SudokuData(**EASY, file=str(file))):
        found = training_data(data)
        for inputs in (found.source.table.inputs.numpy(), found.validation.inputs):
            assert len(np.unique(inputs, axis=0)) == len(inputs)
        counts = found.source.count, len(found.validation)
        if data.file is None:
            assert counts == (data.train_puzzles, data.validation_puzzles)
            test = generated_puzzles(data.kind, "test", 1000, 5).inputs
            assert len(np.unique(test, axis=0)) == 1000
        else:
            splits = ("train", "validation")
            assert counts == tuple(len(Sudoku(4).rows_of(puzzles.inputs, s)) for s in splits)


def test_a_file_is_sampled_down(tmp_path) -> None:
    file = file_of(tmp_path, 60)
    small = SudokuData(size=4, file=file, train_puzzles=5, validation_puzzles=2)
    data = training_data(small)
    assert file in data.description
    assert (data.source.count, len(data.validation)) == (5, 2)
    again = training_data(small)
    assert torch.equal(data.source.table.inputs, again.source.table.inputs)


def test_a_file_without_held_out_classes_is_validated_on_generated_puzzles(tmp_path) -> None:
    file = file_of(tmp_path, 10, "train")
    data = training_data(SudokuData(**EASY, file=file, validation_puzzles=7))
    assert len(data.validation) == 7 and "generated" in data.description
    assert split_of(data.validation.inputs, "validation").all()


def test_a_file_with_nothing_to_learn_from_is_refused(tmp_path) -> None:
    file = file_of(tmp_path, 10, "test")
    words = r"puzzles.csv has no puzzle of a training class among its 10"
    with pytest.raises(ValueError, match=words):
        training_data(SudokuData(size=4, file=file))


def test_a_puzzle_with_several_solutions_is_refused_with_its_line(tmp_path) -> None:
    path = tmp_path / "several.csv"
    path.write_text("source,question,answer,rating\nx,1...............,1234341221434321,0\n")
    with pytest.raises(ValueError, match=r"several.csv, line 2, question: .* several solutions"):
        sudoku.read_csv(path, 4, unique=True)
    with pytest.raises(ValueError, match=r"several.csv, (line 2, .* several|has no puzzle)"):
        training_data(SudokuData(size=4, file=str(path)))
