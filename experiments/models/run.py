"""Train HRM, TRM, a recurrent and a direct transformer on Sudoku and mazes, compared at equal compute.

    python experiments/models/run.py

The runs are studies of `hrm-rl sweep`, and those of through_segments.py; finished ones in --work are not
repeated. Test puzzles of held-out classes judge the trained models, validation puzzles give the curves.
results.json and curves.png are written beside this file.
"""

import json
import logging
import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from PIL import Image
from through_segments import train, trainer_of

from hrm_rl.analysis.figures import COLOURS, save
from hrm_rl.analysis.statistics.stats import mean_interval
from hrm_rl.bench.roofline import step_work
from hrm_rl.evaluation import record
from hrm_rl.evaluation.flops import segment_gflop
from hrm_rl.files import read_text, write_text
from hrm_rl.halting import replay
from hrm_rl.sweep import sweep
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.dry_run import dry_run
from hrm_rl.training.loop import Trainer
from hrm_rl.training.open_run import open_trained
from hrm_rl.training.run_folder import RunFolder

HERE = Path(__file__).parent
# The studies of each world; a group is a model with its gradient.
WORLDS = {"4x4": ("study", "lower_rate"), "6x6": ("six", "six_half_rate"), "maze": ("maze",)}
# HRM on 4x4 also learns with a gradient through so many segments.
SEGMENTS = (2, 8)
AXES = {"step": "steps", "tflop": "TFLOP of training", "seconds": "seconds of one core"}


@dataclass(frozen=True)
class Study:
    """Compare recurrences on 4x4 and 6x6 Sudoku and on mazes."""

    puzzles: int = 1000
    """Test puzzles, of held-out classes."""
    work: Path = Path("runs/models")
    """Folder for the runs."""
    workers: int | None = None
    """Trainings at a time; by default one a processor."""
    results: Path = HERE / "results.json"
    """File to write; the figure is written beside it."""
    keep: bool = False
    """Keep what the file has of models with the same seeds, in place of judging them again."""


def main(study: Study) -> None:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    before = json.loads(read_text(study.results))["worlds"] if study.keep else {}
    found: dict[str, Any] = {}
    for world, names in WORLDS.items():
        options: Any = {"workers": study.workers, "threads": 1}
        reports = [sweep(HERE / f"{name}.toml", study.work / name, **options) for name in names]
        trials = [trial for report in reports for trial in report["trials"]]
        trials += through_segments(study, trials) if world == "4x4" else []
        found[world] = compared(study, trials, before.get(world, {}).get("arms", {}))
        print(f"\n**{world}**\n\n{table(found[world])}")
    spent = [arm["training_cpu_seconds"] for world in found.values() for arm in world["arms"].values()]
    print(f"\nTraining took {sum(spent) / 60:.0f} minutes of CPU time.")
    draw(found, study.results.with_name("curves.png"))
    write_text(study.results, json.dumps({"worlds": found, "machine": machine()}, indent=1) + "\n")


