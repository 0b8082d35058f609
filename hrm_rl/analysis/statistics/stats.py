"""Statistics for few runs on several tasks, and for two rules on the same puzzles.

Over runs and tasks (scores [R, T], higher is better): interquartile mean, optimality gap, performance
profiles, probability of improvement and stratified bootstrap, as proposed by Agarwal et al. (NeurIPS
2021, arXiv 2108.13264). Each of these takes scores with further axes in front, so that the
bootstrap computes many draws at once.

Over puzzles: McNemar's exact test, Holm's correction, and the rank correlations of `ranks`. Intervals
over puzzles come from `bootstrap.nested_bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.analysis.statistics.ranks import StratifiedSpearman, spearman, stratified_spearman

__all__ = [
    "McNemar",
    "StratifiedSpearman",
    "holm",
    "interquartile_mean",
    "mcnemar",
    "mean_score",
    "median_score",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "spearman",
    "stratified_bootstrap",
    "stratified_bootstrap_pair",
    "stratified_spearman",
]

# Resampled scores held at a time, 32 MB.
_SCORES_AT_ONCE = 1 << 22


def interquartile_mean(scores: ArrayLike) -> NDArray[np.float64]:
    """IQM: the mean of the middle half of all R * T scores, after floor(R * T / 4) are cut off either end.

    Less at the mercy of one lucky run than the mean, and far less noisy than the median.

    Args:
        scores: [..., R, T].

    Returns:
        [...]; a NumPy scalar of one score matrix.

    Raises:
        ValueError: fewer than two axes, no scores, or NaN.
    """
    values = _checked(scores)
    flat = np.sort(values.reshape(*values.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return flat[..., cut : flat.shape[-1] - cut].mean(-1)


def mean_score(scores: ArrayLike) -> NDArray[np.float64]:
    """The mean over runs and tasks, [...] from [..., R, T]."""
    return _checked(scores).mean((-2, -1))


def median_score(scores: ArrayLike) -> NDArray[np.float64]:
    """The median over tasks of the mean over runs, [...] from [..., R, T]."""
    return np.median(_checked(scores).mean(-2), axis=-1)


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> NDArray[np.float64]:
    """How far scores fall short of a target on average; what is above it earns nothing.

    Args:
        scores: [..., R, T].
        target: a score beyond which improvement does not matter.

    Returns:
        mean(max(target - score, 0)), [...].
    """
    return np.maximum(target - _checked(scores), 0).mean((-2, -1))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Share of run scores above each threshold, every task weighing alike (run-score distribution).

    Args:
        scores: [..., R, T].
        thresholds: [K].

    Returns:
        [..., K], falling along K where the thresholds rise. Pointwise intervals:
        `stratified_bootstrap(scores, lambda x: performance_profile(x, thresholds))`.
    """
    values = _checked(scores)
    taus = np.asarray(thresholds, np.float64)
    if taus.ndim != 1:
        raise ValueError(f"thresholds have shape {taus.shape}; [K] is needed")
    return np.stack([(values > tau).mean((-2, -1)) for tau in taus], axis=-1)


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Probability that a run of the first beats a run of the second on a task drawn at random.

    The mean over tasks of Mann and Whitney's U / (R1 * R2) = P(X > Y) + P(X = Y) / 2 over pairs of runs.

    Args:
        first: [..., R1, T].
        second: [..., R2, T], the same tasks.

    Returns:
        [...], 0.5 where neither is better. It says how often, not by how much.
    """
    x, y = _checked(first), _checked(second)
    _check_same_tasks(x, y)
    x, y = x[..., :, None, :], y[..., None, :, :]  # [..., R1, R2, T]
    return ((x > y) + 0.5 * (x == y)).mean((-3, -2, -1))


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    draws: int = 10_000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Bootstrap draws of a statistic: in each task, as many runs as it has, with replacement.

    Tasks stay as they are: the interval is about other runs on the same tasks. It is too narrow for
    fewer than about 5 runs a task, the narrower the fewer tasks there are.

    Args:
        scores: [R, T].
        statistic: from [..., R, T] to [..., *], such as `interquartile_mean`.
        draws: how many, D.
        seed: the same seed gives the same draws.

    Returns:
        [D, *]; `bootstrap.percentile_interval` makes an interval of it.

    Raises:
        ValueError: scores that are no matrix or hold NaN, or no draws.
    """
    return _stratified([scores], statistic, draws, seed)


