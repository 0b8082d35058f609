"""All rules of a comparison on all runs, and their outcomes puzzle by puzzle, bootstrapped together."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.analysis.compare.trials import Trial, Trials
from hrm_rl.analysis.statistics.bootstrap import nested_bootstrap, nested_means
from hrm_rl.analysis.statistics.judging import adaptive_gain, why_undefined

Estimate = tuple[float, NDArray[np.float64]]
"""A mean over runs and puzzles, and its bootstrap draws [D]."""

AtCosts = Mapping[float, Sequence[Trial]]
"""A rule's trials, one a run, as it is at each cost."""


class AllTrials:
    """Every policy, the best constant and hindsight, at every cost.

    All quantities are drawn with the same runs and puzzles, so differences are paired; they are whole
    numbers, so their sums are exact. Rules that are equal at two costs are drawn once.
    """

    def __init__(self, runs: Sequence[Trials], settings: Settings) -> None:
        self.runs, self.settings = runs, settings
        self.policies: dict[str, AtCosts] = {
            policy: {c: [run.trial(policy, c) for run in runs] for c in settings.costs}
            for policy in settings.policies
        }
        self.fixed: AtCosts = {c: [run.best_fixed(c) for run in runs] for c in settings.costs}
        self.oracle: AtCosts = {c: [run.oracle(c) for run in runs] for c in settings.costs}
        self.headline = {name: at_costs[settings.cost] for name, at_costs in self.policies.items()}
        """The policies as chosen at the headline's cost."""
        self._estimates: dict[tuple[str, ...], Estimate] = {}

    def bootstrap(self, shared_puzzles: bool) -> None:
        """Draw every quantity; `shared_puzzles` if all runs answered the same puzzles in order."""
        values: dict[tuple[str, ...], list[NDArray[np.float64]]] = {}
        for at_costs in (*self.policies.values(), self.fixed, self.oracle):
            for trials in at_costs.values():
                for name in ("correct", "segments"):
                    values[_key(trials, name)] = [getattr(t.judgement, name) for t in trials]
        for trials in self.headline.values():
            declined = [t.outcome.declined for t in trials if t.outcome.declined is not None]
            if declined:
                values[_key(trials, "answered")] = [(~rows).astype(np.float64) for rows in declined]
            values[_key(trials, "valid")] = [t.outcome.valid.astype(np.float64) for t in trials]
        groups = [np.stack(columns, axis=1) for columns in zip(*values.values(), strict=True)]
        draws, seed = self.settings.draws, self.settings.seed
        drawn = nested_bootstrap(groups, draws, seed, shared_puzzles=shared_puzzles)
        estimates = zip(nested_means(groups).tolist(), drawn.T, strict=True)
        self._estimates = dict(zip(values, estimates, strict=True))

    def estimate(self, trials: Sequence[Trial], name: str) -> Estimate:
        """The mean of correct, segments or, at the headline's cost, valid (and answered, if it declines)."""
        return self._estimates[_key(trials, name)]

    def utility(self, trials: Sequence[Trial], cost: float) -> Estimate:
        """J = accuracy - cost * segments."""
        correct, correct_draws = self.estimate(trials, "correct")
        segments, segments_draws = self.estimate(trials, "segments")
        return correct - cost * segments, correct_draws - cost * segments_draws

    def gain(self, policy: str, cost: float) -> Estimate:
        """Adaptive gain, and its draws."""
        trials = self.policies[policy][cost], self.fixed[cost], self.oracle[cost]
        estimates, draws = zip(*(self.utility(x, cost) for x in trials), strict=True)
        return float(adaptive_gain(*estimates)), adaptive_gain(*draws)

    def undefined_gains(self) -> dict[str, str]:
        """The reasons for undefined gains, by cost."""
        bounds = {c: (self.fixed[c], self.oracle[c]) for c in self.settings.costs}
        reasons = {
            f"{c:g}": why_undefined(*(self.utility(trials, c)[0] for trials in both))
            for c, both in bounds.items()
        }
        return {cost: why for cost, why in reasons.items() if why is not None}


def _key(trials: Sequence[Trial], name: str) -> tuple[str, ...]:
    """A quantity by the specs of its rule, one a run."""
    return (name, *(trial.spec for trial in trials))
