"""Rules fitted by least squares: least-squares stopping, and the value of computation.

Both regress on what the latest segment showed (regression.py) and are fitted for one cost of a segment.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.fitted import Contents, FittedRule, load_fitted
from hrm_rl.halting.fit.provenance import FittedOn, check_fitted, fitting_data
from hrm_rl.halting.fit.regression import Design, Regression, designs

__all__ = [
    "FittedOn",
    "LeastSquaresStopping",
    "ValueOfComputation",
    "check_fitted",
    "fit_lsm",
    "fit_voc",
    "load_fitted",
]

_Table = tuple[NDArray[np.float32], NDArray[np.float32]]  # weights [T, K], intercept [T]


@dataclass(frozen=True, eq=False)
class _RegressionRule(FittedRule):
    """A rule that decides by the predictions of a regression."""

    @dataclass(frozen=True)
    class Stored:
        pooled: bool

    targets: ClassVar[int] = 1
    """The fewest predictions that it decides by."""
    regression: Regression
    fitted_on: FittedOn
    path: str | None = None

    @property
    def pooled(self) -> bool:
        return self.regression.pooled

    def contents(self) -> Contents:
        return self.regression.arrays(), {"pooled": self.pooled}

    @classmethod
    def restore(cls, arrays: Any, settings: Any, fitted_on: FittedOn, path: str) -> Any:
        if set(arrays) != set(Regression.TABLES):
            raise ValueError(f"it must hold the tables {', '.join(Regression.TABLES)}")
        regression = Regression(**arrays, pooled=settings.pooled)
        if regression.intercept.shape[1] < cls.targets:
            raise ValueError(f"{cls.name} needs {cls.targets} predictions a segment, got 1")
        return cls(regression, fitted_on, path)


class LeastSquaresStopping(_RegressionRule):
    """Stop when the draft is worth at least as much as continuing (Longstaff and Schwartz 2001).

    At segment t, p_t is the estimated probability that the draft is right, and C_t the estimated payoff,
    correct - cost * segments, of stopping optimally later. The rule stops if p_t - cost * t >= C_t, and
    at the last segment M that it was fitted for.
    """

    name = "lsm"
    targets = 2

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> Any:
        return fit_lsm(bank, cost)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        gain = self.regression.predict(features)[:, 1]
        return (gain <= 0) | (features.segment >= self.regression.num_segments)

    def values(self, features: SegmentFeatures) -> tuple[Tensor, Tensor]:
        """(p_t, C_t), both float32 [B]; C_t includes the cost of all t segments and of those to come."""
        right, gain = self.regression.predict(features).unbind(-1)
        return right, right + gain - self.fitted_on.cost * features.segment


class ValueOfComputation(_RegressionRule):
    """Stop when no number of further segments is expected to gain its cost (Hay et al., UAI 2012).

    The estimated gain of k more segments is E[correct_{t+k} - correct_t]. The myopic rule considers k = 1,
    the blinkered one every k up to the limit (Hay, Russell, Tolpin and Shimony).
    """

    name = "voc"
    variants = frozenset({(), ("myopic",), ("blinkered",)})

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> Any:
        return fit_voc(bank, cost, "blinkered" if words == ("blinkered",) else 1)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        gain = self.regression.predict(features)  # [B, K]
        more = torch.arange(1, gain.shape[1] + 1, device=gain.device)
        left = self.regression.num_segments - features.segment[:, None]
        worth = (gain > self.fitted_on.cost * more) & (more <= left)
        return ~worth.any(-1)


def fit_lsm(bank: TraceBank, cost: float, *, pooled: bool = False) -> LeastSquaresStopping:
    """Least-squares stopping, fitted backwards from the bank's last segment.

    Args:
        bank: recorded segments, M >= 2; none of split `test`.
        cost: cost of a segment.
        pooled: regress on the pooled states too; the bank must have them.

    Raises ValueError for test puzzles, a bank of one segment, or a column that the bank lacks.
    """
    fitted_on, columns = fitting_data(bank, cost), designs(bank, pooled)
    correct = bank.correct.astype(np.float64)
    value = correct[:, -1]  # the payoff in the end, less the cost of the segments still to run
    tables: list[_Table] = []
    for t in reversed(range(len(columns))):
        later = value - cost
        gain = later - correct[:, t]
        # Regressing the gain instead of both sides gives the same, as least squares is linear; only the
        # penalty differs, which is then chosen for the quantity that decides.
        weights, intercept = columns[t].fit(np.stack([correct[:, t], gain], axis=1))
        estimate = columns[t].columns @ weights[1] + intercept[1]
        # Longstaff and Schwartz: the estimate decides, the realised payoff is passed on.
        value = np.where(estimate <= 0, correct[:, t], later)
        tables.append((weights, intercept))
    return LeastSquaresStopping(_regression(columns, tables[::-1], pooled), fitted_on)


def fit_voc(
    bank: TraceBank, cost: float, horizon: Literal[1, "blinkered"] = 1, *, pooled: bool = False
) -> ValueOfComputation:
    """The value of computation, with a horizon of 1 (myopic) or of every number of segments (blinkered).

    Other arguments and errors as in `fit_lsm`.
    """
    if horizon not in (1, "blinkered"):
        raise ValueError(f"horizon must be 1 or 'blinkered', got {horizon!r}")
    fitted_on, columns = fitting_data(bank, cost), designs(bank, pooled)
    correct = bank.correct.astype(np.float64)
    reach = 1 if horizon == 1 else len(columns)
    tables = [
        columns[t].fit(correct[:, t + 1 : t + 1 + reach] - correct[:, t : t + 1]) for t in range(len(columns))
    ]
    return ValueOfComputation(_regression(columns, tables, pooled), fitted_on)


def _regression(columns: list[Design], tables: list[_Table], pooled: bool) -> Regression:
    """Stack the tables of single segments; targets beyond the limit stay 0."""
    targets = max(len(intercept) for _, intercept in tables)
    weights = np.zeros((len(tables), targets, len(columns[0].mean)), np.float32)
    intercept = np.zeros((len(tables), targets), np.float32)
    for t, (w, b) in enumerate(tables):
        weights[t, : len(w)], intercept[t, : len(b)] = w, b
    mean, scale = (np.stack(arrays) for arrays in list(zip(*columns, strict=True))[:2])
    return Regression(mean, scale, weights, intercept, pooled)
