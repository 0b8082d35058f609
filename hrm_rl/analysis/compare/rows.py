"""The row of every policy: its figures, their intervals and its test against the baseline."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.cases import difficulty_of
from hrm_rl.analysis.compare.curves import policy_curve
from hrm_rl.analysis.compare.quantities import AllTrials
from hrm_rl.analysis.compare.records import (
    GainOver,
    Interval,
    Intervals,
    MatchedCompute,
    PolicyCurve,
    PolicyRow,
    Selective,
    WallClock,
)
from hrm_rl.analysis.compare.trials import Trial, Trials
from hrm_rl.analysis.compare.wall_clock import wall_clock
from hrm_rl.analysis.statistics.bootstrap import percentile_interval, two_sided_p
from hrm_rl.analysis.statistics.curves import nearest_compute
from hrm_rl.analysis.statistics.judging import iso_accuracy
from hrm_rl.analysis.statistics.selective import RiskCurve
from hrm_rl.analysis.statistics.stats import holm, mcnemar, spearman_within


def policy_rows(trials: AllTrials, fixed_accuracy: NDArray[np.float64]) -> list[PolicyRow]:
    """A row for every policy of bootstrapped trials; `fixed_accuracy` is that of every constant, [M]."""
    p_value = _p_values(trials)
    return [_row(trials, policy, fixed_accuracy, p_value[policy]) for policy in trials.policies]


def _row(
    trials: AllTrials, policy: str, fixed_accuracy: NDArray[np.float64], p_value: float | None
) -> PolicyRow:
    settings, runs, at_costs = trials.settings, trials.runs, trials.policies[policy]
    chosen = trials.headline[policy]
    gains = {f"{c:g}": trials.gain(policy, c) for c in at_costs}
    accuracy, valid, segments = (trials.estimate(chosen, name) for name in ("correct", "valid", "segments"))
    utility = trials.utility(chosen, settings.cost)
    points = [run.sweep(policy, settings.costs) for run in runs]
    curve = policy_curve(points, len(fixed_accuracy), fixed_accuracy[0])
    return PolicyRow(
        policy=policy,
        spec=[trial.spec for trial in chosen],
        exact_accuracy=accuracy[0],
        valid_accuracy=valid[0],
        mean_segments=segments[0],
        utility=utility[0],
        ci95=Intervals(
            _interval(accuracy[1]),
            _interval(valid[1]),
            _interval(segments[1]),
            _interval(utility[1]),
            {c: _interval(draws) for c, (_, draws) in gains.items()},
        ),
        adaptive_gain={c: gain for c, (gain, _) in gains.items()},
        premature=_mean_over_runs(chosen, "premature"),
        overthinking=_mean_over_runs(chosen, "overthinking"),
        never_right=_mean_over_runs(chosen, "never_right"),
        wasted_segments=_mean_over_runs(chosen, "wasted"),
        spec_by_cost={f"{c:g}": [t.spec for t in several] for c, several in at_costs.items()},
        chosen=bool(runs[0].autos(policy)),
        hindsight=chosen[0].needs_future,
        curve=curve,
        iso_accuracy_segments=_iso_accuracy(curve, segments[0], accuracy[0], fixed_accuracy[-1]),
        rank_correlation=_rank_correlation(chosen, runs),
        matched_compute=_matched_compute(chosen, runs),
        gain_over_baseline=_gain_over_baseline(trials, policy),
        p_value=p_value,
        wall_clock=_pooled_wall_clock(chosen, runs),
        held_out_accuracy=_held_out_accuracy(chosen, runs),
        gflop=_gflop(chosen, runs),
        selective=_selective(trials, chosen),
    )


def _selective(trials: AllTrials, chosen: Sequence[Trial]) -> Selective | None:
    """The coverage and risk of a rule that declines; None of a rule that answers every puzzle."""
    if chosen[0].outcome.declined is None:
        return None
    coverage, answered = trials.estimate(chosen, "answered")
    solved, correct = trials.estimate(chosen, "correct")
    with np.errstate(divide="ignore", invalid="ignore"):
        risk, drawn = 1 - np.float64(solved) / coverage, 1 - correct / answered
    intervals = {"coverage": _interval(answered), "risk": _interval(drawn)}
    curves = [trial.risk_curve(run.case) for trial, run in zip(chosen, trials.runs, strict=True)]
    mean = [np.mean(parts, axis=0) for parts in zip(*(vars(curve).values() for curve in curves), strict=True)]
    return Selective(coverage, float(risk), intervals, RiskCurve(*mean))


def _gflop(trials: Sequence[Trial], runs: Sequence[Trials]) -> float | None:
    """Mean over runs of GFLOP a puzzle; None if a bank does not know it."""
    each = [run.case.test.header.gflop_per_segment.get("segment") for run in runs]
    spent = [g * t.judgement.segments.mean() for g, t in zip(each, trials, strict=True) if g is not None]
    return float(np.mean(spent)) if len(spent) == len(runs) else None


def _held_out_accuracy(trials: Sequence[Trial], runs: Sequence[Trials]) -> float | None:
    """Mean over runs, without puzzles that a run learned from; None if no run learned from any."""
    learned = [run.case.test.learned for run in runs]
    if not any(rows is not None and rows.any() for rows in learned):
        return None
    solved = [
        trial.judgement.correct if rows is None else trial.judgement.correct[~rows]
        for trial, rows in zip(trials, learned, strict=True)
    ]
    return float(np.mean([part.mean() if len(part) else np.nan for part in solved]))


def _gain_over_baseline(trials: AllTrials, policy: str) -> GainOver:
    mine, draws = trials.gain(policy, trials.settings.cost)
    other, other_draws = trials.gain(str(trials.settings.baseline), trials.settings.cost)
    return GainOver(mine - other, _interval(draws - other_draws))


def _interval(draws: NDArray[np.float64]) -> Interval:
    low, high = percentile_interval(draws).tolist()
    return low, high


def _mean_over_runs(trials: Sequence[Trial], name: str) -> float:
    return float(np.mean([getattr(trial.judgement, name).mean() for trial in trials]))


def _p_values(trials: AllTrials) -> dict[str, float | None]:
    """Two-sided p-values of "the policy's return equals the baseline's", by the paired bootstrap.

    Adjusted by Holm's method over all policies compared; None for the baseline and for rules that know the
    future, which are bounds.
    """
    rows, cost, baseline = trials.headline, trials.settings.cost, str(trials.settings.baseline)
    _, reference = trials.utility(rows[baseline], cost)
    rivals = [name for name, row in rows.items() if name != baseline and not row[0].needs_future]
    found: dict[str, float | None] = dict.fromkeys(rows)
    if rivals:
        differences = [trials.utility(rows[p], cost)[1] - reference for p in rivals]
        raw = two_sided_p(np.stack(differences, axis=1))
        found.update(zip(rivals, holm(raw).tolist(), strict=True))
    return found


def _matched_compute(trials: Sequence[Trial], runs: Sequence[Trials]) -> MatchedCompute:
    limit = runs[0].case.limit
    budget = _mean_over_runs(trials, "segments")
    segments = nearest_compute(np.arange(1, limit + 1), budget) + 1
    constant = np.concatenate([run.case.test.correct[:, segments - 1] for run in runs])
    test = mcnemar(np.concatenate([t.judgement.correct > 0 for t in trials]), constant)
    p_value = test.p_value if len(runs) == 1 else None
    return MatchedCompute(segments, test.only_first, test.only_second, p_value)


def _rank_correlation(trials: Sequence[Trial], runs: Sequence[Trials]) -> float:
    """Spearman's correlation of segments with difficulty, within each source of each run."""
    segments = np.concatenate([trial.judgement.segments for trial in trials])
    hard = difficulty_of([run.case for run in runs]).values
    source = [f"{k}/{name}" for k, run in enumerate(runs) for name in run.case.test.source]
    return spearman_within(segments, hard, source)


def _iso_accuracy(
    curve: PolicyCurve | None, segments: float, accuracy: float, full: float
) -> dict[str, float | None]:
    """Read off the policy's curve on test puzzles; a policy without one has a single point."""
    steps, share = (curve.segments, curve.accuracy) if curve else ([segments], [accuracy])
    return {f"{below:g}": needed for below, needed in iso_accuracy(steps, share, full).items()}


def _pooled_wall_clock(trials: Sequence[Trial], runs: Sequence[Trials]) -> WallClock:
    """Over runs the harmonic mean of puzzles a second, which is the mean of seconds a puzzle."""
    each = [
        wall_clock(trial.outcome.lengths, run.case.test.header.seconds_per_segment)
        for trial, run in zip(trials, runs, strict=True)
    ]

    def pooled(name: str) -> float | None:
        rates = [getattr(found, name) for found in each]
        comparable = None not in rates and len({found.batch for found in each}) == 1
        return len(rates) / sum(1 / rate for rate in rates if rate) if comparable else None

    return WallClock(each[0].batch, pooled("batch_1"), pooled("static"), pooled("refilled"))
