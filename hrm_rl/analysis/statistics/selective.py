"""Selective answering: the risk of the answers given, as more or fewer puzzles are answered (Geifman and
El-Yaniv 2017, arXiv 1705.08500)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_POINTS = 100


@dataclass(frozen=True, eq=False)
class RiskCurve:
    """The share of wrong answers at rising coverage."""

    coverage: NDArray[np.float64]  # [P]: share of the puzzles that are answered, 1/P to 1
    risk: NDArray[np.float64]  # [P]: share of these answers that are wrong
    area: float
    """Mean risk over all coverages, lower is better."""
    best_area: float
    """The area if every right answer came before every wrong one."""


def risk_curve(score: ArrayLike, correct: ArrayLike) -> RiskCurve:
    """Answer the puzzles of the highest score first; score [N], whether the answer is right bool [N].

    Equal scores are answered together; between two coverages that occur, risk is interpolated. Raises
    ValueError for shapes or types that do not fit, no rows, or a score that is NaN.
    """
    values, right = np.asarray(score, np.float64), np.asarray(correct)
    if values.ndim != 1 or not values.size or right.shape != values.shape or right.dtype != np.bool_:
        given = f"score {values.shape} and correct {right.dtype} {right.shape}"
        raise ValueError(f"{given} must be [N] and bool [N]")
    if np.isnan(values).any():
        raise ValueError(f"score {int(np.argmax(np.isnan(values)))} is NaN")
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.diff(values[order]) != 0, True)
    coverage = np.arange(1, _POINTS + 1) / _POINTS
    curves = [
        np.interp(coverage, (np.arange(len(values))[last] + 1) / len(values), _risks(sorted_right)[last])
        for sorted_right, last in ((right[order], ends), (np.sort(right)[::-1], np.full(len(values), True)))
    ]
    return RiskCurve(coverage, curves[0], *(float(risk.mean()) for risk in curves))


def _risks(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of wrong ones among the first 1, 2, ..., N."""
    return np.cumsum(~right) / np.arange(1, len(right) + 1)
