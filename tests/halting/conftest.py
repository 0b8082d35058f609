"""Features to decide on, made by hand."""

from collections.abc import Callable

import pytest
import torch

from hrm_rl.halting import SegmentFeatures

INTEGERS = ("segment", "unchanged_for", "puzzle_key")


@pytest.fixture
def features() -> Callable[..., SegmentFeatures]:
    """`features(confidence=[0.1, 0.9])`: these fields, zeros in all others."""

    def make(**fields: list[float]) -> SegmentFeatures:
        rows = len(next(iter(fields.values())))
        values = {
            name: torch.tensor(
                fields.get(name, [0] * rows),
                dtype=torch.int64 if name in INTEGERS else torch.float32,
            )
            for name in SegmentFeatures._fields
            if name != "pooled_z_H"
        }
        return SegmentFeatures(**values)

    return make
