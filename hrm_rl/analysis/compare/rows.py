"""One policy's row of a comparison: its figures, their intervals and its test against the baseline."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hrm_rl.analysis.compare.cases import Case, difficulty_of
from hrm_rl.analysis.compare.quantities import Quantities
from hrm_rl.analysis.compare.trials import Trial, is_open
from hrm_rl.analysis.compare.wall_clock import wall_clock
from hrm_rl.analysis.statistics.bootstrap import percentile_interval, two_sided_p
from hrm_rl.analysis.statistics.curves import nearest_compute
from hrm_rl.analysis.statistics.judging import adaptive_gain, iso_accuracy
from hrm_rl.analysis.statistics.stats import holm, mcnemar, spearman_within

ISO_ACCURACY = (0, 0.5, 1, 2)
"""Percentage points below the accuracy of all segments."""

AtCosts = Mapping[float, Sequence[Trial]]
"""A policy's trials, one a run, as it is at each cost."""


def policy_row(
    policy: str,
    cost: float,
    at_costs: AtCosts,
    fixed: AtCosts,
    oracle: AtCosts,
    quantities: Quantities,
) -> dict[str, Any]:
    """Accuracy, segments, adaptive gain and errors of a policy as it was chosen at `cost`.

    Args:
        policy: its name.
        cost: price of a segment, one of the keys of the next three.
        at_costs: the policy.
        fixed: the best constants.
        oracle: hindsight.
        quantities: bootstrapped, with all of these in it.
    """
    trials = at_costs[cost]
    gains = {c: _gain(at_costs[c], fixed[c], oracle[c], c, quantities) for c in at_costs}
    names = {"exact_accuracy": "correct", "valid_accuracy": "valid", "mean_segments": "segments"}
    estimates = {label: quantities.get(trials, name) for label, name in names.items()}
    estimates["utility"] = quantities.utility(trials, cost)
    errors = ("premature", "overthinking", "never_right", "wasted")
    means = {name: _mean_over_runs(trials, name) for name in errors}
    return {
        "policy": policy,
        "spec": [trial.spec for trial in trials],
        **{label: mean for label, (mean, _) in estimates.items()},
        "ci95": {
            **{label: _interval(draws) for label, (_, draws) in estimates.items()},
            "adaptive_gain": {f"{c:g}": _interval(draws) for c, (_, draws) in gains.items()},
        },
        "adaptive_gain": {f"{c:g}": gain for c, (gain, _) in gains.items()},
        "premature": means["premature"],
        "overthinking": means["overthinking"],
        "never_right": means["never_right"],
        "wasted_segments": means["wasted"],
        "spec_by_cost": {f"{c:g}": [t.spec for t in several] for c, several in at_costs.items()},
        "chosen": is_open(policy),
        "hindsight": trials[0].needs_future,
    }


def _gain(
    rule: Sequence[Trial],
    fixed: Sequence[Trial],
    oracle: Sequence[Trial],
    cost: float,
    quantities: Quantities,
) -> tuple[float, np.ndarray]:
    estimates, draws = zip(
        *(quantities.utility(trials, cost) for trials in (rule, fixed, oracle)), strict=True
    )
    return float(adaptive_gain(*estimates)), adaptive_gain(*draws)


def gain_over(
    trials: Sequence[Trial],
    reference: Sequence[Trial],
    fixed: Sequence[Trial],
    oracle: Sequence[Trial],
    cost: float,
    quantities: Quantities,
) -> dict[str, Any]:
    """By how much a policy's adaptive gain exceeds the baseline's, with its paired 95 % interval."""
    mine, draws = _gain(trials, fixed, oracle, cost, quantities)
    other, other_draws = _gain(reference, fixed, oracle, cost, quantities)
    return {"mean": mine - other, "ci95": _interval(draws - other_draws)}


def _interval(draws: np.ndarray) -> list[float]:
    return percentile_interval(draws).tolist()


def _mean_over_runs(trials: Sequence[Trial], name: str) -> float:
    return float(np.mean([getattr(trial.judgement, name).mean() for trial in trials]))


def p_values(
    rows: Mapping[str, Sequence[Trial]], baseline: str, cost: float, quantities: Quantities
) -> dict[str, float | None]:
    """Is a policy's return, and with it its adaptive gain, another than the baseline's?

    Two-sided p-values of the paired bootstrap, adjusted by Holm's method over all policies compared;
    None for the baseline and for rules that know the future, which are bounds and no rivals.
    """
    _, reference = quantities.utility(rows[baseline], cost)
    rivals = [p for p, trials in rows.items() if p != baseline and not trials[0].needs_future]
    found: dict[str, float | None] = dict.fromkeys(rows)
    if rivals:
        differences = [quantities.utility(rows[p], cost)[1] - reference for p in rivals]
        raw = two_sided_p(np.stack(differences, axis=1))
        found.update(zip(rivals, holm(raw).tolist(), strict=True))
    return found


def matched_compute(trials: Sequence[Trial], cases: Sequence[Case]) -> dict[str, Any]:
    """McNemar's test against the constant nearest in mean segments, puzzle by puzzle.

    Of several runs the counts only, no p-value: two runs' answers to one puzzle are not independent.
    """
    limit = cases[0].limit
    budget = _mean_over_runs(trials, "segments")
    segments = nearest_compute(np.arange(1, limit + 1), budget) + 1
    constant = np.concatenate([case.test.correct[:, segments - 1] for case in cases])
    test = mcnemar(np.concatenate([t.judgement.correct > 0 for t in trials]), constant)
    return {
        "fixed": segments,
        "only_policy_right": test.only_first,
        "only_fixed_right": test.only_second,
        "p_value": test.p_value if len(cases) == 1 else None,
    }


def rank_correlation(trials: Sequence[Trial], cases: Sequence[Case]) -> float:
    """Spearman's correlation of segments with difficulty, within each source of each run."""
    segments = np.concatenate([trial.judgement.segments for trial in trials])
    hard = difficulty_of(cases).values
    source = [f"{number}/{name}" for number, case in enumerate(cases) for name in case.test.source]
    return spearman_within(segments, hard, source)


def iso_accuracy_segments(
    curve: Mapping[str, Any] | None, row: Mapping[str, Any], full: float
) -> dict[str, float | None]:
    """Fewest mean segments that keep the accuracy of all segments, or lose at most so many points.

    Read off the policy's curve on test puzzles; a policy without one has a single point.
    """
    points = curve or {"segments": [row["mean_segments"]], "accuracy": [row["exact_accuracy"]]}
    found = iso_accuracy(points["segments"], points["accuracy"], full, ISO_ACCURACY)
    return {f"{below:g}": segments for below, segments in found.items()}


def pooled_wall_clock(trials: Sequence[Trial], cases: Sequence[Case]) -> dict[str, Any]:
    """Puzzles a second in the three ways of serving; over runs the harmonic mean, which is the mean
    of seconds a puzzle."""
    each = [
        wall_clock(trial.outcome.stopped, case.test.header.seconds_per_segment)
        for trial, case in zip(trials, cases, strict=True)
    ]
    pooled: dict[str, Any] = {"batch": each[0]["batch"]}
    for name in ("batch_1", "static", "refilled"):
        rates = [found[name] for found in each]
        comparable = None not in rates and len({found["batch"] for found in each}) == 1
        pooled[name] = len(rates) / sum(1 / rate for rate in rates if rate) if comparable else None
    return pooled
