"""Commands that get a stop signal: what they leave, their exit code, and how a run goes on."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hrm_rl.training.loop import Trainer
from hrm_rl.training.run_folder import RunFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

CONFIG = """\
preset = "sudoku-4x4"
max_steps = {}
validate_every = 1000
log_every = 1
threads = 1
compile = "no"
batch_size = 4
dtype = "float32"
[data]
train_puzzles = 50
validation_puzzles = 4
[model]
hidden_size = 16
num_heads = 2
halt_max_steps = 2
"""


def heed_interrupts() -> None:
    """Undo what `nohup` and background jobs pass on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def running(*words: object, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A command in a process of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "hrm_rl", *map(str, words)]
    options = {"preexec_fn": heed_interrupts, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(happened: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not in {seconds} s"
        time.sleep(0.01)


def last_step(run: Path) -> int:
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def figures(run: Path) -> list[dict[str, Any]]:
    """The log without what a clock measured."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if "second" not in key} for line in lines]


def test_a_run_preempted_and_requeued_ends_as_an_undisturbed_one(tmp_path) -> None:
    config, run, whole = tmp_path / "run.toml", tmp_path / "run", RunFolder(tmp_path / "whole")
    config.write_text(CONFIG.format(100_000))
    for number in (signal.SIGUSR1, signal.SIGINT):
        words = ["--resume"] if run.exists() else ["--config", config]
        before = last_step(run)
        with running("train", *words, "--out", run) as process:
            wait_until(lambda before=before: last_step(run) > before + 2)
            start = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        assert time.monotonic() - start < 5
        assert (process.returncode, out) == (128 + number, "")
        assert f"{number.name}: saved at step {last_step(run)}; `hrm-rl train --resume --out {run}`" in err
        assert err.endswith(f"hrm-rl: stopped by {number.name}\n") and "Traceback" not in err
        assert not list(tmp_path.rglob("*.partial"))
    preset, compute = RunFolder(run).config()
    whole.create(preset, compute)
    trainer = Trainer(dataclasses.replace(preset, max_steps=last_step(run)), compute, whole)
    trainer.train(progress=False)
    weights = f"checkpoints/step-{last_step(run):07d}/model.safetensors"
    assert (run / weights).read_bytes() == (whole.path / weights).read_bytes()
    assert [line for line in figures(whole.path) if "eval/count" not in line] == figures(run)


def test_a_second_ctrl_c_ends_a_long_step_at_once(tmp_path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(100_000))
    code = """
import os, signal, time
import hrm_rl.process
from hrm_rl.cli import main
from hrm_rl.training.average import WeightAverage
hrm_rl.process.prepare_command()
def update(self):
    while True:
        os.write(1, b"x")
        time.sleep(0.5)
WeightAverage.update = update
main()
"""
    command = [sys.executable, "-c", code, "train", "--config", config, "--out", tmp_path / "run"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_interrupts}
    with subprocess.Popen(command, **options) as process:
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err
    assert err.endswith(b"hrm-rl: stopped by SIGINT\n")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_at_once_in_compiled_code_and_leaves_no_file(tmp_path, stop) -> None:
    out = tmp_path / "puzzles.csv"
    out.write_text("earlier")
    code = """
import sys, time, hrm_rl.files, hrm_rl.process
hrm_rl.process.prepare_command()
with hrm_rl.files.written_whole(sys.argv[1]) as partial:
    partial.write_text("half")
    print("begun", flush=True)
    import ctypes
    ctypes.CDLL(None).sleep(60)
"""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_interrupts}
    with subprocess.Popen([sys.executable, "-c", code, out], **options) as process:
        assert process.stdout.readline() == b"begun\n"
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(stop)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + stop and err == f"hrm-rl: stopped by {stop.name}\n".encode()
    assert list(tmp_path.iterdir()) == [out] and out.read_text() == "earlier"


def test_what_nohup_ignores_stays_ignored(tmp_path) -> None:
    code = """
import os, signal, hrm_rl.process
hrm_rl.process.prepare_command()
os.kill(os.getpid(), signal.SIGHUP)
print(signal.getsignal(signal.SIGHUP).name)
"""
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=ignore)
    assert (ran.returncode, ran.stdout) == (0, "SIG_IGN\n")


def test_a_signal_leaves_a_validation_and_the_resumed_run_makes_it(hrm_rl, tmp_path, monkeypatch) -> None:
    config, run, whole = tmp_path / "run.toml", tmp_path / "run", RunFolder(tmp_path / "whole")
    config.write_text(CONFIG.format(4).replace("1000", "2"))

    def evaluate(*_: Any, **__: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("goes on after the signal")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    with monkeypatch.context() as patch:
        patch.setattr("hrm_rl.training.loop.evaluate", evaluate)
        said = hrm_rl("train", "--config", config, "--out", run)
    signal.signal(signal.SIGINT, before)
    assert said.code == 130 and "saved at step 2" in said.err
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-0000002"]
    assert hrm_rl("train", "--resume", "--out", run, "--json").code == 0
    preset, compute = RunFolder(run).config()
    whole.create(preset, compute)
    Trainer(preset, compute, whole).train(progress=False)
    assert figures(run) == figures(whole.path)
    weights = "checkpoints/step-0000004/model.safetensors"
    assert (run / weights).read_bytes() == (whole.path / weights).read_bytes()
