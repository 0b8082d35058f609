"""Choosing thresholds: the fast way equals plain replays, and the choice is the best of them."""

from typing import Any

import numpy as np
import pytest
from torch import Tensor

from hrm_rl.halting import SegmentFeatures, ThresholdRule, TraceBank, parse_rule, spec_of
from hrm_rl.halting.bank.replay import replay
from hrm_rl.halting.fit.calm import Calibrated
from hrm_rl.halting.fit.linear import LeastSquaresStopping, ValueOfComputation
from hrm_rl.halting.fit.tuning import resolve, sweep, threshold_curve
from hrm_rl.halting.rules import RULES

CUSTOM = ("Lead", "Restless")
THRESHOLDS = [name for name, kind in RULES.items() if issubclass(kind, ThresholdRule)]


class Lead(ThresholdRule):
    """A custom rule whose signal is NaN or infinite in some rows."""

    def signal(self, features: SegmentFeatures) -> Tensor:
        return (features.q_halt - features.q_continue) / (features.unchanged_for - 1)


class Restless(ThresholdRule):
    """The same the other way."""

    rises = False

    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.kl * features.residual_H


class Branchy(ThresholdRule):
    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.kl if features.kl > 1 else features.entropy


class Columns(ThresholdRule):
    def signal(self, features: SegmentFeatures) -> Tensor:
        return features.kl[:, None]


SPECS = [f"{name}:auto" for name in THRESHOLDS] + [
    f"{__name__}:Lead:auto",
    f"{__name__}:Restless:auto",
    f"recall(min(2, {__name__}:Lead:auto))",
    f"any(stable:2, {__name__}:Restless:auto)",
    "recall(confidence:auto)",
    "min(3, entropy:auto)",
    "min(2, q-halt:auto)",
    "any(stable:2, margin:auto)",
    "any(fixed:4, q-halt:auto)",
    "all(any(q, fixed:3), kl:auto)",
    "recall(min(2, any(residual:auto, stable:3)))",
    "all(min(2, stable:auto), q)",
]


def outcome(bank: TraceBank, rule: Any) -> tuple[float, float]:
    result = replay(bank, rule)
    return float(result.correct.mean()), float(result.stopped.mean())


@pytest.mark.parametrize("spec", SPECS)
def test_a_curve_is_what_replays_of_its_rules_give(random_bank: Any, spec: str) -> None:
    bank = random_bank(seed=3)
    curve, rules = threshold_curve(spec, bank, 16), sweep(spec, bank, 16)
    assert [curve.rule(i) for i in range(len(curve.thresholds))] == rules
    assert 3 <= len(rules) <= 16
    for i, rule in enumerate(rules):
        assert (curve.accuracy[i], curve.mean_segments[i]) == pytest.approx(outcome(bank, rule))
        # A threshold goes through its spec string unharmed.
        assert parse_rule(spec_of(rule)) == rule


def test_a_curve_recalls_the_earlier_of_equals(random_bank: Any) -> None:
    bank = random_bank()
    alike = np.zeros(bank.correct.shape)
    bank = random_bank(features=bank.features | {"q_halt": alike})
    curve = threshold_curve("recall(fixed:auto)", bank)
    assert curve.accuracy == pytest.approx([bank.correct[:, 0].mean()] * 6)


@pytest.mark.parametrize("name", [*THRESHOLDS, *(f"{__name__}:{name}" for name in CUSTOM)])
def test_a_sweep_goes_from_stopping_at_once_to_never(random_bank: Any, name: str) -> None:
    bank = random_bank(seed=1)
    segments = threshold_curve(f"{name}:auto", bank).mean_segments
    assert (np.diff(segments) >= 0).all() and segments[-1] == bank.num_segments
    if name == "stable":
        assert segments[0] < segments[-1]
    else:
        assert segments[0] == {"residual": 2, "kl": 2, "second-order": 3}.get(name, 1)
    assert name == "stable" or name == "fixed" or len(segments) > 20


