"""The outcomes of all rules of a comparison, puzzle by puzzle, bootstrapped together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hrm_rl.analysis.compare.trials import Trial
from hrm_rl.analysis.statistics.bootstrap import nested_bootstrap, nested_means

Estimate = tuple[float, NDArray[np.float64]]
"""A mean over runs and puzzles, and its bootstrap draws [D]."""

_Key = tuple[tuple[str, ...], str]


@dataclass
class Quantities:
    """One number per puzzle, by the specs of a rule (one a run) and by name.

    Rules that are equal at two costs are kept once. All quantities are drawn with the same runs
    and puzzles, so differences are paired; they are whole numbers, so their sums are exact.
    """

    _values: dict[_Key, list[NDArray[np.float64]]] = field(default_factory=dict)
    _means: dict[_Key, float] = field(default_factory=dict)
    _draws: dict[_Key, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, trials: Sequence[Trial], *names: str) -> None:
        """Quantities of a rule, one trial a run: correct, valid, segments."""
        for name in names:
            self._values[specs_of(trials), name] = [
                np.asarray(
                    trial.outcome.valid if name == "valid" else getattr(trial.judgement, name),
                    np.float64,
                )
                for trial in trials
            ]

    def draw(self, draws: int, seed: int, *, shared_puzzles: bool = False) -> None:
        """Bootstrap all quantities; `shared_puzzles` if all runs answered the same puzzles in order."""
        keys = list(self._values)
        runs = range(len(self._values[keys[0]]))
        groups = [np.stack([self._values[key][run] for key in keys], axis=1) for run in runs]
        self._means = dict(zip(keys, nested_means(groups).tolist(), strict=True))
        drawn = nested_bootstrap(groups, draws, seed, shared_puzzles=shared_puzzles)
        self._draws = dict(zip(keys, drawn.T, strict=True))

    def get(self, trials: Sequence[Trial], name: str) -> Estimate:
        key = specs_of(trials), name
        return self._means[key], self._draws[key]

    def utility(self, trials: Sequence[Trial], cost: float) -> Estimate:
        """J = accuracy - cost * segments."""
        correct, correct_draws = self.get(trials, "correct")
        segments, segments_draws = self.get(trials, "segments")
        return correct - cost * segments, correct_draws - cost * segments_draws


def specs_of(trials: Sequence[Trial]) -> tuple[str, ...]:
    """The name of a rule across runs."""
    return tuple(trial.spec for trial in trials)
