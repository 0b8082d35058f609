"""Rules for stopping: what each decides, alone and combined."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.halting import parse_rule
from hrm_rl.halting.rules import RULES, Random, needs_of
from hrm_rl.halting.rules.combine import COMBINATORS

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
    (
        "second-order:0.25",
        {"residual_H": [INF, 0.5, 0.5, 0.5, 1.0], "previous_residual_H": [INF, INF, 0.75, 1.0, 0.8]},
        [0, 0, 1, 0, 1],
    ),
    ("act", {"halt_sum": [0.9, 0.985, 0.995, 1.5]}, [0, 0, 1, 1]),
    ("act:1.5", {"halt_sum": [0.9, 1.5]}, [0, 1]),
    ("ponder", {"log_survival": [0.0, math.log(0.75), math.log(0.25)]}, [0, 0, 1]),
    ("ponder:0.75", {"log_survival": [math.log(0.5), math.log(0.25) - 1e-6]}, [0, 1]),
    ("recall(stable:1)", {"unchanged_for": [0, 1]}, [0, 1]),
    ("min(3, confidence:0.5)", {"segment": [2, 3, 3], "confidence": [0.9, 0.9, 0.1]}, [0, 1, 0]),
    (
        "any(stable:1, fixed:4, entropy:0.1)",
        {"unchanged_for": [0, 1, 0, 0], "segment": [1, 2, 4, 1], "entropy": [1.0, 1.0, 1.0, 0.0]},
        [0, 1, 1, 1],
    ),
    ("all(stable:1, min(2, fixed:1))", {"unchanged_for": [1, 1, 0], "segment": [1, 2, 2]}, [0, 1, 0]),
    ("abstain(fixed:2, margin:0.5)", {"segment": [1, 2], "margin": [0.9, 0.1]}, [0, 1]),
    ("random:1", {"puzzle_key": [0, 1, -5], "segment": [1, 1, 2]}, [1, 1, 1]),
]


@pytest.mark.parametrize(("spec", "fields", "decision"), DECISIONS)
def test_what_a_rule_decides(features: Any, spec: str, fields: dict, decision: list) -> None:
    stops = parse_rule(spec)(features(**fields))
    assert stops.dtype == torch.bool and stops.int().tolist() == decision


def test_every_rule_is_decided_on_above() -> None:
    names = {spec.partition("(")[0].partition(":")[0] for spec, *_ in DECISIONS}
    assert names == set(RULES) - {"oracle", "first-correct"} | set(COMBINATORS)


def test_nothing_rests_at_segment_one(features: Any) -> None:
    """What compares with the segment before is infinite then, and no threshold reaches it."""
    first = features(kl=[INF], residual_H=[INF], previous_residual_H=[INF], unchanged_for=[0])
    for spec in ("kl:1e30", "residual:1e30", "second-order:1e30", "stable:1"):
        assert not parse_rule(spec)(first).any()


def test_random_is_repeatable_and_differs_by_puzzle_and_segment(features: Any) -> None:
    rule, keys = parse_rule("random:0.5"), list(range(2000))
    draws = [rule(features(puzzle_key=keys, segment=[m] * 2000)) for m in (1, 1, 2, 3)]
    assert torch.equal(draws[0], draws[1])
    for one, two in combinations(draws[1:], 2):
        assert abs(float((one == two).float().mean()) - 0.5) < 0.06  # independent
    assert torch.equal(rule(features(puzzle_key=keys[::-1], segment=[1] * 2000)), draws[0].flip(0))


@pytest.mark.parametrize("p", [0.05, 0.2, 0.9])
def test_random_stops_with_its_probability(features: Any, p: float) -> None:
    count = 20_000
    stops = Random(p)(features(puzzle_key=list(range(count)), segment=[4] * count))
    sigma = math.sqrt(p * (1 - p) / count)
    assert abs(float(stops.float().mean()) - p) < 5 * sigma


HINDSIGHT = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)


@pytest.mark.parametrize(
    ("spec", "stops"),
    [
        ("first-correct", [2, 1, 4, 4]),
        ("oracle", [2, 1, 1, 4]),
        ("oracle:0.3", [2, 1, 1, 4]),
        ("oracle:0.4", [2, 1, 1, 1]),
        ("oracle:1", [1, 1, 1, 1]),  # thinking on costs what it gains: a tie
    ],
)
def test_rules_of_hindsight(features: Any, spec: str, stops: list[int]) -> None:
    rule: Any = parse_rule(spec)
    assert rule.stop_segments(HINDSIGHT).tolist() == stops
    assert needs_of(rule) == {"future"}
    with pytest.raises(ValueError, match="decides in hindsight and runs on a trace bank only"):
        rule(features(segment=[1]))


def test_what_a_rule_needs_and_its_wrappers_with_it() -> None:
    assert needs_of(parse_rule("q")) == needs_of(lambda features: features.segment > 1) == set()
    assert needs_of(parse_rule("any(act, min(2, ponder))")) == {"halt_sum", "log_survival"}


@pytest.mark.parametrize("spec", ["min(2, recall(q))", "any(q, recall(q))", "any(q)"])
def test_a_wrapper_recalls_if_a_rule_in_it_does(spec: str) -> None:
    rule: Any = parse_rule(spec)
    assert rule.recalls is ("recall" in spec)


def test_a_missing_feature_is_named(features: Any) -> None:
    bare = features(segment=[1])._replace(halt_sum=None)
    with pytest.raises(ValueError, match=r"feature halt_sum.*segment_features.*bank_features"):
        parse_rule("act")(bare)
