"""SegmentFeatures as one flat, bounded vector, as learned rules and HRM/Halting-v0 observe them."""

import torch
from torch import Tensor

from hrm_rl.halting.features import SegmentFeatures

__all__ = ["FEATURE_HIGH", "FEATURE_LOW", "FEATURE_NAMES", "feature_vector"]

FEATURE_NAMES = SegmentFeatures._fields[: SegmentFeatures._fields.index("puzzle_key")]
"""The columns of `feature_vector`, in order: the fields of SegmentFeatures from `segment` to `unchanged_for`.
Pooled states follow if requested."""

FEATURE_LOW, FEATURE_HIGH = -10.0, 10.0
"""Bounds of every column."""

_DECADES = ("kl", "residual_H", "residual_L", "previous_residual_H")  # log10 of [1e-6, 10]


def feature_vector(features: SegmentFeatures, *, pooled: bool = False) -> Tensor:
    """float32 [B, F], F = len(FEATURE_NAMES), or F + D with `pooled` states; |x| <= 10, finite.

    Segments and counts are in units of 16, Q logits clipped to +-20 and divided by 5, and changes since
    the segment before (infinity included) log10 of their value clipped to [1e-6, 10]; other columns are
    unchanged. No host synchronisation. Raises ValueError for `pooled` without pooled_z_H.
    """
    columns = [_scaled(name, getattr(features, name).float()) for name in FEATURE_NAMES]
    flat = torch.stack(columns, dim=-1)  # [B, F]
    if pooled:
        if features.pooled_z_H is None:
            raise ValueError(
                "these features have no pooled_z_H: record the bank with `hrm-rl trace ... --pooled`, "
                "or call segment_features(..., pooled=True)"
            )
        flat = torch.cat([flat, features.pooled_z_H.float()], dim=-1)
    return flat.clamp(FEATURE_LOW, FEATURE_HIGH)


def _scaled(name: str, value: Tensor) -> Tensor:
    if name in ("segment", "unchanged_for"):
        return value / 16
    if name in ("q_halt", "q_continue"):
        return value.clamp(-20, 20) / 5
    if name in _DECADES:
        return value.clamp(1e-6, 10).log10()
    return value
