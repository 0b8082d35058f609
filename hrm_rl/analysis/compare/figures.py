"""Figures of a comparison, drawn from its report with matplotlib."""

import colorsys
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from hrm_rl.analysis.compare.table import counted, label
from hrm_rl.analysis.figures import COLOURS as _COLOURS
from hrm_rl.analysis.figures import GREY as _GREY
from hrm_rl.analysis.figures import MARKERS as _MARKERS
from hrm_rl.analysis.figures import accuracy_gflop_figure, risk_figure
from hrm_rl.analysis.figures import save as _save
from hrm_rl.analysis.statistics.curves import curve, upper_hull

_DASHES = ("-", "--", "-.")
_BLACK = "#000000"

Report = Mapping[str, Any]


def draw_figures(
    report: Report, folder: str | os.PathLike[str], beside: Mapping[str, Report] | None = None
) -> list[Path]:
    """Write every figure that the report has data for into `folder`; return the files.

    accuracy_compute.png: the rules as chosen, the hulls of swept ones, the constants and hindsight;
    difficulty.png: segments and accuracy by difficulty, if it is known;
    calibration.png: the halt logit's probability against outcomes;
    selective_risk.png: coverage against risk of rules that decline;
    accuracy_gflop.png: accuracy against GFLOP, if it is known, with the reports `beside` it by name.
    """
    folder = Path(folder)
    kinds = {
        "accuracy_compute": accuracy_compute_figure,
        "difficulty": difficulty_figure if report["difficulty"] else None,
        "calibration": calibration_figure if report["calibration"] else None,
    }
    # A $ in the name of a file is a $.
    with rc_context({"text.parse_math": False, "text.usetex": False}):
        drawn = [draw(report, folder / f"{name}.png") for name, draw in kinds.items() if draw]
        if all(bank.get("gflop_per_segment") for bank in report["banks"]):
            name = " + ".join(bank["name"] for bank in report["banks"])
            drawn.append(
                accuracy_gflop_figure({name: report, **(beside or {})}, folder / "accuracy_gflop.png")
            )
        if any("selective" in policy for policy in report["policies"]):
            drawn.append(risk_figure(report, folder / "selective_risk.png"))
        return drawn


def accuracy_compute_figure(report: Report, path: Path) -> Path:
    """Accuracy against mean segments: all of it and, of several rules, the region of the better ones.

    A mark a rule, named beside it; thin lines are the concave hulls of swept thresholds. The broad line is
    the hull of the rules as chosen, and the names of those on it are bold.
    """
    points = _points(report)
    window = _window(report)
    inside = {name for name, point in points.items() if _holds(window, point)} if window else set()
    height = max(6, 1.2 + 0.18 * max(len(inside), len(points) - len(inside) + 2))
    size = (15 if window else 9, height)
    columns = 1 + bool(window)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for axes, limits in zip(panels, (None, window), strict=False):
        _draw_lines(axes, report, points)
        axes.set(xlabel="mean segments", **(limits or {}))
        axes.grid(alpha=0.3)
    for axes in panels:
        _draw_marks(axes, points)
    panels[0].set(ylabel="puzzles solved (%)")
    names = {name: point for name, point in points.items() if name not in inside}
    if window:
        panels[0].set_title("All", fontsize=10)
        panels[1].set_title("The better rules, closer", fontsize=10)
        _name_marks(panels[1], {name: points[name] for name in points if name in inside})
    curves = report["curves"]
    ends = {name: (curves[name]["segments"][-1], 100 * curves[name]["accuracy"][-1]) for name in curves}
    for name, words, colour in (("fixed", "fixed:N", _GREY), ("oracle", "oracle, all costs", _BLACK)):
        names[words] = _Point(*ends[name], colour, "", "normal")
    _name_marks(panels[0], names)
    figure.suptitle(
        f"Accuracy for compute: {counted(report)}\nmarks: as chosen on validation puzzles at a cost of "
        f"{report['settings']['cost']:g} a segment; broad line: the best of them; thin: all thresholds",
        fontsize=10,
    )
    return _save(figure, path)


class _Point(NamedTuple):
    """A rule as chosen."""

    segments: float
    accuracy: float
    colour: str
    marker: str
    weight: str


