import dataclasses
import json

import pytest

from hrm_rl.training.presets import PRESETS, Preset, find_preset


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json_and_fits_its_puzzles(name) -> None:
    preset = find_preset(name)
    assert preset.name == name
    assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset
    assert preset.model.seq_len == preset.data.kind.seq_len
    assert preset.model.vocab_size == preset.data.kind.vocab_size
    papers = ("sudoku-extreme", "maze-hard", "arc-agi-1")  # as in the reference, without an average
    assert (preset.ema_decay == 0) == (name in papers)


def test_settings_of_before_there_were_families_load() -> None:
    """As version 0.1 wrote them; Sudoku's are still written so."""
    written = find_preset("sudoku-6x6").to_dict()
    assert written["data"] == {
        "size": 6,
        "extra_givens": (0, 20),
        "train_puzzles": 20_000,
        "validation_puzzles": 256,
        "seed": 0,
        "curriculum": "",
        "file": None,
    }
    later = ("halting_loss", "act_cost", "act_epsilon", "ponder_prior", "ponder_weight")
    learner = {name: value for name, value in written["learner"].items() if name not in later}
    data = {name: value for name, value in written["data"].items() if name != "curriculum"}
    old = json.loads(json.dumps(written | {"learner": learner, "data": data}))
    assert Preset.from_dict(old) == find_preset("sudoku-6x6")


def test_the_papers_sudoku_run() -> None:
    preset = find_preset("sudoku-extreme")
    assert (preset.batch_size, preset.max_steps, preset.data.train_puzzles) == (768, 26_041, 1000)
    assert (preset.learner.lr, preset.learner.weight_decay) == (1e-4, 1.0)
    assert preset.model.hidden_size == 512 and preset.model.halt_max_steps == 16


def test_jointly_trained_halting_needs_something_to_decide() -> None:
    preset = find_preset("sudoku-4x4")
    model = dataclasses.replace(preset.model, halt_max_steps=1)
    dataclasses.replace(preset, model=model)
    learner = dataclasses.replace(preset.learner, halting_loss="ponder", q_target="full")
    with pytest.raises(ValueError, match="halting_loss 'ponder' needs halt_max_steps of 2 or more"):
        dataclasses.replace(preset, model=model, learner=learner)
