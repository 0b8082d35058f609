"""The rows of `hrm-rl bench`, on a tiny run."""

import json

import pytest

from hrm_rl.bench import evaluation as benchmark_evaluation
from hrm_rl.bench import run as bench
from hrm_rl.bench import training as benchmark_training
from hrm_rl.training.machine.compute import Choice, Compute, current_switches


@pytest.fixture
def rows(preset, monkeypatch):
    """The description and all rows of a benchmark of the tiny run."""
    compute = Compute(threads=1)
    monkeypatch.setattr(bench, "find_preset", lambda _: preset(batch_size=64))
    monkeypatch.setattr(bench, "choose_compute", lambda *_, **__: Choice(compute))
    monkeypatch.setattr(benchmark_training, "STEPS", 1)
    monkeypatch.setattr(benchmark_evaluation, "PUZZLES", 256)
    before = current_switches()
    measured = bench.benchmark("cpu", rounds=3)
    rows = {row["name"].split(".h")[0]: row for row in measured.rows}
    assert current_switches() == before
    return measured.about, rows


def test_rows_and_their_comparisons(rows) -> None:
    about, found = rows
    assert about["peak"]["gflops"] > 0 and about["device"] == "cpu, float32, 1 thread"
    targets = ("full", "subsample:0.125", "every:8", "delayed", "lambda:0.9", "none")
    for target in targets:
        row = found[f"train_step.{target}"]
        assert row["against"] == ("float32, plain formulas" if target == "full" else "ours, full")
        assert row["ours"] > 0 and row["spread"][0] <= row["ratio"] <= row["spread"][1]
        assert 0 < row["products"] < 1
        assert row["share_of_peak"] == pytest.approx(row["gflop"] / row["ours"] / about["peak"]["gflops"])
    assert found["train_step.full"]["gflop"] > found["train_step.none"]["gflop"]
    assert 0 < found["environment"]["ratio"] < found["overhead"]["ratio"] < 1
    assert all(0 < row["cpu_share"] <= 1 for row in found.values())
    evaluation = found["evaluate.random:0.4"]
    # Geometric stops with a limit of 16, on average 1 / 0.4.
    assert evaluation["promised"] == pytest.approx(16 * 0.4, rel=0.1)
    assert evaluation["of_promised"] == evaluation["ratio"] / evaluation["promised"]


def test_whole_steps_are_timed_without_a_clock_inside(preset, monkeypatch) -> None:
    """Reading it waits for the device; only the parts of a step need it."""
    read = []
    monkeypatch.setattr(benchmark_training, "now", lambda _: read.append(0) or float(len(read)))
    work = benchmark_training._Workload(preset(), Compute(threads=1))
    work.steps()
    assert not read and work.trainer.learner.step == benchmark_training.STEPS
    rows = list(benchmark_training._shares(preset(), Compute(threads=1), rounds=3))
    assert len(read) == 6 * 20
    assert [row["ours"] for row in rows] == [1.0, 3.0] and rows[0]["other"] == 5.0


def test_a_record_is_one_file_a_day_and_machine(tmp_path) -> None:
    about = {"date": "2031-05-01", "machine": "AMD EPYC, 2 cores"}
    path = bench.record(tmp_path / "records", about, [{"name": "a"}])
    assert path.name == "2031-05-01-amd-epyc-2-cores.json"
    bench.record(tmp_path / "records", about, [{"name": "a"}, {"name": "b"}])
    assert json.loads(path.read_text()) == {**about, "rows": [{"name": "a"}, {"name": "b"}]}
