"""The command line as ranks of a job: its results, its one voice, and its end when a rank is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hrm_rl.cli import main
from hrm_rl.halting import TraceBank

TINY = ["train", "sudoku-4x4", "--dtype", "float32", "--batch-size", "8", "--log-every", "2", "--keep", "9"]
TINY += ["--validate-every", "4", "--data.train-puzzles", "40", "--data.validation-puzzles", "10"]
TINY += ["--model.hidden-size", "16", "--model.num-heads", "2", "--model.halt-max-steps", "3"]
TINY += ["--q-target", "full"]


@pytest.fixture(scope="module")
def runs(job: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps by two ranks, and the same run by one process."""
    folder = tmp_path_factory.mktemp("runs")
    words = [*TINY, "--max-steps", "6", "--json"]
    ends = job(2, "-m", "hrm_rl", *words, "--out", folder / "two")
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    assert json.loads(ends[0].stdout)["steps"] == 6 and ends[1].stdout == ends[1].stderr == ""
    assert main([*words, "--out", str(folder / "one")]) == 0
    return folder


def lines(run: Path) -> list[dict]:
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{k: v for k, v in one.items() if "second" not in k} for one in read]


def weights(run: Path, step: int) -> dict:
    return load_file(run / "checkpoints" / f"step-{step:07d}" / "model.safetensors")


def assert_alike(ours: Path, theirs: Path, step: int) -> None:
    a, b = lines(ours), lines(theirs)
    assert [one.keys() for one in a] == [one.keys() for one in b]
    for one, other in zip(a, b, strict=True):
        assert one.pop("rollout/segments", None) == other.pop("rollout/segments", None)
        assert one == pytest.approx(other, abs=1e-5)
    mine, other = weights(ours, step), weights(theirs, step)
    assert max(float((mine[name] - other[name]).abs().max()) for name in mine) < 1e-5


def test_two_ranks_leave_the_run_of_one(runs: Path) -> None:
    assert_alike(runs / "two", runs / "one", 6)
    one, two = (sorted(file.name for file in (runs / name).rglob("*")) for name in ("one", "two"))
    assert [name for name in one if "tfevents" not in name] == [n for n in two if "tfevents" not in n]


def test_a_run_goes_on_with_another_number_of_ranks(runs: Path, job: Callable) -> None:
    more = ["train", "--resume", "--max-steps", "10"]
    ends = job(2, "-m", "hrm_rl", *more, "--out", runs / "one")
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    assert main([*more, "--out", str(runs / "two")]) == 0
    assert_alike(runs / "two", runs / "one", 10)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "adam-atan2"])
def test_a_divided_model_leaves_the_run_of_one_process(optimizer: str, job: Callable, tmp_path: Path) -> None:
    """And its checkpoints go on undivided."""
    words = [*TINY, "--learner.optimizer", optimizer, "--model.puzzle-emb-ndim", "16", "--max-steps"]
    ends = job(2, "-m", "hrm_rl", *words, "4", "--out", tmp_path / "two", "--sharding", "full")
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    assert main([*words, "4", "--out", str(tmp_path / "one")]) == 0
    assert_alike(tmp_path / "two", tmp_path / "one", 4)
    ends = job(2, "-m", "hrm_rl", *words, "8", "--resume", "--out", tmp_path / "one", "--sharding", "full")
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    assert main([*words, "8", "--resume", "--out", str(tmp_path / "two")]) == 0
    assert_alike(tmp_path / "two", tmp_path / "one", 8)


