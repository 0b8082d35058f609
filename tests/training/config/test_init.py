"""A run that starts from weights: what comes from them, what is fresh, and what is refused in which words."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch

from hrm_rl.cli.commands.train import _text
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import PuzzleArrays
from hrm_rl.puzzles.files.dataset import write_dataset
from hrm_rl.training.config import Layer, resolve, resume
from hrm_rl.training.loop import Trainer
from hrm_rl.training.report.model_card import model_card
from hrm_rl.training.run_folder import RunFolder
from hrm_rl.training.start import resume_run, start_run

CONFIG = HRMConfig(
    vocab_size=9,
    seq_len=3,
    num_puzzle_identifiers=4,
    puzzle_emb_ndim=16,
    hidden_size=16,
    num_heads=2,
    H_layers=1,
    L_layers=1,
    halt_max_steps=3,
    forward_dtype="float32",
)
SHORT = {"batch_size": 4, "max_steps": 2, "device": "cpu", "dtype": "float32", "compile": "no"}


@pytest.fixture
def weights(tmp_path) -> HRM:
    """A model in tmp_path/weights, with four rows of puzzle embedding."""
    torch.manual_seed(0)
    model = HRM(CONFIG)
    torch.nn.init.normal_(model.puzzle_emb.weights)
    model.save_pretrained(tmp_path / "weights")
    return model


def folder(path, ids: int) -> str:
    """Puzzles with identifiers 0..ids - 1."""
    tokens = np.arange(1, 9).repeat(3).reshape(8, 3)
    if not path.exists():
        write_dataset(path, PuzzleArrays(tokens, tokens, np.arange(8) % ids), vocab_size=9)
    return str(path)


@pytest.fixture
def begin(tmp_path):
    """Starts a run from tmp_path/weights on puzzles with some identifiers."""

    def begin(ids: int = 4, out: str = "run", **given) -> Trainer:
        data = {"family": "custom", "file": folder(tmp_path / f"data{ids}", ids)}
        values = SHORT | {"init": str(tmp_path / "weights"), "data": data} | given
        return start_run([Layer(values, "sudoku-extreme")], tmp_path / out)

    return begin


def rows(trainer: Trainer) -> torch.Tensor:
    return trainer.model.puzzle_emb.weights.detach()


def test_weights_come_from_there_and_the_rest_is_fresh(weights, begin) -> None:
    trainer = begin()
    for name, tensor in weights.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], tensor), name
    assert trainer.learner.step == 0 and not trainer.learner.optimizers[0].state
    assert trainer.model.config == CONFIG and trainer.preset.batch_size == 4


@pytest.mark.parametrize(
    ("ids", "given", "kept", "count"),
    [
        (4, {}, 4, 4),
        (6, {}, 4, 6),  # the puzzles have more: fresh rows
        (2, {}, 4, 4),  # fewer: the rows stay
        (2, {"num_puzzle_identifiers": 7}, 4, 7),
        (6, {"init_ids": "reset"}, 0, 6),
        (2, {"init_ids": "reset"}, 0, 2),
        (2, {"init_ids": "reset", "num_puzzle_identifiers": 3}, 0, 3),
    ],
)
def test_rows_of_the_puzzle_embedding(weights, begin, ids, given, kept, count, caplog) -> None:
    given = dict(given)
    if number := given.pop("num_puzzle_identifiers", None):
        given["model"] = {"num_puzzle_identifiers": number}
    with caplog.at_level("INFO"):
        trainer = begin(ids, **given)
    found = rows(trainer)
    assert len(found) == trainer.model.config.num_puzzle_identifiers == count
    assert torch.equal(found[:kept], weights.puzzle_emb.weights[:kept])
    assert not found[kept:].any()
    assert f"rows {kept} kept, {count - kept} fresh" in caplog.text
    assert trainer.train(progress=False)["steps"] == 2


def test_the_puzzle_embedding_alone_learns(weights, begin) -> None:
    only = {"train_only": "puzzle-embedding", "puzzle_emb_lr": 0.1, "warmup_steps": 0}
    trainer = begin(6, init_ids="reset", learner=only, ema_decay=0.5)
    trainer.train(progress=False)
    for name, tensor in weights.state_dict().items():
        for model in (trainer.model, trainer.evaluated_model):
            found = model.state_dict()[name]
            assert (name == "puzzle_emb.weights") or torch.equal(found, tensor), name
    assert rows(trainer).any()


def test_one_task_is_learned_on_a_frozen_network(weights, begin, tmp_path) -> None:
    tokens = np.arange(1, 4).repeat(3).reshape(3, 3)
    task = PuzzleArrays(tokens, tokens[::-1].copy(), np.ones(3, int))
    write_dataset(tmp_path / "task", task, task.take(slice(1)), vocab_size=9)
    data = {"family": "custom", "file": str(tmp_path / "task")}
    only = {"train_only": "puzzle-embedding", "puzzle_emb_lr": 0.1, "warmup_steps": 0}
    trainer = begin(data=data, init_ids="reset", learner=only)
    result = trainer.train(progress=False)
    assert rows(trainer)[1].any() and not rows(trainer)[0].any()
    # The validation is on puzzles that were learned from: everything printed says so.
    assert result["held_out_count"] == 0 and result["count"] == 3
    assert trainer.run.metrics()[-1]["eval/held_out_count"] == 0
    assert "on the puzzles that it learned from" in model_card(trainer.run, "a/b")
    assert _text(trainer.run.path, trainer.preset, result).count("On the puzzles learned from: ") == 1


def test_the_source_is_stored_with_its_checkpoint(weights, begin, tmp_path) -> None:
    begin(6).train(progress=False)
    run = str(tmp_path / "run")
    for number, source in enumerate((run, f"{run}@best", f"{run}@2", f"{run}/checkpoints/step-0000002")):
        trainer = begin(8, f"next{number}", init=source)
        preset, compute = trainer.run.config()
        assert preset.init == f"{run}@2" and len(rows(trainer)) == 8
    for again in (run, f"{run}@best", f"{run}@2"):
        assert resume(preset, compute, "next", Layer({"init": again})).preset == preset
    for other in (f"{run}@1", "elsewhere"):
        with pytest.raises(ValueError, match="--init cannot change in a resumed run"):
            resume(preset, compute, "next", Layer({"init": other}))


def test_a_resume_needs_no_source(weights, begin, tmp_path) -> None:
    trainer = begin(6, learner={"train_only": "puzzle-embedding", "puzzle_emb_lr": 0.1})
    trainer.train(progress=False)
    shutil.rmtree(tmp_path / "weights")
    more = resume_run([Layer({"max_steps": 3})], tmp_path / "run")
    assert more.learner.step == 2 and torch.equal(rows(more), rows(trainer))
    assert more.train(progress=False)["steps"] == 3
    assert torch.equal(more.model.lm_head.weight, weights.lm_head.weight)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"init": "none"}, r"--init: no model folder at none"),
        ({"init": 5}, r"--init: no model folder at 5"),
        ({"init": "{tmp}"}, r"--init: .* holds no model: config.json is missing"),
        ({"init": "{tmp}/weights@best"}, r"--init: .*weights has no checkpoint"),
        ({"init": "{tmp}/weights/model.safetensors"}, "name its folder"),
        ({"init": "{tmp}/weights/config.json"}, "name its folder, .*weights$"),
        (
            {"model": {"hidden_size": 32, "H_layers": 2}},
            "--model.H-layers: the weights of .*weights have .*hidden_size 16, but 32 was given",
        ),
        ({"model": {"hidden_size": 32, "H_layers": 2}}, "; H_layers 1, but 2 was given"),
        ({"model": {"pos_encodings": "learned"}}, "pos_encodings 'rope', but 'learned' was given"),
        (
            {"data": {"family": "sudoku"}},
            "--init: the weights of .* have vocab_size 9, but the puzzles need 11",
        ),
        (
            {"ids": 2, "model": {"num_puzzle_identifiers": 3}},
            "must be 4 or more: .* weights 4 .init_ids reset drops",
        ),
        (
            {"model": {"num_puzzle_identifiers": 3}, "init_ids": "reset"},
            "--model.num-puzzle-identifiers must be 4 or more: the puzzles have 4, the weights 0; got",
        ),
        ({"init": None, "init_ids": "reset"}, "--init-ids is for a run that starts"),
        ({"init_ids": "blank"}, "--init-ids must be one of keep, reset"),
        (
            {"init": None, "learner": {"train_only": "puzzle-embedding"}},
            "--learner.train-only.*give the weights to start from",
        ),
    ],
)
def test_refusals(weights, begin, tmp_path, given, words) -> None:
    if isinstance(given.get("init"), str):
        given = given | {"init": given["init"].format(tmp=tmp_path)}
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        begin(**given)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize("ids", ["keep", "reset"])
def test_weights_without_a_puzzle_embedding(tiny_hrm, tmp_path, ids) -> None:
    tiny_hrm().save_pretrained(tmp_path / "plain")
    only = {"learner": {"train_only": "puzzle-embedding"}} if ids == "keep" else {}
    given = {"init": str(tmp_path / "plain"), "init_ids": ids} | only
    words = "embedding: the model has none" if ids == "keep" else "has no puzzle embedding"
    with pytest.raises(ValueError, match=words):
        resolve(Layer(given, "sudoku-4x4"))
    run = resolve(Layer({"init": str(tmp_path / "plain")}, "sudoku-4x4"))
    assert run.preset.model.hidden_size == 32 and run.preset.model.puzzle_emb_ndim == 0


def test_a_longer_board_is_free_without_learned_positions(weights, tmp_path) -> None:
    values = {"init": str(tmp_path / "weights"), "model.H_cycles": 5, "model.halt_max_steps": 9}
    tokens = np.arange(1, 9).repeat(5).reshape(8, 5)
    pool = PuzzleArrays(tokens, tokens, np.zeros(8, int))
    write_dataset(tmp_path / "long", pool, vocab_size=9)
    data = {"data.family": "custom", "data.file": str(tmp_path / "long")}
    model = resolve(Layer(values | data, "sudoku-extreme")).preset.model
    assert (model.seq_len, model.H_cycles, model.halt_max_steps) == (5, 5, 9)


def test_without_a_preset_the_settings_are_those_of_the_run(begin, weights, tmp_path) -> None:
    first = begin(max_steps=1, validate_every=7, learner={"lr": 3e-3}, model={"H_cycles": 3})
    first.train(progress=False)
    init = {"init": str(tmp_path / "run")}
    stored = first.preset
    again = start_run([Layer(init)], tmp_path / "again").preset
    assert again == dataclasses.replace(stored, init=f"{tmp_path}/run@1")
    data, changes = folder(tmp_path / "data6", 6), {"max_steps": 5, "learner.lr": 1e-4, "seed": 3}
    other = start_run([Layer(init | changes | {"data.file": data})], tmp_path / "other").preset
    assert (other.data.family, other.data.file, other.batch_size) == ("custom", data, 4)
    assert (other.max_steps, other.validate_every) == (5, 7)
    assert (other.learner.lr, other.learner.seed, other.model.H_cycles) == (1e-4, 3, 3)
    with pytest.raises(ValueError, match=r"the weights of .* the puzzles need"):
        start_run([Layer(init | {"data.family": "life"})], tmp_path / "third")
    with pytest.raises(ValueError, match="which preset"):
        start_run([Layer({"init": str(tmp_path / "weights")})], tmp_path / "third")


@pytest.mark.parametrize("name", ["step_20", "checkpoint", ""])
def test_a_checkpoint_of_the_reference_is_a_start(begin, tmp_path, name) -> None:
    place, shape = (tmp_path / "reference", {"hidden_size": 64, "num_heads": 1, "puzzle_emb_ndim": 64})
    model = HRM(dataclasses.replace(CONFIG, **shape))
    place.mkdir()
    state = {f"_orig_mod.model.inner.{name}": t for name, t in model.state_dict().items()}
    torch.save({}, place / "step_3")
    torch.save(state, place / (name or "step_20"))
    trainer = begin(6, init=str(place / name))
    assert trainer.preset.init == str(place / name) and len(rows(trainer)) == 6
    assert trainer.preset.model.seq_len == 3  # of the puzzles
    assert torch.equal(trainer.model.lm_head.weight, model.lm_head.weight)


def test_python_adds_and_resets_rows(weights, tmp_path) -> None:
    load = HRM.from_pretrained
    more = load(tmp_path / "weights", num_puzzle_identifiers=6)
    assert torch.equal(more.puzzle_emb.weights[:4], weights.puzzle_emb.weights)
    assert more.config.num_puzzle_identifiers == 6 and not more.puzzle_emb.weights[4:].any()
    fresh = load(tmp_path / "weights", reset_puzzle_identifiers=True)
    assert fresh.puzzle_emb.weights.shape == (4, 16) and not fresh.puzzle_emb.weights.any()
    few = load(tmp_path / "weights", num_puzzle_identifiers=2, reset_puzzle_identifiers=True)
    assert few.puzzle_emb.weights.shape == (2, 16)
    for count, words in ((3, "has 4 puzzle identifiers, more than the 3"), (0, "integer >= 1")):
        with pytest.raises(ValueError, match=re.escape(words)):
            load(tmp_path / "weights", num_puzzle_identifiers=count)


def test_a_run_of_before_opens_and_resumes(start, tmp_path) -> None:
    start(tmp_path / "old").train(progress=False)
    file = tmp_path / "old" / "config.json"
    stored = json.loads(file.read_text())
    for name in ("init", "init_ids", "keep"):
        del stored["preset"][name]
    del stored["preset"]["learner"]["train_only"]
    file.write_text(json.dumps(stored))
    preset, compute = RunFolder(tmp_path / "old").config()
    assert (preset.init, preset.init_ids, preset.keep) == (None, "keep", 2)
    assert resume(preset, compute, "old").preset == preset
    assert start(tmp_path / "old", resume=True, max_steps=8).train(progress=False)["steps"] == 8
