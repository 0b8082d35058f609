"""Is compute better spent on more segments or on more trajectories, and which selector picks best among them?

    python experiments/models/run.py            # trains the 4x4 and 6x6 models
    python experiments/depth_and_width/run.py

Records each model on test puzzles of held-out classes twice: one trajectory to eight times the limit of its
training, and 16 symmetric views (all 8 of a maze) to four times the limit, on the larger boards to twice the
limit. Banks in --work are used again. results.json and accuracy_gflop.png are written beside this file.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hrm_rl.analysis.figures import COLOURS, GREY, save
from hrm_rl.analysis.statistics.bootstrap import (
    nested_bootstrap,
    nested_means,
    percentile_interval,
    two_sided_p,
)
from hrm_rl.analysis.statistics.stats import holm
from hrm_rl.evaluation import record
from hrm_rl.evaluation.trajectories import Trajectories
from hrm_rl.files import write_text
from hrm_rl.halting import TraceBank, replay
from hrm_rl.puzzles.maze import Maze
from hrm_rl.puzzles.sudoku import Sudoku
from hrm_rl.training.open_run import open_trained

HERE = Path(__file__).parent
SELECTORS = (
    "first",
    "best:q-halt",
    "best:confidence",
    "best:entropy",
    "best:residual",
    "vote",
    "vote:q-halt",
    "oracle",
)
WIDTHS = (2, 4, 8, 16)
DEEPER = 8
TESTED = (1, 2)
"""The multiples of the limit at which selectors are tested."""


@dataclass(frozen=True)
class Study:
    """Depth against width, with eight selectors."""

    runs: Path = Path("runs/models")
    """Folder of the runs of experiments/models."""
    puzzles: int = 200
    """Test puzzles of each world."""
    dtype: str = "bfloat16"
    """Of the models, as in their training; machines without instructions for it take float32 sooner."""
    draws: int = 10_000
    """Bootstrap draws."""
    work: Path = Path("runs/depth_and_width")
    """Folder for the banks."""
    results: Path = HERE / "results.json"
    """File to write; the figure is written beside it."""


@dataclass(frozen=True)
class World:
    """Puzzles, and the models that solve them."""

    family: Any
    models: Sequence[str]
    views: int = WIDTHS[-1]
    wide_deeper: int = 4
    """The multiple of the limit to which the views run."""


class Recorded:
    """One model's banks, and what each number of segments and each selector answers."""

    def __init__(self, deep: TraceBank, wide: TraceBank, limit: int) -> None:
        self.wide, self.limit = wide, limit
        rooms = [replay(deep, "q", max_segments=room) for room in range(1, deep.num_segments + 1)]
        self.halting = np.stack([out.correct for out in rooms], 1).astype(float)  # [N, M]
        self.halting_cost = np.array([out.stopped.mean() for out in rooms])
        self.fixed = deep.correct.astype(float)
        self.gflop = deep.header.gflop_per_segment["segment"]

    def single(self, cost: float) -> NDArray[np.float64]:
        """Of one trajectory at this mean cost, the better of Q-halting and a constant: share right, [N].

        Between two limits, each is taken on some of the puzzles, drawn at random; beyond the last, the last.
        """
        ways = [(self.halting_cost, self.halting), (np.arange(1, self.fixed.shape[1] + 1), self.fixed)]
        found = []
        for costs, correct in ways:
            high = min(int(np.searchsorted(costs, cost)), len(costs) - 1)
            low = max(high - 1, 0)
            gap = costs[high] - costs[low]
            weight = float(np.clip((cost - costs[low]) / gap, 0, 1)) if gap > 0 else 1.0
            found.append((1 - weight) * correct[:, low] + weight * correct[:, high])
        return max(found, key=lambda correct: float(correct.mean()))

    def contested(self) -> dict[str, float]:
        """Share of right answers at the limit, on puzzles that some but not all trajectories solve there."""
        each = self.wide.unrolled.correct[:, self.limit - 1].reshape(len(self.wide), -1)
        rows = each.any(1) & ~each.all(1)
        if not rows.any():
            return {"puzzles": 0}
        found = {"puzzles": int(rows.sum()), "one at random": float(each[rows].mean())}
        for by in SELECTORS[1:-1]:
            out = replay(self.wide, f"select(fixed:{self.limit}, {by})", max_segments=self.limit)
            found[by] = float(out.correct[rows].mean())
        return found


