"""Validation accuracy of a sweep's finished runs over steps and seconds.

    python experiments/curves.py runs/nine experiments/relation_bias/nine.json --reach 0.676

writes a file, and prints the means over seeds.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import tyro

from hrm_rl.analysis.statistics.stats import mean_interval
from hrm_rl.files import write_text
from hrm_rl.training.run_folder import RunFolder


@dataclass(frozen=True)
class Curves:
    """Gather the validation curves of a sweep's finished runs."""

    sweep: Annotated[Path, tyro.conf.Positional]
    """Folder of `hrm-rl sweep`."""
    results: Annotated[Path, tyro.conf.Positional]
    """File to write."""
    reach: float | None = None
    """Also the first step of each run whose accuracy is at least this."""


def main(curves: Curves) -> None:
    arms: dict[str, Any] = {}
    for run in sorted(path.parent for path in curves.sweep.glob("*/seed-*/metrics.jsonl")):
        lines = RunFolder(run).metrics()
        points = [line for line in lines if "eval/exact_accuracy" in line]
        if not points or points[-1]["step"] < RunFolder(run).config()[0].max_steps:
            continue
        speeds = [line["time/steps_per_second"] for line in lines if "time/steps_per_second" in line]
        arms.setdefault(run.parent.name, {})[run.name] = {
            "step": [line["step"] for line in points],
            "accuracy": [line["eval/exact_accuracy"] for line in points],
            "seconds_a_step": round(1 / median(speeds), 4),
        }
    write_text(curves.results, json.dumps({"arms": arms}) + "\n")
    for name, runs in arms.items():
        print(f"{name}: {len(runs)} runs, {mean(runs, 'seconds_a_step'):.3f} s a step")
        for turn, step in enumerate(next(iter(runs.values()))["step"]):
            share, interval = mean_interval([run["accuracy"][turn] for run in runs.values()])
            ends = "" if interval is None else " [{:.1f}, {:.1f}]".format(*(100 * end for end in interval))
            print(f"  {step:6,} {100 * share:5.1f} %{ends}")
        if curves.reach is not None:
            print(f"  {curves.reach:.1%} reached at", [first(run, curves.reach) for run in runs.values()])


def mean(runs: dict[str, Any], name: str) -> float:
    return float(np.mean([run[name] for run in runs.values()]))


def first(run: dict[str, Any], reach: float) -> int | None:
    """The first validation at which a run has reached an accuracy."""
    return next((s for s, a in zip(run["step"], run["accuracy"], strict=True) if a >= reach), None)


if __name__ == "__main__":
    main(tyro.cli(Curves, description=__doc__))
