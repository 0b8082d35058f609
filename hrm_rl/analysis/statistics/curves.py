"""Accuracy against compute: the curve of a rule, its concave hull, and the area under the hull.

A rule with a threshold is a curve: one point (mean segments, accuracy) per threshold. Choosing at random
between two settings for each puzzle reaches every point on the line between theirs, and saved segments
need not be spent. The value of a family of settings is therefore the least concave non-decreasing function
above its points, as with the hull of ROC curves (Provost and Fawcett 2001).

The hull of noisy points lies above the hull of their true values, the more so the more points there are:
compare areas of curves with the same number of points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of accuracy against compute, by rising mean segments."""

    segments: NDArray[np.float64]  # [P]: mean segments a puzzle
    accuracy: NDArray[np.float64]  # [P]: share of correct answers


def curve(mean_segments: ArrayLike, accuracy: ArrayLike) -> Curve:
    """The curve through points in any order: mean segments [P] of 1 or more, accuracy [P] in 0 to 1.

    Raises ValueError for no points, different lengths, or a number out of range.
    """
    segments = np.asarray(mean_segments, np.float64)
    share = np.asarray(accuracy, np.float64)
    if segments.ndim != 1 or segments.size == 0 or share.shape != segments.shape:
        raise ValueError(
            f"mean_segments {segments.shape} and accuracy {share.shape} must both be [P] with P > 0"
        )
    _check_range("mean_segments", segments, 1, np.inf)
    _check_range("accuracy", share, 0, 1)
    order = np.lexsort((share, segments))
    return Curve(segments[order], share[order])


def upper_hull(points: Curve) -> Curve:
    """The vertices of the least concave non-decreasing function above a curve's points.

    They run from the leftmost point to the leftmost highest one; to the right of that the function is
    flat. Andrew's monotone chain (1979).
    """
    kept: list[tuple[float, float]] = []
    for x, y in zip(points.segments.tolist(), points.accuracy.tolist(), strict=True):
        if kept and y <= kept[-1][1]:
            continue  # under the flat end
        if kept and x == kept[-1][0]:
            kept.pop()
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-2], (x, y)):
            kept.pop()
        kept.append((x, y))
    segments, accuracy = np.transpose(kept)
    return Curve(segments, accuracy)


def area_under_hull(points: Curve, max_segments: int, first_accuracy: float) -> float:
    """Mean height of the hull between 1 and M = max_segments: 1 / (M - 1) times the area, or the height at 1.

    Stopping after one segment is always possible, so the point (1, accuracy of `fixed:1`) joins the curve;
    curves that do not start at 1 can then be compared.

    Raises ValueError for a point beyond M, M < 1, or a `first_accuracy` outside 0 to 1.
    """
    if max_segments < 1:
        raise ValueError(f"max_segments is {max_segments}; at least 1 is needed")
    _check_range("mean_segments", points.segments, 1, max_segments)
    _check_range("first_accuracy", np.array([first_accuracy], np.float64), 0, 1)
    segments = np.append(np.minimum(points.segments, max_segments), 1)
    hull = upper_hull(curve(segments, np.append(points.accuracy, first_accuracy)))
    if max_segments == 1:
        return float(hull.accuracy[-1])
    heights = (hull.accuracy[1:] + hull.accuracy[:-1]) / 2
    area = hull.accuracy[-1] * (max_segments - hull.segments[-1])
    return float((area + heights @ np.diff(hull.segments)) / (max_segments - 1))


def nearest_compute(mean_segments: ArrayLike, budget: float) -> int:
    """The index of the point whose mean segments [P] are nearest to a budget, the cheaper one on ties.

    For comparisons at matched compute: the choice never depends on accuracy. Raises ValueError for no points.
    """
    segments = np.asarray(mean_segments, np.float64)
    if segments.ndim != 1 or segments.size == 0:
        raise ValueError(f"mean_segments has shape {segments.shape}; [P] with P > 0 is needed")
    return int(np.lexsort((segments, np.abs(segments - budget)))[0])


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])


def _check_range(name: str, values: NDArray[np.float64], low: float, high: float) -> None:
    # Means over bootstrap draws or runs can exceed 1 or M by rounding.
    fits = (values >= low - 1e-9) & (values <= high + 1e-9)
    if not fits.all():
        raise ValueError(f"{name} holds {values[~fits][0]}; {low} to {high} is needed")
