"""Statistics against hand-worked examples, exact fractions, and their definitions taken literally."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrm_rl.analysis.statistics.bootstrap import stratified_bootstrap
from hrm_rl.analysis.statistics.stats import (
    holm,
    interquartile_mean,
    mcnemar,
    mean_interval,
    mean_score,
    spearman_within,
)

# Three runs on two tasks.
SCORES = np.array([[0.2, 1.0], [0.4, 0.8], [0.9, 1.5]])
matrices = arrays(float, (4, 3), elements=st.integers(0, 4).map(float))


def discordant(only_first, only_second, both=0):
    """Two rules, and the number of puzzles that only one of them answers correctly."""
    first = np.repeat([True, False, True], [only_first, only_second, both])
    return first, np.repeat([False, True, True], [only_first, only_second, both])


def spearman(x, y):
    return spearman_within(x, y, ["all"] * len(x))


def test_aggregates_by_hand():
    # Sorted: 0.2 0.4 0.8 0.9 1.0 1.5; floor(6 / 4) = 1 goes from either end.
    assert interquartile_mean(SCORES) == pytest.approx((0.4 + 0.8 + 0.9 + 1.0) / 4)
    assert mean_score(SCORES) == pytest.approx(0.8)


@given(scores=matrices, seed=st.integers(0, 99))
@settings(max_examples=40)
def test_aggregates_have_their_symmetries(scores, seed):
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rng.permuted(scores, axis=0), axis=1)  # runs in a task, and tasks
    for statistic in (interquartile_mean, mean_score):
        assert statistic(shuffled) == pytest.approx(statistic(scores))
        assert statistic(np.stack([scores, shuffled])) == pytest.approx([statistic(scores)] * 2)
    assert interquartile_mean(2 * scores + 1) == pytest.approx(2 * interquartile_mean(scores) + 1)


def test_stratified_bootstrap_resamples_runs_within_tasks():
    rng = np.random.default_rng(0)
    scores = rng.normal([[0.0, 10.0, 50.0]], [[1.0, 2.0, 0.5]], size=(6, 3))
    seen = stratified_bootstrap(scores, lambda x: x, draws=200)  # [200, 6, 3]
    for task in range(3):
        assert set(np.unique(seen[..., task])) == set(scores[:, task])
    draws = stratified_bootstrap(scores, mean_score, draws=4000)
    error = np.sqrt((scores.var(0) / 6).sum()) / 3  # tasks are independent
    assert draws.mean() == pytest.approx(scores.mean(), abs=4 * error / np.sqrt(4000))
    assert draws.std() == pytest.approx(error, rel=0.06)
    assert (draws == stratified_bootstrap(scores, mean_score, draws=4000)).all()
    assert (draws != stratified_bootstrap(scores, mean_score, draws=4000, seed=1)).any()


@given(one=st.integers(0, 40), other=st.integers(0, 40))
def test_mcnemar_is_the_binomial_tail_twice(one, other):
    total = one + other
    tail = sum(math.comb(total, k) for k in range(min(one, other) + 1))
    expected = min(Fraction(1), Fraction(2 * tail, 2**total))
    result = mcnemar(*discordant(one, other, both=3))
    assert (result.only_first, result.only_second) == (one, other)
    assert result.p_value == pytest.approx(float(expected), rel=1e-10)


def test_mcnemar_of_many_puzzles_is_that_of_the_normal():
    """200,000 that differ, by two standard deviations after the continuity correction."""
    half, gap = 100_000, round(math.sqrt(200_000))
    result = mcnemar(*discordant(half + gap, half - gap))
    z = (2 * gap - 1) / math.sqrt(2 * half)
    assert result.p_value == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
    assert mcnemar(*discordant(5000, 0)).p_value == 0  # 2**-4999 is below the doubles


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04, then never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8), alpha=st.sampled_from([0.01, 0.2]))
def test_holm_rejects_as_its_procedure_does(p_values, alpha):
    """Step down: compare the k-th smallest with alpha / (K - k), stop at the first that fails."""
    adjusted = holm(p_values)
    rejected = 0
    for k, p in enumerate(sorted(p_values)):
        if p * (len(p_values) - k) > alpha:
            break
        rejected += 1
    assert (adjusted <= alpha).sum() == rejected
    assert (adjusted >= np.array(p_values)).all()


def test_spearman_by_hand():
    x = [86, 97, 99, 100, 101, 103, 106, 110, 112, 113]
    y = [2, 20, 28, 27, 50, 29, 7, 17, 6, 12]
    # Without ties rho = 1 - 6 sum(d^2) / (n (n^2 - 1)); the squared rank differences add up to 194.
    assert spearman(x, y) == pytest.approx(1 - 6 * 194 / 990)
    # With ties: ranks 1 2.5 2.5 4 against 1 2 3 4; their covariance sum is 4.5 and sums of squares 4.5, 5.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([1, 2, np.nan, 3], [1, 4, -5, 9]) == pytest.approx(1)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman([np.nan, 1], [1, 2]))
    assert math.isnan(spearman([], []))


@given(x=st.lists(st.integers(-3, 3), min_size=2, max_size=20), seed=st.integers(0, 99))
def test_spearman_knows_order_only(x, seed):
    a = np.array(x, float)
    b = np.random.default_rng(seed).integers(0, 4, len(a)).astype(float)
    rho = spearman(a, b)
    assert spearman(np.exp(a), b**3) == pytest.approx(rho, nan_ok=True)
    assert spearman(-a, b) == pytest.approx(-rho, nan_ok=True)
    assert math.isnan(rho) or -1 - 1e-12 <= rho <= 1 + 1e-12


def test_sources_that_differ_make_no_correlation_within():
    """Simpson's paradox: harder source, more segments; within each, the other way round."""
    rating = np.array([1, 2, 3, 4, 11, 12, 13.0])
    segments = np.array([4, 3, 2, 1, 9, 8, 7.0])
    source = ["easy"] * 4 + ["hard"] * 3
    assert spearman(rating, segments) > 0.3
    assert spearman_within(rating, segments, source) == pytest.approx(-1)


