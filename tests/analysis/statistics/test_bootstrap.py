"""The bootstrap against what is known of it in closed form: its mean, its variance, its coverage."""

import numpy as np
import pytest

from hrm_rl.analysis.statistics import bootstrap
from hrm_rl.analysis.statistics.bootstrap import (
    nested_bootstrap,
    nested_means,
    percentile_interval,
    two_sided_p,
)

DRAWS = 4000


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def spread(values):
    """Standard error of `DRAWS` draws' mean, for tolerances."""
    return values.std(0) / np.sqrt(len(values))


def test_one_run_has_the_moments_of_resampling(rng):
    """Mean: the sample's. Covariance: the sample's, divided by N, not by N - 1."""
    few_distinct = rng.integers(0, 2, size=(300, 2)).astype(float)
    assert len(few_distinct) > 4 * bootstrap._ROWS_PER_BINOMIAL
    for rows in (rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)) + 5, few_distinct):
        draws = nested_bootstrap([rows], DRAWS)
        assert draws.shape == (DRAWS, rows.shape[1])
        assert (np.abs(draws.mean(0) - rows.mean(0)) < 4 * spread(draws)).all()
        expected = np.cov(rows.T, ddof=0) / len(rows)
        assert np.allclose(np.cov(draws.T), expected, atol=0.1 * np.diag(expected).max())


def test_nested_variance_is_between_runs_plus_within(rng):
    """Var = (variance of run means + mean of within-run variances / N) / S, all with divisor n."""
    runs = [rng.normal(mean, 1 + mean, size=(40, 1)) for mean in (0.0, 0.3, 1.0)]
    draws = nested_bootstrap(runs, DRAWS)
    means = np.array([rows.mean() for rows in runs])
    within = np.mean([rows.var() / len(rows) for rows in runs])
    assert abs(draws.mean() - means.mean()) < 4 * spread(draws)[0]
    assert draws.var() == pytest.approx((means.var() + within) / len(runs), rel=0.1)


def test_runs_on_the_same_puzzles_share_their_luck(rng):
    """Four runs that agree on every puzzle are one run: sharing knows that, nesting does not."""
    rows = rng.normal(size=(50, 1))
    shared = nested_bootstrap([rows] * 4, DRAWS, shared_puzzles=True)
    nested = nested_bootstrap([rows] * 4, DRAWS)
    assert shared.var() == pytest.approx(rows.var() / 50, rel=0.1)
    assert nested.var() == pytest.approx(rows.var() / 50 / 4, rel=0.1)


def test_shared_puzzles_still_draw_runs(rng):
    """Runs that differ by a constant: variance of the runs' means and of the puzzles' add up."""
    rows = rng.normal(size=(60, 2))
    runs = [rows + shift for shift in (0.0, 0.1, 0.5)]
    draws = nested_bootstrap(runs, DRAWS, shared_puzzles=True)
    expected = np.var([0.0, 0.1, 0.5]) / 3 + rows.var(0) / 60
    assert (np.abs(draws.mean(0) - nested_means(runs)) < 4 * spread(draws)).all()
    assert draws.var(0) == pytest.approx(expected, rel=0.1)
    with pytest.raises(ValueError, match="same puzzles in every run"):
        nested_bootstrap([rows, rows[1:]], shared_puzzles=True)


def test_runs_weigh_the_same_whatever_their_size():
    runs = [np.zeros((3, 1)), np.ones((90, 1))]
    assert nested_means(runs) == pytest.approx([0.5])
    draws = nested_bootstrap(runs, DRAWS)
    assert set(np.unique(draws)) == {0.0, 0.5, 1.0}  # both zeros, one of each, both ones
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert (draws == 0.5).mean() == pytest.approx(0.5, abs=0.03)


def test_columns_share_their_puzzles(rng):
    first = rng.integers(0, 2, size=500)
    rows = np.stack([first, 1 - first, first, rng.integers(1, 17, 500)], axis=1)
    draws = nested_bootstrap([rows, rows[:200]], 500)
    assert (draws[:, 0] == draws[:, 2]).all()  # exactly: whole numbers
    assert draws[:, 0] + draws[:, 1] == pytest.approx(1)
    assert two_sided_p(draws[:, 0] - draws[:, 2]) == 1


def test_the_seed_decides_and_chunks_do_not_show(rng, monkeypatch):
    rows = rng.random((100, 2))
    one = nested_bootstrap([rows, rows], 50, seed=3)
    assert not (one == nested_bootstrap([rows, rows], 50, seed=4)).any()
    monkeypatch.setattr(bootstrap, "_COUNTS_AT_ONCE", 700)  # 7 draws at a time
    assert nested_bootstrap([rows, rows], 50, seed=3) == pytest.approx(one, abs=1e-15)


def test_interval_covers_at_its_level(rng):
    """300 samples of 60 normal numbers: 95 % intervals cover the mean in 90 to 98 % of them."""
    covered = 0
    for trial in range(300):
        rows = rng.normal(2.0, 1.0, size=(60, 1))
        low, high = percentile_interval(nested_bootstrap([rows], 400, seed=trial))
        covered += bool(low[0] <= 2.0 <= high[0])
    assert 270 <= covered <= 294


def test_percentile_interval_by_hand():
    draws = np.random.default_rng(0).permutation(np.arange(101.0))
    assert percentile_interval(draws, 0.9).tolist() == [5, 95]
    assert percentile_interval(np.stack([draws, -draws], 1), 0.9).tolist() == [[5, -95], [95, -5]]


def test_undefined_draws_widen_and_then_break_the_interval():
    draws = np.arange(101.0)
    draws[:4] = np.nan  # outside on both sides: ranks 5 and 95 of 101 with 4 unknown at that end
    assert percentile_interval(draws, 0.9).tolist() == [5, 99]
    draws[:7] = np.nan
    assert np.isnan(percentile_interval(draws, 0.9)).all()


def test_p_value_by_hand():
    assert two_sided_p(np.arange(1.0, 100.0)) == pytest.approx(2 / 100)  # none at or below zero
    assert two_sided_p(-np.arange(1.0, 100.0)) == pytest.approx(2 / 100)
    assert two_sided_p(np.arange(-1.0, 98.0)) == pytest.approx(2 * 3 / 100)
    assert two_sided_p(np.zeros(9)) == 1
    assert two_sided_p(np.full(9, 1e-15)) == 1  # rounding does not count as a difference
    both = two_sided_p(np.stack([np.arange(1.0, 10.0), np.zeros(9)], 1))
    assert both == pytest.approx([0.2, 1.0])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nested_bootstrap([]), "groups is empty"),
        (lambda: nested_bootstrap([[1.0, 2.0]]), r"groups\[0\] has shape \(2,\)"),
        (lambda: nested_bootstrap([[[1.0]], np.ones((0, 1))]), r"groups\[1\] has shape \(0, 1\)"),
        (lambda: nested_bootstrap([[[1.0]], [[1.0, 2.0]]]), r"groups\[1\] has 2 columns and"),
        (lambda: nested_bootstrap([[[1.0, 2.0], [3.0, np.nan]]]), "holds nan in row 1, column 1"),
        (lambda: nested_bootstrap([[[1.0]]], draws=0), "draws is 0"),
        (lambda: percentile_interval([1.0], level=95), "level is 95"),
        (lambda: percentile_interval([]), "shape"),
        (lambda: two_sided_p([1.0, np.nan]), "not finite"),
    ],
)
def test_input_that_does_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
