"""Figures of what segments buy. Needs matplotlib (`pip install hrm_rl[plot]`)."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLUE, _ORANGE, _GREY = "#3465a4", "#d9640b", "#888888"


def thinking_figure(
    path: str | os.PathLike[str],
    accuracy: NDArray[np.float64],
    limit: int,
    halting: tuple[float, float],
    givens: NDArray[np.int64],
    segments: NDArray[np.int64],
    title: str,
) -> Path:
    """Two panels: accuracy over segments with the halting rule in it; segments taken by givens.

    Args:
        path: where to write, by its ending (.png, .svg, .pdf).
        accuracy: share of puzzles right after each segment, [M].
        limit: the segments the model was trained for.
        halting: mean segments and accuracy of Q-halting.
        givens: cells given, one a puzzle, [N].
        segments: segments Q-halting took, one a puzzle, [N].
        title: what was measured.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    _draw_accuracy(left, accuracy, limit, halting)
    _draw_segments(right, givens, segments)
    figure.suptitle(title)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def _draw_accuracy(
    axes: Any, accuracy: NDArray[np.float64], limit: int, halting: tuple[float, float]
) -> None:
    axes.plot(
        np.arange(1, len(accuracy) + 1),
        100 * accuracy,
        "o-",
        color=_BLUE,
        markersize=4,
        label="stop after a fixed number",
    )
    axes.axvline(limit, color=_GREY, linewidth=1, linestyle=":", label="limit in training")
    axes.plot(
        halting[0],
        100 * halting[1],
        "*",
        color=_ORANGE,
        markersize=15,
        label="stop by the Q head",
    )
    axes.set(xlabel="segments", ylabel="puzzles solved (%)", ylim=(0, 103))
    axes.set_title("Accuracy by number of segments", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _draw_segments(axes: Any, givens: NDArray[np.int64], segments: NDArray[np.int64]) -> None:
    counts = np.unique(givens)
    groups = [segments[givens == count] for count in counts]
    axes.plot(counts, [g.mean() for g in groups], "s-", color=_ORANGE, markersize=5, label="mean")
    low, high = zip(*(np.percentile(g, (10, 90)) for g in groups), strict=True)
    axes.fill_between(counts, low, high, color=_ORANGE, alpha=0.2, label="10th to 90th percentile")
    axes.set(xlabel="cells given (puzzles)", ylabel="segments taken by the Q head", ylim=(0, None))
    axes.set_xticks(
        counts, [f"{count}\n({len(g)})" for count, g in zip(counts, groups, strict=True)]
    )
    axes.set_title("Thought by number of givens", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
