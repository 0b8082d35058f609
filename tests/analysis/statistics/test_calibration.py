"""Calibration of Q-halt: bins by hand, ranks by counting pairs, and a calibrated coin."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_rl.analysis.statistics.calibration import auroc, calibration, halt_calibration, reliability_curve

samples = st.lists(st.tuples(st.integers(0, 5).map(lambda p: p / 5), st.booleans()), min_size=1)


def test_bins_of_equal_mass_by_hand():
    probability = [0.9, 0.1, 0.3, 0.7, 0.2, 0.8]
    correct = np.array([True, False, True, False, False, True])
    bins = reliability_curve(probability, correct, bins=3)
    assert bins.count.tolist() == [2, 2, 2]
    assert bins.probability == pytest.approx([0.15, 0.5, 0.85])
    assert bins.accuracy == pytest.approx([0.0, 0.5, 1.0])
    found = calibration(probability, correct, 3)
    assert found.ece == pytest.approx(0.3 / 3)
    assert found.brier == pytest.approx((0.01 + 0.01 + 0.49 + 0.49 + 0.04 + 0.04) / 6)


def test_equal_predictions_share_a_bin():
    correct = np.array([True, False, False, True, True, True])
    bins = reliability_curve([0.5, 0.5, 0.5, 0.5, 0.9, 0.9], correct, bins=3)
    assert bins.count.tolist() == [4, 2]
    assert bins.accuracy.tolist() == [0.5, 1.0]
    assert reliability_curve([0.5] * 6, correct, bins=15).count.tolist() == [6]
    # Rows that the bins do not divide go to the middle.
    bins = reliability_curve([0.1, 0.2, 0.3, 0.4], np.ones(4, bool), bins=3)
    assert bins.count.tolist() == [1, 2, 1]


@given(rows=samples, seed=st.integers(0, 99), bins=st.integers(1, 20))
def test_the_order_of_rows_does_not_matter(rows, seed, bins):
    probability, correct = np.array([p for p, _ in rows]), np.array([c for _, c in rows])
    order = np.random.default_rng(seed).permutation(len(rows))
    one = calibration(probability, correct, bins)
    other = calibration(probability[order], correct[order], bins)
    assert asdict(one) == pytest.approx(asdict(other), nan_ok=True)
    assert one.ece >= abs(one.mean_probability - one.accuracy) - 1e-12  # triangle inequality
    assert one.ece**2 <= one.brier + 1e-12  # ECE <= mean |p - y| <= sqrt(Brier)


@given(rows=samples)
def test_auroc_counts_pairs(rows):
    score, correct = np.array([p for p, _ in rows]), np.array([c for _, c in rows])
    right, wrong = score[correct], score[~correct]
    if len(right) and len(wrong):
        difference = right[:, None] - wrong
        expected = (difference > 0).mean() + 0.5 * (difference == 0).mean()
        assert auroc(score, correct) == pytest.approx(expected)
        assert auroc(-score, correct) == pytest.approx(1 - expected)
    else:
        assert math.isnan(auroc(score, correct))


def test_a_calibrated_coin_and_an_overconfident_one():
    rng = np.random.default_rng(1)
    probability = rng.random(40_000)
    correct = rng.random(40_000) < probability
    fair = calibration(probability, correct)
    assert fair.ece < 0.01
    assert fair.brier == pytest.approx(1 / 6, abs=0.003)  # E[p (1 - p)] of a uniform p
    assert fair.auroc == pytest.approx(5 / 6, abs=0.005)  # P(X > Y) of densities 2p and 2(1 - p)
    extreme = np.where(probability > 0.5, 1.0, 0.0)
    # What is called certain is right in 3 of 4 cases, what is called impossible in 1 of 4.
    assert calibration(extreme, correct).ece == pytest.approx(0.25, abs=0.01)


def test_halt_calibration_is_segment_by_segment_and_in_all():
    q_halt = np.array([[-30.0, 0.0], [-30.0, 1000.0], [-30.0, -1000.0], [-30.0, 0.0]])
    correct = np.array([[False, True], [False, True], [False, False], [False, False]])
    result = halt_calibration(q_halt, correct)
    first, second = result.segments
    assert (first.accuracy, first.count) == (0, 4)
    assert first.brier == pytest.approx(0, abs=1e-12)
    assert math.isnan(first.auroc)  # nobody is right after the first segment
    assert (second.mean_probability, second.accuracy) == (0.5, 0.5)
    assert second.brier == pytest.approx(0.125)
    assert second.auroc == pytest.approx(0.875)
    assert second.ece == pytest.approx(0)
    assert result.pooled.count == 8
    assert result.pooled.accuracy == pytest.approx(0.25)
    assert result.curve.count.sum() == 8


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: calibration([0.5], [True, False]), "must both be"),
        (lambda: calibration([], np.ones(0, bool)), "N > 0"),
        (lambda: calibration([0.5], [1]), "correct is int64"),
        (lambda: calibration([2.0], [True]), r"give sigmoid\(q_halt\)"),
        (lambda: auroc([0.0, np.nan], [True, False]), "prediction 1 is NaN"),
        (lambda: reliability_curve([0.5], [True], bins=0), "bins is 0"),
        (lambda: halt_calibration(np.ones(3), np.ones(3, bool)), r"\[N, M\]"),
        (lambda: halt_calibration([[0.0, np.nan]], np.ones((1, 2), bool)), "after segment 2"),
    ],
)
def test_predictions_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
