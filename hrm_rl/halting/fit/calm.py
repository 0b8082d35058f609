"""A threshold with a guarantee: CALM's calibration (arXiv 2207.07061) by learn-then-test (2110.01052).

The risk is what stopping early loses against running to the limit, as a share of puzzles:

    accuracy      the draft at the limit is right and the early answer is not. Never below the loss of
                  accuracy, since puzzles that stopping early gains do not count against it.
    consistency   the early answer differs from the draft at the limit in some cell. Needs no labels, but
                  a bank with drafts.

    answers       of `abstain(RULE, calm(NAME))`: the answer is wrong, as a share of the puzzles answered.

The guarantee: over all puzzles from the distribution of the calibration puzzles, this risk is at most
delta, with probability at least 1 - epsilon over the draw of the calibration puzzles. It does not cover
other puzzles, nor any single calibration.
"""

import os
from dataclasses import dataclass, fields
from math import log, log1p
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features, heights_at_stop, replay
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.fit.fitted import Contents, FittedRule, load_fitted
from hrm_rl.halting.fit.provenance import FittedOn, check_fitted, fitting_data
from hrm_rl.halting.rules import RULES
from hrm_rl.halting.rules.combine import Abstain
from hrm_rl.halting.rules.protocol import HaltingRule, needs_of, spec_of
from hrm_rl.halting.rules.spec import Node, build, parse_rule, parse_tree, threshold_class
from hrm_rl.halting.rules.threshold import ThresholdRule, sums_by_threshold
from hrm_rl.messages import shortened
from hrm_rl.settings import check_integers, check_interval

Risk = Literal["accuracy", "consistency", "answers"]
DELTA, EPSILON = 0.01, 0.05
FORM = "calm(RULE) or calm(RULE, DELTA, EPSILON)"


@dataclass(frozen=True, eq=False)
class Calibrated(FittedRule):
    """Stop at a threshold whose risk is below delta with probability 1 - epsilon (CALM, arXiv 2207.07061)."""

    @dataclass(frozen=True)
    class Stored:
        rule: str
        delta: float
        epsilon: float
        risk: Risk
        limit: int
        answers_of: str = ""

        def __post_init__(self) -> None:
            check_interval(self, "(0, 1)", "delta", "epsilon")
            check_integers(self, 1, "limit")

    name = "calm"
    rule: HaltingRule
    fitted_on: FittedOn
    delta: float
    epsilon: float
    risk: Risk
    limit: int
    """Segments that the risk is relative to."""
    answers_of: str = ""
    """The rule whose answers are at risk, if the rule decides which to give."""
    path: str | None = None

    def __call__(self, features: SegmentFeatures) -> Tensor:
        return self.rule(features)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        return needs_of(self.rule)

    def __str__(self) -> str:
        custom = _custom_class(str(self.rule))
        if self.path and custom:
            return f"{self.name}:{custom}:{self.path}"
        return super().__str__() if self.path else str(self.rule)

    @classmethod
    def auto(cls, words: tuple[str, ...], bank: TraceBank, cost: float, seed: int) -> "Calibrated":
        return calibrate(bank, *_read(words))

    def contents(self) -> Contents:
        stored = {field.name: getattr(self, field.name) for field in fields(self.Stored)}
        return {}, stored | {"rule": str(self.rule)}

    @classmethod
    def load(cls, path: str | os.PathLike[str], custom: str = "") -> "Calibrated":
        """Read a rule that `save` wrote. A file cannot name a class of your own: `custom` does, as
        `module:Class`.

        Raises ValueError if the file is damaged, or holds another rule.
        """
        read = load_fitted(path, cls.name, custom)
        if custom and not _custom_class(str(read.rule)):
            raise ValueError(f"{path} holds the rule {str(read.rule)!r}; its spec is {cls.name}:{path}")
        return read

    @classmethod
    def restore(
        cls, arrays: Any, settings: Any, fitted_on: FittedOn, path: str, custom: str = ""
    ) -> "Calibrated":
        named = _custom_class(settings.rule)
        if named and named != custom:
            raise ValueError(
                f"its rule is of the class {shortened(named, 80)!r}, and a file may not name code to run; "
                f"if you trust that class, name it yourself: {cls.name}:module:Class:FILE"
            )
        name = named or parse_tree(settings.rule).name
        if not named and name not in RULES:
            given = shortened(settings.rule, 80)
            raise ValueError(f"its rule {given!r} is not a threshold of one built-in rule")
        threshold_class(name, settings.rule)
        rule = parse_rule(settings.rule)
        return cls(fitted_on=fitted_on, path=path, **(vars(settings) | {"rule": rule}))


