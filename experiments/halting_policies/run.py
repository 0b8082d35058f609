"""Train HRMs on two worlds, record them, and compare rules for stopping on puzzles never seen.

    python experiments/halting_policies/run.py              # three seeds a world, about 40 minutes
    python experiments/halting_policies/run.py --study experiments/halting_policies/full.toml

The runs are a study of `hrm-rl sweep`. They and the recordings stay in --work, and what is in there already
is not made again. The reports go to results/ beside this file.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image

HERE = Path(__file__).parent
# Other puzzles than the default ones, on which some rules' own settings were tried out.
PUZZLES_SEED = 7
LEARNED_BY_RL = ("pqn:auto", "sb3:dqn:auto")


@dataclass(frozen=True)
class Study:
    """Compare stopping rules on 4x4 and 6x6 Sudoku."""

    study: Path = HERE / "study.toml"
    """The runs to train: each group is a world, and its seeds are pooled."""
    puzzles: int = 2000
    """Puzzles of held-out classes to choose thresholds on, and as many others to judge on."""
    cost: float = 0.01
    """Price of a segment at which rules are chosen and tested."""
    work: Path = Path("runs/halting_policies")
    """Folder for the runs and recordings."""
    results: Path = HERE / "results"
    """Folder for the reports."""


def main(study: Study) -> None:
    hrm_rl("sweep", str(study.study), "--out", str(study.work / study.study.stem))
    trained = time.perf_counter()
    report = json.loads((study.work / study.study.stem / "sweep.json").read_text())
    worlds = {
        group["group"]: [row for row in report["trials"] if row["group"] == group["group"]]
        for group in report["groups"]
    }
    for world, trials in worlds.items():
        compare(study, world, [Path(trial["run"]) for trial in trials])
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "torch": torch.__version__,
        "command": " ".join(["python", "experiments/halting_policies/run.py", *sys.argv[1:]]),
        "training_seconds": {
            world: [round(trial["seconds"]) for trial in trials] for world, trials in worlds.items()
        },
        "seconds_in_comparing": time.perf_counter() - trained,
    }
    (study.results / "machine.json").write_text(json.dumps(record, indent=1) + "\n")


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
