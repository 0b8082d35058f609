"""Run every check and benchmark of a GPU machine, in parts that stop in time and continue at the next call.

    python benchmarks/gpu.py --out runs/gpu --minutes 10 [--reference CLONE_OF_SAPIENTINC_HRM]
                             [--data sudoku.csv] [--record benchmarks/records] [--only tests kernels]

1. tests     `pytest -m gpu`, on the files that hold such tests
2. bench     `hrm-rl bench --device cuda`, with --reference also beside the reference implementation
3. kernels   benchmarks/kernels.py: every kernel beside PyTorch's own and torch.compile
4. train     `hrm-rl train sudoku-extreme`, the paper's recipe, in the remaining time; the next call
             resumes from the newest checkpoint
5. evaluate  the newest checkpoint at the limit of segments and by Q-halting, on the same test puzzles

The parts that others rely on come first; kernels come row by row, so a stop costs them least. Each of the
first three has a maximum. A part that succeeded is not run again. One that failed or ran out of time is
repeated after those not tried yet, and never in the four minutes that `train` and `evaluate` need, so no part
blocks another. (A call of less than nine minutes keeps those free only from parts that were tried before.)
`train` ends at the preset's last step, and `evaluate` is repeated whenever there is a newer checkpoint.

A part leaves its result in OUT/PART.json and its output in OUT/PART.out and .err; after every part all
results are written to RECORD/DATE-GPU.json. A part that fails is reported there, and the others still run.
hrm_rl need not be installed.
"""

import dataclasses
import datetime
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from programs import Ran, json_lines, run_program

ROOT = Path(__file__).resolve().parents[1]

# Maximum seconds of a part, and what compiling the reference adds to bench.
MOST = {"tests": 200, "bench": 150, "kernels": 150}
REFERENCE = 120
# Maximum seconds of one test, so that a hanging one leaves time for the others.
ONE_TEST = 150
# Maximum seconds of `evaluate`, which `train` leaves free.
EVALUATION = 120
# A cold start takes a minute before the first step: shorter training reaches no checkpoint.
SHORTEST_TRAINING = 120
TEST_PUZZLES = 768
# A part with less time is not started.
LEAST = 20
# Seconds for an interrupted program to end, and then for this one to write its record.
GRACE, WRITING = 20, 5
# These take the time that the others leave.
LAST = ("train", "evaluate")


@dataclass(frozen=True)
class Args:
    """Settings of a call, as on the command line."""

    out: Path = Path("runs/gpu")
    """Working folder."""
    record: Path = ROOT / "benchmarks" / "records"
    """Folder of the record."""
    minutes: float = 10
    """Time for this call."""
    only: tuple[str, ...] = ()
    """These parts alone; by default all."""
    reference: Path | None = None
    """A local clone of sapientinc/HRM."""
    data: Path | None = None
    """CSV of 9x9 puzzles to train on."""
    preset: str = "sudoku-extreme"
    """Preset to train."""
    device: str = "cuda"
    """PyTorch device."""
    train_option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ("--validate-every=100",)
    """Passed on to `hrm-rl train` as --NAME=VALUE; may be repeated."""


@dataclass(frozen=True)
class Job(Args):
    """What the parts share: the settings, and the time at which the call ends."""

    deadline: float = 0.0  # time.monotonic()

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def within(self, seconds: float) -> "Job":
        """The same with less time."""
        return dataclasses.replace(self, deadline=time.monotonic() + seconds)

    def found(self, part: str) -> dict[str, Any]:
        """A part's result; empty if it was not tried yet."""
        file = self.out / f"{part}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def is_done(self, part: str) -> bool:
        found = self.found(part)
        return bool(found) and "unfinished" not in found and found.get("exit", 0) == 0