def _points(report: Report) -> dict[str, _Point]:
    """Every policy but the constants on the grey line; no two have the same colour."""
    best = _best_hull(report)
    styles = _styles()
    points = {}
    for policy in report["policies"]:
        name = policy["policy"]
        at = policy["mean_segments"], 100 * policy["exact_accuracy"]
        weight = "bold" if at in best and not policy["hindsight"] else "normal"
        if name == "fixed:auto":
            style = (_GREY, "o")
        elif name.startswith("fixed:"):
            continue
        elif policy["hindsight"]:
            style = (_BLACK, "*")
        else:
            style = next(styles)
        points[name] = _Point(*at, *style, weight)
    return points


def _best_hull(report: Report) -> list[tuple[float, float]]:
    """The concave hull of the rules as chosen, constants included and hindsight not."""
    rules = [policy for policy in report["policies"] if not policy["hindsight"]]
    if not rules:
        return []
    found = curve(*zip(*((p["mean_segments"], p["exact_accuracy"]) for p in rules), strict=True))
    hull = upper_hull(found)
    return [(x, 100 * y) for x, y in zip(hull.segments.tolist(), hull.accuracy.tolist(), strict=True)]


def _draw_lines(axes: Any, report: Report, points: Mapping[str, _Point]) -> None:
    """The best of the rules as chosen, constants, hindsight and the hulls of swept rules."""
    fixed, oracle = report["curves"]["fixed"], report["curves"]["oracle"]
    best = _best_hull(report)
    if best:
        axes.plot(*zip(*best, strict=True), color="#FFE08A", lw=7, zorder=1, label="best")
    axes.plot(oracle["segments"], _percent(oracle["accuracy"]), "--", color=_BLACK, lw=1.5)
    axes.plot(fixed["segments"], _percent(fixed["accuracy"]), "o-", ms=4, color=_GREY, lw=2)
    for policy in report["policies"]:
        swept, point = policy["curve"], points.get(policy["policy"])
        if swept and point and not policy["hindsight"]:
            hull = swept["hull_segments"], _percent(swept["hull_accuracy"])
            axes.plot(*hull, color=point.colour, lw=1, alpha=0.7)


