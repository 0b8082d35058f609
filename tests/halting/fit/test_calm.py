"""CALM's calibration: the p-value by other means, and the promise by simulation."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hrm_rl.halting import SegmentFeatures, ThresholdRule, TraceBank, parse_rule, resolve, spec_of, toy_bank
from hrm_rl.halting.bank.replay import bank_features, replay
from hrm_rl.halting.fit.calm import Calibrated, calibrate, p_value
from hrm_rl.halting.fit.linear import check_fitted
from hrm_rl.halting.rules import RULES

GRIDS: dict[str, Any] = {name: kind for name, kind in RULES.items() if getattr(kind, "grid", ())}


class Sure(ThresholdRule):
    """A custom rule with a grid."""

    grid = (0.9, 0.5)

    def signal(self, features: SegmentFeatures) -> torch.Tensor:
        return features.confidence_min


def lost(bank: TraceBank, rule: Any) -> float:
    """Share of puzzles right at the limit and answered wrongly before."""
    return float((bank.correct[:, -1] & ~replay(bank, rule).correct).mean())


@pytest.mark.parametrize(("failures", "count", "delta"), [(0, 50, 0.1), (3, 80, 0.1), (9, 40, 0.3)])
def test_the_p_value_by_a_sum_of_binomials(failures: int, count: int, delta: float) -> None:
    below = sum(math.comb(count, k) * delta**k * (1 - delta) ** (count - k) for k in range(failures + 1))
    r = failures / count
    odds = ((r / delta) ** r if r else 1) * ((1 - r) / (1 - delta)) ** (1 - r)
    assert p_value(r, count, delta) == pytest.approx(min(1, odds**-count, math.e * below))


def test_the_p_value_grows_with_the_loss_and_ends_at_one() -> None:
    values = [p_value(k / 100, 100, 0.2) for k in range(101)]
    assert all(one <= two for one, two in pairwise(values))
    assert values[0] == pytest.approx(0.8**100) and values[20:] == [1.0] * 81
    assert p_value(0.01, 100_000, 0.02) < 1e-9  # no overflow


@pytest.mark.parametrize("family", [*GRIDS, f"{__name__}:Sure"])
def test_the_last_threshold_before_the_first_failure(random_bank: Any, family: str) -> None:
    """Against plain replays of every threshold of the grid."""
    bank, kind, delta, epsilon = random_bank(80, seed=4), GRIDS.get(family, Sure), 0.3, 0.1
    wanted = None
    for threshold in kind.grid:
        if kind.whole and threshold >= bank.num_segments:
            continue
        rule = kind.at(np.float32(threshold))
        if p_value(lost(bank, rule), 80, delta) > epsilon:
            break
        wanted = rule
    found = calibrate(bank, family, delta, epsilon)
    if wanted is None:
        assert replay(bank, found).stopped.min() == bank.num_segments
    else:
        assert found.rule == wanted
    assert family in ("second-order", "fixed", f"{__name__}:Sure") or replay(bank, found).stopped.mean() < 6


def test_after_a_failure_nothing_laxer_is_taken(random_bank: Any) -> None:
    """Right, wrong, wrong, right: stopping at once loses nothing, but the search never comes so far."""
    shape = (60, 4)
    correct = np.broadcast_to([True, False, False, True], shape)
    features = random_bank(*shape).features
    sure = np.broadcast_to([0.5, 0.9, 0.99, 0.999], shape)
    bank = random_bank(*shape, correct=correct, features=features | {"confidence": sure})
    assert (replay(bank, calibrate(bank, "confidence", 0.3, 0.1)).stopped == 4).all()


@pytest.mark.parametrize("risk", ["accuracy", "consistency"])
def test_the_promise_holds(random_bank: Any, risk: Any) -> None:
    """The true risk exceeds delta in no more calibrations than epsilon says.

    The population is a bank of 4,000 puzzles, drawn from with replacement, so its risk is known.
    """
    delta, epsilon, draws, size = 0.1, 0.2, 200, 100
    population = random_bank(4000, 4, seed=11)
    drafts = np.random.default_rng(1).integers(0, 2, (4000, 4, 8)).astype(np.uint8)
    drafts[..., 1:] = 0  # the last draft is right by chance half the time
    drafts[..., 0] = population.correct
    population = TraceBank(**{**vars(population), "drafts": drafts})
    differs = (drafts != drafts[:, -1:]).any(-1)
    final = population.correct[:, -1:]
    losses = final & ~population.correct if risk == "accuracy" else differs
    rng, failures, early, known = np.random.default_rng(0), 0, 0, {}
    for _ in range(draws):
        sample = population.take(rng.integers(0, 4000, size))
        rule = calibrate(sample, "confidence", delta, epsilon, risk=risk)
        if (spec := spec_of(rule)) not in known:
            stopped = replay(population, rule).stopped
            known[spec] = losses[np.arange(4000), stopped - 1].mean(), stopped.mean()
        failures += known[spec][0] > delta
        early += known[spec][1] < 4
    sigma = math.sqrt(epsilon * (1 - epsilon) / draws)
    assert failures / draws <= epsilon + 3 * sigma
    assert early > draws / 2  # and not by never stopping early


def test_wrong_answers_among_those_given_keep_the_promise(tmp_path: Path) -> None:
    """Simulated on a world with many puzzles; and with too few puzzles nothing is answered."""
    population = toy_bank(4000, seed=99).in_split("test")
    delta, epsilon, draws, spec = 0.1, 0.2, 50, "abstain(fixed:4, calm(q-halt, 0.1, 0.2))"
    found = []
    for seed in range(draws):
        outcome = replay(population, resolve(spec, toy_bank(150, seed).in_split("validation"), 0.01))
        assert outcome.declined is not None
        given = ~outcome.declined
        found.append((given.mean(), (given & ~outcome.correct).sum() / max(1, given.sum())))
    coverage, risk = np.transpose(found)
    assert (risk > delta).mean() <= epsilon + 3 * math.sqrt(epsilon * (1 - epsilon) / draws)
    assert coverage.mean() > 0.2
    few = resolve(spec, toy_bank(10).in_split("validation"), 0.01)
    assert replay(population, few).declined.all()


def test_a_calibration_of_answers_is_of_one_rule_and_not_of_its_puzzles(tmp_path: Path) -> None:
    bank = toy_bank(400)
    rule: Any = resolve("abstain(q, calm(confidence, 0.3, 0.1))", bank.in_split("validation"), 0.01)
    kept = rule.by.save(tmp_path / "c")
    assert parse_rule(f"abstain(q, {kept})").by.answers_of == "q"
    with pytest.raises(ValueError, match="is calibrated for q, not for the answers of 'fixed:2'"):
        parse_rule(f"abstain(fixed:2, {kept})")
    with pytest.raises(ValueError, match="fitted on 400 of these 400"):
        check_fitted(rule, bank.in_split("validation"))
    for spec in ("abstain(q, confidence:auto)", "abstain(q-halt:auto, calm(margin))"):
        with pytest.raises(ValueError, match="its guarantee needs a given RULE and a calibrated BY"):
            resolve(spec, bank.in_split("validation"), 0.01)


def test_a_calibrated_rule_is_its_rule_with_provenance(random_bank: Any, tmp_path: Path) -> None:
    bank = random_bank(200)
    rule = calibrate(bank, "margin", 0.2, 0.1)
    features = bank_features(bank)
    assert torch.equal(rule(features), rule.rule(features))
    assert parse_rule(spec_of(rule)) == rule.rule
    with pytest.raises(ValueError, match="fitted on 200 of these 200 puzzles"):
        check_fitted(rule, bank)
    rule.save(tmp_path / "rule")
    read: Any = parse_rule(f"calm:{tmp_path / 'rule'}")
    assert isinstance(read, Calibrated) and spec_of(read) == f"calm:{tmp_path / 'rule'}"
    settings = (read.rule, read.delta, read.epsilon, read.risk, read.limit)
    assert settings == (rule.rule, 0.2, 0.1, "accuracy", 6)
    with pytest.raises(ValueError, match="kind 'calm', not 'lsm'"):
        parse_rule(f"lsm:{tmp_path / 'rule'}")


def test_a_file_never_names_code_to_run(random_bank: Any, tmp_path: Path) -> None:
    """Not even by way of a class with a threshold; the class comes with the spec, or the file is refused."""
    custom, path = f"{__name__}:Sure", tmp_path / "rule"
    spec = spec_of(calibrate(random_bank(200), custom, 0.3, 0.1).save(path))
    assert spec == f"calm:{custom}:{path}"
    read: Any = parse_rule(spec)
    assert isinstance(read.rule, Sure) and spec_of(read) == spec
    with pytest.raises(ValueError, match=r"rule.*may not name code.*calm:module:Class:FILE"):
        parse_rule(f"any(q, calm:{path})")
    with pytest.raises(ValueError, match="may not name code"):
        parse_rule(f"calm:{custom}2:{path}")
    calibrate(random_bank(200), "margin", 0.3, 0.1).save(path)
    with pytest.raises(ValueError, match=rf"'margin:.*its spec is calm:{path}"):
        parse_rule(f"calm:no.such.module:Class:{path}")


@pytest.mark.parametrize("family", ["confidence", "margin"])
def test_the_strictest_threshold_is_the_strictest_of_float32(family: str) -> None:
    """A model sure of all its drafts to one part in ten million can be vouched for too."""
    strictest = np.float32(GRIDS[family].grid[0])
    assert strictest < 1 and np.nextafter(strictest, np.float32(2)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": np.full(60, "test")}, "holds 60 of split 'test'"),
        ({"risk": "consistency"}, "this bank holds none.*--drafts"),
        ({"risk": "loss"}, "risk must be 'accuracy' or 'consistency', got 'loss'"),
        ({"epsilon": 1}, "epsilon must lie between 0 and 1, got 1"),
        ({"rule": "random"}, "no grid of thresholds; .*confidence"),
        ({"rule": "confidense"}, "did you mean 'confidence'"),
    ],
)
def test_refusals(random_bank: Any, changes: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"rule": "margin", "split": np.full(60, "validation")} | changes
    with pytest.raises(ValueError, match=message):
        calibrate(random_bank(split=settings.pop("split")), **settings)
