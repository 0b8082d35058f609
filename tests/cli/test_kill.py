"""A run whose process is killed, again and again, ends where an undisturbed one does."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

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


# --- killed 50 times ------------------------------------------------------------------------------


def read(checkpoint: Path) -> dict[str, Any]:
    """All tensors of a checkpoint by file and name, without those of clocks."""
    files = ("model.safetensors", "state.safetensors")
    return {f"{file}/{name}": t for file in files for name, t in load_file(checkpoint / file).items()}


def differences(one: Path, other: Path) -> list[str]:
    a, b = read(one), read(other)
    return [name for name in a.keys() | b.keys() if name not in a or not torch.equal(a[name], b[name])]


def lines(run: Path) -> list[dict[str, Any]]:
    found = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    timed = ("time/", "eval/seconds", "eval/puzzles_per_second")
    return [{name: one for name, one in line.items() if not name.startswith(timed)} for line in found]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of POSIX")
def test_killed_50_times_some_inside_a_save_and_every_resume_is_exact(tmp_path) -> None:
    rng, whole, run = random.Random(0), tmp_path / "whole", tmp_path / "run"
    command = [sys.executable, str(Path(__file__).with_name("killing.py"))]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def child(folder: Path, **options: Any) -> int:
        """The exit code of a training that saves every step."""
        job = {"folder": str(folder), "checkpoint_minutes": 1e-9, **options}
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    assert child(whole, keep=999) == 0
    kills = inside = started_over = 0
    while kills < 50:
        if kills % 10 == 0:
            shutil.rmtree(run, ignore_errors=True)  # so that early steps are met again
        moment = {"seconds": rng.uniform(0.05, 1.5)} if kills % 2 else {"calls": rng.randrange(1, 120)}
        code = child(run, **moment)
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            shutil.rmtree(run)  # it came to its end before
            continue
        kills += 1
        inside += bool(list(run.glob("checkpoints/.*.partial")))
        left = sorted(run.glob("checkpoints/step-*"))
        started_over += not left
        for checkpoint in left:
            assert differences(checkpoint, whole / "checkpoints" / checkpoint.name) == []
    assert child(run) == 0
    assert lines(run) == lines(whole)
    assert not list(run.rglob("*.partial"))
    server.stdin.close()
    assert server.wait(60) == 0
    print(f"{kills} kills, {inside} inside a save, {started_over} before the first checkpoint")
    assert inside >= 10
