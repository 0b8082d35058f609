"""`make gpu`: parts run in time, go on at the next call, and leave one record."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture
def gpu(monkeypatch):
    spec = importlib.util.spec_from_file_location("benchmarks_gpu", FILE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "benchmarks_gpu", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(gpu, tmp_path, monkeypatch):
    """Runs the script's main with these parts; returns the record."""

    def run(parts, *words):
        monkeypatch.setattr(gpu, "PARTS", parts)
        argv = ["gpu.py", "--out", str(tmp_path / "out"), "--record", str(tmp_path / "rec"), *words]
        monkeypatch.setattr(sys, "argv", argv)
        assert gpu.main() == 0
        found = list((tmp_path / "rec").glob("*.json"))
        return json.loads(found[0].read_text()) if found else None

    return run


def test_what_went_well_is_not_run_again_and_what_failed_is(call) -> None:
    ran = []

    def part(name, result):
        def work(job):
            ran.append(name)
            return dict(result)

        return work

    parts = {
        "good": part("good", {"exit": 0, "n": 1}),
        "bad": part("bad", {"exit": 2}),
        "slow": part("slow", {"unfinished": "out of time"}),
        "idle": lambda job: None,
    }
    call(parts)
    record = call(parts)
    assert ran == ["good", "bad", "slow", "bad", "slow"]
    assert record["good"]["n"] == 1 and record["bad"]["exit"] == 2
    assert record["slow"]["unfinished"] == "out of time" and "idle" not in record
    assert record["torch"] and record["date"] and record["command"] == "python benchmarks/gpu.py"


def test_without_time_nothing_is_begun(call) -> None:
    assert call({"never": lambda job: pytest.fail("it ran")}, "--minutes", "0.1") is None


def test_a_part_out_of_time_is_unfinished(call) -> None:
    def late(job):
        raise subprocess.TimeoutExpired("x", 1)

    assert call({"late": late})["late"]["unfinished"] == "out of time"


def test_training_stops_in_time_and_goes_on_from_its_checkpoint(gpu, tmp_path, monkeypatch) -> None:
    job = gpu.Job(tmp_path, gpu.time.monotonic() + 1000, None, None, "p", "cpu", ("--x=1",))
    asked = []
    script = (
        "import pathlib, sys, time; pathlib.Path(sys.argv[1]).mkdir(parents=True); time.sleep(60)"
    )
    made = tmp_path / "p" / "checkpoints" / "step-0000500"

    def words(*w):
        asked.append(w)
        if "--resume" in w:
            return [sys.executable, "-c", "print('log line'); print('{\"steps\": 9}')"]
        return [sys.executable, "-c", script, str(made)]

    monkeypatch.setattr(gpu, "hrm_rl", words)
    monkeypatch.setattr(gpu, "EVALUATION", job.left() - 4)
    monkeypatch.setattr(gpu, "SHORTEST_TRAINING", 0)
    assert gpu.train(job) == {"unfinished": "out of time", "checkpoint": "step-0000500"}
    monkeypatch.setattr(gpu, "EVALUATION", 0)
    assert gpu.train(job) == {"steps": 9}
    assert asked[0][:2] == ("train", "p") and "--x=1" in asked[0]
    assert asked[1][:2] == ("train", "--resume")