def _draw_marks(axes: Any, points: Mapping[str, _Point]) -> None:
    """The rules as chosen; a mark on top of others is smaller, so that theirs show."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    placed: list[tuple[float, float]] = []
    for name, (x, y, colour, marker, _) in points.items():
        at = (x - left) / (right - left), (y - low) / (high - low)
        covered = sum(math.dist(at, other) < 0.012 for other in placed)
        placed.append(at)
        star = marker == "*"
        size = (13 if star else 9) * 0.72 ** min(covered, 3)
        face = "white" if star and not name.startswith("oracle") else colour
        edge = {"mfc": face, "mec": colour if star else "white", "mew": 0.8}
        axes.plot(x, y, marker, label=name, ms=size, zorder=5 + covered, **edge)


def _name_marks(axes: Any, points: Mapping[str, _Point]) -> None:
    """The names in a column to the right, each joined to its mark; no two lines cross."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    height = axes.figure.get_figheight() - 1.2  # inches, about
    marks = {
        name: ((p.segments - left) / (right - left) * 6, (p.accuracy - low) / (high - low) * height)
        for name, p in points.items()
    }
    names = sorted(marks, key=lambda name: (-marks[name][1], marks[name][0]))
    sites = _spread([marks[name][1] for name in names], 0.165, height)
    for at, name in zip(sites, _uncrossed(names, marks, sites), strict=True):
        point = points[name]
        axes.annotate(
            _short(name),
            point[:2],
            (1.04, at / height),
            textcoords="axes fraction",
            va="center",
            color=point.colour,
            weight=point.weight,
            fontsize=8.5,
            arrowprops={
                "arrowstyle": "-",
                "color": point.colour,
                "lw": 0.6,
                "alpha": 0.7,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


def _spread(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Falling positions around those wanted (falling), `gap` apart, between 0 and height if they fit."""
    steps = gap * np.arange(len(wanted))
    pushed_down = np.minimum.accumulate(wanted + steps) - steps
    pushed_up = np.maximum.accumulate((wanted + steps)[::-1])[::-1] - steps
    sites = np.minimum((pushed_down + pushed_up) / 2, height - steps)
    found: list[float] = np.maximum(sites, steps[::-1]).tolist()
    return found


def _uncrossed(
    names: list[str], marks: Mapping[str, tuple[float, float]], sites: Sequence[float]
) -> list[str]:
    """The names in the order of their sites: pairs are swapped while that shortens the lines."""
    names = list(names)

    def length(name: str, site: int) -> float:
        return math.dist(marks[name], (6.25, sites[site]))

    improved = True
    while improved:
        improved = False
        for i, j in itertools.combinations(range(len(names)), 2):
            one, other = names[i], names[j]
            gained = length(one, i) + length(other, j) - length(one, j) - length(other, i)
            if gained > 1e-9:
                names[i], names[j], improved = other, one, True
    return names


def _window(report: Report) -> dict[str, tuple[float, float]] | None:
    """Limits of the axes around hindsight and the better four fifths of the rules; None if they are few."""
    names = ("fixed:", "random:")
    adaptive = [p for p in report["policies"] if not p["policy"].startswith(names)]
    if len(adaptive) < 2:
        return None
    kept = sorted(adaptive, key=lambda p: -p["utility"])[: math.ceil(0.8 * len(adaptive))]
    limit = report["settings"]["max_segments"]
    left, right = _padded([p["mean_segments"] for p in kept], 0.25)
    if max(p["mean_segments"] for p in kept) <= limit < right / 0.95:
        right = 1.03 * limit  # a mark at the limit stays whole; several trajectories may cost more
    return {"xlim": (left, right), "ylim": _padded([100 * p["exact_accuracy"] for p in kept], 0.5)}


def _holds(window: Mapping[str, tuple[float, float]], point: _Point) -> bool:
    """Whether a mark is in the window."""
    (left, right), (low, high) = window["xlim"], window["ylim"]
    return left <= point.segments <= right and low <= point.accuracy <= high


def _padded(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = max(0.12 * (high - low), least)
    return low - margin, high + margin


def difficulty_figure(report: Report, path: Path) -> Path:
    """Two heat maps, policies by bins of difficulty: mean segments, and puzzles solved."""
    bins, policies = report["difficulty"]["bins"], report["difficulty"]["policies"]
    names = [_short(policy["policy"]) for policy in policies]
    labels = [f"{_range(b['low'], b['high'])}\n({b['count']:,})" for b in bins]
    size = 2 + 0.08 * max(map(len, names)) + 1.5 * len(bins), 1.8 + 0.3 * len(names)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    segments = np.array([policy["mean_segments"] for policy in policies], dtype=float)
    solved = 100 * np.array([policy["exact_accuracy"] for policy in policies], dtype=float)
    adaptive = [k for k, policy in enumerate(policies) if not policy["policy"].startswith("fixed:")]
    _draw_table(panels[0], segments, 1, 1, float(np.nanmax(segments[adaptive or slice(None)])))
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
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    curve, pooled = found["curve"], found["pooled"]
    left.plot([0, 1], [0, 1], ":", color=_GREY, label="calibrated")
    left.plot(curve["probability"], curve["accuracy"], "o-", color=_COLOURS[0], label="bins of equal mass")
    left.set(xlabel="sigmoid(q_halt)", ylabel="share of correct drafts", xlim=(0, 1), ylim=(0, 1.02))
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


def _styles() -> Iterator[tuple[str, str]]:
    """Colours that do not repeat, and marks: the palette, then hues by the golden ratio."""
    hues = ((0.11 + 0.618034 * k) % 1 for k in itertools.count())
    lightness = itertools.cycle((0.28, 0.42, 0.35))
    more = (to_hex(colorsys.hls_to_rgb(h, s, 0.75)) for h, s in zip(hues, lightness, strict=False))
    return zip(itertools.chain(_COLOURS, more), itertools.cycle(_MARKERS), strict=False)


def _short(policy: str) -> str:
    """The name of a policy, a long one without its middle: rules of a module differ at the end."""
    name = " ".join(label(policy).split())
    return name if len(name) <= 40 else f"{name[:18]}...{name[-19:]}"


def _percent(values: Sequence[float]) -> np.ndarray:
    return 100 * np.asarray(values, dtype=float)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
