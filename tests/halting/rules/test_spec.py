"""Spec strings: which are parsed, which are refused and how, and that rules print as they were parsed."""

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.halting import SegmentFeatures, ThresholdRule, parse_rule, spec_of
from hrm_rl.halting.rules import RULES, Confidence, Fixed, Q, parts_of
from hrm_rl.halting.rules.combine import Abstain, AllOf, AnyOf, AtLeast, Recall
from hrm_rl.halting.rules.spec import parse_tree


class AtLeastTwo:
    """A custom rule."""

    def __call__(self, features: SegmentFeatures) -> torch.Tensor:
        return features.segment >= 2


@dataclass(frozen=True)
class AtLeastN:
    """A custom rule with a whole number."""

    n: int = 2

    def __call__(self, features: SegmentFeatures) -> torch.Tensor:
        return features.segment >= self.n


@dataclass(frozen=True)
class Between(AtLeastN):
    """Two numbers, which its spec could not tell from two others."""

    high: int = 4


@dataclass(frozen=True)
class Late(AtLeastTwo):
    """A switch is not a number."""

    late: bool = True


class Blind(ThresholdRule):
    """Without a signal."""


class Sure(ThresholdRule):
    name = "confidence"  # ignored: custom rules go by module and class

    def signal(self, features: SegmentFeatures) -> torch.Tensor:
        return features.confidence_min


class Count(ThresholdRule):
    whole = True

    def signal(self, features: SegmentFeatures) -> torch.Tensor:
        return features.segment


@pytest.fixture(autouse=True)
def custom_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """An importable module with custom rules."""
    module: Any = ModuleType("custom_rules")
    for kind in (AtLeastTwo, AtLeastN, Between, Late, Blind, Sure, Count):
        setattr(module, kind.__name__, kind)
    module.at_least_two = AtLeastTwo()
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_nesting_and_spaces() -> None:
    wanted = Recall(AtLeast(2, AnyOf((Q(), AllOf((Confidence(0.9), Fixed(3)))))))
    spec = "recall(min(2, any(q, all(confidence:0.9, fixed:3))))"
    assert parse_rule(spec) == wanted
    assert parse_rule(" recall ( min(2,any( q,all(confidence:0.9 ,fixed:3) ) )) ") == wanted
    assert spec_of(wanted) == str(wanted) == spec
    kinds = [type(part).__name__ for part in parts_of(wanted)]
    assert kinds == ["Recall", "AtLeast", "AnyOf", "Q", "AllOf", "Confidence", "Fixed"]


PRINTED = (
    "fixed:4 random:0.2 q q-halt:0.0 q-halt:-1.5 confidence:0.9 margin:0.5 entropy:0.1 stable:2 "
    "residual:0.01 second-order:0.01 kl:0.0005 act:0.99 ponder:0.5 oracle oracle:0.01 "
    "first-correct confidence:inf entropy:-inf"
)


@pytest.mark.parametrize("spec", PRINTED.split())
def test_a_rule_prints_as_it_was_parsed(spec: str) -> None:
    assert spec_of(parse_rule(spec)) == spec


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = {
    "fixed": st.integers(1, 10**9),
    "stable": st.integers(1, 10**9),
    "random": st.floats(0, 1, exclude_min=True),
    "oracle": st.floats(0, 1e9),
}
KINDS: dict[str, Any] = RULES
PLAIN = st.one_of(
    *(
        st.just(kind()) if name in ("q", "first-correct") else VALUES.get(name, NUMBERS).map(kind)
        for name, kind in KINDS.items()
    )
)
LIVE = PLAIN.filter(lambda rule: "future" not in getattr(rule, "needs", ()))
NESTED = st.recursive(
    LIVE,
    lambda inner: st.one_of(
        inner.map(Recall),
        st.builds(AtLeast, st.integers(1, 99), inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AnyOf(tuple(rules))),
        st.lists(inner, min_size=1, max_size=3).map(lambda rules: AllOf(tuple(rules))),
    ),
    max_leaves=5,
)


