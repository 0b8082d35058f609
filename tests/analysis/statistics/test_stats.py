"""Statistics against hand-worked examples, exact fractions, and their definitions taken literally."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrm_rl.analysis.statistics.bootstrap import percentile_interval
from hrm_rl.analysis.statistics.ranks import midranks
from hrm_rl.analysis.statistics.stats import (
    holm,
    interquartile_mean,
    mcnemar,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    spearman,
    stratified_bootstrap,
    stratified_bootstrap_pair,
    stratified_spearman,
)

# Three runs on two tasks.
SCORES = np.array([[0.2, 1.0], [0.4, 0.8], [0.9, 1.5]])
matrices = arrays(float, (4, 3), elements=st.integers(0, 4).map(float))


def discordant(only_first, only_second, both=0):
    """Two rules with so many puzzles that only one of them gets right."""
    first = np.repeat([True, False, True], [only_first, only_second, both])
    return first, np.repeat([False, True, True], [only_first, only_second, both])


def test_aggregates_by_hand():
    # Sorted: 0.2 0.4 0.8 0.9 1.0 1.5; floor(6 / 4) = 1 goes from either end.
    assert interquartile_mean(SCORES) == pytest.approx((0.4 + 0.8 + 0.9 + 1.0) / 4)
    assert mean_score(SCORES) == pytest.approx(0.8)
    assert median_score(SCORES) == pytest.approx((0.5 + 1.1) / 2)
    assert optimality_gap(SCORES) == pytest.approx((0.8 + 0.6 + 0.1 + 0.0 + 0.2 + 0.0) / 6)
    assert optimality_gap(SCORES, target=0.5) == pytest.approx((0.3 + 0.1) / 6)
    assert performance_profile(SCORES, [0.0, 0.8, 1.5]) == pytest.approx([1, 3 / 6, 0])  # strictly


@given(scores=matrices, seed=st.integers(0, 99))
@settings(max_examples=40)
def test_aggregates_have_their_symmetries(scores, seed):
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rng.permuted(scores, axis=0), axis=1)  # runs in a task, and tasks
    for statistic in (interquartile_mean, mean_score, median_score, optimality_gap):
        assert statistic(shuffled) == pytest.approx(statistic(scores))
        assert statistic(np.stack([scores, shuffled])) == pytest.approx([statistic(scores)] * 2)
    assert interquartile_mean(2 * scores + 1) == pytest.approx(2 * interquartile_mean(scores) + 1)
    # The area under the profile of scores from 0 to 4 is their mean.
    grid = np.arange(4) + 0.5
    assert performance_profile(scores, grid).sum() == pytest.approx(mean_score(scores))


def test_iqm_ignores_a_lucky_run():
    scores = np.tile(np.linspace(0.4, 0.6, 8)[:, None], (1, 2))
    lucky = scores.copy()
    lucky[-1] = 100.0
    assert interquartile_mean(lucky) == interquartile_mean(scores)


def test_probability_of_improvement_by_hand():
    first = np.array([[1.0, 5.0], [3.0, 5.0]])
    second = np.array([[2.0, 5.0], [1.0, 4.0], [0.0, 6.0]])
    # Task 1: 1 against 2 1 0 wins 1 and ties 1, 3 wins 3: 4.5 of 6. Task 2: two 5s win 1, tie 1: 3 of 6.
    assert probability_of_improvement(first, second) == pytest.approx((4.5 / 6 + 3 / 6) / 2)


@given(first=matrices, second=matrices)
@settings(max_examples=40)
def test_improvement_one_way_is_the_lack_of_it_the_other_way(first, second):
    there, back = (
        probability_of_improvement(first, second),
        probability_of_improvement(second, first),
    )
    assert there + back == pytest.approx(1)
    assert probability_of_improvement(first, first) == pytest.approx(0.5)


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


def test_stratified_interval_covers_as_often_as_it_says():
    """20 runs on 3 tasks of normal scores, 300 times: the IQM of a symmetric score is its centre."""
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        scores = rng.normal(0.5, 0.1, size=(20, 3))
        draws = stratified_bootstrap(scores, interquartile_mean, draws=300, seed=trial)
        low, high = percentile_interval(draws)
        covered += bool(low <= 0.5 <= high)
    assert 267 <= covered <= 296


def test_bootstrap_of_profiles_and_of_pairs():
    profile = stratified_bootstrap(SCORES, lambda x: performance_profile(x, [0.3, 0.95]), 500)
    assert profile.shape == (500, 2)
    assert (profile[:, 0] >= profile[:, 1]).all()
    better = stratified_bootstrap_pair(SCORES + 10, SCORES[:2], probability_of_improvement, 50)
    assert (better == 1).all()
    same = stratified_bootstrap_pair(SCORES, SCORES, probability_of_improvement, 2000)
    assert 0 < same.std() < 0.5
    assert same.mean() == pytest.approx(0.5, abs=0.02)


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
    assert mcnemar(*discordant(5000, 0)).p_value == 0  # 2**-4999 is no double


def test_holm_by_hand():
    # Sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04, then never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(
    p_values=st.lists(st.floats(0, 1), min_size=1, max_size=8), alpha=st.sampled_from([0.01, 0.2])
)
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


def test_midranks():
    assert midranks([30, 10, 20, 10, np.inf]).tolist() == [4, 1.5, 3, 1.5, 5]
    assert midranks([]).tolist() == []


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
    result = stratified_spearman(rating, segments, source)
    assert result.rho == pytest.approx(-1)
    assert result.sources == {"easy": (pytest.approx(-1), 4), "hard": (pytest.approx(-1), 3)}
    assert result.count == 7
    long = stratified_spearman(range(50), range(50), ["a"] * 50, permutations=9)
    assert long.p_value == 1 / 10  # no shuffle comes near, and the data count as one
    # 4! * 3! orders, of which one is as negative and one as positive.
    many = stratified_spearman(rating, segments, source, permutations=4000)
    assert many.p_value == pytest.approx(2 / 144, abs=0.006)


def test_stratified_weights_and_what_is_left_out():
    x = np.array([1, 2, 3, 1, 2, 5, 6, 1, np.nan])
    y = np.array([1, 3, 2, 1, 2, 7, 7, 1, 1.0])
    source = ["a", "a", "a", "b", "b", "constant", "constant", "single", "unrated"]
    result = stratified_spearman(x, y, source, permutations=0)
    assert result.rho == pytest.approx((2 * 0.5 + 1 * 1.0) / 3)  # weights n - 1
    assert result.count == 5
    assert math.isnan(result.p_value)
    for name, n in (("constant", 2), ("single", 1), ("unrated", 0)):
        assert math.isnan(result.sources[name][0])
        assert result.sources[name][1] == n
    nothing = stratified_spearman([1.0], [1.0], ["a"])
    assert math.isnan(nothing.rho)
    assert math.isnan(nothing.p_value)


def test_stratified_p_values_are_fair_without_correlation():
    """Of 200 data sets without any correlation about one in ten has a p-value of at most 0.1."""
    rng = np.random.default_rng(2)
    source = ["a"] * 12 + ["b"] * 8
    p_values = [
        stratified_spearman(rng.normal(size=20), rng.integers(0, 4, 20), source, 99, seed).p_value
        for seed in range(200)
    ]
    assert 8 <= sum(p <= 0.1 for p in p_values) <= 34


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: interquartile_mean([1.0, 2.0]), r"\[runs, tasks\]"),
        (lambda: mean_score([[1.0, np.nan]]), "NaN"),
        (lambda: performance_profile(SCORES, 0.5), "thresholds"),
        (lambda: probability_of_improvement(SCORES, SCORES[:, :1]), "2 tasks and second 1"),
        (lambda: stratified_bootstrap(SCORES[None], mean_score), r"\[runs, tasks\]"),
        (lambda: stratified_bootstrap(SCORES, mean_score, draws=0), "draws is 0"),
        (lambda: mcnemar([1, 0], [True, False]), "int64"),
        (lambda: mcnemar([True], [True, False]), "one length"),
        (lambda: holm([0.5, 1.5]), "0 to 1"),
        (lambda: holm([[0.5]]), "shape"),
        (lambda: spearman([1, 2], [1]), "must both be"),
        (lambda: stratified_spearman([1, 2], [1, 2], ["a"]), "one name a pair"),
        (lambda: stratified_spearman([1], [1], ["a"], permutations=-1), "permutations is -1"),
    ],
)
def test_input_that_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
