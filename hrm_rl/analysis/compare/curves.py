"""The curves of a comparison: swept rules, their reference lines, and policies by difficulty."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.cases import Case, difficulty_of
from hrm_rl.analysis.compare.records import (
    Difficulty,
    DifficultyBin,
    Line,
    PolicyByDifficulty,
    PolicyCurve,
)
from hrm_rl.analysis.compare.trials import Trial
from hrm_rl.analysis.statistics.curves import Curve, area_under_hull, curve, upper_hull
from hrm_rl.analysis.statistics.judging import judge_oracle

_BINS = 5

Points = Sequence[tuple[float, float]]
"""(mean segments, accuracy) of settings, one a setting."""


def reference_curves(cases: Sequence[Case]) -> dict[str, Line]:
    """Every constant (fixed), and hindsight at falling costs (oracle): a rule lies between these lines."""
    segments = range(1, cases[0].limit + 1)
    fixed = [
        [(float(n), float(case.test.correct[:, n - 1].mean())) for n in segments] for case in cases
    ]
    # At a cost of 1 / (n - 1/2) hindsight goes as far as segment n for a correct answer.
    judged = [[judge_oracle(case.test.correct, 1 / (n - 0.5)) for n in segments] for case in cases]
    oracle = [[(float(j.segments.mean()), float(j.correct.mean())) for j in js] for js in judged]
    means = {"fixed": _average(fixed), "oracle": _average(oracle)}
    return {name: Line(*_columns(points)) for name, points in means.items()}


def policy_curve(runs: Sequence[Points], limit: int, first_accuracy: float) -> PolicyCurve | None:
    """A swept rule with its concave hull and the area under that; None without points.

    Args:
        runs: the rule's settings from lenient to strict, one list a run.
        limit: M.
        first_accuracy: accuracy of fixed:1.
    """
    if not runs[0]:
        return None
    points = _average(runs)
    area = area_under_hull(points, limit, first_accuracy)
    return PolicyCurve(*_columns(points), *_columns(upper_hull(points)), area)


def _average(runs: Sequence[Points]) -> Curve:
    """The curve of the runs' mean points, setting by setting.

    Runs with different numbers of settings, because some are equal, are aligned by the share of their range.
    """
    shares = np.linspace(0, 1, max(map(len, runs)))
    columns = [
        [
            np.interp(shares, np.linspace(0, 1, len(points)), column)
            for column in np.transpose(points)
        ]
        for points in runs
    ]
    segments, accuracy = np.mean(columns, axis=0)
    return curve(segments, accuracy)


def _columns(points: Curve) -> tuple[list[float], list[float]]:
    return points.segments.tolist(), points.accuracy.tolist()


def difficulty(cases: Sequence[Case], policies: Mapping[str, Sequence[Trial]]) -> Difficulty | None:
    """Mean segments and accuracy of every policy in bins of the puzzles' difficulty.

    Bins hold about equally many puzzles, as far as equal difficulties allow. None if fewer than two
    difficulties are known.
    """
    by, hard = difficulty_of(cases)
    number = _bins(hard)
    if number is None:
        return None
    members = [number == k for k in range(int(number.max()) + 1)]

    def by_bin(trials: Sequence[Trial], name: str) -> list[float]:
        values = np.concatenate([getattr(trial.judgement, name) for trial in trials])
        return [float(values[rows].mean()) for rows in members]

    return Difficulty(
        by,
        [
            DifficultyBin(float(hard[rows].min()), float(hard[rows].max()), int(rows.sum()))
            for rows in members
        ],
        [
            PolicyByDifficulty(name, by_bin(trials, "segments"), by_bin(trials, "correct"))
            for name, trials in policies.items()
        ],
    )


def _bins(rating: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The bin of each puzzle, [N]; -1 for an unrated one."""
    rated = rating[~np.isnan(rating)]
    if len(np.unique(rated)) < 2:
        return None
    values, counts = np.unique(rated, return_counts=True)
    # The middle of a value's ranks decides which fifth of the puzzles it belongs to.
    middle = (np.cumsum(counts) - counts / 2) / len(rated)
    fifth = np.minimum((middle * _BINS).astype(np.int64), _BINS - 1)
    _, fifth = np.unique(fifth, return_inverse=True)
    if fifth.max() == 0:
        return None
    return np.where(
        np.isnan(rating), -1, fifth[np.searchsorted(values, rating).clip(max=len(values) - 1)]
    )