def main(study: Study) -> None:
    torch.set_num_threads(1)
    seeds = {name: sorted(map(str, study.runs.glob(f"{name}/hrm/seed-?"))) for name in ("study", "six")}
    worlds = {
        "Sudoku 4x4, minimal": World(Sudoku(4, (0, 0)), seeds["study"]),
        "Sudoku 6x6, 0 to 20 extra givens": World(Sudoku(6, (0, 20)), seeds["six"]),
        "Sudoku 9x9, 0 to 12 extra givens": World(Sudoku(9, (0, 12)), ["sudoku-9x9"], wide_deeper=2),
        "maze 11x11": World(Maze(11, perfect=False, min_path=11), ["maze"], views=8, wide_deeper=2),
    }
    found: dict[str, Any] = {}
    for name, world in worlds.items():
        if not world.models:
            print(f"{name} is left out: no runs in {study.runs}", file=sys.stderr)
            continue
        start = time.perf_counter()
        runs = [recorded(study, name, world, model) for model in world.models]
        found[name] = judged(runs, study.draws) | {"runs": len(runs), "puzzles": len(runs[0].wide)}
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    adjusted = iter(holm([test["p"] for world in found.values() for test in world["equal_gflop"]]))
    for world in found.values():
        for test in world["equal_gflop"]:
            test["p_holm"] = float(next(adjusted))
    write_text(study.results, json.dumps({"worlds": found, "torch": torch.__version__}, indent=1) + "\n")
    draw(found, study.results.with_name("accuracy_gflop.png"))
    print(tables(found))


def recorded(study: Study, name: str, world: World, model: str) -> Recorded:
    """A model's banks, recorded if --work lacks them."""
    stem = "-".join(f"{name} {Path(model).name}".replace(",", "").split())
    deep, wide = (study.work / f"{stem}-{study.puzzles}x{views}.safetensors" for views in (1, world.views))
    trained = open_trained(model, dtype=study.dtype)
    limit = trained.model.config.halt_max_steps
    puzzles = world.family.generate_distinct(study.puzzles, seed=11, split="test")
    checks: Any = {"validator": trained.validator(), "progress": True}
    study.work.mkdir(parents=True, exist_ok=True)
    if not deep.exists():
        record(trained.model, puzzles, DEEPER * limit, **checks).save(deep)
    if not wide.exists():
        views = Trajectories(world.views, symmetry=world.family.symmetry)
        record(trained.model, puzzles, world.wide_deeper * limit, trajectories=views, **checks).save(wide)
    return Recorded(*(any_right_answer(TraceBank.load(file)) for file in (deep, wide)), limit)


def any_right_answer(bank: TraceBank) -> TraceBank:
    """The bank with any right answer as correct: a view of a maze has another of the shortest paths."""
    others = {**bank.others, "correct": bank.others["valid"]} if bank.others else {}
    return dataclasses.replace(bank, correct=bank.valid, others=others)


def judged(runs: Sequence[Recorded], draws: int) -> dict[str, Any]:
    """Every selector at every width and limit, and its difference from one trajectory at equal GFLOP."""
    gflop, limit = runs[0].gflop, runs[0].limit
    rooms = [2**k for k in range(runs[0].wide.num_segments.bit_length())]
    points, tests = [], []
    for by in SELECTORS:
        for width in (width for width in WIDTHS if width <= runs[0].wide.width):
            for room in rooms:
                rule = f"select(q, {by}, {width})"
                outs = [replay(run.wide, rule, max_segments=room) for run in runs]
                cost = float(np.mean([out.stopped.mean() for out in outs]))
                accuracy = float(np.mean([out.correct.mean() for out in outs]))
                at = {"by": by, "width": width, "limit": room}
                points.append(at | {"segments": cost, "gflop": cost * gflop, "accuracy": accuracy})
                if room in [times * limit for times in TESTED] and by != "oracle":
                    rows = [
                        np.stack([out.correct, run.single(out.stopped.mean())], 1)
                        for run, out in zip(runs, outs, strict=True)
                    ]
                    tests.append(at | {"segments": cost, "accuracy": accuracy} | difference(rows, draws))
    one = np.mean([run.halting.mean(0) for run in runs], 0)
    cost = np.mean([run.halting_cost for run in runs], 0)
    return {
        "limit": limit,
        "gflop_per_segment": gflop,
        "single": {"gflop": list(gflop * cost), "segments": list(cost), "accuracy": list(one)},
        "selected": points,
        "equal_gflop": tests,
        "contested": [run.contested() for run in runs],
    }


