"""Curricula: their form, which puzzles each step learns from, and an exact resume in the middle of one."""

import numpy as np
import pytest
import torch

from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.config import Layer, resolve
from hrm_rl.training.curriculum import Phase, read_dials, read_phases, stretch
from hrm_rl.training.data import training_data
from hrm_rl.training.data_settings import SudokuData
from hrm_rl.training.presets import PRESETS

TWO = "3 extra_givens=7..8; 5 extra_givens=2"


def test_phases_are_read_and_stretched() -> None:
    assert read_phases(" ") == () and read_phases(f"{TWO} ;") == read_phases(TWO)
    assert read_phases(TWO) == (Phase(3, {"extra_givens": (7, 8)}), Phase(5, {"extra_givens": 2}))
    assert stretch(TWO, 10.0) == "30 extra_givens=7..8; 50 extra_givens=2"
    assert stretch(TWO, 0.1) == "1 extra_givens=2"
    assert stretch("", 3.0) == ""


def test_each_step_learns_from_its_phase() -> None:
    data = SudokuData(size=4, extra_givens=(0, 0), train_puzzles=30, curriculum=TWO)
    assert [kind for _, kind in data.phases] == [Sudoku(4, (7, 8)), Sudoku(4, 2)]
    made = training_data(data)
    givens = [(made.source_at(step).table.inputs > 1).sum(1).float().mean().item() for step in range(7)]
    assert givens[0] == givens[2] > givens[3] + 4 and givens[4] == givens[3] > givens[5] + 1
    assert givens[5] == givens[6] and made.source_at(6) is made.source
    classes = [
        Sudoku(4).class_key(source.table.inputs.numpy())
        for source in (made.source, *(source for _, source in made.phases))
    ]
    assert set(np.concatenate(classes).tolist()) == set(made.learned().tolist())


def test_a_resume_within_a_phase_is_exact(start, tmp_path) -> None:
    data = SudokuData(size=4, extra_givens=(0, 2), train_puzzles=40, validation_puzzles=10, curriculum=TWO)
    whole = start(tmp_path / "whole", data=data)
    whole.train(progress=False)
    start(tmp_path / "parts", data=data, max_steps=4).train(progress=False)
    resumed = start(tmp_path / "parts", resume=True, data=data)
    resumed.train(progress=False)
    plain = start(tmp_path / "plain", data=SudokuData(size=4, extra_givens=(0, 2), train_puzzles=40))
    plain.train(progress=False)
    for (name, one), two, other in zip(
        whole.model.state_dict().items(),
        resumed.model.state_dict().values(),
        plain.model.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(one, two), name
        assert name.endswith("_init") or not torch.equal(one, other)


def test_another_length_stretches_a_presets_phases_only(monkeypatch, preset) -> None:
    tiny = preset(data=SudokuData(size=4, curriculum=TWO))
    monkeypatch.setitem(PRESETS, "tiny", tiny)

    def curriculum(**given: object) -> str:
        return resolve(Layer(given, "tiny")).preset.data.curriculum

    assert curriculum(max_steps=60) == "30 extra_givens=7..8; 50 extra_givens=2"
    assert curriculum(**{"max_steps": 60, "data.curriculum": "9 extra_givens=3"}) == "9 extra_givens=3"
    assert curriculum(**{"data.family": "life", "data.dials": {"size": 4}}) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("600", "the phase '600' has no dials"),
        ("6 extra_givens=4; 3 extra_givens=3", "'3 extra_givens=3' must end after step 6"),
        ("extra_givens=0..5", "the phase 'extra_givens=0..5' does not end"),
        (";;", "must be .*; got ''"),
        ("x extra_givens=2", "must be .*; got 'x extra_givens=2'"),
        ("9 extra_givens=a", "must be .*; got '9 extra_givens=a'"),
        ("9 size=6", "6x6 Sudoku does not have the cells and tokens of 4x4 Sudoku"),
        ("9 spam=3", "spam is not a dial of sudoku"),
        ("9 extra_givens=9..3", r"extra_givens must be two numbers.*got \[9, 3\]"),
        ("1500 extra_givens=3", "ends at step 1500, the run at 1500"),
    ],
)
def test_a_wrong_curriculum_names_the_phase(given, words) -> None:
    with pytest.raises(ValueError, match=f"--data.curriculum.*{words}"):
        resolve(Layer({"data.curriculum": given}, "sudoku-4x4"))


def test_a_file_has_no_phases(tmp_path) -> None:
    file = tmp_path / "p.csv"
    file.touch()
    with pytest.raises(ValueError, match="a curriculum is for generated puzzles"):
        resolve(Layer({"data.curriculum": "9 extra_givens=3", "data.file": str(file)}, "sudoku-4x4"))


def test_a_dial_is_given_once() -> None:
    with pytest.raises(ValueError, match="size is given twice"):
        read_dials("size=4 perfect=true size=6")
    with pytest.raises(ValueError, match="size is given twice, as a setting"):
        resolve(Layer({"data.dials": {"size": 4}, "data.size": 6}, "sudoku-4x4"))
