"""Studies of runs of a few steps."""

import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from hrm_rl.cli import main
from hrm_rl.sweep import local
from hrm_rl.sweep.local import Process
from hrm_rl.sweep.trial_files import TrialFiles

STUDY = """\
preset = "sudoku-4x4"
max_steps = 4
validate_every = 2
batch_size = 4
dtype = "float32"
compile = "no"
device = "cpu"

[model]
hidden_size = 16
num_heads = 2
halt_max_steps = 2

[data]
train_puzzles = 20
validation_puzzles = 4
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a study: `first` before the settings that all have, `last` after them."""

    def write(first: str = "", last: str = "") -> Path:
        path = tmp_path / "study.toml"
        path.write_text(f"{first}\n{STUDY}\n{last}\n")
        return path

    return write


@dataclass
class Ended:
    """Stands in for a process that has ended."""

    returncode: int

    def poll(self) -> int:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        return self.returncode


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs trials in this process, where torch is loaded already; the commands, as they are called."""
    commands: list[list[str]] = []

    def start(trial: TrialFiles, environment: Mapping[str, str]) -> Process:
        trial.prepare()
        words = trial.command()[3:]
        commands.append(words)
        with trial.log.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            code = main(words)
        return Process(trial, Ended(code), time.monotonic())

    monkeypatch.setattr(Process, "start", start)
    monkeypatch.setattr(local, "_POLL_SECONDS", 0.0)
    return commands
