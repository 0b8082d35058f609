"""Figures of a comparison, drawn from its report with matplotlib."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from hrm_rl.analysis.compare.table import counted, label

# Okabe and Ito's palette for colour-blind readers, without yellow, which is too pale for a line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX<>hp"
_DASHES = ("-", "--", "-.")
_BLACK, _GREY = "#000000", "#777777"
_DPI = 150

Report = Mapping[str, Any]


def draw_figures(report: Report, folder: str | os.PathLike[str]) -> list[Path]:
    """Write every figure that the report has data for into `folder`; return the files.

    accuracy_compute.png: swept rules, their concave hulls, the constants and hindsight;
    difficulty.png: segments and accuracy by difficulty, if it is known;
    calibration.png: the halt logit's probability against outcomes.
    """
    plt.switch_backend("Agg")
    folder = Path(folder)
    files = [accuracy_compute_figure(report, folder / "accuracy_compute.png")]
    if report["difficulty"]:
        files.append(difficulty_figure(report, folder / "difficulty.png"))
    if report["calibration"]:
        files.append(calibration_figure(report, folder / "calibration.png"))
    return files


def accuracy_compute_figure(report: Report, path: Path) -> Path:
    """Accuracy against mean segments: all of it and, of several rules, the region of their large marks.

    Dots are swept settings, lines their concave hulls; constants are grey, hindsight is black.
    """
    several = len(_adaptive(report)) > 1
    size = (14 if several else 8, 6)
    figure, grid = plt.subplots(1, 1 + several, figsize=size, squeeze=False, layout="constrained")
    panels = grid[0]
    for axes in panels:
        _draw_rules(axes, report)
        axes.set(xlabel="mean segments")
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="puzzles solved (%)")
    if several:
        panels[0].set_title("All", fontsize=10)
        panels[1].set_title("The same, closer", fontsize=10)
        panels[1].set(**_window(report))
    figure.suptitle(
        f"Accuracy for compute: {counted(report)}\nlarge marks: as chosen on validation puzzles at a "
        f"cost of {report['settings']['cost']:g} a segment",
        fontsize=10,
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8.5, frameon=False)
    return _save(figure, path)


def _draw_rules(axes: Any, report: Report) -> None:
    fixed, oracle = report["curves"]["fixed"], report["curves"]["oracle"]
    mark = {"mec": "white", "mew": 0.8, "ms": 9, "zorder": 5}
    points = oracle["segments"], _percent(oracle["accuracy"])
    axes.plot(*points, "--", color=_BLACK, lw=1.5, label="oracle")
    points = fixed["segments"], _percent(fixed["accuracy"])
    axes.plot(*points, "o-", ms=4, color=_GREY, lw=2.5, alpha=0.8, label="fixed:N")
    styles = _styles()
    for policy in report["policies"]:
        name, curve = policy["policy"], policy["curve"]
        point = policy["mean_segments"], 100 * policy["exact_accuracy"]
        if name == "fixed:auto":
            axes.plot(*point, "o", ms=13, mfc="none", mec=_GREY, mew=2, label=label(name), zorder=4)
        elif name.startswith("fixed:"):
            continue  # on the grey line
        elif policy["hindsight"]:
            filled = _BLACK if name.startswith("oracle") else "white"
            star = {"ms": 13, "mfc": filled, "mec": _BLACK, "zorder": 5}
            at = f" at {report['settings']['cost']:g}" if name == "oracle" else ""
            axes.plot(*point, "*", ls="", label=label(name) + at, **star)
        else:
            colour, marker, dashes = next(styles)
            if curve:
                dots = curve["segments"], _percent(curve["accuracy"])
                hull = curve["hull_segments"], _percent(curve["hull_accuracy"])
                axes.plot(*dots, ".", color=colour, ms=2.5, alpha=0.5)
                axes.plot(*hull, dashes, color=colour, lw=1.2, alpha=0.9)
            line = dashes if curve else ""
            axes.plot(*point, marker, ls=line, color=colour, label=label(name), **mark)


def _window(report: Report) -> dict[str, tuple[float, float]]:
    """Limits of the axes around the rules as chosen, without constants and random stopping."""
    rules = _adaptive(report)
    limit = report["settings"]["max_segments"]
    adaptive = [p for p in rules if p["mean_segments"] < 0.95 * limit] or rules
    segments = [p["mean_segments"] for p in adaptive]
    accuracy = [100 * p["exact_accuracy"] for p in adaptive]
    left, right = _padded(segments, 0.5)
    right = 1.03 * limit if right > 0.95 * limit else right  # a mark at the limit stays whole
    return {"xlim": (left, right), "ylim": _padded(accuracy, 0.5)}


def _adaptive(report: Report) -> list[Mapping[str, Any]]:
    """The policies that are neither constants nor random."""
    names = ("fixed:", "random:")
    return [policy for policy in report["policies"] if not policy["policy"].startswith(names)]


def _padded(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), least)
    return low - margin, high + margin


def difficulty_figure(report: Report, path: Path) -> Path:
    """Two heat maps, policies by bins of difficulty: mean segments, and puzzles solved."""
    bins, policies = report["difficulty"]["bins"], report["difficulty"]["policies"]
    names = [label(policy["policy"]) for policy in policies]
    labels = [f"{_range(b['low'], b['high'])}\n({b['count']:,})" for b in bins]
    size = 3 + 1.5 * len(bins), 1.8 + 0.3 * len(names)
    figure, panels = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
    segments = np.array([policy["mean_segments"] for policy in policies], dtype=float)
    solved = 100 * np.array([policy["exact_accuracy"] for policy in policies], dtype=float)
    _draw_table(panels[0], segments, 1, 1, float(np.nanmax(segments)))
    _draw_table(panels[1], solved, 0, 0, 100)
    for axes, title in zip(panels, ("Mean segments", "Puzzles solved (%)"), strict=True):
        axes.set_xticks(range(len(labels)), labels, fontsize=7.5)
        axes.set_yticks(range(len(names)), names, fontsize=8.5)
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=10)
    figure.suptitle(f"By difficulty: {counted(report)}", fontsize=10)
    figure.supxlabel(f"{report['difficulty']['by']} (puzzles)", fontsize=9)
    return _save(figure, path)


def _draw_table(axes: Any, values: np.ndarray, digits: int, low: float, high: float) -> None:
    """Numbers on cells coloured from low (dark) to high."""
    axes.imshow(values, aspect="auto", cmap="cividis", vmin=low, vmax=max(high, low + 1e-9))
    # Numbers lie inside the axes: measuring them would take most of the layout's time.
    style = {"ha": "center", "va": "center", "fontsize": 8, "in_layout": False}
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            color = "white" if value < low + 0.55 * (high - low) else "black"
            axes.text(column, row, f"{value:.{digits}f}", color=color, **style)


def calibration_figure(report: Report, path: Path) -> Path:
    """Reliability of sigmoid(q_halt) in bins of equal mass, and calibration segment by segment."""
    found = report["calibration"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    curve, pooled = found["curve"], found["pooled"]
    left.plot([0, 1], [0, 1], ":", color=_GREY, label="calibrated")
    left.plot(
        curve["probability"], curve["accuracy"], "o-", color=_COLOURS[0], label="bins of equal mass"
    )
    left.set(
        xlabel="sigmoid(q_halt)", ylabel="share of correct drafts", xlim=(0, 1), ylim=(0, 1.02)
    )
    ece, brier, auroc = (_number(pooled[name]) for name in ("ece", "brier", "auroc"))
    left.set_title(f"All segments: ECE {ece}, Brier {brier}, AUROC {auroc}", fontsize=10)
    left.legend(loc="upper left", fontsize=8.5)
    segments = np.arange(1, len(found["segments"]) + 1)
    shown = {"auroc": "AUROC", "ece": "ECE", "brier": "Brier score"}
    styles = zip(_COLOURS, _MARKERS, _DASHES, strict=False)
    for (name, words), (colour, marker, dashes) in zip(shown.items(), styles, strict=True):
        values = np.array([segment[name] for segment in found["segments"]], float)
        right.plot(segments, values, dashes, marker=marker, ms=5, color=colour, label=words)
    right.set(xlabel="segment", ylim=(0, 1.02))
    right.xaxis.get_major_locator().set_params(integer=True)
    right.set_title("Segment by segment", fontsize=10)
    right.legend(fontsize=8.5, loc="best")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle("Is sigmoid(q_halt) the probability that the draft is correct?", fontsize=11)
    return _save(figure, path)


def _styles() -> Iterator[tuple[str, str, str]]:
    """Colour, mark and dashes; the first 66 pairs of colour and mark are distinct."""
    return zip(
        itertools.cycle(_COLOURS),
        itertools.cycle(_MARKERS),
        itertools.cycle([dashes for dashes in _DASHES for _ in _COLOURS]),
        strict=False,
    )


def _percent(values: Sequence[float]) -> np.ndarray:
    return 100 * np.asarray(values, dtype=float)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)
    return path
