"""Accuracy against compute: the curve of a rule, its concave hull, and the area under that.

A rule with a threshold is a curve: one point (mean segments, accuracy) a threshold. Tossing a coin
for each puzzle between two of its settings reaches every point on the line between theirs, and
nobody has to spend what was saved. So what a family of settings can do is the least concave
non-decreasing function above its points, as with the hull of ROC curves (Provost and Fawcett 2001).

The hull of noisy points lies above the hull of their true values, the more so the more points there are:
compare areas of curves with the same number of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hrm_rl.analysis.statistics.judging import first_correct


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of accuracy against compute, by rising mean segments."""

    segments: NDArray[np.float64]  # [P]: mean segments a puzzle
    accuracy: NDArray[np.float64]  # [P]: share of right answers


def curve(mean_segments: ArrayLike, accuracy: ArrayLike) -> Curve:
    """The curve through points in any order.

    Args:
        mean_segments: [P], each at least 1.
        accuracy: [P], each in 0 to 1.

    Raises:
        ValueError: no points, different lengths, or a number out of range.
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


def fixed_curve(correct: NDArray[np.bool_]) -> Curve:
    """The curve of `fixed:N` for N = 1 to M, from a recorded matrix, bool [N, M].

    Raises:
        ValueError: `correct` is no bool matrix.
    """
    first_correct(correct)  # checks
    return curve(np.arange(1, correct.shape[1] + 1), correct.mean(0))


def oracle_curve(correct: NDArray[np.bool_]) -> Curve:
    """The best accuracy that hindsight has at each mean number of segments.

    Getting puzzle n right takes first_correct[n] - 1 segments more than giving up on it at once, and
    it pays the same for every puzzle: so the cheap ones come first. These are the points that the
    oracle passes as its cost falls from above 1 to 0; lines between them are reached by mixing.

    Args:
        correct: recorded matrix, bool [N, M].

    Returns:
        The vertices of a concave curve, at most M of them. The first is at 1 segment.

    Raises:
        ValueError: `correct` is no bool matrix.
    """
    first = first_correct(correct)
    newly_right = np.bincount(first, minlength=correct.shape[1] + 1)[1:]  # [M]
    segments = 1 + np.cumsum(newly_right * np.arange(correct.shape[1])) / len(first)
    accuracy = np.cumsum(newly_right) / len(first)
    vertex = newly_right > 0
    vertex[0] = True
    return Curve(segments[vertex], accuracy[vertex])


def upper_hull(points: Curve) -> Curve:
    """The vertices of the least concave non-decreasing function above a curve's points.

    From the leftmost point to the leftmost highest one; to the right of that the function is flat.
    """
    order = np.lexsort((points.accuracy, points.segments))
    segments, accuracy = points.segments[order], points.accuracy[order]
    kept = np.empty(len(order), np.int64)
    vertices = kept[: _hull(segments, accuracy, kept)]
    return Curve(segments[vertices], accuracy[vertices])


def hull_at(hull: Curve, segments: ArrayLike) -> NDArray[np.float64]:
    """Height of a hull from `upper_hull` at any mean numbers of segments, of any shape.

    Flat right of the last vertex; NaN left of the first, of which the points say nothing.
    """
    return np.interp(np.asarray(segments, np.float64), hull.segments, hull.accuracy, left=np.nan)


def area_under_hull(points: Curve, max_segments: int, first_accuracy: float) -> float:
    """Mean height of the hull between 1 and M segments: 1 / (M - 1) times the area.

    Stopping after one segment is open to everybody, so the point (1, `first_accuracy`) joins the
    curve's: curves that do not start at 1 can then be compared.

    Args:
        points: the curve.
        max_segments: M, the limit. With M = 1 the area is the hull's height there.
        first_accuracy: accuracy of `fixed:1` on the same puzzles.

    Returns:
        The mean height, in 0 to 1.

    Raises:
        ValueError: a point beyond M, M < 1, or a `first_accuracy` outside 0 to 1.
    """
    return float(
        hull_areas(points.segments[None], points.accuracy[None], max_segments, first_accuracy)[0]
    )


def hull_areas(
    mean_segments: ArrayLike, accuracy: ArrayLike, max_segments: int, first_accuracy: ArrayLike
) -> NDArray[np.float64]:
    """`area_under_hull` of many curves at once, bootstrap draws of one say.

    Args:
        mean_segments: [D, P], in any order along P.
        accuracy: [D, P].
        max_segments: M.
        first_accuracy: [D], or one number.

    Returns:
        Mean heights, [D].

    Raises:
        ValueError: as `area_under_hull`, or shapes that do not fit.
    """
    segments = np.ascontiguousarray(mean_segments, np.float64)
    share = np.ascontiguousarray(accuracy, np.float64)
    if segments.ndim != 2 or segments.size == 0 or share.shape != segments.shape:
        raise ValueError(
            f"mean_segments {segments.shape} and accuracy {share.shape} must both be [D, P]"
        )
    if max_segments < 1:
        raise ValueError(f"max_segments is {max_segments}; at least 1 is needed")
    _check_range("mean_segments", segments, 1, max_segments)
    _check_range("accuracy", share, 0, 1)
    start = np.asarray(first_accuracy, np.float64)
    if start.shape not in ((), (len(segments),)):
        raise ValueError(
            f"first_accuracy has shape {start.shape}; one number or [{len(segments)}] needed"
        )
    _check_range("first_accuracy", start, 0, 1)
    ones = np.ones((len(segments), 1))
    segments = np.concatenate([ones, segments], axis=1)
    share = np.concatenate([ones * start.reshape(-1, 1), share], axis=1)
    return _hull_areas(np.minimum(segments, max_segments), share, float(max_segments))


def nearest_compute(mean_segments: ArrayLike, budget: float) -> int:
    """Which of a curve's points spends nearest to a budget, the cheaper one on ties.

    For comparisons at matched compute: it looks at compute only, never at accuracy.

    Args:
        mean_segments: [P], in any order.
        budget: mean segments of what it is compared with.

    Returns:
        An index into `mean_segments`.

    Raises:
        ValueError: no points.
    """
    segments = np.asarray(mean_segments, np.float64)
    if segments.ndim != 1 or segments.size == 0:
        raise ValueError(f"mean_segments has shape {segments.shape}; [P] with P > 0 is needed")
    return int(np.lexsort((segments, np.abs(segments - budget)))[0])


def _check_range(name: str, values: NDArray[np.float64], low: float, high: float) -> None:
    # Bootstrap means miss 1 or M by rounding.
    fits = (values >= low - 1e-9) & (values <= high + 1e-9)
    if not fits.all():
        raise ValueError(f"{name} holds {values[~fits][0]}; {low} to {high} is needed")


@njit(cache=True)
def _hull(segments, accuracy, kept):
    """Writes the vertices' indices to `kept` and returns their number (Andrew's monotone chain, 1979).

    Points come by rising segments, then by rising accuracy. A point no higher than the last vertex is
    under the flat end, so vertices rise strictly.
    """
    top = 0
    for i in range(segments.shape[0]):
        if top > 0 and accuracy[i] <= accuracy[kept[top - 1]]:
            continue
        if top > 0 and segments[i] == segments[kept[top - 1]]:
            top -= 1
        while top > 1:
            a, b = kept[top - 2], kept[top - 1]
            over = (accuracy[b] - accuracy[a]) * (segments[i] - segments[a])
            if over > (accuracy[i] - accuracy[a]) * (segments[b] - segments[a]):
                break
            top -= 1
        kept[top] = i
        top += 1
    return top


@njit(cache=True)
def _hull_areas(segments, accuracy, limit):
    """Mean height of the hull of every row's points from 1 to `limit`; each row holds a point at 1."""
    areas = np.empty(segments.shape[0])
    kept = np.empty(segments.shape[1], np.int64)
    for row in range(segments.shape[0]):
        # By segments, and by accuracy among equals: a stable sort by the one after one by the other.
        order = np.argsort(accuracy[row], kind="mergesort")
        order = order[np.argsort(segments[row][order], kind="mergesort")]
        x, y = segments[row][order], accuracy[row][order]
        top = _hull(x, y, kept)
        last = kept[top - 1]
        if limit <= 1:
            areas[row] = y[last]
            continue
        area = y[last] * (limit - x[last])
        for k in range(1, top):
            a, b = kept[k - 1], kept[k]
            area += 0.5 * (y[a] + y[b]) * (x[b] - x[a])
        areas[row] = area / (limit - 1)
    return areas