@settings(max_examples=100)
@given(st.one_of(PLAIN, NESTED, st.builds(Abstain, NESTED, st.builds(Confidence, NUMBERS))))
def test_what_is_printed_parses_to_the_same_rule(rule: Any) -> None:
    assert parse_rule(spec_of(rule)) == rule
    assert str(parse_tree(spec_of(rule))) == spec_of(rule)


@settings(max_examples=150)
@given(st.text(alphabet="q(),:fixed123mn aytorecl.-", max_size=25))
def test_any_text_parses_or_is_refused_in_one_line(text: str) -> None:
    try:
        assert callable(parse_rule(text))
    except ValueError as error:
        assert "\n" not in str(error) and str(error)


def test_custom_rules_by_module_and_name(features: Any) -> None:
    for name in ("AtLeastTwo", "at_least_two"):
        rule = parse_rule(f"custom_rules:{name}")
        assert rule(features(segment=[1, 2])).tolist() == [False, True]
        wrapped = parse_rule(f"any(min(3, custom_rules:{name}), fixed:9)")
        assert wrapped(features(segment=[2, 3])).tolist() == [False, True]
    assert parse_rule("custom_rules:AtLeastN:3") == AtLeastN(3)
    assert parse_rule("custom_rules:AtLeastN") == AtLeastN()
    rule = parse_rule("min(2, custom_rules:Sure:0.5)")
    found = rule(features(segment=[1, 2, 2], confidence_min=[0.9, 0.4, 0.5]))
    assert found.tolist() == [False, False, True]


CUSTOM = [AtLeastN(3), Sure(0.25), Count(2), AtLeast(2, Sure(1e-07)), Late(), Between()]


@pytest.mark.parametrize("rule", CUSTOM)
def test_custom_rules_print_where_they_live_and_their_value(rule: Any) -> None:
    assert f"{__name__}:" in spec_of(rule) and parse_rule(spec_of(rule)) == rule


def test_custom_classes_and_instances_print_alike() -> None:
    assert spec_of(AtLeastTwo()) == spec_of(AtLeastTwo) == f"{__name__}:AtLeastTwo"