def difference(rows: Sequence[NDArray[np.float64]], draws: int) -> dict[str, Any]:
    """A selector's accuracy less that of one trajectory ([N, 2] a run), with its paired 95 % interval."""
    gaps = [pair[:, :1] - pair[:, 1:] for pair in rows]
    drawn = nested_bootstrap(gaps, draws, shared_puzzles=len(gaps) > 1)[:, 0]
    return {
        "single_accuracy": float(np.mean([pair[:, 1].mean() for pair in rows])),
        "difference": float(nested_means(gaps)[0]),
        "ci95": [float(end) for end in percentile_interval(drawn)],
        "p": float(two_sided_p(drawn)),
    }


def tables(found: Mapping[str, Any]) -> str:
    """The tables of the README: differences at equal GFLOP, and the contested puzzles."""
    lines = []
    for name, world in found.items():
        tests, widest = world["equal_gflop"], max(test["width"] for test in world["equal_gflop"])
        rooms, widths = [times * world["limit"] for times in TESTED], [k for k in WIDTHS if k <= widest]
        heads = [f"K = {width}, limit {room}" for room in rooms for width in widths]
        lines += ["", f"**{name}**", "", "| selector | " + " | ".join(heads) + " |"]
        lines.append("| --- " * (len(heads) + 1) + "|")
        for by in SELECTORS[:-1]:
            of = [test for room in rooms for test in tests if (test["by"], test["limit"]) == (by, room)]
            lines.append(f"| `{by}` | " + " | ".join(map(cell, of)) + " |")
    names = ("puzzles", "one at random", *SELECTORS[1:-1])
    lines += ["", "| contested puzzles | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for name, world in found.items():
        for run in world["contested"]:
            shares = [f"{100 * run[by]:.0f} %" if by in run else "-" for by in names[1:]]
            lines.append(f"| {name} | {run['puzzles']} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def cell(test: Mapping[str, Any]) -> str:
    """Accuracy, its difference from one trajectory's, and segments: "94.0 %: +2.5 [-1.5, +6.5] (43)"."""
    gap, low, high = (100 * x for x in (test["difference"], *test["ci95"]))
    star = "*" * (test["p_holm"] < 0.05)
    return (
        f"{100 * test['accuracy']:.1f} %: {gap:+.1f} [{low:+.1f}, {high:+.1f}]{star} ({test['segments']:.0f})"
    )


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Accuracy against GFLOP: one trajectory in black, the largest width of each selector over its limits."""
    figure = Figure(figsize=(4.5 * len(found), 4.6), layout="constrained")
    for axes, (name, world) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        single = world["single"]
        shares = 100 * np.array(single["accuracy"])
        axes.plot(single["gflop"], shares, color="black", lw=2.5, label="one trajectory, q")
        for number, by in enumerate(SELECTORS):
            colour = GREY if by == "oracle" else COLOURS[number % len(COLOURS)]
            line = ":" if by == "oracle" else "--" if number >= len(COLOURS) else "-"
            widest = max(point["width"] for point in world["selected"])
            of = [point for point in world["selected"] if (point["by"], point["width"]) == (by, widest)]
            shares = [100 * point["accuracy"] for point in of]
            at = [point["gflop"] for point in of]
            axes.plot(at, shares, line, marker="o", ms=3, color=colour, label=by)
        axes.set(xscale="log", xlabel="GFLOP a puzzle", title=f"{name}, K = {widest}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("puzzles solved (%)")
    figure.axes[-1].legend(fontsize=7.5, loc="lower right")
    save(figure, path)


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
