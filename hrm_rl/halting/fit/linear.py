"""Rules fitted on a trace bank: least-squares stopping, and the value of computation.

Both look at what the latest segment showed (regression.py), are fitted for one price of a segment, and
remember what they were fitted on (provenance.py).
"""

import os
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.file import read_rule, write_rule
from hrm_rl.halting.fit.provenance import FittedOn, check_fitted, fitting_data
from hrm_rl.halting.fit.regression import Design, Regression, designs
from hrm_rl.halting.rules import Named
from hrm_rl.halting.vector import FEATURE_NAMES

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


class _Fitted(Named):
    """What both rules have: tables, provenance, and the file they are kept in."""

    regression: Regression
    fitted_on: FittedOn
    path: str | None

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"pooled_z_H"} if self.regression.pooled else ())

    def __str__(self) -> str:
        return f"{self.name}:{self.path}" if self.path else self.name

    def save(self, path: str | os.PathLike[str]) -> Self:
        """Keep the rule in a file; gives it back with its spec string naming that file.

        Raises ValueError for a path with a comma or a parenthesis, which a spec could not hold.
        """
        path = os.fspath(path)
        settings = {"pooled": self.regression.pooled, "features": list(FEATURE_NAMES)}
        write_rule(path, self.name, self.fitted_on, self.regression.arrays(), **settings)
        return replace(self, path=path)  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class LeastSquaresStopping(_Fitted):
    """Stop where the draft is worth at least as much as thinking on (Longstaff and Schwartz 2001).

    At segment t, p_t is the estimated probability that the draft is right, and C_t the estimated payoff,
    correct - cost * segments, of stopping best later on; stop where p_t - cost * t >= C_t, and at the
    last segment M that it was fitted for.
    """

    name = "lsm"
    regression: Regression
    fitted_on: FittedOn
    path: str | None = None

    def __call__(self, features: SegmentFeatures) -> Tensor:
        gain = self.regression.predict(features)[:, 1]
        return (gain <= 0) | (features.segment >= self.regression.num_segments)

    def values(self, features: SegmentFeatures) -> tuple[Tensor, Tensor]:
        """(p_t, C_t), both float32 [B]; C_t counts the cost of all t segments and of those to come."""
        right, gain = self.regression.predict(features).unbind(-1)
        return right, right + gain - self.fitted_on.cost * features.segment


@dataclass(frozen=True, eq=False)
class ValueOfComputation(_Fitted):
    """Stop where no number of further segments is expected to gain what it costs.

    The estimated gain of k more segments is E[correct_{t+k} - correct_t]. With a horizon of 1 the rule is
    myopic; blinkered, it compares all k that are left (Hay, Russell, Tolpin and Shimony, UAI 2012).
    """

    name = "voc"
    regression: Regression
    fitted_on: FittedOn
    path: str | None = None

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
        cost: price of a segment.
        pooled: regress on the pooled states too; the bank must have them.

    Raises ValueError: test puzzles, one segment only, or a column that the bank lacks.
    """
    fitted_on, columns = fitting_data(bank, cost), designs(bank, pooled)
    correct = bank.correct.astype(np.float64)
    value = correct[:, -1]  # what is got in the end, less the cost of the segments still to run
    tables: list[_Table] = []
    for t in reversed(range(len(columns))):
        later = value - cost
        gain = later - correct[:, t]
        # One regression of the gain instead of two regressions, one of each side: the same, as least
        # squares is linear, but for the penalty, which is chosen for what decides.
        weights, intercept = columns[t].fit(np.stack([correct[:, t], gain], axis=1))
        estimate = columns[t].columns @ weights[1] + intercept[1]
        # Longstaff and Schwartz: the estimate decides, what was really got is handed on.
        value = np.where(estimate <= 0, correct[:, t], later)
        tables.append((weights, intercept))
    return LeastSquaresStopping(_regression(columns, tables[::-1], pooled), fitted_on)


def fit_voc(
    bank: TraceBank, cost: float, horizon: Literal[1, "blinkered"] = 1, *, pooled: bool = False
) -> ValueOfComputation:
    """The value of computation: `horizon` 1 is myopic, `blinkered` weighs all numbers of segments.

    Other arguments and errors as in `fit_lsm`.
    """
    if horizon not in (1, "blinkered"):
        raise ValueError(f"horizon must be 1 or 'blinkered', got {horizon!r}")
    fitted_on, columns = fitting_data(bank, cost), designs(bank, pooled)
    correct = bank.correct.astype(np.float64)
    reach = 1 if horizon == 1 else len(columns)
    tables = [
        columns[t].fit(correct[:, t + 1 : t + 1 + reach] - correct[:, t : t + 1])
        for t in range(len(columns))
    ]
    return ValueOfComputation(_regression(columns, tables, pooled), fitted_on)


def load_fitted(path: str | os.PathLike[str], kind: str | None = None) -> Any:
    """A rule of `fit_lsm`, `fit_voc` or `calibrate` that was saved, by its file.

    Raises ValueError for another file, a damaged one, or another `kind` (`lsm`, `voc`, `calm`).
    """
    from hrm_rl.halting.fit.calm import Calibrated

    path = os.fspath(path)
    found, fitted_on, arrays, settings = read_rule(path)
    if kind is not None and found != kind:
        raise ValueError(
            f"{path} holds a rule of kind {found!r}, not {kind!r}; ask for {found}:{path}"
        )
    try:
        if found == Calibrated.name:
            return Calibrated.restore(settings, fitted_on, path)
        rules = {rule.name: rule for rule in (LeastSquaresStopping, ValueOfComputation)}
        if settings["features"] != list(FEATURE_NAMES):
            raise ValueError("it looks at other features than this version of hrm_rl shows")
        return rules[found](Regression(**arrays, pooled=settings["pooled"]), fitted_on, path)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _regression(columns: list[Design], tables: list[_Table], pooled: bool) -> Regression:
    """Tables of single segments as one; targets beyond the limit stay 0."""
    targets = max(len(intercept) for _, intercept in tables)
    weights = np.zeros((len(tables), targets, len(columns[0].mean)), np.float32)
    intercept = np.zeros((len(tables), targets), np.float32)
    for t, (w, b) in enumerate(tables):
        weights[t, : len(w)], intercept[t, : len(b)] = w, b
    mean, scale = (np.stack(arrays) for arrays in list(zip(*columns, strict=True))[:2])
    return Regression(mean, scale, weights, intercept, pooled)
