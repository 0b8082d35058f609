"""Rules for stopping. A rule is `rule(features) -> bool [B]`: which rows stop after this segment.

A rule is a frozen dataclass of its threshold with a `__call__` of a line or two; its spec string
(`confidence:0.9`) is its name and its field. The same object serves the live loop and recordings.
Your own: any callable of that form, given to `HRMAgent(rule=...)` or named `module:Class`.

Rules that wrap others are in combinators.py, rules that are fitted in fitted.py and calm.py, and
the reading of spec strings in spec.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.hashing import mix, uniform


class HaltingRule(Protocol):
    """Anything that says, after a segment, which rows stop.

    It may have `needs: frozenset[str]`, the optional features that it reads, or "future" where it
    decides in hindsight and so on recordings only.
    """

    def __call__(self, features: SegmentFeatures, /) -> Tensor: ...


class Named:
    """Prints as its spec string: the name, and the field's value if there is one."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    def __str__(self) -> str:
        values = [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]
        return f"{self.name}:{values[0]}" if values else self.name


@dataclass(frozen=True)
class Fixed(Named):
    """Stop after n segments."""

    name = "fixed"
    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"fixed:N needs N >= 1, got {self.n}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.segment >= self.n


@dataclass(frozen=True)
class Random(Named):
    """Stop after any segment with probability p, drawn from the puzzle's key: repeatable."""

    name = "random"
    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"random:P needs 0 < P <= 1, got {self.p}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return uniform(mix(mix(features.puzzle_key) + features.segment)) < self.p


@dataclass(frozen=True)
class Q(Named):
    """The paper's rule: stop where halting is worth more than thinking on."""

    name = "q"

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt > features.q_continue


@dataclass(frozen=True)
class QHalt(Named):
    """Stop where the halt logit exceeds a threshold (halt-only training; TRM, arXiv 2510.04871)."""

    name = "q-halt"
    threshold: float = 0.0

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.q_halt > self.threshold


@dataclass(frozen=True)
class Confidence(Named):
    """Stop where the mean over cells of the largest probability reaches a threshold."""

    name = "confidence"
    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.confidence >= self.threshold


@dataclass(frozen=True)
class Margin(Named):
    """Stop where the mean gap of the two largest probabilities reaches a threshold."""

    name = "margin"
    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.margin >= self.threshold


@dataclass(frozen=True)
class Entropy(Named):
    """Stop where the mean entropy over cells, in nats, falls to a threshold."""

    name = "entropy"
    threshold: float

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.entropy <= self.threshold


@dataclass(frozen=True)
class Stable(Named):
    """Stop where the draft has stayed the same k segments in a row (PABEE, arXiv 2006.04152)."""

    name = "stable"
    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"stable:K needs K >= 1, got {self.k}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.unchanged_for >= self.k


@dataclass(frozen=True)
class Residual(Named):
    """Stop where z_H has come to rest: its relative change falls to a threshold."""

    name = "residual"
    threshold: float

    def __post_init__(self) -> None:
        _below_infinity(self.name, self.threshold)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.residual_H <= self.threshold


@dataclass(frozen=True)
class SecondOrder(Named):
    """Stop where the relative change of z_H no longer changes itself (after arXiv 2509.23314)."""

    name = "second-order"
    threshold: float

    def __post_init__(self) -> None:
        _below_infinity(self.name, self.threshold)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        # Up to segment 2 the difference is infinite or NaN, and no threshold reaches it.
        return (features.residual_H - features.previous_residual_H).abs() <= self.threshold


@dataclass(frozen=True)
class KL(Named):
    """Stop where a segment hardly moved the predictions (arXiv 2502.05171)."""

    name = "kl"
    threshold: float

    def __post_init__(self) -> None:
        _below_infinity(self.name, self.threshold)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return features.kl <= self.threshold


@dataclass(frozen=True)
class Act(Named):
    """Stop where the halting probabilities add up to a threshold (Graves' ACT, arXiv 1603.08983)."""

    name = "act"
    needs = frozenset({"halt_sum"})
    threshold: float = 0.99

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return required(features, "halt_sum") >= self.threshold


@dataclass(frozen=True)
class Ponder(Named):
    """Stop where the probability of having halted reaches a threshold (PonderNet, arXiv 2107.05407)."""

    name = "ponder"
    needs = frozenset({"log_survival"})
    threshold: float = 0.5

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return -required(features, "log_survival").expm1() >= self.threshold


class _Hindsight(Named):
    """A rule that is told which drafts are right: an upper bound, for recordings only."""

    needs = frozenset({"future"})

    def __call__(self, features: SegmentFeatures) -> Tensor:
        raise ValueError(f"rule {self} knows the future: it runs on a trace bank only")


