"""Rules with one threshold, as families: what the threshold is held against, and which way.

A family stops at the first segment where its signal reaches a threshold. So one pass over a bank gives
the outcome of all thresholds at once: tuning and calibration need no replay for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting import rules
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules import HaltingRule, required
from hrm_rl.hashing import mix, uniform

INF = float("inf")


@dataclass(frozen=True)
class Family:
    """Rules that differ by a threshold only."""

    make: Callable[[Any], HaltingRule]
    """The rule of a threshold."""
    signal: Callable[[SegmentFeatures], Tensor]
    """What is held against the threshold, [B]."""
    always: float
    """A threshold that stops wherever the rule can."""
    never: float
    """A threshold that runs to the limit."""
    grid: tuple[float, ...]
    """Thresholds from strict to lenient, chosen without looking at data: what CALM tests."""
    rises: bool = True
    """Whether it stops where the signal is high; else where it is low."""
    strict: bool = False
    """Whether the signal has to pass the threshold; else to reach it."""
    whole: bool = False
    """Whether thresholds are whole numbers; then `always` to `never`, at most the limit, are all."""

    def levels(self, thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
        """Thresholds such that `height >= level` says where the rule stops."""
        levels = thresholds if self.rises else -thresholds
        return np.nextafter(levels, np.float32(INF)) if self.strict else levels

    def height(self, features: SegmentFeatures) -> Tensor:
        """The signal, turned so that the rule stops where it is high; float32 [B]."""
        signal = self.signal(features).float()
        return torch.nan_to_num(
            signal if self.rises else -signal, nan=-INF, posinf=INF, neginf=-INF
        )

    def thresholds(self, features: SegmentFeatures, limit: int, count: int) -> NDArray[np.float32]:
        """At most `count` thresholds from lenient to strict: quantiles of the signal, and both ends."""
        if self.whole:
            return np.arange(1, limit + 1, dtype=np.float32)
        signal = self.signal(features).float().cpu().numpy()
        signal = np.sort(signal[np.isfinite(signal)])
        inner = np.zeros(0, np.float32)
        if len(signal) and count > 2:
            places = np.linspace(0, len(signal) - 1, count - 2).round().astype(np.int64)
            inner = np.unique(signal[places])
        if not self.rises:
            inner = inner[::-1]
        ends = [np.array([end], np.float32) for end in (self.always, self.never)]
        return np.concatenate([ends[0], inner[self._between(inner)], ends[1]])

    def _between(self, thresholds: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Those strictly between both ends."""
        low, high = sorted((self.always, self.never))
        return (thresholds > low) & (thresholds < high)

    def rule(self, threshold: float) -> HaltingRule:
        """The rule of a float32 threshold, in the fewest digits that give it back."""
        return self.make(int(threshold) if self.whole else float(str(np.float32(threshold))))


def _near_one() -> tuple[float, ...]:
    """Thresholds of a share: 1 - gap, for gaps that grow by a quarter each from float32's finest to 1.

    Trained models are that sure of most drafts that are right, and a search that starts at a laxer
    threshold may end there, with nothing promised.
    """
    return tuple(1 - float(gap) for gap in np.geomspace(2.0**-24, 1, 75))


def _grown(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(x) for x in np.geomspace(low, high, 60))


def _random_draw(features: SegmentFeatures) -> Tensor:
    return uniform(mix(mix(features.puzzle_key) + features.segment))


def _second_difference(features: SegmentFeatures) -> Tensor:
    return (features.residual_H - features.previous_residual_H).abs()


def _halted(features: SegmentFeatures) -> Tensor:
    return -required(features, "log_survival").expm1()


_WHOLE = tuple(float(n) for n in range(64, 0, -1))
_HUGE = 1e9  # residuals and divergences are infinite where there is none, and stay far below this

FAMILIES: dict[str, Family] = {
    "fixed": Family(rules.Fixed, lambda f: f.segment, 1, INF, _WHOLE, whole=True),
    "random": Family(rules.Random, _random_draw, 1, 1e-9, (), rises=False, strict=True),
    "q-halt": Family(
        rules.QHalt,
        lambda f: f.q_halt,
        -INF,
        INF,
        tuple(float(x) for x in np.linspace(15, -15, 61)),
        strict=True,
    ),
    "confidence": Family(rules.Confidence, lambda f: f.confidence, 0, INF, _near_one()),
    "margin": Family(rules.Margin, lambda f: f.margin, 0, INF, _near_one()),
    "entropy": Family(
        rules.Entropy, lambda f: f.entropy, _HUGE, -INF, _grown(1e-6, 10), rises=False
    ),
    "stable": Family(rules.Stable, lambda f: f.unchanged_for, 1, INF, _WHOLE, whole=True),
    "residual": Family(
        rules.Residual, lambda f: f.residual_H, _HUGE, -INF, _grown(1e-5, 10), rises=False
    ),
    "second-order": Family(
        rules.SecondOrder, _second_difference, _HUGE, -INF, _grown(1e-6, 10), rises=False
    ),
    "kl": Family(rules.KL, lambda f: f.kl, _HUGE, -INF, _grown(1e-7, 10), rises=False),
    "act": Family(rules.Act, lambda f: required(f, "halt_sum"), 0, INF, _grown(1e-3, 16)[::-1]),
    "ponder": Family(rules.Ponder, _halted, 0, INF, _near_one()),
}
"""Families by the name of their rules."""


def sums_by_threshold(
    heights: NDArray[np.float32], levels: NDArray[np.float32], *values: NDArray[Any]
) -> list[NDArray[np.float64]]:
    """For every level, the sum over rows of each value at the segment where the row stops.

    A row stops at its first segment with height >= level, or at the last.

    Args:
        heights: [N, M].
        levels: [K], rising: from lenient to strict.
        values: [N, M] each.

    Returns:
        float64 [K] each.
    """
    # Between two segments a row's highest height passes some levels: those stop at the later one. Its
    # value counts for just that range of levels, so it is added at one end and taken off at the other.
    passed = np.searchsorted(levels, np.maximum.accumulate(heights, axis=1), side="right")
    passed[:, -1] = len(levels)
    before = np.zeros_like(passed)
    before[:, 1:] = passed[:, :-1]
    moved = passed != before
    start, end, bins = before[moved], passed[moved], len(levels) + 1
    sums = []
    for value in values:
        weight = value[moved].astype(np.float64)
        steps = np.bincount(start, weight, bins) - np.bincount(end, weight, bins)
        sums.append(steps.cumsum()[:-1])
    return sums
