"""What figures share, and the figure that puts several comparisons side by side."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from hrm_rl.analysis.statistics.curves import curve, upper_hull
from hrm_rl.files import written_whole

# Okabe and Ito's palette for colour-blind readers, without yellow, which is too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "osD^vPX<>hp"
GREY = "#777777"
_DPI = 150


def save(figure: Any, path: Path) -> Path:
    """Write a figure whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for the letter
        figure.savefig(partial, dpi=_DPI, format="png")
    return path


def accuracy_gflop_figure(reports: Mapping[str, Mapping[str, Any]], path: Path) -> Path:
    """Accuracy against GFLOP a puzzle of comparisons by name, whose models may differ.

    Thin lines are the constants, marks the rules as chosen, broad lines the concave hull of both. The legend
    marks comparisons on other puzzles than those of the first.
    """
    judged = [{(b["puzzles_hash"], b["test_puzzles"]) for b in r["banks"]} for r in reports.values()]
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for number, (name, report) in enumerate(reports.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        gflop = np.mean([bank["gflop_per_segment"]["segment"] for bank in report["banks"]])
        fixed = report["curves"]["fixed"]
        rules = [policy for policy in report["policies"] if not policy["hindsight"]]
        chosen = [p["mean_segments"] for p in rules], [p["exact_accuracy"] for p in rules]
        constants = curve(fixed["segments"], fixed["accuracy"])
        best = upper_hull(curve([*fixed["segments"], *chosen[0]], [*fixed["accuracy"], *chosen[1]]))
        axes.plot(gflop * constants.segments, 100 * constants.accuracy, color=colour, lw=0.8)
        axes.plot(gflop * best.segments, 100 * best.accuracy, color=colour, lw=4, alpha=0.35)
        at = [p["gflop"] for p in rules], 100 * np.array(chosen[1])
        label = name + " (other puzzles)" * (judged[number] != judged[0])
        axes.plot(*at, marker, color=colour, mec="white", mew=0.8, label=label)
    axes.set(xscale="log", xlabel="GFLOP a puzzle", ylabel="puzzles solved (%)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8.5, loc="lower right")
    axes.set_title("Marks: rules as chosen; thin: constants; broad: the best of both", fontsize=10)
    return save(figure, path)


def risk_figure(report: Mapping[str, Any], path: Path) -> Path:
    """Risk against coverage of the rules that decline: a line all thresholds, a mark the rule as chosen."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    rows = [policy for policy in report["policies"] if "selective" in policy]
    for number, row in enumerate(rows):
        found, colour = row["selective"], COLOURS[number % len(COLOURS)]
        curve = found["curve"]
        name = f"{row['policy']} (area {curve['area']:.3f}, best {curve['best_area']:.3f})"
        axes.plot(100 * np.array(curve["coverage"]), 100 * np.array(curve["risk"]), color=colour, label=name)
        if found["risk"] is not None:
            axes.plot(100 * found["coverage"], 100 * found["risk"], "o", color=colour)
    axes.set(xlabel="puzzles answered (%)", ylabel="answers that are wrong (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8.5)
    return save(figure, path)
