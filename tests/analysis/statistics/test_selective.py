"""Risk and coverage by hand."""

import numpy as np
import pytest

from hrm_rl.analysis.statistics.selective import risk_curve


def test_the_risk_of_the_first_answers() -> None:
    """Of four: the surest is right, the next two, equally sure, are one of each, the last is wrong."""
    found = risk_curve([2.0, 5.0, 2.0, -1.0], np.array([True, True, False, False]))
    at = dict(zip(found.coverage.round(2), found.risk, strict=True))
    assert (at[0.25], at[0.75], at[1]) == pytest.approx((0, 1 / 3, 1 / 2))
    assert at[0.5] == pytest.approx(1 / 6)  # between both
    perfect = risk_curve([3, 4, 1, 0], np.array([True, True, False, False]))
    assert perfect.area == perfect.best_area == found.best_area < found.area


@pytest.mark.parametrize(
    ("score", "right", "message"),
    [
        ([1, 2], np.ones(1, bool), "must be"),
        ([], np.ones(0, bool), "must be"),
        ([1.0], np.ones(1), "must be"),
        ([np.nan], np.ones(1, bool), "is NaN"),
    ],
)
def test_refusals(score: list, right: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        risk_curve(score, right)
