"""Steps that stay slow have the threads chosen again."""

import dataclasses

import pytest

from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine import compute
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.machine.pace import Pace
from hrm_rl.training.report.metrics import MetricsLog
from hrm_rl.training.run_folder import RunFolder


@pytest.fixture
def machine(monkeypatch):
    """Seconds of a training step of 8 rows by threads, and the numbers of threads that were measured."""
    seconds, tried = {4: 0.1, 2: 0.15, 1: 0.3}, []

    def measure(way, *_):
        tried.append(way.threads)
        return seconds[way.threads] / 8

    monkeypatch.setattr(compute, "_row_seconds", measure)
    return seconds, tried


def pace(preset, counts=(4, 1), step_seconds=0.1) -> Pace:
    return Pace(preset(), Compute(threads=4, cpus=4, step_seconds=step_seconds), counts)


def run(pace: Pace, seconds: float, for_seconds: float) -> list[Compute]:
    """The changes over steps of so many seconds."""
    return [way for _ in range(round(for_seconds / seconds)) if (way := pace.add(seconds))]


def test_steps_as_expected_change_nothing(preset, machine, caplog) -> None:
    with caplog.at_level("INFO", logger="hrm_rl"):
        assert run(pace(preset), 0.19, 5000) == []
    assert not machine[1] and not caplog.text


def test_slow_steps_take_the_fastest_number_of_threads(preset, machine, caplog) -> None:
    seconds, tried = machine
    seconds.update({4: 3.0, 2: 0.5, 1: 0.35})
    p = pace(preset)
    with caplog.at_level("INFO", logger="hrm_rl"):
        (way,) = run(p, 3.0, 15)
    assert (way.threads, way.cpus, way.step_seconds) == (1, None, 0.35)
    assert sorted(set(tried)) == [1, 2, 4] and p.compute == way
    (record,) = caplog.records
    assert record.getMessage() == (
        "Steps take 3 s; on a free machine they took 0.1 s. "
        "From now on threads: 1 instead of 4, the fastest measured."
    )
    # No probe follows while the steps take what was measured; later more threads are tried again.
    tried.clear()
    assert run(p, 0.35, 590) == [] and not tried
    seconds.update({4: 0.1, 2: 0.15, 1: 0.3})
    (back,) = run(p, 0.3, 20)
    assert (back.threads, back.step_seconds) == (4, 0.1)
    tried.clear()
    assert run(p, 0.1, 2000) == [] and not tried


def test_one_slow_step_is_not_a_slow_pace(preset, machine) -> None:
    p = pace(preset)
    for _ in range(100):
        assert run(p, 0.1, 4) == [] and p.add(60.0) is None
    assert not machine[1]


def test_where_nothing_is_faster_probes_become_rare(preset, machine, caplog) -> None:
    machine[0].update({4: 1.0, 2: 1.0, 1: 1.0})
    p = pace(preset)
    with caplog.at_level("INFO", logger="hrm_rl"):
        assert run(p, 1.0, 10_000) == []
    assert len(caplog.records) == 1 and "Threads stay at 4" in caplog.text
    assert "OMP_WAIT_POLICY" in caplog.text


def test_threads_of_the_user_stay(preset, machine, caplog) -> None:
    with caplog.at_level("INFO", logger="hrm_rl"):
        assert run(pace(preset, counts=[4]), 1.0, 1000) == []
    assert not machine[1] and len(caplog.records) == 1


def test_without_a_measurement_the_first_steps_count(preset, machine) -> None:
    p = pace(preset, step_seconds=None)
    assert run(p, 0.1, 6) == [] and p.expected == pytest.approx(0.1)
    machine[0][4] = 3.0
    assert [way.threads for way in run(p, 3.0, 60)] == [2]


def test_a_change_is_recorded_and_training_goes_on(preset, tmp_path, monkeypatch) -> None:
    class Slow(Pace):
        def add(self, seconds):
            return (
                dataclasses.replace(self.compute, threads=1, cpus=None) if trainer.learner.step == 3 else None
            )

    shown = []
    monkeypatch.setattr(MetricsLog, "show", lambda self, step, figures: shown.append((step, figures)))
    settings, way, folder = preset(), Compute(threads=1, cpus=2), RunFolder(tmp_path / "run")
    folder.create(settings, way)
    trainer = Trainer(settings, way, folder, pace=Slow(settings, way, [2, 1]))
    trainer.train(progress=False)
    assert [pair for pair in shown if "time/threads" in pair[1]] == [(3, {"time/threads": 1})]
    assert folder.config()[1] == dataclasses.replace(way, cpus=None)
    assert folder.latest_step() == 6
