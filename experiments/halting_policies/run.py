"""Train HRMs on two worlds, record them, and compare rules for stopping on puzzles never seen.

    python experiments/halting_policies/run.py              # three seeds a world, about 40 minutes
    python experiments/halting_policies/run.py --full       # five seeds, the presets' whole length

Trains as many runs at a time as there are cores, one thread each. Runs and recordings stay in --work,
and what is in there already is not made again. The reports go to results/ beside this file.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image

HERE = Path(__file__).parent
# Training steps of the short study; None is the preset's own number.
WORLDS: dict[str, int | None] = {"sudoku-6x6": 2000, "sudoku-4x4": None}
# Other puzzles than the default ones, on which some rules' own settings were tried out.
PUZZLES_SEED = 7
LEARNED_BY_RL = ("pqn:auto", "sb3:dqn:auto")


@dataclass(frozen=True)
class Study:
    """Compare stopping rules on 4x4 and 6x6 Sudoku."""

    full: bool = False
    """Five seeds, and 6x6 trained to the end of its preset."""
    seeds: int = 3
    """Runs a world, with the seeds 0, 1, ..."""
    puzzles: int = 2000
    """Puzzles of held-out classes to choose thresholds on, and as many others to judge on."""
    cost: float = 0.01
    """Price of a segment at which rules are chosen and tested."""
    work: Path = Path("runs/halting_policies")
    """Folder for the runs and recordings."""
    results: Path = HERE / "results"
    """Folder for the reports."""
    workers: int = os.cpu_count() or 1
    """Runs trained at a time."""


def main(study: Study) -> None:
    seeds = range(5 if study.full else study.seeds)
    with ThreadPoolExecutor(study.workers) as pool:
        jobs = [
            pool.submit(train, study, world, None if study.full else steps, seed)
            for world, steps in WORLDS.items()
            for seed in seeds
        ]
        for job in jobs:
            job.result()
    trained = time.perf_counter()
    for world in WORLDS:
        compare(study, world, [folder(study, world, seed) for seed in seeds])
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "torch": torch.__version__,
        "command": " ".join(["python", "experiments/halting_policies/run.py", *sys.argv[1:]]),
        "seeds": len(seeds),
        "training_seconds": {
            world: [training_seconds(folder(study, world, seed)) for seed in seeds] for world in WORLDS
        },
        "seconds_in_comparing": time.perf_counter() - trained,
    }
    (study.results / "machine.json").write_text(json.dumps(record, indent=1) + "\n")


def folder(study: Study, world: str, seed: int) -> Path:
    return study.work / f"{world}-seed{seed}"


def train(study: Study, world: str, steps: int | None, seed: int) -> None:
    """One run in a process of its own, on one thread; nothing if it is there and finished."""
    run = folder(study, world, seed)
    if (run / "seconds.json").exists():
        return
    shutil.rmtree(run, ignore_errors=True)
    length = [] if steps is None else ["--max-steps", str(steps)]
    start = time.perf_counter()
    # The presets' targets when the results were made.
    target = "full" if world == "sudoku-4x4" else "subsample:0.25"
    words = ["--seed", str(seed), "--q-target", target, *length]
    hrm_rl("train", world, "--out", str(run), *words)
    (run / "seconds.json").write_text(json.dumps(time.perf_counter() - start))


def training_seconds(run: Path) -> float:
    return round(json.loads((run / "seconds.json").read_text()))


def compare(study: Study, world: str, runs: list[Path]) -> None:
    """The report of a world; what others need of it goes to results/, the recordings stay."""
    from hrm_rl.analysis.compare.settings import DEFAULT_POLICIES

    out = study.work / f"compare-{world}"
    policies = [policy for policy in DEFAULT_POLICIES if policy not in ("first-correct", "oracle")]
    policies += [*LEARNED_BY_RL, "first-correct", "oracle"]
    words = ["--out", str(out), "--puzzles", str(study.puzzles), "--cost", f"{study.cost:g}"]
    words += ["--seed", str(PUZZLES_SEED)]
    hrm_rl("compare", *map(str, runs), *words, "--policies", *policies)
    kept = study.results / world
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copy(out / "compare.md", kept)
    for file in out.glob("*.png"):
        Image.open(file).convert("RGB").quantize(128).save(kept / file.name, optimize=True)
    report: dict[str, Any] = json.loads((out / "compare.json").read_text())
    for long in ("curves", "difficulty"):
        report.pop(long, None)
    for row in report["policies"]:
        row.pop("curve", None)
    (kept / "compare.json").write_text(json.dumps(report, indent=1) + "\n")


def hrm_rl(*words: str) -> None:
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "hrm_rl.cli", *words], check=True, env=os.environ | single)


if __name__ == "__main__":
    main(tyro.cli(Study))
