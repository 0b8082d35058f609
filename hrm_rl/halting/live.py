"""A halting rule prepared for a loop that runs segments."""

from dataclasses import dataclass

from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules import HaltingRule, needs_of, spec_of, stops_of
from hrm_rl.halting.rules.spec import parse_rule


@dataclass(frozen=True)
class LiveRule:
    """A rule, and what the loop must provide for it."""

    rule: HaltingRule
    pooled: bool
    """Whether it reads `pooled_z_H`."""
    recalls: bool
    """Whether the answer is the draft with the largest `score` so far."""

    @classmethod
    def of(cls, rule: HaltingRule | str) -> "LiveRule":
        """Prepare a rule or its spec string. Raises ValueError for a rule that decides in hindsight."""
        rule = parse_rule(rule) if isinstance(rule, str) else rule
        if not callable(rule):
            raise ValueError(f"a rule is a spec such as 'q', or a function of features; got {rule!r}")
        if isinstance(rule, type):
            raise ValueError(
                f"a rule is an object or a function, got the class {rule.__name__}: make one of it"
            )
        needs = needs_of(rule)
        if "width" in needs:
            raise ValueError(
                f"rule {spec_of(rule)!r} selects among several trajectories of a puzzle: evaluate it with "
                "`hrm-rl eval RUN --width K`, or on a bank of `hrm-rl trace RUN --out BANK --width K`"
            )
        if "future" in needs:
            raise ValueError(
                f"rule {spec_of(rule)!r} decides in hindsight: it runs on a trace bank "
                "(`hrm-rl compare`), not live"
            )
        return cls(rule, "pooled_z_H" in needs, bool(getattr(rule, "recalls", False)))

    def stops(self, features: SegmentFeatures) -> Tensor:
        """Which rows stop, bool [B]."""
        return stops_of(self.rule, features)

    def score(self, features: SegmentFeatures) -> Tensor:
        """How good each row's draft is, for a rule that recalls; float32 [B]."""
        return self.rule.score(features).float()  # type: ignore[attr-defined]
