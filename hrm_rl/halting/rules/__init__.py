"""Halting rules. A rule is `rule(features) -> bool [B]`: which rows stop after this segment.

The same object decides live and on recordings. Its spec string, such as `confidence:0.9`, names it. Below
are the rules of one name and at most one number; a new one is one class here. Most are a `ThresholdRule`
(threshold.py). The other modules have

- combine.py: rules made of rules, such as `recall(q)`
- select.py: rules for several trajectories of a puzzle, such as `select(q, first)`
- learned.py: rules that are fitted on a trace bank and kept in a file, such as `lsm:FILE`
- custom.py: yours, `module:Class`; any callable of the form above will do
- spec.py: reading spec strings
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules.protocol import (
    HaltingRule,
    Named,
    auto_spec,
    for_all_rows,
    needs_of,
    parts_of,
    required,
    spec_of,
    stops_of,
)
from hrm_rl.halting.rules.threshold import INF, ThresholdRule
from hrm_rl.hashing import mix, uniform

__all__ = [  # and the rules below
    "RULES",
    "HaltingRule",
    "Named",
    "ThresholdRule",
    "auto_spec",
    "for_all_rows",
    "needs_of",
    "parts_of",
    "required",
    "spec_of",
    "stops_of",
]

RULES: dict[str, type[Named]] = {}
"""The built-in rules by name. The docs' table shows the `value` and the docstring's first line of each."""

_Rule = TypeVar("_Rule", bound=type[Named])


def built_in(name: str, value: str = "") -> Callable[[_Rule], _Rule]:
    """Register a class in RULES: its name in specs, and what the number after the colon is, if any."""

    def register(kind: _Rule) -> _Rule:
        kind.name, kind.value = name, value
        RULES[name] = kind
        return kind

    return register


_COUNTS = tuple(float(n) for n in range(64, 0, -1))
# 1 - gap, for gaps that grow by a quarter each from float32's finest to 1: trained models are that sure of
# most right drafts, and a search that starts at a more lenient threshold may end there with no guarantee.
_NEAR_ONE = tuple(1 - float(gap) for gap in np.geomspace(2.0**-24, 1, 75))


def _geometric(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(x) for x in np.geomspace(low, high, 60))


class _Column(ThresholdRule):
    """A rule whose signal is one of the features."""

    column: ClassVar[str]

    def signal(self, features: SegmentFeatures) -> Tensor:
        return required(features, self.column)


@built_in("fixed", "segments")
class Fixed(_Column):
    """Stop after a given number of segments."""

    column, whole, ends, grid = "segment", True, (1, INF), _COUNTS


@built_in("random", "probability")
class Random(ThresholdRule):
    """Stop with a given probability after each segment, drawn repeatably from the puzzle's key."""

    rises, strict, ends = False, True, (1, 1e-9)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"random:P needs 0 < P <= 1, got {self.threshold}")

    def signal(self, features: SegmentFeatures) -> Tensor:
        return uniform(mix(mix(features.puzzle_key) + features.segment))


@dataclass(frozen=True)
@built_in("q")
class Q(Named):
    """Stop when halting is worth more than continuing, q_halt > q_continue (HRM, arXiv 2506.21734)."""

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt > features.q_continue


@dataclass(frozen=True)
@built_in("q-halt", "logit")
class QHalt(_Column):
    """Stop when the halt logit exceeds the threshold (TRM, arXiv 2510.04871)."""

    column, strict, ends = "q_halt", True, (-INF, INF)
    grid = tuple(float(x) for x in np.linspace(15, -15, 61))
    threshold: float = 0.0


@built_in("confidence", "probability")
class Confidence(_Column):
    """Stop when the top probability, averaged over cells, reaches the threshold (CALM, arXiv 2207.07061)."""

    column, ends, grid = "confidence", (0, INF), _NEAR_ONE


@built_in("margin", "difference of probabilities")
class Margin(_Column):
    """Stop when the mean gap of the two top probabilities reaches the threshold (CALM, arXiv 2207.07061)."""

    column, ends, grid = "margin", (0, INF), _NEAR_ONE


@built_in("entropy", "nats")
class Entropy(_Column):
    """Stop when the mean entropy over cells falls to the threshold (BranchyNet, arXiv 1709.01686)."""

    column, rises, ends, grid = "entropy", False, (1e9, -INF), _geometric(1e-6, 10)


@built_in("stable", "segments")
class Stable(_Column):
    """Stop when the draft has not changed for a given number of segments (PABEE, arXiv 2006.04152)."""

    column, whole, ends, grid = "unchanged_for", True, (1, INF), _COUNTS


class _Change(_Column):
    """A change since earlier segments: infinite, or NaN, as long as there is nothing to compare with."""

    rises, ends = False, (1e9, -INF)  # every change stays far below the lenient end

    def __post_init__(self) -> None:
        if self.threshold == INF:  # would stop before there is a change
            raise ValueError(f"{self.name}:EPSILON needs a finite EPSILON, got {self.threshold}")


@built_in("residual", "relative change")
class Residual(_Change):
    """Stop when the relative change of z_H falls to the threshold (DEQ, arXiv 1909.01377)."""

    column, grid = "residual_H", _geometric(1e-5, 10)


@built_in("second-order", "difference of relative changes")
class SecondOrder(_Change):
    """Stop when the relative change of z_H varies by at most the threshold (after arXiv 2509.23314)."""

    grid = _geometric(1e-6, 10)

    def signal(self, features: SegmentFeatures) -> Tensor:
        return (features.residual_H - features.previous_residual_H).abs()


@built_in("kl", "nats")
class KL(_Change):
    """Stop when the KL from the last segment's predictions falls to the threshold (arXiv 2502.05171)."""

    column, grid = "kl", _geometric(1e-7, 10)


@dataclass(frozen=True)
@built_in("act", "sum of probabilities")
class Act(_Column):
    """Stop when the halting probabilities add up to the threshold (Graves' ACT, arXiv 1603.08983)."""

    needs = frozenset({"halt_sum"})
    column, ends, grid = "halt_sum", (0, INF), _geometric(1e-3, 16)[::-1]
    threshold: float = 0.99


@dataclass(frozen=True)
@built_in("ponder", "probability")
class Ponder(ThresholdRule):
    """Stop when the probability of having halted reaches the threshold (PonderNet, arXiv 2107.05407)."""

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
@built_in("oracle", "cost of a segment")
class Oracle(_Hindsight):
    """Stop, in hindsight, at the first segment where correct - cost * segments is largest."""

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
@built_in("first-correct")
class FirstCorrect(_Hindsight):
    """Stop, in hindsight, at the first right draft, or at the limit if there is none."""

    def stop_segments(self, correct: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Where to stop, int64 [N] counted from 1, given `correct` [N, M]."""
        stops = np.where(correct.any(axis=1), correct.argmax(axis=1) + 1, correct.shape[1])
        return stops.astype(np.int64)
