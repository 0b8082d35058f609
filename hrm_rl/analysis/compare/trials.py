"""Rules on one recorded run: chosen on its validation puzzles, judged on its test puzzles."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from hrm_rl.analysis.compare.cases import Case
from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.analysis.statistics.judging import Judgement, best_fixed, judge
from hrm_rl.analysis.statistics.selective import RiskCurve, risk_curve
from hrm_rl.halting.bank.replay import Outcome, heights_at_stop, replay
from hrm_rl.halting.fit.budget import PRICES, BudgetRule
from hrm_rl.halting.fit.provenance import check_fitted
from hrm_rl.halting.fit.tuning import check_spec, resolve, threshold_curve
from hrm_rl.halting.rules import HaltingRule, ThresholdRule, auto_spec, needs_of, parts_of, spec_of
from hrm_rl.halting.rules.combine import Abstain
from hrm_rl.halting.rules.learned import LEARNED
from hrm_rl.halting.rules.spec import Node, parse_rule, parse_tree

Policy = str | HaltingRule | type[ThresholdRule]
"""A spec, a rule, or the class of a rule whose threshold is chosen on validation puzzles."""


def policy_name(policy: Policy) -> str:
    """The spec of a policy, which is its name in a comparison.

    Raises ValueError for a spec that does not parse, a class without a threshold, or what is not a rule.
    """
    if isinstance(policy, str):
        check_spec("oracle" if policy == "hindsight" else policy.replace("LIMIT", "1"))
        return policy
    if isinstance(policy, type):
        return auto_spec(policy)
    if not callable(policy):
        raise ValueError(f"a policy is a spec, a rule, or the class of a ThresholdRule; got {policy!r}")
    return spec_of(policy)


def rules_by_name(policies: Iterable[Policy]) -> dict[str, HaltingRule]:
    """The policies that are rules, by name. Raises ValueError if two have the same name."""
    found: dict[str, HaltingRule] = {}
    for policy in policies:
        if isinstance(policy, str | type):
            continue
        if found.setdefault(policy_name(policy), policy) is not policy:
            raise ValueError(f"two rules have the name {policy_name(policy)!r}; rename one of them")
    return found


@dataclass(frozen=True, eq=False)
class Trial:
    """One rule on a case's test puzzles."""

    rule: HaltingRule
    spec: str
    outcome: Outcome
    judgement: Judgement

    @property
    def needs_future(self) -> bool:
        """True if the rule knows the answers: a bound, not a rule to use."""
        return "future" in needs_of(self.rule)

    def risk_curve(self, case: Case) -> RiskCurve:
        """Of a rule that may decline, on the case's test puzzles: all thresholds of what it declines by."""
        test, rule = case.test, cast(Abstain, self.rule)
        heights = heights_at_stop(test, cast(ThresholdRule, rule.signal), self.outcome)
        return risk_curve(heights, test.correct[np.arange(len(test)), self.outcome.answered - 1])


