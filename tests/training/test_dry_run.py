"""`hrm-rl train --dry-run`: what a run would take, and nothing written."""

import json
from pathlib import Path

import pytest

from hrm_rl.cli import main
from hrm_rl.training import dry_run
from hrm_rl.training.machine.memory import step_memory
from hrm_rl.training.presets import PRESETS, find_preset

ARC_TASKS = Path(__file__).parents[1] / "puzzles" / "arc_tasks"
SMALL = "--model.hidden-size 16 --model.num-heads 2 --model.puzzle-emb-ndim 16 --batch-size 4 --threads 1"
SMALL += " --compile no --dtype float32 --data.train-puzzles 3 --data.validation-puzzles 3"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch) -> None:
    monkeypatch.setattr(dry_run, "_SECONDS", 0.0)


def data_of(name: str) -> list[str]:
    few = ["--model.H-layers", "1", "--model.L-layers", "1"] if name in ("maze-hard", "arc-agi-1") else []
    return [*few, "--data", str(ARC_TASKS)] if name.startswith("arc-") else few


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_planned_and_nothing_is_written(name, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", name, "--dry-run", "--json", *SMALL.split(), *data_of(name)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []
    assert plan["max_steps"] == find_preset(name).max_steps and plan["batch_size"] == 4
    assert plan["step_seconds"] > 0 and plan["measured_steps"] >= 2
    assert plan["training_seconds"] == pytest.approx(plan["max_steps"] * plan["step_seconds"])
    assert all(plan["memory"][part] > 0 for part in ("weights", "optimizer", "carry", "activations"))
    assert plan["memory"]["total"] > 3 * plan["memory"]["weights"]
    assert plan["total_seconds"] == plan["training_seconds"] + plan["validation_seconds"]
    assert plan["run"] == f"runs/{name}" and plan["parameters"] > 1000


def test_the_estimate_is_that_of_a_step(preset) -> None:
    tiny = preset()
    cpu, meta = (step_memory(tiny.model, tiny.learner, device) for device in ("cpu", "meta"))
    assert (cpu.fixed, cpu.weights, cpu.carry) == (meta.fixed, meta.weights, meta.carry)
    assert cpu.carry == 2 * 2 * 16 * 16 * 4 and cpu.carry < cpu.per_row < 2 * meta.per_row


def test_the_plan_as_text(capsys) -> None:
    unread = ["--model.architecture", "trm", "--model.H-layers", "3"]
    assert main(["train", "arc-small", "--dry-run", *SMALL.split(), *data_of("arc-"), *unread]) == 0
    text, warnings = capsys.readouterr()
    assert "--model.H-layers 3 changes nothing: architecture trm" in warnings
    for words in ("nothing is trained or written", "validate) and of", "puzzle identifiers", "s a step"):
        assert words in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume"], "--dry-run is for a run that begins"),
        (["--data", "nowhere.csv"], "no file at nowhere.csv"),
        (["--batch-size", "0"], "batch-size must be >= 1"),
        (["--out", "{used}"], "is not an empty folder"),
    ],
)
def test_refused_as_training_is(options, words, tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    given = [word.format(used=tmp_path) for word in options]
    assert main(["train", "sudoku-4x4", "--dry-run", *given]) == 2
    assert words in capsys.readouterr().err
