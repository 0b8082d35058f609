"""Trials as jobs: submitit's local processes, and a Slurm of this machine."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from hrm_rl.sweep import sweep
from hrm_rl.sweep.slurm import _executor

pytest.importorskip("submitit")
EXECUTOR = Path(__file__).with_name("fake_slurm.py")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the states of a Slurm of this machine."""
    from submitit import SlurmJob

    commands, states = tmp_path / "bin", tmp_path / "slurm"
    commands.mkdir()
    states.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        (commands / name).write_text(f"#!{sys.executable}\n{EXECUTOR.read_text()}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(states))
    monkeypatch.setattr(SlurmJob.watcher, "_delay_s", 1)
    SlurmJob.watcher.clear()
    return states


@pytest.mark.parametrize("cluster", ["debug", pytest.param("local", marks=pytest.mark.slow)])
def test_trials_run_as_jobs_of_submitit(write, tmp_path, request, cluster) -> None:
    commands = request.getfixturevalue("in_process") if cluster == "debug" else None
    study = write(last="[slurm]\npartition = 'small'\ntimeout_min = 10")
    found = sweep(study, tmp_path / "out", slurm=cluster)
    assert found["states"] == {"finished": 1} and found["trials"][0]["attempts"] == 1
    assert list((tmp_path / "out/jobs").glob("*_log.out"))
    assert commands is None or len(commands) == 1


def test_a_trial_that_fails_in_its_job_is_tried_once_more_there(write, in_process, tmp_path) -> None:
    found = sweep(write(last="[grid]\nlearner.lr = [1e38]"), tmp_path / "out", slurm="debug")
    assert found["states"] == {"failed": 1} and len(in_process) == 2


def test_a_trial_whose_job_is_lost_is_submitted_once_more_and_reported(write, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("hrm_rl.sweep.slurm.TrialJob.__call__", lambda self: None)
    monkeypatch.setattr("hrm_rl.sweep.slurm._POLL_SECONDS", 0.0)
    (row,) = sweep(write(), tmp_path / "out", slurm="debug")["trials"]
    assert row["state"] == "failed" and row["failure"].startswith("its job was lost; the logs are in ")


def test_a_parameter_that_submitit_does_not_know_is_refused_in_one_line(write, slurm, tmp_path) -> None:
    for table, words in (("partitoin = 'a'", "partitoin"), ("timeout_min = 'x'", "timeout_min")):
        with pytest.raises(ValueError, match=words) as error:
            sweep(write(last=f"[slurm]\n{table}"), tmp_path / "out", slurm="slurm")
        assert "\n" not in str(error.value) and str(error.value).startswith("[slurm]: ")


def test_without_slurm_or_submitit_the_message_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="no Slurm here"):
        _executor(tmp_path, {}, None, "slurm")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"need submitit: pip install .*\[slurm\]"):
        _executor(tmp_path, {}, None, "slurm")


@pytest.mark.slow
def test_a_preempted_job_saves_is_queued_again_and_goes_on(write, slurm, tmp_path) -> None:
    import threading

    out, found = tmp_path / "out", {}
    study = write("seeds = 2")
    longer = study.read_text().replace("max_steps = 4", "max_steps = 300")
    study.write_text(longer.replace("validate_every = 2", "validate_every = 50"))
    waiting = threading.Thread(target=lambda: found.update(sweep(study, out, slurm="slurm")))
    waiting.start()
    deadline = time.monotonic() + 240
    while not list(out.glob("all/seed-0/checkpoints/step-*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(int((slurm / "1_0.pid").read_text()), signal.SIGUSR2)
    waiting.join(240)
    assert found["states"] == {"finished": 2}
    assert [row["attempts"] for row in found["trials"]] == [2, 1]