def test_weights_of_sources_and_what_is_left_out():
    x = np.array([1, 2, 3, 1, 2, 5, 6, 1, np.nan])
    y = np.array([1, 3, 2, 1, 2, 7, 7, 1, 1.0])
    source = ["a", "a", "a", "b", "b", "constant", "constant", "single", "unrated"]
    assert spearman_within(x, y, source) == pytest.approx((2 * 0.5 + 1 * 1.0) / 3)  # weights n - 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: interquartile_mean([1.0, 2.0]), r"\[runs, tasks\]"),
        (lambda: mean_score([[1.0, np.nan]]), "NaN"),
        (lambda: stratified_bootstrap(SCORES[None], mean_score), r"\[runs, tasks\]"),
        (lambda: stratified_bootstrap(SCORES, mean_score, draws=0), "draws is 0"),
        (lambda: mcnemar([1, 0], [True, False]), "int64"),
        (lambda: mcnemar([True], [True, False]), "one length"),
        (lambda: holm([0.5, 1.5]), "0 to 1"),
        (lambda: holm([[0.5]]), "shape"),
        (lambda: spearman_within([1, 2], [1], ["a"]), "one length"),
        (lambda: spearman_within([1, 2], [1, 2], ["a"]), "one length"),
    ],
)
def test_input_that_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("runs", "level", "quantile"),  # the quantiles from a table of Student's t
    [
        (2, 0.95, 12.706),
        (3, 0.95, 4.303),
        (5, 0.95, 2.776),
        (10, 0.95, 2.262),
        (3, 0.99, 9.925),
        (31, 0.9, 1.697),
    ],
)
def test_the_interval_of_a_mean_is_that_of_the_tables(runs, level, quantile):
    values = np.arange(runs, dtype=float)
    mean, (low, high) = mean_interval(values, level)
    half = quantile * values.std(ddof=1) / math.sqrt(runs)
    assert mean == values.mean() == pytest.approx((low + high) / 2)
    assert (high - low) / 2 == pytest.approx(half, rel=3e-4)


def test_one_run_has_a_mean_without_an_interval():
    assert mean_interval([0.5]) == (0.5, None)
    assert mean_interval([0.5, 0.5]) == (0.5, [0.5, 0.5])
    for values, level in (([], 0.95), ([math.nan], 0.95), ([1.0, 2.0], 1.0)):
        with pytest.raises(ValueError):
            mean_interval(values, level)
