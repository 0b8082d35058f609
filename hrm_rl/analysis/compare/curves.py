"""The curves of a comparison: swept rules, their reference lines, and policies by difficulty."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.cases import Case, difficulty_of
from hrm_rl.analysis.compare.records import Difficulty, DifficultyBin, PolicyByDifficulty, PolicyCurve
from hrm_rl.analysis.compare.trials import Trial
from hrm_rl.analysis.statistics.curves import Curve, area_under_hull, curve, upper_hull
from hrm_rl.analysis.statistics.judging import judge_oracle
from hrm_rl.analysis.statistics.stats import midranks

_BINS = 5

Points = Sequence[tuple[float, float]]
"""(mean segments, accuracy) of settings, one a setting."""


def reference_curves(cases: Sequence[Case]) -> dict[str, Curve]:
    """Every constant (fixed), and hindsight at falling costs (oracle): a rule lies between these lines."""
    segments = range(1, cases[0].limit + 1)
    fixed = [[(n, case.test.correct[:, n - 1].mean()) for n in segments] for case in cases]
    # At a cost of 1 / (n - 1/2) hindsight goes as far as segment n for a correct answer.
    judged = [[judge_oracle(case.test.correct, 1 / (n - 0.5)) for n in segments] for case in cases]
    oracle = [[(j.segments.mean(), j.correct.mean()) for j in js] for js in judged]
    return {"fixed": _average(fixed), "oracle": _average(oracle)}


def policy_curve(runs: Sequence[Points], limit: int, first_accuracy: float) -> PolicyCurve | None:
    """A rule swept from lenient to strict on every run, with its hull and the area under that up to `limit`.

    None without points.
    """
    if not runs[0]:
        return None
    points = _average(runs)
    hull, within = upper_hull(points), points.segments <= limit + 1e-9  # several trajectories may cost more
    cheap = Curve(points.segments[within], points.accuracy[within])
    area = area_under_hull(cheap, limit, first_accuracy)
    return PolicyCurve(points.segments, points.accuracy, hull.segments, hull.accuracy, area)


def _average(runs: Sequence[Points]) -> Curve:
    """The curve of the runs' mean points, setting by setting.

    Runs with different numbers of settings, because some are equal, are aligned by the share of their range.
    """
    shares = np.linspace(0, 1, max(map(len, runs)))
    aligned = [
        [np.interp(shares, np.linspace(0, 1, len(points)), values) for values in np.transpose(points)]
        for points in runs
    ]
    return curve(*np.mean(aligned, axis=0))


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

    bins = [
        DifficultyBin(float(hard[rows].min()), float(hard[rows].max()), int(rows.sum())) for rows in members
    ]
    found = [
        PolicyByDifficulty(name, by_bin(trials, "segments"), by_bin(trials, "correct"))
        for name, trials in policies.items()
    ]
    return Difficulty(by, bins, found)


def _bins(rating: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The bin of each puzzle, [N]; -1 for an unrated one."""
    known = ~np.isnan(rating)
    # The middle of a value's ranks decides which fifth of the puzzles it belongs to.
    fifth = ((midranks(rating[known]) - 0.5) * _BINS / known.sum()).astype(np.int64)
    fifths, number = np.unique(fifth, return_inverse=True)
    if len(fifths) < 2:
        return None
    found = np.full(len(rating), -1)
    found[known] = number
    return found
