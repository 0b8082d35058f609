"""Curves of accuracy against compute: hulls, areas, and the best that hindsight can do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrm_rl.analysis.statistics.curves import area_under_hull, curve, nearest_compute, upper_hull

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
    line = upper_hull(curve([1, 2, 3, 4], [0.125, 0.25, 0.375, 0.5]))
    assert line.segments.tolist() == [1, 4]
    tower = upper_hull(curve([2, 2, 2], [0.25, 0.5, 0.375]))
    assert (tower.segments.tolist(), tower.accuracy.tolist()) == ([2], [0.5])


@given(pairs=points)
def test_hull_dominates_rises_and_is_concave(pairs):
    given_curve = as_curve(pairs)
    hull = upper_hull(given_curve)
    heights = np.interp(given_curve.segments, hull.segments, hull.accuracy)
    assert (heights >= given_curve.accuracy - 1e-12).all()
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
    heights = np.interp(np.arange(4, 33) / 4, hull.segments, hull.accuracy)  # from 1 to 8
    integral = (heights[1:] + heights[:-1]).sum() / 2 / 4
    area = area_under_hull(given_curve, 8, first / 8)
    assert area == pytest.approx(integral / 7)
    assert area >= first / 8 - 1e-12


def test_areas_in_closed_form():
    assert area_under_hull(curve([1], [0.4]), 16, 0.4) == pytest.approx(0.4)
    assert area_under_hull(curve([5], [1.0]), 5, 0.0) == pytest.approx(0.5)  # a triangle
    assert area_under_hull(curve([3], [1.0]), 5, 0.0) == pytest.approx(0.75)
    assert area_under_hull(curve([1, 1], [0.3, 0.6]), 1, 0.2) == pytest.approx(0.6)  # M = 1


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
    ],
)
def test_points_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
