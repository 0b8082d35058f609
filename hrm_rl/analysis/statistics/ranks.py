"""Ranks, and Spearman's rank correlation, in all and within sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


def midranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1 to N of numbers [N]; equal ones share the mean of their places."""
    _, number, counts = np.unique(
        np.asarray(values, np.float64), return_inverse=True, return_counts=True
    )
    return (np.cumsum(counts) - (counts - 1) / 2)[number]


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, ties sharing their mean rank (1904).

    Args:
        x: [N].
        y: [N]. Pairs with a NaN on either side (an unrated puzzle) are left out.

    Returns:
        -1 to 1; NaN where either side is constant or fewer than two pairs are left.

    Raises:
        ValueError: they are not two arrays of one length.
    """
    a, b = _pairs(x, y)
    known = ~(np.isnan(a) | np.isnan(b))
    return float(_standard_ranks(a[known]) @ _standard_ranks(b[known]))


@dataclass(frozen=True)
class StratifiedSpearman:
    """Rank correlation within sources; NaN where nothing varies."""

    rho: float  # mean over sources, weighted by n - 1
    p_value: float  # two-sided, by permutation within sources; NaN where rho is
    count: int  # pairs that went in
    sources: dict[str, tuple[float, int]]  # rho and n of every source, also of those without a rho


def stratified_spearman(
    x: ArrayLike, y: ArrayLike, source: Sequence[str], permutations: int = 999, seed: int = 0
) -> StratifiedSpearman:
    """Spearman's correlation within sources, so that a difference between sources cannot make one.

    Each source has its own ranks; their correlations are averaged with weights n - 1, the inverse of
    their variance without any correlation (Taylor 1987, Biometrika 74). The p-value shuffles y within
    each source and counts itself as one of the permutations.

    Args:
        x: [N].
        y: [N]. Pairs with a NaN on either side are left out.
        source: where each pair comes from, [N] names.
        permutations: how many; 0 gives no p-value (NaN).
        seed: of the permutations.

    Raises:
        ValueError: lengths that differ, or fewer than 0 permutations.
    """
    a, b = _pairs(x, y)
    names = np.asarray(source, dtype=str)
    if names.shape != a.shape:
        raise ValueError(f"source has shape {names.shape}; one name a pair is needed, {a.shape}")
    if permutations < 0:
        raise ValueError(f"permutations is {permutations}; at least 0 is needed")
    known = ~(np.isnan(a) | np.isnan(b))
    rng = np.random.default_rng(seed)
    sources: dict[str, tuple[float, int]] = {}
    weights, total, count = 0, 0.0, 0
    shuffled = np.zeros(permutations)
    for name in np.unique(names):
        rows = known & (names == name)
        n = int(rows.sum())
        ranks_a, ranks_b = _standard_ranks(a[rows]), _standard_ranks(b[rows])
        rho = float(ranks_a @ ranks_b)
        sources[str(name)] = (rho, n)
        if math.isnan(rho):
            continue
        weights, total, count = weights + n - 1, total + (n - 1) * rho, count + n
        for i in range(permutations):
            shuffled[i] += (n - 1) * (ranks_a @ rng.permutation(ranks_b))
    if weights == 0:
        return StratifiedSpearman(math.nan, math.nan, 0, sources)
    extreme = int((np.abs(shuffled) >= abs(total) - 1e-9 * weights).sum())
    p_value = (1 + extreme) / (1 + permutations) if permutations else math.nan
    return StratifiedSpearman(total / weights, p_value, count, sources)


def _pairs(x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"x {a.shape} and y {b.shape} must both be [N]")
    return a, b


def _standard_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Midranks with mean 0 and length 1; NaN where they are all equal, or fewer than two."""
    if len(values) == 0:
        return np.full(1, np.nan)
    centred = midranks(values) - (len(values) + 1) / 2
    length = float(np.linalg.norm(centred))
    return centred / length if length > 0 else np.full(len(values), np.nan)
