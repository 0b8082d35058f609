"""Logs whose disk fails: training goes on, and what could not be written comes later."""

import os
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hrm_rl.training.report import metrics, trackers
from hrm_rl.training.report.appended import AppendedFile
from hrm_rl.training.report.metrics import MetricsLog
from hrm_rl.training.run_folder import RunFolder


@pytest.fixture
def full(monkeypatch):
    """A disk that takes 3 bytes of each write, and then no more, while `full` is set."""
    real, disk = os.write, {"full": False}

    def write(file: int, data: bytes) -> int:
        if not disk["full"]:
            return real(file, data)
        if len(data) <= 3:
            raise OSError(28, "No space left on device")
        return real(file, data[:3])

    monkeypatch.setattr(os, "write", write)
    return disk


def test_lines_wait_for_room_and_none_is_torn(tmp_path, full, caplog) -> None:
    file = AppendedFile(tmp_path / "log", b"head\n")
    file.flush()
    for number in range(4):
        full["full"] = number in (1, 2)
        file.write(b"line %d\n" % number)
        file.flush()
        lines = file.path.read_bytes().split(b"\n")
        assert lines[0] == b"head" and len(lines) == (6 if number == 3 else 3)
    assert caplog.text.count("log cannot be written (No space left on device); training goes on") == 1


def test_more_than_may_wait_is_written_at_once(tmp_path, full, caplog) -> None:
    file = AppendedFile(tmp_path / "log")
    file.write(b"a" * (1 << 24))
    file.write(b"b")  # no flush was called, and nothing is lost
    full["full"] = True
    for _ in range(2):
        file.write(b"c" * (1 << 24))  # too much to wait
    full["full"] = False
    file.flush()
    assert file.path.stat().st_size == (1 << 24) + 1


def test_a_removed_file_or_folder_appears_again(tmp_path, caplog) -> None:
    file = AppendedFile(tmp_path / "run" / "log", b"head\n")
    for _ in range(2):
        file.write(b"line\n")
        file.flush(through=True)
    file.path.parent.mkdir()
    file.flush()
    assert file.path.read_bytes() == b"head\nline\nline\n"
    file.path.unlink()
    file.write(b"next\n")
    file.flush()
    assert file.path.read_bytes() == b"head\nnext\n"
    assert caplog.text.count("No such file or directory") == 1


def scalars(folder) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def test_a_board_survives_its_folder(tmp_path, full) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    log = MetricsLog(run)
    log.write(1, {"train/loss": 1.0})
    full["full"] = True
    log.write(2, {"train/loss": 2.0})
    full["full"] = False
    log.write(3, {"train/loss": 3.0})
    expected = [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert scalars(run.path) == expected
    assert [(line["step"], line["train/loss"]) for line in run.metrics()] == expected
    shutil.rmtree(run.path)
    log.write(4, {"train/loss": 4.0})
    run.path.mkdir()
    log.write(5, {"train/loss": 5.0})
    log.close()
    assert scalars(run.path) == [(4, 4.0), (5, 5.0)]


@pytest.mark.parametrize("broken", ["__init__", "add_scalar", "flush"])
def test_a_tracker_that_fails_is_left_out(tmp_path, monkeypatch, caplog, broken) -> None:
    def fail(*_, **__) -> None:
        raise RuntimeError("protobuf is of another version")

    monkeypatch.setattr(trackers.Board, broken, fail)
    log = MetricsLog(RunFolder(tmp_path))
    for step in range(3):
        log.write(step, {"train/loss": 1.0})
    log.close()
    assert caplog.text.count("TensorBoard failed (protobuf is of another version)") == 1
    assert len(log._lines.path.read_text().splitlines()) == 3


def test_a_clock_that_stands_still_divides_nothing(monkeypatch) -> None:
    import torch

    monkeypatch.setattr(metrics.time, "perf_counter", lambda: 1.0)
    figures, _ = metrics.IntervalMetrics(2, torch.device("cpu")).take()
    assert figures["time/steps_per_second"] == 0.0