def _custom_class(spec: str) -> str:
    """The `module:Class` of a custom rule's spec; "" for any other spec."""
    node = parse_tree(spec)
    return f"{node.name}:{node.argument.partition(':')[0]}" if node.is_custom else ""


def _read(words: tuple[str, ...]) -> tuple[str, float, float]:
    """The rule, delta and epsilon of `calm(...)`."""
    try:
        name, *levels = words
        delta, epsilon = map(float, levels or (DELTA, EPSILON))
    except ValueError:
        raise ValueError(f"rule 'calm({', '.join(words)})': the form is {FORM}") from None
    return name, delta, epsilon


def check_calibrated(node: Node) -> "tuple[type[ThresholdRule], str, float, float]":
    """Class, name, delta and epsilon of what `calm(...)`, or an `abstain` with it, calibrates.

    Raises ValueError for what cannot be calibrated.
    """
    if node.name == Abstain.name:
        rule, node_by = node.parts or ()
        if node_by.name != "calm" or any(rule.autos()):
            raise ValueError(
                f"rule {str(node)!r}: its guarantee needs a given RULE and a calibrated BY, as in "
                "abstain(q, calm(confidence, 0.01, 0.05))"
            )
        node = node_by
    name, delta, epsilon = _read(node.words)
    return _checked(name, delta, epsilon), name, delta, epsilon


def calibrated_answers(node: Node, bank: TraceBank) -> Abstain:
    """The rule of `abstain(RULE, calm(NAME, DELTA, EPSILON))`: the most lenient threshold at which the share
    of wrong answers among those given is at most delta, with probability 1 - epsilon.

    Thresholds are tested from strict to lenient, each on the puzzles that it answers, up to the first that
    fails. Those that answer too few to be certified even without an error are passed over: which they are
    depends on the signals and not on the labels. If none is certified, no puzzle is answered.

    Raises ValueError as `calibrate`, and for a RULE that is to be chosen or was fitted on these puzzles.
    """
    (kind, _, delta, epsilon), (rule, _) = check_calibrated(node), node.parts or ()
    stopping, fitted_on = build(rule), fitting_data(bank, 0.0)
    check_fitted(stopping, bank, allow_mismatch=True)
    outcome = replay(bank, stopping)
    heights = heights_at_stop(bank, kind.at(float(kind.grid[0])), outcome)
    thresholds = np.array([*kind.grid, kind.both_ends()[0]], np.float32)
    chosen = bank.num_segments + 1 if kind.whole else kind.both_ends()[1]
    for threshold, level in zip(thresholds, kind.levels(thresholds), strict=True):
        given = heights >= level
        count, wrong = int(given.sum()), int((given & ~outcome.correct).sum())
        if p_value(0.0, count, delta) > epsilon:
            continue
        if p_value(wrong / count, count, delta) > epsilon:
            break
        chosen = float(threshold)
    limit, spec = bank.num_segments, spec_of(stopping)
    by = Calibrated(kind.at(chosen), fitted_on, delta, epsilon, "answers", limit, spec)
    return Abstain(stopping, by)


