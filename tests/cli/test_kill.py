"""A run whose process is killed, again and again, ends where an undisturbed one does."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = """
preset = "sudoku-4x4"
max_steps = 60
validate_every = 10
batch_size = 16
dtype = "float32"
[data]
train_puzzles = 200
validation_puzzles = 20
[model]
hidden_size = 32
"""


def train(*words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hrm_rl.cli", "train", *map(str, words), "--json"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_checkpoint(run: Path, number: int, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while len(list((run / "checkpoints").glob(f"step-*{number:03d}"))) == 0:
        assert time.monotonic() < end, f"no checkpoint {number} in {seconds} s"
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_three_times_and_resumed_is_bit_identical(tmp_path) -> None:
    config, whole, killed = tmp_path / "run.toml", tmp_path / "whole", tmp_path / "killed"
    config.write_text(CONFIG)
    assert train("--config", config, "--out", whole).wait(300) == 0
    process = train("--config", config, "--out", killed)
    for number in (10, 30, 40):
        wait_for_checkpoint(killed, number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = train("--out", killed, "--resume")
    assert process.wait(300) == 0
    last = "checkpoints/step-0000060/model.safetensors"
    assert (whole / last).read_bytes() == (killed / last).read_bytes()
    steps = [line.split(",")[0] for line in (killed / "metrics.jsonl").read_text().splitlines()]
    assert steps == [line.split(",")[0] for line in (whole / "metrics.jsonl").read_text().splitlines()]
