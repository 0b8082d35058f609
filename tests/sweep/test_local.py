"""Processes of a sweep: how many at a time, what they get, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hrm_rl.sweep import read_study
from hrm_rl.sweep.local import Workers, plan_workers, run_local
from hrm_rl.sweep.trial_files import TrialFiles

NOTES = """
import os, sys, time
note = open(sys.argv[1], "a")
print("start", time.time(), os.environ["OMP_NUM_THREADS"], os.environ.get("CUDA_VISIBLE_DEVICES"), file=note)
time.sleep(0.3)
print("end", time.time(), file=note)
"""


@pytest.fixture
def trials(write, tmp_path, monkeypatch) -> Callable[[str, int], list[TrialFiles]]:
    """Trials that run a program, with the path of a file of their own, instead of a training."""

    def make(program: str, count: int) -> list[TrialFiles]:
        study = read_study(write(f"seeds = {count}"))
        found = [TrialFiles(tmp_path / "out", trial) for trial in study.trials()]
        python = [sys.executable, "-S", "-c", program]
        monkeypatch.setattr(TrialFiles, "command", lambda self: [*python, str(self.run.path)])
        return found

    return make


def test_no_more_trials_run_than_there_are_workers(trials, monkeypatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    made, done = trials(NOTES, 5), []
    run_local(made, Workers(2, 3, ("gpu-a", "gpu-b")), lambda trial, attempts: done.append(attempts.number))
    assert done == [1] * 5
    lines = [line.split() for trial in made for line in trial.run.path.read_text().splitlines()]
    moments = sorted((float(words[1]), 1 if words[0] == "start" else -1) for words in lines)
    running = [sum(step for _, step in moments[: i + 1]) for i in range(len(moments))]
    assert max(running) == 2
    assert {words[2] for words in lines if words[0] == "start"} == {"3"}
    assert {words[3] for words in lines if words[0] == "start"} == {"gpu-a", "gpu-b"}


def test_the_threads_that_the_user_set_stay(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert Workers(1, 2).environment(0)["OMP_NUM_THREADS"] == "7"


def test_workers_share_the_processors_and_the_gpus(monkeypatch) -> None:
    monkeypatch.setattr("hrm_rl.sweep.local.usable_cpus", lambda: 8)
    assert plan_workers(None, trials=20) == Workers(8, 1)
    assert plan_workers(None, trials=3) == Workers(3, 2)
    assert plan_workers(2, trials=20) == Workers(2, 4)
    assert plan_workers(2, trials=20, threads=1) == Workers(2, 1)
    assert plan_workers(16, trials=20) == Workers(16, 1)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert plan_workers(None, trials=20, gpus=4) == Workers(4, 2, ("0", "1", "2", "3"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    assert plan_workers(4, trials=20, gpus=2).environment(3)["CUDA_VISIBLE_DEVICES"] == "6"


def test_a_failed_trial_is_tried_again_after_the_others_and_keeps_its_last_line(trials) -> None:
    once = "import os, sys; there = os.path.exists(sys.argv[1]); open(sys.argv[1], 'w'); "
    done: list[tuple[str, int, str | None]] = []

    def ended(trial, attempts) -> None:
        done.append((trial.trial.name, attempts.number, attempts.failure))

    run_local(trials(once + "sys.exit(None if there else 'no luck')", 2), Workers(1, 1), ended)
    assert done == [("all/seed-0", 2, None), ("all/seed-1", 2, None)]
    done.clear()
    run_local(trials("print('half way', flush=True); import os; os.abort()", 1), Workers(1, 1), ended)
    assert done == [("all/seed-0", 4, "killed by SIGABRT after: half way")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_sweep_saves_its_trials_and_goes_on_to_the_same_end(write, tmp_path, number) -> None:
    study, out = write(), tmp_path / "out"
    text = study.read_text().replace("max_steps = 4", "max_steps = 200").replace("every = 2", "every = 25")
    study.write_text(text)
    command = [sys.executable, "-m", "hrm_rl", "sweep", str(study), "--json", "--out"]
    with subprocess.Popen([*command, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sweep:
        deadline = time.monotonic() + 240
        while not list(out.glob("all/seed-0/checkpoints/step-*")):
            assert time.monotonic() < deadline and sweep.poll() is None
            time.sleep(0.05)
        sweep.send_signal(number)
        printed = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + number and printed[0] == b"", printed
    assert processes_with(str(out)) == []
    again = subprocess.run([*command, str(out)], capture_output=True, timeout=300, check=True)
    (row,) = json.loads(again.stdout)["trials"]
    assert row["state"] == "finished" and row["attempts"] == 2
    whole = tmp_path / "whole"
    subprocess.run([*command, str(whole)], capture_output=True, timeout=300, check=True)
    last = "all/seed-0/checkpoints/step-0000200/model.safetensors"
    assert (out / last).read_bytes() == (whole / last).read_bytes()


def processes_with(word: str) -> list[str]:
    """The command lines of live processes that hold a word."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_text().replace("\0", " ")
        except OSError:
            continue
        if word in command and file.parent.name != str(os.getpid()):
            found.append(command)
    return found
