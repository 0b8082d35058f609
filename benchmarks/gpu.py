"""Everything a GPU machine should answer, in parts that stop in time and go on at the next call.

    python benchmarks/gpu.py --out runs/gpu --minutes 10 [--reference CLONE_OF_SAPIENTINC_HRM]
                             [--data sudoku.csv] [--record benchmarks/records]

1. tests     `pytest -m gpu`
2. kernels   benchmarks/kernels.py: every kernel beside PyTorch's own and torch.compile
3. bench     `hrm-rl bench --device cuda`, with --reference also beside the reference implementation
4. train     `hrm-rl train sudoku-extreme`, the paper's recipe, for the time that is left; the next call
             goes on from the newest checkpoint
5. evaluate  the newest checkpoint at the limit of segments and by Q-halting, on the same test puzzles

A part that went well leaves OUT/PART.json and is not run again; `train` ends at the preset's last step,
and `evaluate` is repeated whenever there is a newer checkpoint. After every part all that is known is
written to RECORD/DATE-GPU.json. A part that fails says so there, and the others go on.
"""

import argparse
import datetime
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

# What `evaluate` takes at most, in seconds; `train` leaves it that.
EVALUATION = 90
# Training shorter than this would not reach a checkpoint.
SHORTEST_TRAINING = 60
TEST_PUZZLES = 2000


@dataclass(frozen=True)
class Job:
    """What the parts share."""

    out: Path
    deadline: float  # time.monotonic()
    reference: Path | None
    data: Path | None
    preset: str
    device: str
    options: tuple[str, ...]  # of `hrm-rl train`

    def left(self) -> float:
        return self.deadline - time.monotonic()


def main() -> int:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    job = Job(
        args.out,
        time.monotonic() + 60 * args.minutes,
        args.reference,
        args.data,
        args.preset,
        args.device,
        tuple(args.train_option),
    )
    for name, part in PARTS.items():
        done = job.out / f"{name}.json"
        if done.exists() and name not in ("train", "evaluate"):
            continue
        if job.left() < 20:
            print(f"{name}: no time left; call again", flush=True)
            break
        print(f"{name}: {job.left():.0f} s left", flush=True)
        start = time.monotonic()
        try:
            result = part(job)
        except subprocess.TimeoutExpired as error:
            # Bytes, even with text=True.
            said = (error.stdout or b"").decode(errors="replace")
            result = {"unfinished": "out of time", "rows": json_lines(said)}
        if result is None:
            continue
        result["seconds"] = round(time.monotonic() - start, 1)
        if "unfinished" not in result and result.get("exit", 0) == 0:
            done.write_text(json.dumps(result, indent=1))
        print(f"{name}: {json.dumps(result)[:300]}", flush=True)
        record(job, args.record, {name: result})
    return 0


def tests(job: Job) -> dict[str, Any]:
    done = run(job, [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"])
    return {"exit": done.returncode, "said": done.stdout.strip().splitlines()[-20:]}


def kernels(job: Job) -> dict[str, Any]:
    done = run(job, [sys.executable, str(HERE / "kernels.py")])
    return {"exit": done.returncode, "rows": json_lines(done.stdout), **complaint(done)}


def bench(job: Job) -> dict[str, Any]:
    words = ["bench", "--device", job.device, "--json"]
    if job.reference is not None:
        words += ["--reference", str(job.reference)]
    done = run(job, hrm_rl(*words))
    return (json_lines(done.stdout) or [{}])[-1] | {"exit": done.returncode, **complaint(done)}


def train(job: Job) -> dict[str, Any] | None:
    """Trains for the time left; a run that stops early has its checkpoints."""
    seconds = job.left() - EVALUATION
    if (job.out / "train.json").exists() or seconds < SHORTEST_TRAINING:
        return None
    folder = job.out / job.preset
    words = ["train", "--resume", "--out", str(folder), "--json"]
    if not newest(folder):
        words = ["train", job.preset, "--out", str(folder), "--json", "--device", job.device]
        words += ["--data", str(job.data)] if job.data else []
        words += job.options
    process = subprocess.Popen(
        hrm_rl(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        found = newest(folder)
        return {"unfinished": "out of time", "checkpoint": found.name if found else None}
    last = (json_lines(said) or [{}])[-1]
    return last | ({} if process.returncode == 0 else {"unfinished": "it failed"})


def evaluate(job: Job) -> dict[str, Any] | None:
    """The newest checkpoint on the same puzzles, at the limit and by Q-halting."""
    folder = job.out / job.preset
    checkpoint = newest(folder)
    known = job.out / "evaluate.json"
    if checkpoint is None:
        return None
    if known.exists() and json.loads(known.read_text())["checkpoint"] == checkpoint.name:
        return None
    result: dict[str, Any] = {"checkpoint": checkpoint.name}
    for name, halting in (("limit", "fixed:1000000"), ("q", "q")):
        words = ["eval", str(folder), "--halting", halting, "--device", job.device, "--json"]
        words += ["--puzzles", str(TEST_PUZZLES), "--batch-size", "768"]
        done = run(job, hrm_rl(*words))
        result[name] = (json_lines(done.stdout) or [{}])[-1] | complaint(done)
    return result


PARTS: dict[str, Callable[[Job], dict[str, Any] | None]] = {
    "tests": tests,
    "kernels": kernels,
    "bench": bench,
    "train": train,
    "evaluate": evaluate,
}


def run(job: Job, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command for the time left at most. Raises subprocess.TimeoutExpired, whose stdout is what
    it had said by then."""
    return subprocess.run(
        words, capture_output=True, text=True, timeout=max(1, job.left()), cwd=HERE.parent
    )


def hrm_rl(*words: str) -> list[str]:
    return [sys.executable, "-m", "hrm_rl.cli", *words]


def json_lines(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects; warnings may stand between them."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def complaint(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return {} if done.returncode == 0 else {"stderr": done.stderr.strip().splitlines()[-10:]}


def newest(folder: Path) -> Path | None:
    found = sorted((folder / "checkpoints").glob("step-*[0-9]"))
    return found[-1] if found else None


def record(job: Job, folder: Path, results: dict[str, Any]) -> None:
    """All that is known of this machine, in one file a day."""
    about = machine(job.device)
    name = re.sub(r"[^a-z0-9]+", "-", about["gpu"].lower()).strip("-")
    path = folder / f"{about['date']}-{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="working folder")
    parser.add_argument("--minutes", type=float, default=10, help="time for this call")
    parser.add_argument("--reference", type=Path, help="a local clone of sapientinc/HRM")
    parser.add_argument("--data", type=Path, help="CSV of 9x9 puzzles to train on")
    parser.add_argument("--record", type=Path, default=HERE / "records", help="where to keep")
    parser.add_argument("--preset", default="sudoku-extreme", help="what to train")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--train-option",
        action="append",
        default=["--validate-every=500"],
        metavar="--NAME=VALUE",
        help="passed on to `hrm-rl train`; may be repeated",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
