"""Rules that compare one signal with a threshold, and the outcomes of all thresholds in one pass.

Such a rule stops at the first segment whose signal reaches the threshold. So one pass over a bank gives
the outcomes of all thresholds at once; tuning and calibration need no replay for each.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules.protocol import Named, for_all_rows, spec_of

INF = float("inf")
LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class ThresholdRule(Named, ABC):
    """Stop when a signal reaches a threshold. Subclass it with a `signal`:

        class Sure(ThresholdRule):
            def signal(self, features):
                return features.confidence_min

    In module `my_rules` its spec is `my_rules:Sure:0.9`, and `my_rules:Sure:auto` chooses the threshold
    on validation puzzles. The built-in threshold rules are such classes too. The class attributes below
    describe the comparison; their defaults suit any signal that should stop when it is high.

    A NaN signal counts as the one furthest from stopping; infinities as the largest finite float32.
    """

    threshold: float

    rises: ClassVar[bool] = True
    """Whether the rule stops when the signal is high (True) or low (False)."""
    strict: ClassVar[bool] = False
    """Whether the signal must pass the threshold rather than reach it."""
    whole: ClassVar[bool] = False
    """Whether thresholds are whole numbers from 1 on, such as counts of segments."""
    ends: ClassVar[tuple[float, float] | None] = None
    """The most lenient threshold, which stops whenever the rule can, and the one that never stops;
    by default every signal reaches the first and none the second."""
    grid: ClassVar[tuple[float, ...]] = ()
    """Thresholds from strict to lenient that CALM tests, fixed without looking at data; () if it cannot."""

    @abstractmethod
    def signal(self, features: SegmentFeatures) -> Tensor:
        """The number compared with the threshold, [B]. It must not depend on the threshold."""

    def __post_init__(self) -> None:
        number = self.threshold
        if isinstance(number, bool) or not isinstance(number, Real) or number != number:
            raise ValueError(f"{type(self).__name__} takes a number as threshold, got {number!r}")
        if self.whole and math.isfinite(number) and number != int(number):
            raise ValueError(f"{type(self).__name__} takes a whole number as threshold, got {number!r}")
        if self.whole and number < 1:
            raise ValueError(f"rule {str(self)!r}: the number must be >= 1, got {self.threshold}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        signal = self.finite_signal(features)
        if self.strict:
            return signal > self.threshold if self.rises else signal < self.threshold
        return signal >= self.threshold if self.rises else signal <= self.threshold

    def finite_signal(self, features: SegmentFeatures) -> Tensor:
        """The signal as finite float32 [B]. Raises ValueError if it is not one number a row."""
        with for_all_rows(self):
            signal: Any = self.signal(features)
        rows = features.segment.shape
        if not isinstance(signal, Tensor) or signal.shape != rows:
            got = list(signal.shape) if isinstance(signal, Tensor) else type(signal).__name__
            raise ValueError(f"rule {spec_of(self)!r}: the signal must be a tensor {list(rows)}, got {got}")
        worst = -LARGEST if self.rises else LARGEST
        return torch.nan_to_num(signal.float(), nan=worst, posinf=LARGEST, neginf=-LARGEST)

    # --- all thresholds at once ---------------------------------------------------------------------

    @classmethod
    def at(cls, threshold: float) -> Self:
        """The rule of a float32 threshold, written with the fewest digits that give it back."""
        return cls(int(threshold) if cls.whole else float(str(np.float32(threshold))))

    @classmethod
    def both_ends(cls) -> tuple[float, float]:
        """`ends`, or their default: the most lenient threshold and the one that never stops."""
        sign = 1 if cls.rises else -1
        return cls.ends or (-sign * LARGEST, sign * INF)

    def height(self, features: SegmentFeatures) -> Tensor:
        """The signal, negated if low signals stop, so that high values stop; float32 [B]."""
        signal = self.finite_signal(features)
        return signal if self.rises else -signal

    @classmethod
    def levels(cls, thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
        """Levels such that the rule of each threshold stops exactly when `height >= level`."""
        levels = thresholds if cls.rises else -thresholds
        return np.nextafter(levels, np.float32(INF)) if cls.strict else levels

    def thresholds(self, features: SegmentFeatures, limit: int, count: int) -> NDArray[np.float32]:
        """At most `count` thresholds from lenient to strict: both ends and quantiles of the signal.

        A rule of whole numbers has 1..limit instead.
        """
        if self.whole:
            return np.arange(1, limit + 1, dtype=np.float32)
        lenient, never = self.both_ends()
        signal = np.sort(self.finite_signal(features).cpu().numpy())
        # A signal short of even the most lenient threshold, such as no change to compare with, is left out.
        signal = signal[signal >= lenient if self.rises else signal <= lenient]
        inner = np.zeros(0, np.float32)
        if len(signal) and count > 2:
            places = np.linspace(0, len(signal) - 1, count - 2).round().astype(np.int64)
            inner = np.unique(signal[places])
        low, high = sorted((lenient, never))
        inner = inner[(inner > low) & (inner < high)][:: 1 if self.rises else -1]
        return np.concatenate([[np.float32(lenient)], inner, [np.float32(never)]])


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
    # value counts for just that range of levels, so it is added at one end and subtracted at the other.
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