@pytest.mark.slow
def test_ranks_answer_and_record_as_one_process(runs: Path, job: Callable, capsys) -> None:
    run, bank = str(runs / "one@6"), runs / "bank.safetensors"
    asked = ["eval", run, "--puzzles", "7", "--json"]
    ends = job(2, "-m", "hrm_rl", *asked)
    assert [end.returncode for end in ends] == [0, 0] and ends[1].stdout == ""
    assert main(asked) == 0
    ours, theirs = (json.loads(text) for text in (capsys.readouterr().out, ends[0].stdout))
    timed = ("seconds", "puzzles_per_second", "cpu_share")
    assert {k: v for k, v in ours.items() if k not in timed} == {
        k: v for k, v in theirs.items() if k not in timed
    }
    ends = job(2, "-m", "hrm_rl", "trace", run, "--puzzles", "7", "--out", bank)
    assert [end.returncode for end in ends] == [0, 0] and "7 validation" in ends[0].stdout
    assert main(["eval", run, "--bank", str(bank), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agree_segments"] == found["agree_correct"] == 1
    assert len(TraceBank.load(bank)) == 14


MISTAKES = [
    ([*TINY, "--batch-size", "9"], "batch_size must be a multiple of the 2 ranks, got 9; the next is 10"),
    ([*TINY, "--device", "cuda"], "ranks need a GPU each"),
    ([*TINY, "--graphs", "yes"], "--graphs yes needs a CUDA device"),
    ([*TINY, "--q-target", "subsample:0.1"], "takes 1 of the 8 rows at a step, which 2 ranks cannot"),
    (["train", "sudoku-4x4", "--outt", "x"], "--outt"),
    ([*TINY, "--sharding", "full", "--on-nan", "skip"], "on_nan skip looks at whole gradients"),
    (["compare", "x"], "torchrun is for train, eval and trace"),
]


@pytest.mark.parametrize(
    ("words", "message"), [MISTAKES[0], *(pytest.param(*one, marks=pytest.mark.slow) for one in MISTAKES[1:])]
)
def test_a_mistake_is_said_once(words: list[str], message: str, job: Callable, tmp_path: Path) -> None:
    where = ["--out", tmp_path / "run"] if words[:2] == TINY[:2] and "--outt" not in words else []
    first, second = job(2, "-m", "hrm_rl", *words, *where)
    assert first.returncode == second.returncode == 2
    assert message in first.stderr and first.stderr.count("hrm-rl: ") == 1 and "Traceback" not in first.stderr
    assert second.stdout == second.stderr == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_mistake_of_one_machine_is_said_with_its_rank(runs: Path, job: Callable, tmp_path: Path) -> None:
    """A file that only the first rank sees."""
    code = "import os, sys; from hrm_rl.cli import main; "
    code += f"sys.exit(main(['eval', {str(runs / 'one')!r}][: 2 - int(os.environ['RANK'])] + ['none'] * "
    code += "int(os.environ['RANK'])))"
    first, second = job(2, "-c", code)
    assert second.returncode == 2 and second.stderr.startswith("hrm-rl: rank 1 of 2: ")
    assert first.returncode == 1 and "hrm-rl: " not in first.stderr


@pytest.mark.slow
def test_a_lost_rank_ends_the_job_and_a_restart_goes_on(runs: Path, job: Callable, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*TINY, "--max-steps", "6", "--out", run]
    kill = "import os, signal, hrm_rl.training.report.progress as p\n"
    kill += "from hrm_rl.cli import main\nadd = p.Report.add\n"
    kill += "def last(self, update, step):\n    add(self, update, step)\n"
    kill += "    if step == 5 and os.environ['RANK'] == '1':\n"
    kill += f"        open({str(tmp_path / 'killed')!r}, 'w').close(); os.kill(os.getpid(), signal.SIGKILL)\n"
    kill += f"p.Report.add = last\nraise SystemExit(main({[str(w) for w in words]!r}))"
    first, second = job(2, "-c", kill)
    assert second.returncode == -signal.SIGKILL and first.returncode == 1, first.stderr
    assert first.stderr.count("another rank stopped answering") == 1 and "Traceback" not in first.stderr
    assert time.time() - (tmp_path / "killed").stat().st_mtime < 30
    ends = job(2, "-m", "hrm_rl", *words, TORCHELASTIC_RESTART_COUNT="1")
    assert [end.returncode for end in ends] == [0, 0], ends[0].stderr
    a, b = weights(run, 6), weights(runs / "two", 6)
    assert all(a[name].equal(b[name]) for name in a)


@pytest.mark.slow
def test_torchrun_restarts_a_run_whose_rank_is_killed(runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*TINY, "--max-steps", "300", "--validate-every", "100", "--checkpoint-minutes", "0.02"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(
        [*torchrun, "-m", "hrm_rl", *words, "--out", str(run)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and not list(run.glob("checkpoints/step-*[0-9]")):
        time.sleep(0.1)
    ranks = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(ranks[-1]), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "Trained sudoku-4x4 for 300 steps" in output
    steps = [line["step"] for line in lines(run)]
    assert steps == sorted(steps) and steps[-1] == 300
