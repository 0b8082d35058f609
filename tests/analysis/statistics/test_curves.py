"""Curves of accuracy against compute: hulls, areas, and the best that hindsight can do."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hrm_rl.analysis.statistics.curves import (
    area_under_hull,
    curve,
    fixed_curve,
    hull_areas,
    hull_at,
    nearest_compute,
    oracle_curve,
    upper_hull,
)
from hrm_rl.analysis.statistics.judging import judge_oracle

banks = st.tuples(st.integers(1, 10), st.integers(1, 6)).flatmap(lambda s: arrays(bool, s))
# A grid, so that points share a number of segments or an accuracy, or lie on a line.
points = st.lists(
    st.tuples(st.integers(4, 32).map(lambda x: x / 4), st.integers(0, 8).map(lambda y: y / 8)),
    min_size=1,
    max_size=12,
)


def as_curve(pairs):
    return curve(*np.array(pairs).T)


def test_hull_by_hand():
    given_points = [(4, 0.6), (1, 0.2), (2, 0.5), (3, 0.5), (5, 0.55), (2, 0.1), (8, 0.6)]
    hull = upper_hull(as_curve(given_points))
    assert hull.segments.tolist() == [1, 2, 4]
    assert hull.accuracy.tolist() == [0.2, 0.5, 0.6]
    assert hull_at(hull, [1, 1.5, 3, 100]) == pytest.approx([0.2, 0.35, 0.55, 0.6])
    assert np.isnan(hull_at(hull, 0.5))


def test_hull_of_points_on_a_line_is_its_ends():
    hull = upper_hull(curve([1, 2, 3, 4], [0.125, 0.25, 0.375, 0.5]))
    assert hull.segments.tolist() == [1, 4]


def test_hull_of_points_above_each_other_is_the_top_one():
    hull = upper_hull(curve([2, 2, 2], [0.25, 0.5, 0.375]))
    assert (hull.segments.tolist(), hull.accuracy.tolist()) == ([2], [0.5])


@given(pairs=points)
def test_hull_dominates_rises_and_is_concave(pairs):
    given_curve = as_curve(pairs)
    hull = upper_hull(given_curve)
    assert (hull_at(hull, given_curve.segments) >= given_curve.accuracy - 1e-12).all()
    assert set(zip(hull.segments, hull.accuracy, strict=True)) <= set(pairs)
    slopes = np.diff(hull.accuracy) / np.diff(hull.segments)
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    again = upper_hull(hull)
    assert again.segments.tolist() == hull.segments.tolist()


@given(pairs=points, first=st.integers(0, 8))
def test_area_is_the_integral_of_the_hull(pairs, first):
    """All breaks lie on multiples of 1/4, so the trapezoid sum on that grid is exact."""
    given_curve = as_curve(pairs)
    hull = upper_hull(as_curve([*pairs, (1.0, first / 8)]))
    heights = hull_at(hull, np.arange(4, 33) / 4)  # from 1 to 8
    integral = (heights[1:] + heights[:-1]).sum() / 2 / 4
    area = area_under_hull(given_curve, 8, first / 8)
    assert area == pytest.approx(integral / 7)
    assert area >= first / 8 - 1e-12


def test_areas_in_closed_form():
    assert area_under_hull(curve([1], [0.4]), 16, 0.4) == pytest.approx(0.4)
    assert area_under_hull(curve([5], [1.0]), 5, 0.0) == pytest.approx(0.5)  # a triangle
    assert area_under_hull(curve([3], [1.0]), 5, 0.0) == pytest.approx(0.75)
    assert area_under_hull(curve([1, 1], [0.3, 0.6]), 1, 0.2) == pytest.approx(0.6)  # M = 1


def test_many_areas_are_the_single_ones():
    draws, rng = 20, np.random.default_rng(0)
    segments, accuracy = 1 + 7 * rng.random((draws, 9)), rng.random((draws, 9))
    first = rng.random(draws)
    single = [area_under_hull(curve(segments[d], accuracy[d]), 8, first[d]) for d in range(draws)]
    assert hull_areas(segments, accuracy, 8, first) == pytest.approx(single)
    order = rng.permutation(9)
    assert hull_areas(segments[:, order], accuracy[:, order], 8, first) == pytest.approx(single)


def test_fixed_curve():
    bank = np.array([[0, 1, 1], [0, 0, 1], [1, 0, 1], [0, 0, 0]], bool)
    fixed = fixed_curve(bank)
    assert fixed.segments.tolist() == [1, 2, 3]
    assert fixed.accuracy.tolist() == [0.25, 0.25, 0.75]


@given(bank=banks)
@settings(max_examples=60)
def test_oracle_curve_is_what_the_oracle_does_as_its_cost_falls(bank):
    limit = bank.shape[1]
    # Between 1 / t for all t, so that no cost is a tie.
    costs = [2.0, *(float(Fraction(2, 2 * t + 1)) for t in range(1, limit)), 0.0]
    means = [judge_oracle(bank, cost).means() for cost in costs]
    swept = upper_hull(curve([m["segments"] for m in means], [m["correct"] for m in means]))
    best = oracle_curve(bank)
    assert best.segments == pytest.approx(swept.segments)
    assert best.accuracy == pytest.approx(swept.accuracy)


@given(bank=st.integers(1, 4).flatmap(lambda m: arrays(bool, (3, m))))
@settings(max_examples=40)
def test_no_stopping_is_above_the_oracle_curve(bank):
    """Every way to stop on three puzzles, one by one."""
    best = oracle_curve(bank)
    stops = np.array(list(product(range(bank.shape[1]), repeat=3)))
    accuracy = bank[np.arange(3), stops].mean(1)
    assert (accuracy <= hull_at(best, 1 + stops.mean(1)) + 1e-12).all()


def test_nearest_compute():
    assert nearest_compute([4.0, 1.0, 3.0], 2.9) == 2
    assert nearest_compute([4.0, 2.0], 3.0) == 1  # the cheaper one
    with pytest.raises(ValueError, match="shape"):
        nearest_compute([], 1.0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: curve([1.0, 2.0], [0.5]), "must both be"),
        (lambda: curve([], []), "P > 0"),
        (lambda: curve([0.5], [0.5]), "mean_segments holds 0.5"),
        (lambda: curve([1.0], [50.0]), "accuracy holds 50.0"),
        (lambda: curve([1.0], [np.nan]), "accuracy holds nan"),
        (lambda: area_under_hull(curve([9.0], [0.5]), 8, 0.0), "mean_segments holds 9.0"),
        (lambda: area_under_hull(curve([9.0], [0.5]), 0, 0.0), "max_segments is 0"),
        (lambda: area_under_hull(curve([2.0], [0.5]), 8, -1), "first_accuracy holds -1.0"),
        (lambda: hull_areas(np.ones((2, 3)), np.ones((2, 3)), 8, np.zeros(3)), "first_accuracy"),
        (lambda: hull_areas(np.ones(3), np.ones(3), 8, 0.0), r"must both be \[D, P\]"),
    ],
)
def test_points_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
