"""Depth extrapolation: accuracy and stability of a model at multiples of the limit it was trained for.

Of each puzzle's latent trajectory `residual_H` is read, the relative change of z_H in a segment. At depth d,
compare the last q = max(1, d // 4) segments with the q segments before them. A row is

    settled     if no residual of the last q exceeds the tolerance;
    moving      if it is not settled, but the mean residual of the last q is below 0.9 times that of the q
                before: the state still converges;
    drifting    otherwise: the state moves as far as before, in a circle or away.

The three shares add up to 1. Depth 1 has no change to compare: there they and the residual are None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hrm_rl.halting.bank import TraceBank

TOLERANCE = 0.01
_FALLS = 0.9


@dataclass(frozen=True)
class DepthRow:
    """A model that runs every puzzle for `multiple` times its limit in training."""

    multiple: int
    segments: int
    exact_accuracy: float
    valid_accuracy: float
    gained: float
    """Share of the puzzles that are right here and wrong at the limit."""
    lost: float
    """Share of the puzzles that are wrong here and right at the limit."""
    residual: float | None
    """Median of residual_H in the last segment."""
    settled: float | None
    moving: float | None
    drifting: float | None


def depth_rows(bank: TraceBank, limit: int, tolerance: float = TOLERANCE) -> list[DepthRow]:
    """A row for 1, 2, 4, ... times the limit, as far as the bank goes.

    Raises ValueError for a bank shorter than the limit.
    """
    bank.check_limit(limit)
    doublings = (bank.num_segments // limit).bit_length()
    return [_row(bank, limit, 2**k, tolerance) for k in range(doublings)]


def _row(bank: TraceBank, limit: int, multiple: int, tolerance: float) -> DepthRow:
    depth = multiple * limit
    here, before = bank.correct[:, depth - 1], bank.correct[:, limit - 1]
    residual = bank.column("residual_H")[:, :depth]
    quarter = max(1, depth // 4)
    last, earlier = residual[:, -quarter:], residual[:, -2 * quarter : -quarter]
    settled = (last <= tolerance).all(1)
    moving = ~settled & (last.mean(1) < _FALLS * earlier.mean(1)) if depth > 1 else settled
    kinds = (settled, moving, ~settled & ~moving)
    return DepthRow(
        multiple,
        depth,
        float(here.mean()),
        float(bank.valid[:, depth - 1].mean()),
        float((here & ~before).mean()),
        float((before & ~here).mean()),
        float(np.median(residual[:, -1])) if depth > 1 else None,
        *(float(rows.mean()) if depth > 1 else None for rows in kinds),
    )


def depth_figure(found: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> Path:
    """Accuracy over depth, and the shares of settled and drifting rows, of models by name."""
    from matplotlib.figure import Figure

    from hrm_rl.analysis.figures import COLOURS, MARKERS, save

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(found.items()):
        style: Any = {"color": COLOURS[number], "marker": MARKERS[number]}
        depth = [row["multiple"] for row in rows]
        left.plot(depth, [100 * row["exact_accuracy"] for row in rows], label=name, **style)
        for kind, line in (("settled", "-"), ("drifting", ":")):
            shares = [np.nan if row[kind] is None else 100 * row[kind] for row in rows]
            right.plot(depth, shares, line, label=f"{name}: {kind}", **style)
    low, high = left.dataLim.intervaly
    left.set_ylim(max(-1, low - 2), min(101, high + 2))
    for axes, what in ((left, "puzzles solved (%)"), (right, "puzzles (%)")):
        axes.set(xscale="log", xlabel="depth / limit in training", ylabel=what)
        axes.set_xticks(depth, [f"{multiple}x" for multiple in depth])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8.5)
    return save(figure, path)