def stratified_bootstrap_pair(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    draws: int = 10_000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """`stratified_bootstrap` of a statistic of two methods, whose runs are drawn independently.

    Args:
        first: [R1, T].
        second: [R2, T], the same tasks.
        statistic: from two such arrays to [..., *], such as `probability_of_improvement`.
        draws: how many, D.
        seed: the same seed gives the same draws.

    Returns:
        [D, *].
    """
    _check_same_tasks(_checked(first), _checked(second))
    return _stratified([first, second], statistic, draws, seed)


@dataclass(frozen=True)
class McNemar:
    """Two rules on the same puzzles: where they differ, and how surprising that is."""

    only_first: int  # puzzles that only the first got right
    only_second: int  # puzzles that only the second got right
    p_value: float  # two-sided, exact


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's exact test of equal accuracy on the same puzzles (McNemar 1947).

    Of the puzzles on which they differ, each is as likely to go either way if both are as accurate:
    twice the binomial tail, at most 1. For one model: puzzles answered by several runs are not
    independent, and belong into `bootstrap.nested_bootstrap`.

    Args:
        first: bool [N].
        second: bool [N].

    Raises:
        ValueError: they are not two bool arrays of one length.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.shape != b.shape or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(
            f"first is {a.dtype} {a.shape} and second {b.dtype} {b.shape}; "
            "two bool arrays of one length are needed"
        )
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    return McNemar(only_first, only_second, _sign_test(only_first, only_second))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted for their number by Holm's step-down method (1979), in the same order.

    Rejecting where the adjusted value is at most alpha keeps the probability of any false rejection at
    most alpha, however the tests depend on each other.

    Args:
        p_values: [K], each in 0 to 1.

    Raises:
        ValueError: not [K], or a value outside 0 to 1.
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


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, np.float64)
    if values.ndim < 2 or values.size == 0:
        raise ValueError(f"scores have shape {values.shape}; [runs, tasks] is needed")
    if np.isnan(values).any():
        raise ValueError("scores hold NaN; every run needs a score on every task")
    return values


def _check_same_tasks(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(
            f"first has {first.shape[-1]} tasks and second {second.shape[-1]}; the same are needed"
        )


def _stratified(
    matrices: Sequence[ArrayLike],
    statistic: Callable[..., NDArray[np.float64]],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    checked = [_checked(matrix) for matrix in matrices]
    for matrix in checked:
        if matrix.ndim != 2:
            raise ValueError(f"scores have shape {matrix.shape}; [runs, tasks] is needed")
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least 1 is needed")
    rng = np.random.default_rng(seed)
    step = max(1, _SCORES_AT_ONCE // max(matrix.size for matrix in checked))
    parts = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        resampled = [
            matrix[
                rng.integers(len(matrix), size=(size, *matrix.shape)), np.arange(matrix.shape[1])
            ]
            for matrix in checked
        ]  # each [size, R, T]
        parts.append(np.asarray(statistic(*resampled)))
    return np.concatenate(parts)


def _sign_test(one: int, other: int) -> float:
    """Two-sided exact test that both of two counts come from a fair coin."""
    total, smaller = one + other, min(one, other)
    if one == other:
        return 1.0
    i = np.arange(smaller)
    # log of C(total, k) / 2**total for k = 0 .. smaller: no overflow at any size.
    log_ratio = np.concatenate([[0.0], np.log(total - i) - np.log(i + 1)])
    log_mass = np.cumsum(log_ratio) - total * math.log(2)
    return min(1.0, 2 * float(np.exp(log_mass).sum()))
