"""Tests and correlations over puzzles, and aggregate scores over runs and tasks.

Over puzzles: McNemar's exact test, Holm's correction, and Spearman's correlation within sources. Over runs
and tasks (scores [R, T], higher is better): the interquartile mean and the mean, with intervals from
`bootstrap.stratified_bootstrap`, as proposed by Agarwal et al. (NeurIPS 2021, arXiv 2108.13264); and
`mean_interval` for few runs on one task.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.analysis.statistics.bootstrap import checked_scores


def interquartile_mean(scores: ArrayLike) -> NDArray[np.float64]:
    """IQM: the mean of the middle half of scores [..., R, T], after floor(R * T / 4) are cut off either end.

    One lucky run moves it less than the mean, and it is far less noisy than the median. Raises ValueError
    for fewer than two axes, no scores, or NaN.
    """
    values = checked_scores(scores)
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def mean_score(scores: ArrayLike) -> NDArray[np.float64]:
    """The mean over runs and tasks, [...] from [..., R, T]."""
    return checked_scores(scores).mean((-2, -1))


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, list[float] | None]:
    """The mean of runs [R] and its interval by Student's t, as [low, high]; None for one run.

    For few runs, of which a bootstrap gives intervals that are too narrow. It assumes that the runs scatter
    as a normal distribution does, so an interval of shares may reach beyond 0 and 1. Raises ValueError for
    no runs, NaN, or a level outside (0, 1).
    """
    runs = checked_scores(np.reshape(values, (-1, 1)))[:, 0]
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; a share between 0 and 1 is needed, such as 0.95")
    mean = float(runs.mean())
    if len(runs) == 1:
        return mean, None
    half = _student_t(0.5 + level / 2, len(runs) - 1) * float(runs.std(ddof=1)) / math.sqrt(len(runs))
    return mean, [mean - half, mean + half]


def _student_t(share: float, freedom: int) -> float:
    """The quantile of Student's t from the density of its angle, which is cos^(freedom - 1)."""
    angles = np.linspace(0, math.pi / 2, 100_001)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    angle = float(np.interp((2 * share - 1) * below[-1], below, angles))
    return math.sqrt(freedom) * math.tan(angle)


@dataclass(frozen=True)
class McNemar:
    """The puzzles on which two rules differ, and how surprising the difference is."""

    only_first: int  # puzzles that only the first answered correctly
    only_second: int  # puzzles that only the second answered correctly
    p_value: float  # two-sided, exact


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's exact test of equal accuracy on the same puzzles (McNemar 1947).

    Under equal accuracy, each puzzle on which the rules differ is as likely to go either way. For one
    model only: the answers of several runs to one puzzle are not independent; use
    `bootstrap.nested_bootstrap` for those. Raises ValueError unless both are bool [N].
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(
            f"first is {a.dtype} {a.shape} and second {b.dtype} {b.shape}; "
            "two bool arrays of one length are needed"
        )
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    return McNemar(only_first, only_second, min(1.0, 2 * _fair_tail(only_first, only_second)))


def _fair_tail(heads: int, tails: int) -> float:
    """P(at most min(heads, tails) heads) of a fair coin. (scipy takes as long to import as a comparison.)"""
    flips, few = heads + tails, np.arange(min(heads, tails))
    # log of C(flips, k) / 2**flips at k = 0, 1, ...: does not overflow.
    growth = np.log(flips - few) - np.log(few + 1)
    return float(np.exp(np.append(0, np.cumsum(growth)) - flips * math.log(2)).sum())


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values [K] adjusted for their number by Holm's step-down method (1979), in the same order.

    Rejecting if the adjusted value is at most alpha keeps the probability of any false rejection at
    most alpha, however the tests depend on each other. Raises ValueError for a value outside 0 to 1.
    """
    values = np.asarray(p_values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"p_values have shape {values.shape}; [K] is needed")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values are {values}; each must be in 0 to 1")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def midranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1 to N of numbers [N]; equal ones share the mean of their places."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[number]


def spearman_within(x: ArrayLike, y: ArrayLike, source: Sequence[str]) -> float:
    """Spearman's rank correlation within sources, so that a difference between sources cannot make one.

    Each source, named for every pair of x and y [N], has its own ranks; equal values share their mean rank.
    Pairs with a NaN on either side (an unrated puzzle) are left out. The correlations are averaged with
    weights n - 1, the inverse of their variance under independence (Taylor 1987, Biometrika 74); the
    result is NaN if both sides vary in no source. Raises ValueError if the lengths differ.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    names = np.asarray(source, dtype=str)
    if a.ndim != 1 or a.shape != b.shape or a.shape != names.shape:
        raise ValueError(f"x {a.shape}, y {b.shape} and source {names.shape} must all be [N], of one length")
    known = ~(np.isnan(a) | np.isnan(b))
    weights, total = 0, 0.0
    for name in np.unique(names[known]):
        rows = known & (names == name)
        if np.ptp(a[rows]) and np.ptp(b[rows]):
            weight = int(rows.sum()) - 1
            rho = np.corrcoef(midranks(a[rows]), midranks(b[rows]))[0, 1]
            weights, total = weights + weight, total + weight * rho
    return float(total / weights) if weights else math.nan