@dataclass
class Trials:
    """Every rule of a case, chosen once and judged once."""

    case: Case
    settings: Settings
    rules_folder: Path | None = None
    """The folder in which learned rules are saved."""
    rules: Mapping[str, HaltingRule] = field(default_factory=dict)
    """The rules of policies that are not specs."""
    _chosen: dict[tuple[str, float | None], Trial] = field(default_factory=dict)
    _judged: dict[str, Trial] = field(default_factory=dict)

    def trial(self, policy: str, cost: float) -> Trial:
        """The policy at that cost, on which `oracle` and every `auto` depend."""
        if policy == "oracle":
            return self.oracle(cost)
        autos = self.autos(policy)
        if any(node.name in ("sb3", "calm", "abstain") for node in autos):
            cost = self.settings.cost  # slow to train; chosen by risk instead of cost
        key = policy, cost if autos else None
        if key not in self._chosen:
            try:
                self._chosen[key] = self._choose(policy, cost) if autos else self._given(policy)
            except ValueError as error:
                raise ValueError(f"{policy} on {self.case.name}: {error}") from error
        return self._chosen[key]

    def autos(self, policy: str) -> list[Node]:
        """The parts of a policy that are chosen on validation puzzles."""
        return [] if policy in self.rules else list(parse_tree(policy).autos())

    def best_fixed(self, cost: float) -> Trial:
        """The best constant on the validation puzzles, or on the test puzzles if there are none."""
        correct = (self.case.validation or self.case.test).correct
        return self._given(f"fixed:{best_fixed(correct, cost)}")

    def oracle(self, cost: float) -> Trial:
        """Hindsight at that cost."""
        return self._given(f"oracle:{cost}")

    def sweep(self, policy: str, costs: Sequence[float]) -> list[tuple[float, float]]:
        """(mean segments, accuracy) on the test puzzles over a policy's whole range.

        A threshold is swept, a learned rule has a point at each cost (a rule for all budgets at 24); none
        for CALM, chosen by risk.
        """
        autos = self.autos(policy)
        if not autos or any(node.parts is not None or node.name == "oracle" for node in autos):
            return []
        if all(node.name in LEARNED for node in autos):
            rule = self.trial(policy, self.settings.cost).rule
            if isinstance(rule, BudgetRule):  # one network has the whole curve
                prices = np.geomspace(*PRICES, 24).tolist()
                judged = [self._judge(rule.at(c), f"{policy} at {c:g}").judgement for c in prices]
            else:
                judged = [self.trial(policy, cost).judgement for cost in costs]
            return [(float(j.segments.mean()), float(j.correct.mean())) for j in judged]
        swept = threshold_curve(policy, self.case.test)
        return list(zip(swept.mean_segments.tolist(), swept.accuracy.tolist(), strict=True))

    def _given(self, policy: str) -> Trial:
        """A rule with nothing to choose. Raises ValueError if a part was fitted on the test puzzles."""
        rule = self.rules[policy] if policy in self.rules else parse_rule(policy)
        check_fitted(rule, self.case.test, self.settings.allow_mismatch)
        return self._judge(rule, spec_of(rule))

    def _choose(self, policy: str, cost: float) -> Trial:
        """A rule chosen on the validation puzzles; fitted parts are saved."""
        if self.case.validation is None:
            raise ValueError(
                "the rule is chosen on validation puzzles, and there are none here: give a threshold, or "
                "record some with `hrm-rl trace RUN --out BANK --splits validation test`"
            )
        rule = resolve(policy, self.case.validation, cost, seed=self.settings.seed)
        if self.rules_folder is not None:
            plain = re.sub(r"[^\w.-]+", "-", policy).strip("-")
            rule = _save_parts(rule, str(self.rules_folder / f"{self.case.name}_{plain}_{cost:g}"))
        # The cost tells a learned part without a file from itself at another cost; CALM is named by its rule.
        learned = [part for part in parts_of(rule) if getattr(part, "name", "") != "calm"]
        unnamed = any(getattr(part, "path", "") is None for part in learned)
        return self._judge(rule, f"{policy} at {cost:g}" if unnamed else spec_of(rule))

    def _judge(self, rule: HaltingRule, spec: str) -> Trial:
        if spec not in self._judged:
            test = self.case.test
            outcome = replay(test, rule)
            correct = test.narrow(outcome.lengths.shape[1]).stacked("correct")
            judgement = judge(outcome.lengths, outcome.correct, correct)
            if outcome.declined is not None:
                judgement = judgement.answered(~outcome.declined)
            self._judged[spec] = Trial(rule, spec, outcome, judgement)
        return self._judged[spec]


def _save_parts(rule: Any, path: str) -> Any:
    """The rule with every part that was learned here saved, and named by its file."""
    if getattr(rule, "fitted_on", None) is not None:
        # A rule given as a file, beside a part learned here, stays there.
        return rule if rule.path is not None else rule.save(f"{path}{rule.suffix}")
    if hasattr(rule, "rule"):
        parts = [name for name in ("rule", "by") if hasattr(rule, name)]
        return dataclasses.replace(rule, **{name: _save_parts(getattr(rule, name), path) for name in parts})
    if hasattr(rule, "rules"):
        return dataclasses.replace(rule, rules=tuple(_save_parts(r, path) for r in rule.rules))
    return rule
