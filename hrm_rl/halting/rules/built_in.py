"""The built-in rules of one name and at most one number. A new one is a class here and a row in RULES.

The docs' table of rules shows the name, `value` and the first line of the docstring of each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules.protocol import Named, required
from hrm_rl.halting.rules.threshold import INF, ThresholdRule
from hrm_rl.hashing import mix, uniform

_COUNTS = tuple(float(n) for n in range(64, 0, -1))
# 1 - gap, for gaps that grow by a quarter each from float32's finest to 1: trained models are that sure of
# most right drafts, and a search that starts at a more lenient threshold may end there with no guarantee.
_NEAR_ONE = tuple(1 - float(gap) for gap in np.geomspace(2.0**-24, 1, 75))


def _geometric(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(x) for x in np.geomspace(low, high, 60))


class Fixed(ThresholdRule):
    """Stop after that many segments."""

    name, value = "fixed", "segments"
    whole, ends, grid = True, (1, INF), _COUNTS

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.segment


class Random(ThresholdRule):
    """Stop with that probability after each segment, drawn repeatably from the puzzle's key."""

    name, value = "random", "probability"
    rises, strict, ends = False, True, (1, 1e-9)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"random:P needs 0 < P <= 1, got {self.threshold}")

    def signal(self, features: SegmentFeatures) -> Tensor:
        return uniform(mix(mix(features.puzzle_key) + features.segment))


@dataclass(frozen=True)
class Q(Named):
    """Stop when halting is worth more than continuing, q_halt > q_continue (HRM, arXiv 2506.21734)."""

    name = "q"

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt > features.q_continue


@dataclass(frozen=True)
class QHalt(ThresholdRule):
    """Stop when the halt logit exceeds the threshold (TRM, arXiv 2510.04871)."""

    name, value = "q-halt", "logit"
    strict, ends = True, (-INF, INF)
    grid = tuple(float(x) for x in np.linspace(15, -15, 61))
    threshold: float = 0.0

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt


class Confidence(ThresholdRule):
    """Stop when the top probability, averaged over cells, reaches the threshold (CALM, arXiv 2207.07061)."""

    name, value = "confidence", "probability"
    ends, grid = (0, INF), _NEAR_ONE

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.confidence


class Margin(ThresholdRule):
    """Stop when the mean gap of the two top probabilities reaches the threshold (CALM, arXiv 2207.07061)."""

    name, value = "margin", "difference of probabilities"
    ends, grid = (0, INF), _NEAR_ONE

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.margin


class Entropy(ThresholdRule):
    """Stop when the mean entropy over cells falls to the threshold (BranchyNet, arXiv 1709.01686)."""

    name, value = "entropy", "nats"
    rises, ends, grid = False, (1e9, -INF), _geometric(1e-6, 10)

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.entropy


class Stable(ThresholdRule):
    """Stop when the draft has stayed the same for that many segments (PABEE, arXiv 2006.04152)."""

    name, value = "stable", "segments"
    whole, ends, grid = True, (1, INF), _COUNTS

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.unchanged_for


class _Change(ThresholdRule):
    """A change since earlier segments: infinite, or NaN, as long as there is nothing to compare with."""

    rises, ends = False, (1e9, -INF)  # every change stays far below the lenient end

    def __post_init__(self) -> None:
        if self.threshold == INF:  # would stop before there is a change
            raise ValueError(f"{self.name}:EPSILON needs a finite EPSILON, got {self.threshold}")


class Residual(_Change):
    """Stop when the relative change of z_H falls to the threshold (DEQ, arXiv 1909.01377)."""

    name, value = "residual", "relative change"
    grid = _geometric(1e-5, 10)

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.residual_H


class SecondOrder(_Change):
    """Stop when the relative change of z_H varies by at most the threshold (after arXiv 2509.23314)."""

    name, value = "second-order", "difference of relative changes"
    grid = _geometric(1e-6, 10)

    def signal(self, features: SegmentFeatures) -> Tensor:
        return (features.residual_H - features.previous_residual_H).abs()


class KL(_Change):
    """Stop when the KL from the last segment's predictions falls to the threshold (arXiv 2502.05171)."""

    name, value = "kl", "nats"
    grid = _geometric(1e-7, 10)

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.kl


@dataclass(frozen=True)
class Act(ThresholdRule):
    """Stop when the halting probabilities add up to the threshold (Graves' ACT, arXiv 1603.08983)."""

    name, value = "act", "sum of probabilities"
    needs = frozenset({"halt_sum"})
    ends, grid = (0, INF), _geometric(1e-3, 16)[::-1]
    threshold: float = 0.99

    def signal(self, features: SegmentFeatures) -> Tensor:
        return required(features, "halt_sum")


@dataclass(frozen=True)
class Ponder(ThresholdRule):
    """Stop when the probability of having halted reaches the threshold (PonderNet, arXiv 2107.05407)."""

    name, value = "ponder", "probability"
    needs = frozenset({"log_survival"})
    ends, grid = (0, INF), _NEAR_ONE
    threshold: float = 0.5

    def signal(self, features: SegmentFeatures) -> Tensor:
        return -required(features, "log_survival").expm1()


class _Hindsight(Named):
    """A rule that knows which drafts are right: an upper bound, for recordings only."""

    needs = frozenset({"future"})

    def __call__(self, features: SegmentFeatures) -> Tensor:
        raise ValueError(
            f"rule {str(self)!r} decides in hindsight and runs on a trace bank only; live, give another rule"
        )


@dataclass(frozen=True)
class Oracle(_Hindsight):
    """Stop, in hindsight, at the first segment where correct - cost * segments is largest."""

    name, value = "oracle", "cost of a segment"
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.cost < np.inf:
            raise ValueError(f"oracle:COST needs a finite COST >= 0 per segment, got {self.cost}")

    def __str__(self) -> str:
        return f"oracle:{self.cost}" if self.cost else "oracle"

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: object, cost: float, seed: int) -> "Oracle":
        """The rule of `oracle:auto`: the oracle of that cost."""
        return cls(cost)

    def stop_segments(self, correct: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Where to stop, int64 [N] counted from 1, given `correct` [N, M]."""
        # Only two segments can be best: the first right one, and the first of all.
        first = correct.argmax(axis=1)  # 0 if none is right
        return np.where(1 - self.cost * first > correct[:, 0], first, 0).astype(np.int64) + 1


@dataclass(frozen=True)
class FirstCorrect(_Hindsight):
    """Stop, in hindsight, at the first right draft, or at the limit if there is none."""

    name = "first-correct"

    def stop_segments(self, correct: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Where to stop, int64 [N] counted from 1, given `correct` [N, M]."""
        stops = np.where(correct.any(axis=1), correct.argmax(axis=1) + 1, correct.shape[1])
        return stops.astype(np.int64)


RULES: dict[str, type[Named]] = {
    kind.name: kind
    for kind in (
        Fixed,
        Random,
        Q,
        QHalt,
        Confidence,
        Margin,
        Entropy,
        Stable,
        Residual,
        SecondOrder,
        KL,
        Act,
        Ponder,
        Oracle,
        FirstCorrect,
    )
}
"""The built-in rules by name."""
