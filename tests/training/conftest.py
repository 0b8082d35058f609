"""Runs of a few steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.run_folder import RunFolder
from hrm_rl.training.run_folder.state import read_state


@pytest.fixture(scope="session")
def start(preset) -> Callable[..., Trainer]:
    """Starts or resumes a run of the tiny preset in a folder."""

    def start(folder: Path, resume=False, seed=0, graphs=False, **changes) -> Trainer:
        settings, compute, run = preset(**changes), Compute(), RunFolder(folder)
        trainer = Trainer(settings, compute, run, seed, graphs=graphs)
        if resume:
            trainer.restore()
        else:
            run.create(settings, compute)
        return trainer

    return start


@pytest.fixture(scope="session")
def older() -> Callable[..., Path]:
    """Rewrites a checkpoint as earlier versions wrote it, with its state or another; the state's file."""

    def older(checkpoint: Path, state: Any = None) -> Path:
        if state is None:
            state = read_state(checkpoint)
            state.setdefault("weights", load_file(checkpoint / "model.safetensors"))
            state.pop("report", None)
        for name in ("state.safetensors", "run.json", "checksums.sha256"):
            (checkpoint / name).unlink()
        torch.save(state, checkpoint / "state.pt")
        return checkpoint / "state.pt"

    return older


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory) -> Path:
    """The folder of a run of six steps; to be read only."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    start(folder).train(progress=False)
    return folder
