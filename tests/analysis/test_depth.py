"""Depth extrapolation: what counts as settled, moving and drifting."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from hrm_rl.analysis.depth import depth_rows
from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank.toy import toy_bank

SERIES: dict[str, Callable[[int], float]] = {
    "settled": lambda t: 0.5**t,
    "moving": lambda t: 0.8**t,
    "drifting": lambda t: 0.3 + 0.1 * (t % 2),
    "away": lambda t: float("nan") if t > 2 else 0.1,
}


@pytest.fixture
def bank() -> TraceBank:
    """A row of 16 segments for each series; the third loses its answer, the last gains one."""
    one = toy_bank(2, num_segments=16)
    residual = np.array([[np.inf, *map(series, range(2, 17))] for series in SERIES.values()], np.float32)
    correct = np.ones((4, 16), bool)
    correct[2, 9:] = correct[3, :9] = False
    features = dict(one.features) | {"residual_H": residual}
    return dataclasses.replace(one, features=features, correct=correct, valid=correct)


def test_rows_settle_move_or_drift(bank) -> None:
    rows = depth_rows(bank, 4)
    assert [(row.multiple, row.segments) for row in rows] == [(1, 4), (2, 8), (4, 16)]
    assert [(row.settled, row.moving, row.drifting) for row in rows] == [
        (0, 0.75, 0.25),  # of one segment and the one before: .3 after .4 falls too
        (0.25, 0.25, 0.5),
        (0.25, 0.25, 0.5),
    ]
    assert {row.exact_accuracy for row in rows} == {0.75}
    assert [(row.gained, row.lost) for row in rows] == [(0, 0), (0, 0), (0.25, 0.25)]
    assert depth_rows(bank, 4, tolerance=0.9)[2].settled == 0.75


def test_a_first_segment_has_no_change(bank) -> None:
    first, second, *_ = depth_rows(bank, 1)
    assert (first.settled, first.moving, first.drifting, first.residual) == (None,) * 4
    assert second.moving == 1
    with pytest.raises(ValueError, match="max_segments must be"):
        depth_rows(bank, 17)