def through_segments(study: Study, trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Train HRM's runs with a gradient through several segments; the finished runs as trials."""
    found = []
    for trial in trials:
        for segments in SEGMENTS if trial["group"] == "hrm" else ():
            run = study.work / "segments" / f"{segments}" / f"seed-{trial['seed']}"
            run.parent.mkdir(parents=True, exist_ok=True)
            name = f"hrm, through {segments} segments"
            more = {"group": name, "segments": segments, "like": trial["run"], "run": str(run)}
            found.append({**trial, **more})
    with ProcessPoolExecutor(study.workers, get_context("spawn")) as pool:
        works = [
            pool.submit(train, trial["like"], Path(trial["run"]), trial["segments"], trial["seed"])
            for trial in found
        ]
    for work in works:
        work.result()
    return found


def compared(study: Study, trials: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> dict[str, Any]:
    """Every arm's cost, runs and means, and all arms at equal steps, operations and time; `before` has arms
    that are kept."""
    torch.set_num_threads(1)
    finished = [trial for trial in trials if trial["state"] == "finished"]
    cost(finished[0])  # not kept: the first one also measures what a process allocates once
    arms: dict[str, dict[str, Any]] = {}
    for group in dict.fromkeys(trial["group"] for trial in finished):
        of, name = [trial for trial in finished if trial["group"] == group], group.replace(",-", ", ")
        arm = before.get(name, {})
        if [run["seed"] for run in arm.get("runs", ())] != [trial["seed"] for trial in of]:
            price = cost(of[0])
            arm = {"cost": price, "runs": [judge(study, trial, price) for trial in of]}
        steps = [run["curve"]["step"][-1] for run in arm["runs"]]
        spent = sum(steps) * arm["cost"]["step_seconds"]
        arms[name] = arm | {"mean": means(arm["runs"]), "training_cpu_seconds": spent}
    return {"arms": arms, "equal": {axis: equal(arms, axis) for axis in AXES}}


def machine() -> dict[str, str]:
    """When and where a study ran."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "command": "python experiments/models/run.py",  # its options name folders and workers only
    }


def cost(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters, and operations, seconds and memory of an update, of which some are measured."""
    segments, (preset, compute) = trial.get("segments", 1), RunFolder(trial["run"]).config()
    make = partial(Trainer, preset, compute, RunFolder("unused"))
    if segments > 1:
        make = partial(trainer_of, trial["like"], Path("unused"), segments, 0)
    plan = dry_run(make)
    return {
        "parameters": plan.parameters,
        "segment_gflop": segment_gflop(preset.model)["segment"],
        "step_gflop": segments * step_work(preset.model, preset.learner, preset.batch_size).flops / 1e9,
        # Other work on the machine lengthens the clock's seconds more than the processor's.
        "step_seconds": segments * plan.step_seconds * plan.cpu_share,
        "cpu_share": plan.cpu_share,
        "activations_mb": plan.memory.activations / 1e6,
        "peak_mb": None if plan.measured_peak is None else plan.measured_peak / 1e6,
    }


def judge(study: Study, trial: Mapping[str, Any], of_step: Mapping[str, Any]) -> dict[str, Any]:
    """Test puzzles solved at the limit and by the run's own rule, and the curve of validation puzzles."""
    trained = open_trained(trial["run"])
    puzzles = generated_puzzles(trained.kind, "test", study.puzzles)
    bank = record(trained.model, puzzles, validator=trained.validator())
    own = replay(bank, trained.rule)
    lines = RunFolder(trial["run"]).metrics()
    curve = [(line["step"], line["eval/valid_accuracy"]) for line in lines if "eval/valid_accuracy" in line]
    steps = [0, *(step // trial.get("segments", 1) for step, _ in curve)]
    return {
        "seed": trial["seed"],
        "limit": float(bank.valid[:, -1].mean()),
        "own": float(own.valid.mean()),
        "segments": float(own.stopped.mean()),
        "curve": {
            "step": steps,
            "tflop": [step * of_step["step_gflop"] / 1e3 for step in steps],
            "seconds": [step * of_step["step_seconds"] for step in steps],
            "accuracy": [0.0, *(accuracy for _, accuracy in curve)],
        },
    }


def means(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over seeds and 95 % interval of each figure."""
    return {name: mean_interval([run[name] for run in runs]) for name in ("limit", "own", "segments")}


def equal(arms: Mapping[str, Mapping[str, Any]], axis: str) -> dict[str, Any]:
    """Validation accuracy of every arm where the axis reaches the shortest run of several segments; an arm
    that ends before has none. Between two validations it is interpolated."""
    ends = {name: arm["runs"][0]["curve"][axis][-1] for name, arm in arms.items()}
    at = min(end for name, end in ends.items() if not name.startswith("direct"))
    shares = {
        name: mean_interval([np.interp(at, r["curve"][axis], r["curve"]["accuracy"]) for r in arm["runs"]])
        for name, arm in arms.items()
        if ends[name] >= 0.999 * at
    }
    return {"at": at, "accuracy": shares}


def table(found: Mapping[str, Any]) -> str:
    """The table of the README."""
    heads = ["model", "parameters", "GFLOP a segment", "GFLOP a step", "s a step", "peak MB"]
    heads += ["solved at the limit", "by its own rule", "segments"]
    heads += [f"at {found['equal'][axis]['at']:.3g} {words}" for axis, words in AXES.items()]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name, arm in found["arms"].items():
        of, mean = arm["cost"], arm["mean"]
        cells = [f"`{name}`", f"{of['parameters']:,}", f"{of['segment_gflop']:.4f}"]
        cells += [f"{of['step_gflop']:.1f}", f"{of['step_seconds']:.3f}", f"{of['peak_mb'] or np.nan:.0f}"]
        cells += [share(mean["limit"]), share(mean["own"]), f"{mean['segments'][0]:.2f}"]
        cells += [share(found["equal"][axis]["accuracy"].get(name)) for axis in AXES]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share(mean: tuple[float, list[float] | None] | None) -> str:
    """A share with its interval: "98.7 % [97.9, 99.4]"."""
    if mean is None:
        return "-"
    low, high = (100 * end for end in mean[1] or (np.nan, np.nan))
    return f"{100 * mean[0]:.1f} % [{low:.1f}, {high:.1f}]"


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Validation accuracy over steps, operations and seconds: mean of the seeds, and their range."""
    figure = Figure(figsize=(13, 4 * len(found)), layout="constrained")
    names = list(dict.fromkeys(name for world in found.values() for name in world["arms"]))
    places = figure.subplots(len(found), len(AXES), sharey=True, squeeze=False)
    for row, (world, of) in zip(places, found.items(), strict=True):
        for axes, (axis, words) in zip(row, AXES.items(), strict=True):
            for name, arm in of["arms"].items():
                curves = 100 * np.array([run["curve"]["accuracy"] for run in arm["runs"]])
                at, turn = arm["runs"][0]["curve"][axis], names.index(name)
                colour, line = COLOURS[turn % len(COLOURS)], ("-", "--", ":")[turn // len(COLOURS)]
                axes.plot(at, curves.mean(0), line, marker="o", ms=3, color=colour, label=name)
                axes.fill_between(at, curves.min(0), curves.max(0), color=colour, alpha=0.12)
            axes.set(xlabel=words, title=world)
            axes.grid(alpha=0.3)
        row[0].set_ylabel("validation puzzles solved (%)")
        row[-1].legend(fontsize=7.5)
    save(figure, path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
