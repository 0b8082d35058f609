"""Rules for stopping: what each decides, and how their spec strings read."""

import math
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from hrm_rl.halting import SegmentFeatures, parse_rule
from hrm_rl.halting.rules import RULES, Fixed, Random

INF = math.inf

DECISIONS = [
    ("fixed:3", {"segment": [1, 2, 3, 4]}, [0, 0, 1, 1]),
    ("fixed:1", {"segment": [1, 2]}, [1, 1]),
    ("q", {"q_halt": [1.0, 1.0, 2.0, -3.0], "q_continue": [2.0, 1.0, 1.0, -4.0]}, [0, 0, 1, 1]),
    ("q-halt", {"q_halt": [-0.5, 0.0, 0.5]}, [0, 0, 1]),
    ("q-halt:0.0", {"q_halt": [-0.5, 0.0, 0.5], "q_continue": [-9.0, 9.0, 9.0]}, [0, 0, 1]),
    ("q-halt:-1.5", {"q_halt": [-2.0, -1.5, -1.0]}, [0, 0, 1]),
    ("confidence:0.5", {"confidence": [0.25, 0.5, 0.75]}, [0, 1, 1]),
    ("margin:0.5", {"margin": [0.25, 0.5, 0.75]}, [0, 1, 1]),
    ("entropy:0.5", {"entropy": [0.25, 0.5, 0.75]}, [1, 1, 0]),
    ("stable:2", {"unchanged_for": [0, 1, 2, 3]}, [0, 0, 1, 1]),
    ("residual:0.5", {"residual_H": [INF, 0.75, 0.5, 0.0], "residual_L": [0.0] * 4}, [0, 0, 1, 1]),
    ("kl:5e-1", {"kl": [INF, 0.75, 0.5, 0.0]}, [0, 0, 1, 1]),
    ("random:1", {"puzzle_key": [0, 1, -5], "segment": [1, 1, 2]}, [1, 1, 1]),
]


class AtLeastTwo:
    """A rule of somebody else's."""

    def __call__(self, features: SegmentFeatures) -> torch.Tensor:
        return features.segment >= 2


@pytest.fixture
def my_rules(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with rules of its own."""
    module = ModuleType("somebodys_rules")
    module.AtLeastTwo = AtLeastTwo  # type: ignore[attr-defined]
    module.at_least_two = AtLeastTwo()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


@pytest.mark.parametrize(("spec", "fields", "decision"), DECISIONS)
def test_what_a_rule_decides(features: Any, spec: str, fields: dict, decision: list) -> None:
    stops = parse_rule(spec)(features(**fields))
    assert stops.dtype == torch.bool and stops.int().tolist() == decision


def test_every_rule_is_decided_on_above() -> None:
    assert {spec.partition(":")[0] for spec, *_ in DECISIONS} == set(RULES)


def test_nothing_rests_at_segment_one(features: Any) -> None:
    """What compares with the segment before is infinite then, and no threshold reaches it."""
    first = features(kl=[INF], residual_H=[INF], unchanged_for=[0])
    for spec in ("kl:1e30", "residual:1e30", "stable:1"):
        assert not parse_rule(spec)(first).any()


def test_random_is_repeatable_and_differs_by_puzzle_and_segment(features: Any) -> None:
    rule = parse_rule("random:0.5")
    keys = list(range(2000))
    draws = [rule(features(puzzle_key=keys, segment=[m] * 2000)) for m in (1, 1, 2, 3)]
    assert torch.equal(draws[0], draws[1])
    for one, two in ((draws[0], draws[2]), (draws[2], draws[3]), (draws[0], draws[3])):
        assert abs(float((one == two).float().mean()) - 0.5) < 0.06  # independent
    assert torch.equal(rule(features(puzzle_key=keys[::-1], segment=[1] * 2000)), draws[0].flip(0))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.9])
def test_random_stops_with_its_probability(features: Any, p: float) -> None:
    count = 20_000
    stops = Random(p)(features(puzzle_key=list(range(count)), segment=[4] * count))
    sigma = math.sqrt(p * (1 - p) / count)
    assert abs(float(stops.float().mean()) - p) < 5 * sigma


def test_a_rule_equals_its_spec() -> None:
    assert parse_rule("fixed:4") == Fixed(4) and parse_rule("fixed:4") != Fixed(5)
    assert parse_rule("random:0.2") == Random(0.2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fixed", "'fixed' needs a value, as in fixed:VALUE"),
        ("confidence:", "'confidence:' needs a value"),
        ("fixed:0", "N >= 1, got 0"),
        ("fixed:-2", "N >= 1, got -2"),
        ("fixed:2.5", "'fixed:2.5': '2.5' is not a whole number"),
        ("fixed:many", "'fixed:many': 'many' is not a whole number"),
        ("stable:0", "K >= 1, got 0"),
        ("random:0", r"0 < P <= 1, got 0"),
        ("random:1.5", r"0 < P <= 1, got 1.5"),
        ("random:nan", "'random:nan'"),
        ("confidence:high", "'confidence:high': 'high' is not a number"),
        ("kl:nan", "'kl:nan'"),
        ("q:0.5", "'q' takes no value, got 'q:0.5'"),
        ("confidense", "'confidense'; did you mean 'confidence'"),
        ("confidense:0.9", "'confidense:0.9'.*did you mean 'confidence'"),
        ("q_halt", "'q_halt'; did you mean 'q-halt'"),
        ("Q", "'Q'"),
        ("", "unknown rule ''; .*known: fixed, random, q"),
        ("zzz", "unknown rule 'zzz'; known: fixed, .*or module:Class"),
        ("no.such.module:Rule", "'no.such.module:Rule'.*No module named"),
        (":Rule", "':Rule'"),
        (".relative:Rule", "'.relative:Rule'"),
        ("math:nothing", "'math:nothing': module 'math' has no 'nothing'"),
        ("math:pi", "'math:pi': 'pi' is float, not a rule to call"),
        ("hrm_rl.halting.rules:Fixed", "'hrm_rl.halting.rules:Fixed': .*missing 1 required"),
        ("hrm_rl.halting.features:INF", "has no 'INF'"),
    ],
)
def test_a_bad_spec_is_refused_by_name(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule(spec)


@pytest.mark.parametrize("name", ["AtLeastTwo", "at_least_two"])
def test_a_rule_of_ones_own_by_module_and_name(features: Any, my_rules: str, name: str) -> None:
    rule = parse_rule(f"{my_rules}:{name}")
    assert rule(features(segment=[1, 2])).tolist() == [False, True]


def test_a_misspelt_class_is_named(my_rules: str) -> None:
    with pytest.raises(ValueError, match="module 'somebodys_rules' has no 'AtLeastThree'"):
        parse_rule(f"{my_rules}:AtLeastThree")
