"""One rule for all prices of a segment, on a world whose optimum is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hrm_rl.analysis.compare import compare
from hrm_rl.analysis.compare.cases import make_case
from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.halting import TraceBank, parse_rule, replay, resolve, spec_of, toy_bank
from hrm_rl.halting.bank.toy import toy_optimal_stops
from hrm_rl.halting.fit.budget import BudgetRule, fit_budget

COSTS = (0.001, 0.01, 0.03, 0.1)


@pytest.fixture(scope="module")
def bank() -> TraceBank:
    return toy_bank(1500, seed=3)


@pytest.fixture(scope="module")
def rule(bank: TraceBank) -> BudgetRule:
    return fit_budget(bank.in_split("validation"))


@pytest.mark.parametrize("cost", COSTS)
def test_it_is_near_the_optimum_and_one_rule_a_price(rule: BudgetRule, bank: TraceBank, cost: float) -> None:
    many = toy_bank(6000, seed=77).in_split("test")

    def mean_return(stopped: np.ndarray) -> float:
        return float((many.correct[np.arange(len(many)), stopped - 1] - cost * stopped).mean())

    best = mean_return(toy_optimal_stops(many, cost))
    fitted = mean_return(replay(many, resolve("lsm:auto", bank.in_split("validation"), cost)).stopped)
    found = mean_return(replay(many, rule.at(cost)).stopped)
    assert found > best - 0.007 and found > fitted - 0.005


def test_a_higher_price_stops_earlier(rule: BudgetRule, bank: TraceBank) -> None:
    stops = [replay(bank, rule.at(cost)).stopped.mean() for cost in np.geomspace(0.001, 0.1, 9)]
    assert stops[0] > stops[-1] + 1 and np.diff(stops).max() < 0.05


def test_a_file_serves_every_price(rule: BudgetRule, bank: TraceBank, tmp_path: Path) -> None:
    kept = rule.save(tmp_path / "rule")
    read: Any = parse_rule(f"budget:0.03:{tmp_path / 'rule'}")
    assert (read.price, spec_of(read)) == (0.03, f"budget:0.03:{tmp_path / 'rule'}")
    assert (replay(bank, read).stopped == replay(bank, kept.at(0.03)).stopped).all()
    for spec, message in (
        ("budget:0:{}", r"must lie in 0.0005 to 0.1, got 0.0"),
        ("budget:low:{}", "needs a number as COST, got 'low'"),
        ("budget:{}", "the form is budget:COST:FILE"),
        ("pqn:{}", "holds a rule of kind 'budget', not 'pqn'"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_rule(spec.format(tmp_path / "rule"))
    with pytest.raises(ValueError, match="at least 2 segments"):
        fit_budget(bank.in_split("validation").truncate(1))


def test_one_network_has_the_whole_curve(rule: BudgetRule, bank: TraceBank) -> None:
    """The rule fitted in the fixture is that of budget:auto: its bank keeps it."""
    case = make_case("toy", bank)
    (row, _) = compare([case], Settings(("budget:auto",), costs=(0.003, 0.03), draws=50))
    assert row.curve is not None and len(row.curve.segments) == 24
    assert row.curve.segments.min() < 4 < row.curve.segments.max()
    assert row.spec_by_cost["0.03"] == ["budget:auto at 0.03"]
