"""Is there a hierarchy? How states move inside segments, and how many dimensions they use.

    python experiments/models/run.py            # trains the models
    python experiments/hierarchy/run.py

Runs every model of experiments/models on test puzzles of held-out classes, trained and with its weights as
they were drawn, and records the state after every call of a stack of blocks. results.json and states.png are
written beside this file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.analysis.figures import COLOURS, MARKERS, save
from hrm_rl.analysis.statistics.stats import mean_interval
from hrm_rl.evaluation.evaluate import in_eval_mode
from hrm_rl.files import write_text
from hrm_rl.model import PuzzleModel, make_model
from hrm_rl.puzzles.pool import PuzzleArrays
from hrm_rl.training.data import generated_puzzles
from hrm_rl.training.open_run import open_trained

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Study:
    """States of HRM, TRM and a recurrent transformer, trained and untrained."""

    runs: Path = Path("runs/models")
    """Folder of the runs of experiments/models."""
    arms: tuple[str, ...] = (
        "study/hrm",
        "study/hrm,-one-step",
        "lower_rate/trm,-lower-rate",
        "study/recurrent",
    )
    """Groups of runs."""
    puzzles: int = 200
    """Test puzzles, of held-out classes."""
    segments: int = 8
    """Segments of each."""
    results: Path = HERE / "results.json"
    """File to write; the figure is written beside it."""


def main(study: Study) -> None:
    torch.set_num_threads(1)
    arms: dict[str, dict[str, Any]] = {}
    for folder in study.arms:
        runs, arm = (
            sorted((study.runs / folder).glob("seed-*/config.json")),
            Path(folder).name.replace(",-", ", ").replace("lower-rate", "lower rate"),
        )
        arms[arm] = {"trained": [], "untrained": []}
        for file in runs:
            trained = open_trained(file.parent, dtype="float32")
            assert isinstance(trained.model, PuzzleModel) and trained.preset is not None
            puzzles = generated_puzzles(trained.kind, "test", study.puzzles)
            torch.manual_seed(1000 + len(arms[arm]["trained"]))
            relations = trained.kind.relations if trained.model.config.relation_bias else None
            untrained = make_model(trained.model.config, relations)
            for name, model in (("trained", trained.model), ("untrained", untrained)):
                arms[arm][name].append(measured(model, puzzles, study.segments))
    found = {arm: {name: summary(runs) for name, runs in each.items()} for arm, each in arms.items()}
    write_text(study.results, json.dumps({"arms": found, "puzzles": study.puzzles}, indent=1) + "\n")
    draw(found, study.results.with_name("states.png"))
    print(table(found))


@torch.no_grad()
def states_of(model: PuzzleModel, puzzles: PuzzleArrays, segments: int) -> dict[str, list[Tensor]]:
    """The state after every call of a network, by the state that it updates: each [N, T, D], oldest first.

    A model's `recur` is given its networks ready to run; here they keep what they return.
    """
    seen: list[tuple[int, Tensor]] = []
    recur = model.recur

    def keeping(nets: Sequence[Any], *given: Any) -> Any:
        def kept(number: int, net: Any) -> Any:
            def run(z: Tensor) -> Tensor:
                seen.append((number, net(z)))
                return seen[-1][1]

            return run

        return recur([kept(number, net) for number, net in enumerate(nets)], *given)

    model.recur = keeping  # type: ignore[method-assign]
    inputs = torch.as_tensor(puzzles.inputs, dtype=torch.int64, device=model.device)
    ids = torch.as_tensor(puzzles.puzzle_identifiers, dtype=torch.int64, device=model.device)
    with in_eval_mode(model):
        carry = model.initial_carry(len(inputs))
        for _ in range(segments):
            carry = model(carry, inputs, ids).carry
    model.recur = recur  # type: ignore[method-assign]
    config, calls = model.config, list(model.config.stacks)
    if config.architecture == "trm":  # L_cycles calls for z, then one for y
        each = config.L_cycles + 1
        return {
            "z_H": [z for n, (_, z) in enumerate(seen) if n % each == each - 1],
            "z_L": [z for n, (_, z) in enumerate(seen) if n % each < each - 1],
        }
    if len(calls) == 1:
        return {"z": [z for _, z in seen]}
    return {f"z_{name[0]}": [z for n, z in seen if calls[n] == name] for name in calls}


def measured(model: PuzzleModel, puzzles: PuzzleArrays, segments: int) -> dict[str, Any]:
    """Of each state: the residual of every call, and the participation ratio after the last segment."""
    found = {}
    for name, states in states_of(model, puzzles, segments).items():
        changes = (((b - a).norm(dim=(1, 2)) / a.norm(dim=(1, 2))).mean() for a, b in pairwise(states))
        found[name] = {
            "calls_per_segment": len(states) // segments,
            "calls_per_cycle": len(states) // segments // model.config.H_cycles,
            "residuals": [float(change) for change in changes],
            "dimensions": participation_ratio(states[-1].mean(1).double().numpy()),
            "dimensions_of_tokens": participation_ratio(states[-1].flatten(0, 1).double().numpy()),
        }
    return found


def participation_ratio(rows: NDArray[np.float64]) -> float:
    """(sum of eigenvalues)^2 / sum of their squares, of the covariance of states [N, D]: 1 to D. Source: the
    paper's section on brain correspondence, arXiv 2506.21734."""
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T)).clip(0)
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over seeds with 95 % intervals, and residuals as the mean of the seeds."""
    found = {}
    for name in runs[0]:
        of = [run[name] for run in runs]
        found[name] = {
            **{key: of[0][key] for key in ("calls_per_segment", "calls_per_cycle")},
            "residuals": list(np.mean([one["residuals"] for one in of], 0)),
            **{
                key: mean_interval([one[key] for one in of]) for key in ("dimensions", "dimensions_of_tokens")
            },
            "spikes": mean_interval([spikes(one["residuals"], one["calls_per_cycle"]) for one in of]),
        }
    return found


def spikes(residuals: Sequence[float], calls: int) -> float:
    """How much more a state moves in the first call of a cycle than in the calls before and after it: the
    mean logarithm of the ratio, 0 if a state only settles; 0 too if a cycle has one call."""
    if calls == 1:
        return 0.0
    logs = np.log(residuals)
    first = np.arange(calls - 1, len(logs) - 1, calls)  # residual n is call n + 1
    return float((logs[first] - (logs[first - 1] + logs[first + 1]) / 2).mean())


def table(found: Mapping[str, Any]) -> str:
    """The table of the README."""
    heads = ["model", "state", "residual, segment 2", "residual, last segment"]
    for words in ("first call of a cycle", "dimensions of puzzles", "of tokens"):
        heads += [words, "untrained"]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for arm, each in found.items():
        for name, of in each["trained"].items():
            calls, residuals = of["calls_per_segment"], np.array(of["residuals"])
            second = residuals[calls - 1 : 2 * calls - 1].mean()
            cells = [f"`{arm}`", name, f"{second:.3f}", f"{residuals[-calls:].mean():.3f}"]
            both = of, each["untrained"][name]
            several = of["calls_per_cycle"] > 1
            cells += [number(one["spikes"], np.exp, 2) if several else "-" for one in both]
            cells += [number(one["dimensions"]) for one in both]
            cells += [number(one["dimensions_of_tokens"]) for one in both]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number(mean: tuple[float, list[float] | None], of: Any = np.asarray, digits: int = 1) -> str:
    """A mean with its interval, both by a function `of` them."""
    middle, low, high = of([mean[0], *(mean[1] or (np.nan, np.nan))])
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Residuals over the calls of the trained models, by segment; and participation ratios."""
    figure = Figure(figsize=(14, 6.5), layout="constrained")
    rows = figure.subplots(2, len(found), sharey="row", squeeze=False)
    for (arm, each), top, bottom in zip(found.items(), rows[0], rows[1], strict=True):
        for place, (name, of) in enumerate(each["trained"].items()):
            calls = of["calls_per_segment"]
            at = (np.arange(len(of["residuals"])) + 1) / calls + 0.5 / calls
            style: Any = {"color": COLOURS[place], "marker": MARKERS[place], "ms": 3}
            top.plot(at, of["residuals"], label=name, **style)
            for shift, kind in enumerate(("untrained", "trained")):
                mean, interval = each[kind][name]["dimensions_of_tokens"]
                gap = np.abs(np.array(interval or (mean, mean)) - mean)[:, None]
                spot = place + 0.3 * shift
                bottom.bar(spot, mean, 0.28, yerr=gap, color=COLOURS[place], alpha=1 if shift else 0.4)
        top.set(title=arm, xlabel="segments", yscale="log")
        top.grid(alpha=0.3)
        top.legend(fontsize=8.5)
        bottom.set_xticks([place + 0.15 for place in range(len(each["trained"]))], each["trained"])
        bottom.set_ylim(bottom=0)
    rows[0, 0].set_ylabel("relative change in a call")
    rows[1, 0].set_ylabel("participation ratio\n(pale: untrained)")
    save(figure, path)


if __name__ == "__main__":
    main(tyro.cli(Study, description=__doc__))