@pytest.mark.parametrize("cost", [0.0, 0.01, 0.1, 2.0])
@pytest.mark.parametrize("spec", ["confidence:auto", "recall(q-halt:auto)", "fixed:auto"])
def test_the_best_threshold_is_chosen(random_bank: Any, spec: str, cost: float) -> None:
    bank = random_bank(seed=2)
    values = []
    for rule in sweep(spec, bank):
        accuracy, segments = outcome(bank, rule)
        values.append((round(accuracy - cost * segments, 9), -segments))
    chosen = outcome(bank, resolve(spec, bank, cost))
    assert (round(chosen[0] - cost * chosen[1], 9), -chosen[1]) == max(values)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Branchy", "'.*:Branchy:1.0' decides for all rows at once"),
        ("Columns", r"the signal must be a tensor \[360\], got \[360, 1\]"),
    ],
)
def test_a_signal_must_be_one_number_a_row(random_bank: Any, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(f"{__name__}:{name}:auto", random_bank(), 0.01)
    with pytest.raises(ValueError, match=message.replace("1.0", "0.5")):
        replay(random_bank(), parse_rule(f"{__name__}:{name}:0.5"))


def test_ties_go_to_fewer_segments(random_bank: Any) -> None:
    """Nothing is ever right: at no cost all rules are equal, and the cheapest is taken."""
    shape = (60, 6)
    bank = random_bank(correct=np.zeros(shape), valid=np.zeros(shape))
    assert resolve("fixed:auto", bank, 0.0) == parse_rule("fixed:1")


def test_what_else_is_auto(random_bank: Any) -> None:
    bank = random_bank()
    assert resolve("q", bank, 0.01) == parse_rule("q")
    assert resolve("oracle:auto", bank, 0.01) == parse_rule("oracle:0.01")
    assert isinstance(resolve("lsm:auto", bank, 0.01), LeastSquaresStopping)
    for spec, horizon in (("voc:auto", 1), ("voc:myopic:auto", 1), ("voc:blinkered:auto", 5)):
        rule = resolve(spec, bank, 0.01)
        assert isinstance(rule, ValueOfComputation)
        assert rule.regression.intercept.shape == (5, horizon)
    calibrated = resolve("calm(confidence, 0.2, 0.1)", bank, 0.01)
    assert isinstance(calibrated, Calibrated)
    assert (calibrated.delta, calibrated.epsilon) == (0.2, 0.1)


def test_a_rule_that_recalls_is_fitted_to_what_it_answers(random_bank: Any) -> None:
    """Half of the drafts go wrong at segment 2 and half go right, and the score tells which.

    Who answers with the latest draft gains nothing by thinking on, who recalls is always right.
    """
    better = np.arange(60)[:, None] % 2 == 0
    correct = np.where(np.arange(6) == 0, ~better, better)
    blank = {name: np.zeros((60, 6)) for name in random_bank().features}
    score = np.where(np.arange(6) == 0, 0, np.where(better, 3, -3))
    bank = random_bank(correct=correct, features=blank | {"q_halt": score})
    assert outcome(bank, resolve("lsm:auto", bank, 0.1)) == (0.5, 1)
    assert outcome(bank, resolve("recall(lsm:auto)", bank, 0.1)) == (1, 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("any(confidence:auto, margin:auto)", "'confidence:auto' and 'margin:auto' open"),
        ("recall(calm(confidence))", r"'calm\(confidence\)' cannot be part of another"),
        ("q:auto", "'q:auto' has nothing to choose; try .*lsm:auto"),
        ("voc:far:auto", "'voc:far:auto' cannot be chosen; try voc:auto, voc:blinkered:auto"),
        ("confidence:high:auto", "'confidence:high:auto' takes one value"),
        ("calm(confidence, 0.1)", r"the form is calm\(RULE\) or"),
        ("calm(confidence, a, b)", r"the form is calm\(RULE\) or"),
        ("calm(q)", r"calm\(q\).*no grid of thresholds; fixed, q-halt, confidence"),
        ("calm(margin, 0, 0.1)", "delta must lie between 0 and 1, got 0"),
        ("min(two, margin:auto)", "'two' is not a whole number"),
        ("any(confidense, margin:auto)", "did you mean 'confidence'"),
        ("recall(oracle:auto)", "cannot be part of"),
        (f"{__name__}:outcome:auto", "outcome' has no threshold.*hrm_rl.halting.ThresholdRule"),
    ],
)
def test_what_cannot_be_chosen(random_bank: Any, spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(spec, random_bank(), 0.01)


def test_other_refusals(random_bank: Any) -> None:
    bank = random_bank()
    mixed = random_bank(split=np.repeat(["validation", "test"], 30))
    with pytest.raises(ValueError, match=r"30 of split 'test'; .*in_split\('validation'\)"):
        resolve("confidence:auto", mixed, 0.01)
    with pytest.raises(ValueError, match="finite, got -1"):
        resolve("confidence:auto", bank, -1.0)
    for spec, count, message in (
        ("q", 64, "has no threshold to vary, as in 'confidence:auto'"),
        ("lsm:auto", 64, "has no threshold to vary"),
        ("confidence:0.5", 64, "has no threshold to vary"),
        ("confidence:auto", 1, "at least 2, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            sweep(spec, bank, count)


def test_a_sweep_looks_at_no_label(random_bank: Any) -> None:
    bank = random_bank(split=np.full(60, "test"))
    blind = random_bank(correct=np.zeros((60, 6)), split=np.full(60, "test"))
    assert sweep("margin:auto", bank) == sweep("margin:auto", blind)
