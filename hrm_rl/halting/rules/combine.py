"""Rules made of rules: the best draft so far, not before segment n, any of, all of, declining to answer."""

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules.protocol import HaltingRule, Named, needs_of, spec_of, stops_of
from hrm_rl.halting.rules.threshold import ThresholdRule


class Combined(Named):
    """A rule that wraps rules: it needs what they need, and recalls if one of them does."""

    rules: tuple[HaltingRule, ...]
    form: ClassVar[str]
    """How its spec is written."""

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError(f"{self.form} needs a rule")
        for rule in self.rules:
            if "future" in needs_of(rule):
                raise ValueError(
                    f"rule {spec_of(rule)!r} decides in hindsight and cannot be part of {self.form}"
                )
            if "width" in needs_of(rule):
                raise ValueError(
                    f"rule {spec_of(rule)!r} selects among trajectories and cannot be part of {self.form}; "
                    "select outside, as in select(min(2, q), vote)"
                )
            if isinstance(rule, Abstain):
                raise ValueError(f"rule {str(rule)!r} may decline, so it cannot be part of {self.form}")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset().union(*map(needs_of, self.rules))

    @property
    def recalls(self) -> bool:
        """Whether the answer is the best-scored draft so far instead of the latest."""
        return any(getattr(rule, "recalls", False) for rule in self.rules)

    def score(self, features: SegmentFeatures) -> Tensor:
        """How good this segment's draft is, float32 [B]; `recall` answers with the best."""
        return features.q_halt

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(spec_of, self.rules))})"


class Wrapper(Combined):
    """A rule around one other."""

    rule: HaltingRule

    @property
    def rules(self) -> tuple[HaltingRule, ...]:  # type: ignore[override]
        return (self.rule,)


@dataclass(frozen=True)
class Recall(Wrapper):
    """Stop as RULE does, but answer with the draft of the largest q_halt so far; the earlier of equals."""

    name, form = "recall", "recall(RULE)"
    rule: HaltingRule

    @property
    def recalls(self) -> bool:
        return True

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return stops_of(self.rule, features)


@dataclass(frozen=True)
class AtLeast(Wrapper):
    """Stop as RULE does, but not before segment N."""

    name, form = "min", "min(N, RULE)"
    n: int
    rule: HaltingRule

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ValueError(f"{self.form} needs N >= 1, got {self.n}")

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return stops_of(self.rule, features) & (features.segment >= self.n)

    def __str__(self) -> str:
        return f"{self.name}({self.n}, {spec_of(self.rule)})"


@dataclass(frozen=True)
class AnyOf(Combined):
    """Stop when one of the rules does."""

    name, form = "any", "any(RULE, ...)"
    rules: tuple[HaltingRule, ...]

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return reduce(lambda one, two: one | two, (stops_of(rule, features) for rule in self.rules))


@dataclass(frozen=True)
class AllOf(Combined):
    """Stop when all of the rules do, at the same segment."""

    name, form = "all", "all(RULE, ...)"
    rules: tuple[HaltingRule, ...]

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return reduce(lambda one, two: one & two, (stops_of(rule, features) for rule in self.rules))


@dataclass(frozen=True)
class Abstain(Wrapper):
    """Stop as RULE does; answer where BY, a rule with a threshold, would stop, else decline to."""

    name, form = "abstain", "abstain(RULE, BY)"
    rule: HaltingRule
    by: HaltingRule

    def __post_init__(self) -> None:
        super().__post_init__()
        spec = spec_of(self.by)
        if not isinstance(self.signal, ThresholdRule):
            raise ValueError(f"{self.form}: BY must have a threshold, such as confidence:0.9; got {spec!r}")
        if getattr(self.by, "answers_of", spec_of(self.rule)) != spec_of(self.rule):
            made, rule = getattr(self.by, "answers_of", "") or "stopping", spec_of(self.rule)
            raise ValueError(f"{spec!r} is calibrated for {made}, not for the answers of {rule!r}")

    @property
    def signal(self) -> HaltingRule:
        """The rule whose signal decides; a calibrated rule wraps it."""
        return getattr(self.by, "rule", self.by)

    @property
    def rules(self) -> tuple[HaltingRule, ...]:  # type: ignore[override]
        return (self.rule, self.by)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return stops_of(self.rule, features)

    def answers(self, features: SegmentFeatures) -> Tensor:
        """Which rows, if they stop here, are answered; bool [B]."""
        return stops_of(self.by, features)


_KINDS: tuple[type[Combined], ...] = (Recall, AtLeast, AnyOf, AllOf, Abstain)
COMBINATORS = {kind.name: kind for kind in _KINDS}
"""The rules that wrap rules, by name."""
