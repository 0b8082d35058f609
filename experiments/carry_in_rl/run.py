"""HRM in reinforcement learning: do a kept carry and more segments help?

    python experiments/carry_in_rl/run.py               # five seeds, two processes: under an hour
    python experiments/carry_in_rl/run.py --full        # ten seeds, four times the steps
    python experiments/carry_in_rl/run.py --report      # the table and figure of the stored runs

Every finished run is stored in results.json beside this file; stored runs are not repeated.
"""

import json
import multiprocessing
import platform
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from arms import TASKS  # noqa: E402

from hrm_rl.analysis.statistics.bootstrap import percentile_interval, stratified_bootstrap  # noqa: E402
from hrm_rl.analysis.statistics.stats import interquartile_mean  # noqa: E402


@dataclass(frozen=True)
class Study:
    """Train every arm of every task, then compare them."""

    seeds: int = 5
    """Runs of each arm, with seeds 0, 1, 2, ..."""
    steps_factor: int = 1
    """Factor on the steps of each task."""
    full: bool = False
    """Ten seeds and four times the steps."""
    jobs: int = 2
    """Parallel processes, of one thread each."""
    report: bool = False
    """Write the table and figure of the stored runs, without training."""
    results: Path = HERE / "results.json"
    """File to write, and to resume from."""


def main(study: Study) -> None:
    seeds, factor = (10, 4) if study.full else (study.seeds, study.steps_factor)
    done: dict[str, Any] = {"runs": []}
    if study.results.exists():
        done = json.loads(study.results.read_text())
    if not study.report:
        train(study, seeds, factor, done)
    runs = [run for run in done["runs"] if run["factor"] == factor]
    if not runs:
        raise SystemExit(f"{study.results} holds no runs of {factor} times the steps")
    print(table(runs))
    draw(runs, study.results.with_suffix(".png"))


def train(study: Study, seeds: int, factor: int, done: dict[str, Any]) -> None:
    known = {(run["task"], run["arm"], run["seed"], run["factor"]) for run in done["runs"]}
    jobs = [
        (name, arm, seed, factor)
        for seed in range(seeds)
        for name, task in TASKS.items()
        for arm in task.arms
        if (name, arm, seed, factor) not in known
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(study.jobs, spawn) as pool:
        for count, future in enumerate(as_completed([pool.submit(one, *job) for job in jobs]), 1):
            run = future.result()
            done["runs"].append(run)
            done["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
            done["torch"] = torch.__version__
            study.results.write_text(json.dumps(done, indent=1) + "\n")
            line = f"{run['task']}, {run['arm']}, seed {run['seed']}: {run['score']:.3f}"
            print(f"{count} of {len(jobs)}: {line}, {run['cpu_seconds']:.0f} s", flush=True)


def one(name: str, arm: str, seed: int, factor: int) -> dict[str, Any]:
    """Train and evaluate one run, in its own process."""
    torch.set_num_threads(1)
    task = TASKS[name]
    about = {"task": name, "arm": arm, "seed": seed, "factor": factor}
    return about | task.arms[arm](seed, factor * task.steps)


def table(runs: list[dict[str, Any]]) -> str:
    """A Markdown table for each task: IQM over runs with its 95 % interval."""
    lines = []
    for name, task in TASKS.items():
        lines += [
            f"**{task.title}** (best {task.best:g}, at random {task.chance:.3g})",
            "",
            "| arm | runs | IQM of the score | 95 % interval | scores | segments | parameters | CPU s |",
            "| --- | ---: | ---: | --- | --- | ---: | ---: | ---: |",
        ]
        for arm in task.arms:
            of_arm = [run for run in runs if run["task"] == name and run["arm"] == arm]
            if of_arm:
                lines.append(_row(arm, of_arm))
        lines.append("")
    return "\n".join(lines)


def _row(arm: str, runs: list[dict[str, Any]]) -> str:
    scores = np.array([[run["score"]] for run in runs])
    low, high = percentile_interval(stratified_bootstrap(scores, interquartile_mean))
    segments = np.mean([run["segments"] for run in runs])
    cells = [
        arm,
        str(len(runs)),
        f"{float(interquartile_mean(scores)):.3f}",
        f"[{low:.3f}, {high:.3f}]",
        " ".join(f"{score:.2f}" for score in sorted(scores[:, 0])),
        f"{segments:.2f}" if segments else "",
        f"{runs[0]['parameters']:,}",
        f"{np.mean([run['cpu_seconds'] for run in runs]):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Plot learning curves: the mean over runs, and the range from worst to best."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(TASKS), figsize=(11, 4.6), layout="constrained")
    for ax, (name, task) in zip(axes, TASKS.items(), strict=True):
        for arm in task.arms:
            curves = [run["curve"] for run in runs if (run["task"], run["arm"]) == (name, arm)]
            if curves:
                _draw_arm(ax, arm, curves)
        ax.set(title=task.title, xlabel="steps of the environments", ylabel=task.measure)
        ax.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    figure.savefig(path, dpi=110)


def _draw_arm(ax: Any, arm: str, curves: list[list[list[float]]]) -> None:
    shown = min(map(len, curves))
    points: NDArray[np.float64] = np.array([curve[:shown] for curve in curves])
    steps, values = points[0, :, 0], points[..., 1]
    (line,) = ax.plot(steps, values.mean(0), label=arm)
    ax.fill_between(steps, values.min(0), values.max(0), color=line.get_color(), alpha=0.12)


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
