"""Runs of a few steps: a preset so small that a step takes milliseconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRMConfig
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset, SudokuData
from hrm_rl.training.run_folder import RunFolder


def tiny_preset(**changes: Any) -> Preset:
    model = HRMConfig(
        vocab_size=6,
        seq_len=16,
        puzzle_emb_ndim=0,
        hidden_size=16,
        num_heads=2,
        H_layers=1,
        L_layers=1,
        pos_encodings="learned",
        halt_max_steps=3,
        halt_exploration_prob=0.5,
        forward_dtype="float32",
    )
    settings: dict[str, Any] = {
        "name": "tiny",
        "model": model,
        "learner": LearnerConfig(optimizer="adamw", lr=1e-3, warmup_steps=3),
        "data": SudokuData(size=4, extra_givens=(4, 8), train_puzzles=40, validation_puzzles=10),
        "batch_size": 8,
        "max_steps": 6,
        "ema_decay": 0.9,
        "validate_every": 3,
        "log_every": 2,
    }
    return Preset(**(settings | changes))


def make_trainer(
    folder: Path, resume: bool = False, seed: int = 0, graphs: bool = False, **changes: Any
) -> Trainer:
    """A run in `folder`, begun or taken up again."""
    preset, compute, run = tiny_preset(**changes), Compute(), RunFolder(folder)
    trainer = Trainer(preset, compute, run, seed, graphs=graphs)
    if resume:
        trainer.restore()
    else:
        run.create(preset, compute)
    return trainer


@pytest.fixture
def preset() -> Callable[..., Preset]:
    return tiny_preset


@pytest.fixture
def start() -> Callable[..., Trainer]:
    return make_trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run of six steps; to be read only."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    make_trainer(folder).train(progress=False)
    return folder