def main(args: Args) -> int:
    if unknown := set(args.only) - set(PARTS):
        print(f"--only takes {', '.join(PARTS)}; got {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    total = 60 * args.minutes
    deadline = time.monotonic() + total - GRACE - WRITING
    # The programs run in the repository, whatever the current folder.
    paths = {k: v.resolve() for k, v in vars(args).items() if isinstance(v, Path)}
    job = Job(**(vars(args) | paths), deadline=deadline)
    job.out.mkdir(parents=True, exist_ok=True)
    measuring = sorted((n for n in PARTS if n not in LAST), key=lambda n: bool(job.found(n)))
    for name in [*measuring, *(n for n in LAST if n in PARTS)]:
        if args.only and name not in args.only:
            continue
        if name not in LAST and job.is_done(name):
            continue
        seconds = allowance(job, name, total)
        if seconds < LEAST:
            print(f"{name}: no time left; call again", flush=True)
            continue
        print(f"{name}: {seconds:.0f} s at most, {job.left():.0f} s left", flush=True)
        start = time.monotonic()
        try:
            result = PARTS[name](job.within(seconds))
        except Exception as error:  # the other parts still run
            result = {"unfinished": f"{type(error).__name__}: {error}"}
        if result is None:
            continue
        result["seconds"] = round(time.monotonic() - start, 1)
        (job.out / f"{name}.json").write_text(json.dumps(result, indent=1))
        print(f"{name}: {json.dumps(result)[:300]}", flush=True)
        write_record(job, {name: result})
    return 0


def allowance(job: Job, name: str, total: float) -> float:
    """Seconds that a part may take now, in a call of `total` seconds."""
    if name in LAST:
        return job.left()
    training = SHORTEST_TRAINING + EVALUATION + GRACE
    keep_free = not job.only and not job.is_done("train") and (job.found(name) or total >= 2 * training)
    most = MOST.get(name, total) + (REFERENCE if name == "bench" and job.reference else 0)
    return min(most, job.left() - (training if keep_free else 0))


# --- the parts ------------------------------------------------------------------------------------


def tests(job: Job) -> dict[str, Any]:
    words = ["-m", "pytest", "-m", "gpu", "-q", "--tb=short", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist"):
        words += ["-n", str(min(8, os.cpu_count() or 1))]
    if importlib.util.find_spec("pytest_timeout"):
        words += ["--timeout", str(ONE_TEST)]
    ran = run(job, "tests", [sys.executable, *words, *files_with_gpu_tests()])
    return ran.outcome() | {"said": ran.stdout.strip().splitlines()[-60:]}


def files_with_gpu_tests() -> list[str]:
    """Paths relative to the repository. Other test files may need packages that a GPU machine lacks, and
    pytest imports every file that it is given."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    marked = [file for file in files if "mark.gpu" in file.read_text(encoding="utf-8")]
    return [file.relative_to(ROOT).as_posix() for file in marked]


def bench(job: Job) -> dict[str, Any]:
    folder = job.out / "bench"
    shutil.rmtree(folder, ignore_errors=True)  # an earlier call's rows
    words = ["bench", "--device", job.device, "--json", "--record", str(folder)]
    if job.reference is not None:
        words += ["--reference", str(job.reference)]
    ran = run(job, "bench", hrm_rl(*words))
    if ran.exit == 0:
        return json_lines(ran.stdout)[-1] | ran.outcome()
    # The rows measured so far, which it records one by one.
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    rows = json.loads(files[-1].read_text()) if files else {}
    return rows | {"unfinished": "it failed"} | ran.outcome()


def kernels(job: Job) -> dict[str, Any]:
    ran = run(job, "kernels", [sys.executable, str(ROOT / "benchmarks" / "kernels.py")])
    return ran.outcome() | {"rows": json_lines(ran.stdout)}


def train(job: Job) -> dict[str, Any] | None:
    """Train in the time left; a run that stops early has its checkpoints."""
    seconds = job.left() - EVALUATION
    if job.is_done("train") or seconds < SHORTEST_TRAINING:
        return None
    folder = job.out / job.preset
    words = ["train", "--resume", "--out", str(folder), "--json"]
    if not newest(folder):
        if (folder / "config.json").exists():
            shutil.rmtree(folder)  # a run without a checkpoint; its folder would be refused
        words = ["train", job.preset, "--out", str(folder), "--json", "--device", job.device]
        words += ["--data", str(job.data)] if job.data else []
        words += job.train_option
    ran = run(job.within(seconds), "train", hrm_rl(*words))
    last, found = (json_lines(ran.stdout) or [{}])[-1], newest(folder)
    failed = {"unfinished": "it failed"} if ran.exit else {}
    return last | {"checkpoint": found.name if found else None} | failed | ran.outcome()


def evaluate(job: Job) -> dict[str, Any] | None:
    """Evaluate the newest checkpoint on the same puzzles, at the limit and by Q-halting."""
    folder = job.out / job.preset
    checkpoint = newest(folder)
    if checkpoint is None:
        return None
    result: dict[str, Any] = {"checkpoint": checkpoint.name}
    known = job.found("evaluate")
    if known.get("checkpoint") == checkpoint.name:
        if job.is_done("evaluate"):
            return None
        result |= {name: known[name] for name in ("limit", "q") if name in known}
    for name, halting in (("limit", "fixed:1000000"), ("q", "q")):
        if name in result:
            continue
        if job.left() < LEAST:
            return result | {"unfinished": "out of time"}
        words = ["eval", str(folder), "--halting", halting, "--device", job.device, "--json"]
        words += ["--puzzles", str(TEST_PUZZLES), "--batch-size", "768"]
        ran = run(job, f"evaluate-{name}", hrm_rl(*words))
        if ran.exit == 0:
            result[name] = json_lines(ran.stdout)[-1]
        else:
            result |= {"unfinished": f"{name} failed"} | ran.outcome()
    return result


PARTS: dict[str, Callable[[Job], dict[str, Any] | None]] = {
    "tests": tests,
    "bench": bench,
    "kernels": kernels,
    "train": train,
    "evaluate": evaluate,
}


def run(job: Job, name: str, words: list[str]) -> Ran:
    """Run a program in the repository in the time left; its output goes to OUT/NAME.out and .err."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return run_program(words, job.left(), job.out / name, ROOT, variables, GRACE)


def hrm_rl(*words: str) -> list[str]:
    return [sys.executable, "-m", "hrm_rl.cli", *words]


def newest(folder: Path) -> Path | None:
    found = sorted((folder / "checkpoints").glob("step-*[0-9]"))
    return found[-1] if found else None


# --- the record -----------------------------------------------------------------------------------


def write_record(job: Job, results: dict[str, Any]) -> None:
    """Write all results of this machine to one file a day."""
    about = machine(job.device)
    name = re.sub(r"[^a-z0-9]+", "-", about["gpu"].lower()).strip("-")
    path = job.record / f"{about['date']}-{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    job.record.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | about | results, indent=1) + "\n")


def machine(device: str) -> dict[str, Any]:
    import torch

    try:
        import triton
    except ImportError:
        triton = None
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton and triton.__version__,
        "command": "python benchmarks/gpu.py",
    }


if __name__ == "__main__":
    # A program started in the background may ignore interrupts, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # End the running program together with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(tyro.cli(Args, description=__doc__)))
