"""Warnings about settings that were given and change nothing."""

import dataclasses

import pytest

import hrm_rl
from hrm_rl.training.config import Layer, resolve
from hrm_rl.training.config.doubtful import unread_notes


@pytest.mark.parametrize(
    ("given", "unread"),
    [
        (
            {"learner.puzzle_emb_lr": 1e-2},
            "--learner.puzzle-emb-lr 0.01 changes nothing: the model has no puzzle emb",
        ),
        ({"learner.puzzle_emb_weight_decay": 0.5}, "--model.puzzle-emb-ndim 96 adds one"),
        ({"model.num_puzzle_identifiers": 3}, "has no puzzle embedding"),
        ({"learner.act_cost": 0.1}, "it is for halting_loss act, this is q"),
        (
            {"learner.ponder_prior": 0.5, "learner.halting_loss": "act"},
            "for halting_loss ponder, this is act",
        ),
        (
            {"model.halt_exploration_prob": 0.5, "learner.halting_loss": "ponder"},
            "runs episodes to the limit",
        ),
        (
            {"model.halt_exploration_prob": 0.0, "learner.exploration": "episode"},
            "halt_exploration_prob is 0",
        ),
        ({"model.halt_max_steps": 1, "model.halt_exploration_prob": 0.5}, "model.halt_max_steps is 1"),
        (
            {"learner.q_target": "none", "learner.gamma": 0.9},
            "--learner.gamma 0.9 changes nothing: q_continue",
        ),
        ({"model.rope_theta": 30.0}, "model.pos_encodings is learned"),
        ({"learner.lr_min_ratio": 1.0, "learner.total_steps": 7}, "the learning rate is constant"),
        (
            {"model.architecture": "trm", "model.H_layers": 3},
            "--model.H-layers 3 changes nothing: architecture trm has one network",
        ),
        ({"model.mixer": "mlp", "model.num_heads": 2}, "model.mixer is mlp, which has no attention"),
        ({"model.mixer_width": 8}, "model.mixer is attention"),
        (
            {"model.architecture": "direct", "model.halt_max_steps": 1, "model.L_cycles": 5},
            "runs its blocks once",
        ),
        ({"learner.puzzle_emb_lr": 1e-2, "model.puzzle_emb_ndim": 96}, None),
        ({"learner.act_cost": 0.1, "learner.halting_loss": "act"}, None),
        ({"model.rope_theta": 30.0, "model.pos_encodings": "rope"}, None),
        ({"learner.act_cost": 0.001, "learner.puzzle_emb_lr": 1e-4}, None),  # as in a stored config file
    ],
)
def test_a_setting_that_is_not_read_is_named(given, unread) -> None:
    run = resolve(Layer(given, "sudoku-4x4"))
    notes = unread_notes(run.preset, run.given)
    assert (notes == []) if unread is None else (len(notes) == 1 and unread in notes[0])
    assert unread_notes(run.preset, ()) == []


def test_a_frozen_network_has_no_learning_rate() -> None:
    preset = resolve(Layer({"model.puzzle_emb_ndim": 96, "learner.lr": 0.5}, "sudoku-4x4")).preset
    learner = dataclasses.replace(preset.learner, train_only="puzzle-embedding")
    preset = dataclasses.replace(preset, init="somewhere", learner=learner)
    (note,) = unread_notes(preset, ["learner.lr"])
    assert "--learner.lr 0.5 changes nothing: only the puzzle embedding learns" in note


def test_a_run_names_them_as_it_begins(tmp_path, caplog) -> None:
    given = {
        "learner.act_cost": 0.1,
        "max_steps": 1,
        "batch_size": 2,
        "data.train_puzzles": 4,
        "device": "cpu",
    }
    given |= {"data.validation_puzzles": 2, "dtype": "float32", "compile": "no", "learner.warmup_steps": 1}
    hrm_rl.train("sudoku-4x4", tmp_path / "run", given, progress=False)
    assert "--learner.act-cost 0.1 changes nothing: it is for halting_loss act, this is q" in caplog.text