REFUSED = [
    ("fixed", "'fixed' needs a value, as in fixed:VALUE"),
    ("confidence:", "'confidence' needs a value"),
    ("fixed:0", "^rule 'fixed:0': the number must be >= 1, got 0"),
    ("stable:-2", "must be >= 1, got -2"),
    ("fixed:2.5", "'fixed:2.5': '2.5' is not a whole number"),
    ("fixed:many", "'fixed:many': 'many' is not a whole number"),
    ("random:0", r"0 < P <= 1, got 0"),
    ("random:1.5", r"0 < P <= 1, got 1.5"),
    ("random:nan", "'random:nan'"),
    ("confidence:high", "'confidence:high': 'high' is not a number"),
    ("kl:nan", "'kl:nan'"),
    ("q:0.5", "'q:0.5': 'Q' takes no value"),
    ("confidense", "'confidense'; did you mean 'confidence'"),
    ("confidense:0.9", "'confidense:0.9'.*did you mean 'confidence'"),
    ("q_halt", "'q_halt'; did you mean 'q-halt'"),
    ("Q", "'Q'"),
    ("", "unknown rule ''; .*known: fixed, random, q"),
    ("zzz", "unknown rule 'zzz'; known: fixed, .*or module:Class"),
    ("no.such.module:Rule", "'no.such.module:Rule'.*No module named.*PYTHONPATH"),
    (":Rule", "':Rule'"),
    (".relative:Rule", "'.relative:Rule'"),
    ("math:nothing", "'math:nothing': module 'math' has no 'nothing'"),
    ("math:pi", "'math:pi': 'pi' is float, not a rule"),
    ("hrm_rl.halting.rules:Fixed", "'hrm_rl.halting.rules:Fixed' needs a value"),
    ("oracle:-1", "COST >= 0"),
    ("kl:inf", "kl:EPSILON needs a finite EPSILON"),
    ("confidence:auto", "'confidence:auto' is chosen on validation puzzles"),
    ("min(2, q-halt:auto)", "'q-halt:auto' is chosen on validation puzzles"),
    ("lsm:auto", "'lsm:auto' is chosen"),
    ("calm(confidence, 0.01, 0.05)", r"'calm\(confidence, 0.01, 0.05\)' is chosen"),
    ("lsm", "'lsm': the form is lsm:FILE"),
    ("lsm:none/such", "'lsm:none/such': no file 'none/such'"),
    ("sb3:dqn", "'sb3:dqn': the form is sb3:ALGO:FILE"),
    ("recall", r"'recall' wraps rules, as in recall\(RULE\)"),
    ("min:3", r"'min' wraps rules, as in min\(N, RULE\)"),
    ("recall(q", r"'recall\(q': the '\)' of 'recall\(' is missing"),
    ("recall()", r"missing before '\)'"),
    ("any(q,", "missing at the end"),
    ("any(q,,q)", "missing before ','"),
    ("q)", r"unexpected '\)' after 'q'"),
    ("(q)", r"missing before '\('"),
    ("q, q", "unexpected ',' after 'q'"),
    ("any(q fixed:3)", "unknown rule 'q fixed:3'"),
    ("any(q(q))", "'q' wraps no rules"),
    ("confidence(0.9)", "'confidence' wraps no rules; its value follows a colon"),
    ("recal(q)", r"unknown rule 'recal' in 'recal\(q\)'; did you mean 'recall'"),
    ("recall(q, q)", r"the form is recall\(RULE\), got 2 parts"),
    ("min(q)", r"the form is min\(N, RULE\), got 1 parts"),
    ("min(two, q)", "'two' is not a whole number"),
    ("min(0, q)", r"min\(N, RULE\) needs N >= 1, got 0"),
    ("abstain(q)", r"the form is abstain\(RULE, BY\), got 1 parts"),
    ("abstain(q, q)", r"BY must have a threshold, such as confidence:0.9; got 'q'"),
    ("any(q, abstain(q, margin:1))", r"may decline, so it cannot be part of any\(RULE, ...\)"),
    ("abstain(q, calm(margin))", "is chosen on validation puzzles"),
    ("recall(oracle)", r"'oracle' decides in hindsight and cannot be part of recall\(RULE\)"),
    ("any(q, min(2, confidense:1))", "'confidense:1'.*did you mean 'confidence'"),
    ("custom_rules:AtLeastThree", "module 'custom_rules' has no 'AtLeastThree'"),
    ("custom_rules:AtLeastTwo:3", "'AtLeastTwo' takes no value; a ThresholdRule does"),
    ("custom_rules:Between:3", "'Between' takes no value"),
    ("custom_rules:Sure:nan", "'custom_rules:Sure:nan': the value is not a number"),
    ("custom_rules:Blind:0.5", "'custom_rules:Blind:0.5': .*abstract.*signal"),
    ("custom_rules:AtLeastN:2.5", "'custom_rules:AtLeastN:2.5': '2.5' is not a whole"),
    ("custom_rules:Count:2.5", "'custom_rules:Count:2.5': '2.5' is not a whole number"),
    ("custom_rules:Sure:high", "'custom_rules:Sure:high': 'high' is not a number"),
    ("custom_rules:Sure", "'custom_rules:Sure' needs a value"),
    ("custom_rules:Sure(0.5)", "'custom_rules:Sure' wraps no rules"),
    ("custom_rules:Sure:auto", "is chosen on validation puzzles"),
    ("recall(" * 33 + "q" + ")" * 33, "nest at most 32 deep"),
    ("recall(" * 100_000, "nest at most 32 deep"),
    (f"any({', '.join(['q'] * 5000)})", "at most 1000 parts"),
    ("custom_rules:at_least_two:3", "'at_least_two' is not a class and takes no value"),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED)
def test_a_bad_spec_is_refused_by_name(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule(spec)
