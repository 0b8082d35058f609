"""Stablemax cross-entropy in float32, as exact as the float64 form and without its singular point.

Stablemax replaces exp by s(x) = x + 1 for x >= 0 and 1 / (1 - x) below (arXiv 2501.04697). With
y the label, the loss is -log(s_y / sum s) = log1p(sum of the others / s_y): no cancellation where
the label dominates, and with |x| in place of the branches nothing divides by zero at x = 1.
"""

from typing import Any

import torch
from torch import Tensor


class _StablemaxCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        x = logits if logits.dtype == torch.float64 else logits.float()
        grown = 1 + x.abs()
        negative = x < 0
        s = torch.where(negative, grown.reciprocal(), grown)
        chosen = torch.zeros_like(negative).scatter_(-1, labels[..., None], True)
        others = s.masked_fill(chosen, 0.0).sum(-1, keepdim=True)
        own = s.gather(-1, labels[..., None])
        # ds/dx is 1 above zero and s**2 below; kept for the backward instead of the logits.
        slope = torch.where(negative, s.square(), 1.0)
        ctx.save_for_backward(slope, chosen, others, own)
        ctx.dtype = logits.dtype
        return torch.log1p(others / own).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        slope, chosen, others, own = ctx.saved_tensors
        total = others + own
        factor = torch.where(chosen, -others / (own * total), 1 / total)
        return (grads[0][..., None] * slope * factor).to(ctx.dtype), None


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Stablemax cross-entropy of each token.

    Args:
        logits: [..., V], any floating dtype; computed in float32 (float64 stays).
        labels: int64 [...], each in [0, V); mask ignored tokens in the result.

    Returns:
        Losses in nats, [...], float32 or float64.
    """
    return _StablemaxCrossEntropy.apply(logits, labels)