def calibrate(
    bank: TraceBank, rule: str, delta: float = DELTA, epsilon: float = EPSILON, *, risk: Risk = "accuracy"
) -> Calibrated:
    """The most lenient threshold of a rule whose guarantee the calibration puzzles support.

    Thresholds are tested from strict to lenient, in an order fixed beforehand, up to the first that
    fails; no correction for their number is needed. Never stopping early loses nothing and needs no test.

    Args:
        bank: calibration puzzles, drawn like those the guarantee is about; none of split `test`.
        rule: name of a rule with a `grid` of thresholds: `confidence`, or `module:Class`.
        delta: the largest acceptable risk, in (0, 1).
        epsilon: probability that the guarantee fails, in (0, 1).
        risk: see above.

    Raises ValueError for a rule without a grid, numbers out of range, test puzzles, or a bank without
    drafts if the risk is `consistency`.
    """
    kind = _checked(rule, delta, epsilon)
    fitted_on = fitting_data(bank, 0.0)
    thresholds = _tested(kind, bank.num_segments)
    strictest = kind.at(float(kind.grid[0]))
    features = bank_features(bank, needs_of(strictest))
    heights = strictest.height(features).numpy().reshape(bank.correct.shape)
    (lost,) = sums_by_threshold(heights, kind.levels(thresholds)[::-1], _losses(bank, risk))
    chosen = 0
    for place, loss in enumerate(lost[::-1][1:], start=1):
        if p_value(loss / bank.num_puzzles, bank.num_puzzles, delta) > epsilon:
            break
        chosen = place
    threshold = float(thresholds[chosen])
    if kind.whole and not np.isfinite(threshold):
        threshold = bank.num_segments
    return Calibrated(kind.at(threshold), fitted_on, delta, epsilon, risk, bank.num_segments)


def _checked(rule: str, delta: float, epsilon: float) -> type[ThresholdRule]:
    """The class of a rule with a grid of thresholds."""
    for name, value in (("delta", delta), ("epsilon", epsilon)):
        if not 0 < value < 1:
            raise ValueError(f"calm({rule}): {name} must lie between 0 and 1, got {value}")
    grids = [name for name, kind in RULES.items() if getattr(kind, "grid", ())]
    if rule in RULES and rule not in grids:
        raise ValueError(f"calm({rule}): it has no grid of thresholds; {', '.join(grids)} have one")
    kind = threshold_class(rule, f"calm({rule})")
    if not kind.grid:
        raise ValueError(f"calm({rule}): give the class a `grid` of thresholds, from strict to lenient")
    return kind


def _tested(kind: type[ThresholdRule], limit: int) -> NDArray[np.float32]:
    """The thresholds to test, from strict to lenient; the first one never stops early."""
    grid = [x for x in kind.grid if not kind.whole or x < limit]
    return np.array([kind.both_ends()[1], *grid], np.float32)


def p_value(mean_loss: float, count: int, delta: float) -> float:
    """Hoeffding-Bentkus p-value of the hypothesis that the risk exceeds delta, for `count` losses in [0, 1].

    The smaller of two bounds (Bates et al. 2021, arXiv 2101.02703): exp(-n h(r, delta)), with h the
    relative entropy of two coins, and e P(Binomial(n, delta) <= ceil(n r)).
    """
    if mean_loss >= delta:
        return 1.0
    r = mean_loss
    entropy = (r * log(r / delta) if r else 0.0) + (1 - r) * (log1p(-r) - log1p(-delta))
    hoeffding = np.exp(-count * entropy)
    # A sum of losses of 0 or 1 is whole; its mean times the count may differ from it by rounding.
    k = np.arange(1, int(np.ceil(round(count * mean_loss, 6))) + 1)
    ratios = np.log((count - k + 1) / k) + log(delta) - log1p(-delta)  # of P(k) to P(k - 1)
    log_terms = count * log1p(-delta) + np.concatenate([[0.0], ratios.cumsum()])
    bentkus = np.exp(1 + np.logaddexp.reduce(log_terms))
    return float(min(hoeffding, bentkus, 1.0))


def _losses(bank: TraceBank, risk: Risk) -> NDArray[np.bool_]:
    """Whether stopping at each segment would lose a puzzle, [N, M]."""
    if risk == "accuracy":
        return bank.correct[:, -1:] & ~bank.correct
    if risk != "consistency":
        raise ValueError(f"risk must be 'accuracy' or 'consistency', got {risk!r}")
    if bank.drafts is None:
        raise ValueError(
            "the risk of consistency compares drafts, but this bank holds none; record it with "
            "`hrm-rl trace RUN --out BANK --drafts`"
        )
    return (bank.drafts != bank.drafts[:, -1:]).any(-1)
