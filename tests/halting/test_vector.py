"""The flat feature vector: its columns, by hand, and its bounds, whatever comes in."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_rl.halting import SegmentFeatures
from hrm_rl.halting.vector import FEATURE_HIGH, FEATURE_LOW, FEATURE_NAMES, feature_vector

INF = math.inf
COUNTS = ("segment", "unchanged_for", "puzzle_key")


def test_every_column_by_hand(features: Any) -> None:
    shown = {
        "segment": [4, 1],
        "q_halt": [2.5, -30.0],
        "q_continue": [-1.0, 25.0],
        "confidence": [0.75, 1.0],
        "confidence_min": [0.5, 0.25],
        "margin": [0.5, 0.0],
        "entropy": [1.5, 0.0],
        "kl": [1e-3, INF],
        "residual_H": [0.1, INF],
        "residual_L": [0.0, INF],
        "previous_residual_H": [100.0, INF],
        "changed": [0.25, 1.0],
        "unchanged_for": [8, 0],
    }
    assert tuple(shown) == FEATURE_NAMES
    wanted = torch.tensor(
        [
            [0.25, 0.5, -0.2, 0.75, 0.5, 0.5, 1.5, -3, -1, -6, 1, 0.25, 0.5],
            [0.0625, -4, 4, 1, 0.25, 0, 0, 1, 1, 1, 1, 1, 0],
        ]
    )
    torch.testing.assert_close(feature_vector(features(**shown)), wanted)


@settings(max_examples=50)
@given(st.lists(st.floats(allow_nan=False, width=32), min_size=13, max_size=13), st.data())
def test_bounded_and_finite_whatever_comes_in(values: list[float], data: Any) -> None:
    counts = st.integers(0, 2**62)
    row = {
        name: torch.tensor([data.draw(counts)]) if name in COUNTS else torch.tensor([value])
        for name, value in zip(FEATURE_NAMES, values, strict=True)
    }
    x = feature_vector(SegmentFeatures(**row, puzzle_key=torch.tensor([0])))
    assert x.dtype == torch.float32 and x.shape == (1, len(FEATURE_NAMES))
    assert x.isfinite().all() and (x >= FEATURE_LOW).all() and (x <= FEATURE_HIGH).all()


def test_pooled_states_follow_where_asked_for(features: Any) -> None:
    shown = features(segment=[1, 2])
    with pytest.raises(ValueError, match=r"pooled_z_H.*--pooled"):
        feature_vector(shown, pooled=True)
    pooled = torch.tensor([[0.5, -11.0, 2.0], [0.0, 1.0, 30.0]])
    x = feature_vector(shown._replace(pooled_z_H=pooled.half()), pooled=True)
    assert torch.equal(x[:, : len(FEATURE_NAMES)], feature_vector(shown))
    assert torch.equal(x[:, len(FEATURE_NAMES) :], pooled.clamp(-10, 10))
