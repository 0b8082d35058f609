import dataclasses
import json

import pytest

from hrm_rl.training.presets import PRESETS, Preset, SudokuData, find_preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json_and_fits_its_puzzles(name) -> None:
    preset = find_preset(name)
    assert preset.name == name
    assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset
    assert preset.model.seq_len == preset.data.kind.seq_len
    assert preset.model.vocab_size == preset.data.kind.vocab_size


def test_settings_of_before_there_were_families_load() -> None:
    """As version 0.1 wrote them; Sudoku's are still written so."""
    written = find_preset("sudoku-6x6").to_dict()
    assert written["data"] == {
        "size": 6,
        "extra_givens": (0, 20),
        "train_puzzles": 20_000,
        "validation_puzzles": 256,
        "seed": 0,
        "file": None,
    }
    later = ("halting_loss", "act_cost", "act_epsilon", "ponder_prior", "ponder_weight")
    learner = {name: value for name, value in written["learner"].items() if name not in later}
    old = json.loads(json.dumps(written | {"learner": learner}))
    assert Preset.from_dict(old) == find_preset("sudoku-6x6")


def test_the_papers_sudoku_run() -> None:
    preset = find_preset("sudoku-extreme")
    assert (preset.batch_size, preset.max_steps, preset.data.train_puzzles) == (768, 26_041, 1000)
    assert (preset.learner.lr, preset.learner.weight_decay) == (1e-4, 1.0)
    assert preset.model.hidden_size == 512 and preset.model.halt_max_steps == 16


@pytest.mark.parametrize(
    ("given", "near"), [("sudoku4x4", "'sudoku-4x4'"), ("extreme", "'sudoku-ex"), ("qqq", None)]
)
def test_unknown_preset_names_the_near_ones_and_all(given, near) -> None:
    with pytest.raises(ValueError, match=f"unknown preset '{given}'; ") as error:
        find_preset(given)
    assert all(name in str(error.value) for name in PRESETS)
    assert ("did you mean" in str(error.value)) == (near is not None)
    assert near is None or near in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("max_steps", -1),
        ("validate_every", 0),
        ("log_every", 0),
        ("ema_decay", 1),
    ],
)
def test_bad_setting_is_refused_by_name(preset, field, value) -> None:
    with pytest.raises(ValueError, match=field):
        preset(**{field: value})


@pytest.mark.parametrize("changes", [{"size": 5}, {"extra_givens": (3, 1)}, {"train_puzzles": 0}])
def test_bad_data_is_refused_by_name(changes) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        SudokuData(**changes)


def test_another_length_stretches_the_cosine() -> None:
    longer = find_preset("sudoku-4x4").with_max_steps(10_000)
    assert (longer.max_steps, longer.learner.total_steps) == (10_000, 10_000)
    constant = find_preset("sudoku-extreme").with_max_steps(10)
    assert (constant.max_steps, constant.learner.total_steps) == (10, None)


def test_jointly_trained_halting_needs_something_to_decide() -> None:
    preset = find_preset("sudoku-4x4")
    model = dataclasses.replace(preset.model, halt_max_steps=1)
    dataclasses.replace(preset, model=model)
    learner = dataclasses.replace(preset.learner, halting_loss="ponder", q_target="full")
    with pytest.raises(ValueError, match="halting_loss 'ponder' needs halt_max_steps of 2 or more"):
        dataclasses.replace(preset, model=model, learner=learner)
