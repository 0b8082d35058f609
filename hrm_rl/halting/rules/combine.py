"""Rules made of rules: answer with the best draft so far, not before segment n, any of, all of."""

from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar

from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules import HaltingRule, Named, needs_of, spec_of, stops_of


class Combined(Named):
    """What a wrapper has of the rules in it: their needs, and whether one of them recalls."""

    rules: tuple[HaltingRule, ...]
    words: ClassVar[str]
    """Its form, for messages."""

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError(f"{self.words} needs a rule")
        for rule in self.rules:
            if "future" in needs_of(rule):
                raise ValueError(
                    f"rule {spec_of(rule)!r} decides in hindsight and stands alone, never in {self.words}"
                )

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset().union(*map(needs_of, self.rules))

    @property
    def recalls(self) -> bool:
        """Whether the answer is the best-scored draft so far instead of the latest."""
        return any(getattr(rule, "recalls", False) for rule in self.rules)

    def score(self, features: SegmentFeatures) -> Tensor:
        """How good the draft of this segment is, float32 [B]: what `recall` goes by."""
        return features.q_halt

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(spec_of, self.rules))})"


@dataclass(frozen=True)
class Recall(Combined):
    """Stop as `rule` does, but answer with the draft of the largest q_halt so far; ties: the earlier."""

    name = "recall"
    words = "recall(RULE)"
    rule: HaltingRule

    @property
    def rules(self) -> tuple[HaltingRule, ...]:  # type: ignore[override]
        return (self.rule,)

    @property
    def recalls(self) -> bool:
        return True

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return stops_of(self.rule, features)


@dataclass(frozen=True)
class AtLeast(Combined):
    """Stop as `rule` does, but not before segment n."""

    name = "min"
    words = "min(N, RULE)"
    n: int
    rule: HaltingRule

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ValueError(f"min(N, RULE) needs N >= 1, got {self.n}")

    @property
    def rules(self) -> tuple[HaltingRule, ...]:  # type: ignore[override]
        return (self.rule,)

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return stops_of(self.rule, features) & (features.segment >= self.n)

    def __str__(self) -> str:
        return f"min({self.n}, {spec_of(self.rule)})"


@dataclass(frozen=True)
class AnyOf(Combined):
    """Stop where one of the rules does."""

    name = "any"
    words = "any(RULE, ...)"
    rules: tuple[HaltingRule, ...]

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return reduce(lambda one, two: one | two, (stops_of(rule, features) for rule in self.rules))


@dataclass(frozen=True)
class AllOf(Combined):
    """Stop where all of the rules do, at the same segment."""

    name = "all"
    words = "all(RULE, ...)"
    rules: tuple[HaltingRule, ...]

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return reduce(lambda one, two: one & two, (stops_of(rule, features) for rule in self.rules))


def combine(name: str, parts: tuple[Any, ...]) -> HaltingRule:
    """The wrapper called `name` of what stands between its parentheses."""
    if name in (AnyOf.name, AllOf.name):
        return (AnyOf if name == AnyOf.name else AllOf)(parts)
    wrapper: Any = {Recall.name: Recall, AtLeast.name: AtLeast}[name]
    return wrapper(*parts)


COMBINATORS = {kind.name: kind.words for kind in (Recall, AtLeast, AnyOf, AllOf)}
"""The form of each wrapper, by name."""