@dataclass(frozen=True)
class Oracle(_Hindsight):
    """Hindsight: stop where correct - cost * segments is largest, at the first such segment."""

    name = "oracle"
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.cost < np.inf:
            raise ValueError(f"oracle:COST needs a COST >= 0 per segment, got {self.cost}")

    def __str__(self) -> str:
        return f"oracle:{self.cost}" if self.cost else "oracle"

    def stop_segments(self, correct: NDArray[np.bool_]) -> NDArray[np.int64]:
        """1-based, int64 [N], of `correct` [N, M]."""
        # Only two segments can be best: the first right one, and the first of all.
        first = correct.argmax(axis=1)  # 0 where none is right
        return np.where(1 - self.cost * first > correct[:, 0], first, 0).astype(np.int64) + 1


@dataclass(frozen=True)
class FirstCorrect(_Hindsight):
    """Hindsight: stop at the first right draft; where none is, run to the limit."""

    name = "first-correct"

    def stop_segments(self, correct: NDArray[np.bool_]) -> NDArray[np.int64]:
        """1-based, int64 [N], of `correct` [N, M]."""
        stops = np.where(correct.any(axis=1), correct.argmax(axis=1) + 1, correct.shape[1])
        return stops.astype(np.int64)


_ALL: tuple[Callable[..., HaltingRule], ...] = (
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
RULES: dict[str, Callable[..., HaltingRule]] = {rule.name: rule for rule in _ALL}  # type: ignore[attr-defined]
"""The rules of one name and at most one value, by name."""


def needs_of(rule: HaltingRule) -> frozenset[str]:
    """Optional features that a rule reads, and "future" where it decides in hindsight."""
    return frozenset(getattr(rule, "needs", ()))


def parts_of(rule: HaltingRule) -> Iterator[HaltingRule]:
    """The rule and all rules wrapped in it."""
    yield rule
    for part in getattr(rule, "rules", ()):
        yield from parts_of(part)


def spec_of(rule: HaltingRule) -> str:
    """The spec string of a rule, which `parse_rule` reads back.

    A rule of your own is `module:Class`, with `:VALUE` if it is a dataclass of one number, or
    `module:function`.
    """
    if isinstance(rule, Named):
        return str(rule)
    named: Any = rule if hasattr(rule, "__qualname__") else type(rule)
    spec = f"{named.__module__}:{named.__qualname__}"
    values: list[Any] = (
        [getattr(rule, field.name) for field in fields(rule)] if is_dataclass(rule) else []
    )
    number = len(values) == 1 and type(values[0]) in (int, float)
    return f"{spec}:{values[0]}" if number else spec


@contextmanager
def for_all_rows(rule: HaltingRule) -> Iterator[None]:
    """Raises ValueError, saying what to write instead, where the rule does `if` on tensors within."""
    try:
        yield
    except RuntimeError as error:
        if "Boolean value of Tensor" not in str(error):
            raise
        raise ValueError(
            f"rule {spec_of(rule)!r} decides for all rows at once: no `if`, `and`, `or` or `not` on "
            "tensors, but `&`, `|`, `~` and torch.where"
        ) from error


def stops_of(rule: HaltingRule, features: SegmentFeatures) -> Tensor:
    """Which rows a rule stops, bool [B].

    A rule that gave scores instead would stop wherever they are not zero, so what it gives is looked at.

    Raises ValueError where that is no bool tensor of a value a row, or the rule has an `if` on tensors.
    """
    with for_all_rows(rule):
        stops: Any = rule(features)
    rows = tuple(features.segment.shape)
    if not isinstance(stops, Tensor):
        got = type(stops).__name__
    elif stops.dtype != torch.bool or tuple(stops.shape) != rows:
        got = f"{str(stops.dtype).removeprefix('torch.')} {list(stops.shape)}"
    else:
        return stops
    scores = isinstance(stops, Tensor) and stops.dtype != torch.bool
    hint = "; hold it against a threshold" if scores else ""
    raise ValueError(
        f"rule {spec_of(rule)!r} has to give a bool tensor {list(rows)}, got {got}{hint}"
    )


def required(features: SegmentFeatures, name: str) -> Tensor:
    """An optional feature. Raises ValueError saying how to come by it where it is missing."""
    value = getattr(features, name)
    if value is None:
        raise ValueError(
            f"the rule needs feature {name}, which these features lack; segment_features gives it live"
            f"{' with pooled=True' if name == 'pooled_z_H' else ''}, and on a trace bank "
            f"bank_features(bank, needs={{'{name}'}}) does"
        )
    return value


def _below_infinity(name: str, threshold: float) -> None:
    # At segment 1 there is nothing to compare with; an infinite threshold would take that for rest.
    if threshold == np.inf:
        raise ValueError(f"{name}:EPSILON needs a finite EPSILON, got {threshold}")
