"""Stablemax cross-entropy in float32, exact to its last digits and without a singular point.

Stablemax replaces exp by s(x) = x + 1 for x >= 0 and 1 / (1 - x) below (arXiv 2501.04697). With y the
label, the loss is -log(s_y / sum s) = log1p(sum of the others / s_y), which does not cancel where the label
dominates; |x| in place of the branches avoids the division by zero at x = 1.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.precision import wide

# The largest vocabulary whose row a Triton program holds.
WIDEST = 16384


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Stablemax cross-entropy of each token.

    Args:
        logits: [..., V], any floating dtype; computed in float32 (float64 stays).
        labels: int64 [...], each in [0, V); mask ignored tokens in the result.

    Returns:
        Losses in nats, [...], float32 or float64.
    """
    if torch.compiler.is_compiling() and _runs_triton(logits):
        return forward_op(logits, labels)[0]
    return _StablemaxCrossEntropy.apply(logits, labels)


class _StablemaxCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.triton = _runs_triton(logits)
        run = dispatch.triton_form("triton.stablemax").forward if ctx.triton else _forward
        loss, others, own = run(logits, labels)
        ctx.save_for_backward(logits, labels, others, own)
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        run = dispatch.triton_form("triton.stablemax").backward if ctx.triton else _backward
        return run(grad, *ctx.saved_tensors), None


def _runs_triton(logits: Tensor) -> bool:
    return dispatch.uses_triton(logits.device) and logits.shape[-1] <= WIDEST


def _forward(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and, for the backward pass, s summed over the other classes and s of the label; all [...]."""
    x = logits.to(wide(logits.dtype))
    grown = 1 + x.abs()
    s = torch.where(x < 0, grown.reciprocal(), grown)
    others = s.masked_fill(_chosen(s, labels), 0.0).sum(-1)
    own = s.gather(-1, labels[..., None]).squeeze(-1)
    return torch.log1p(others / own), others, own


def _backward(grad: Tensor, logits: Tensor, labels: Tensor, others: Tensor, own: Tensor) -> Tensor:
    x = logits.to(own.dtype)
    negative = x < 0
    # ds/dx is 1 above zero and s**2 below.
    slope = torch.where(negative, (1 + x.abs()).reciprocal().square(), 1.0)
    others, own = others[..., None], own[..., None]
    total = others + own
    factor = torch.where(_chosen(x, labels), -others / (own * total), 1 / total)
    return (grad[..., None] * slope * factor).to(logits.dtype)


def _chosen(x: Tensor, labels: Tensor) -> Tensor:
    return torch.zeros_like(x, dtype=torch.bool).scatter_(-1, labels[..., None], True)


# --- what torch.compile sees: opaque operators, whose eager twins run on a CPU --------------------


def _forward_fake(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss = logits.new_empty(logits.shape[:-1], dtype=wide(logits.dtype))
    return loss, torch.empty_like(loss), torch.empty_like(loss)


def _backward_fake(logits_grad: Tensor, logits: Tensor, *_: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


forward_op = dispatch.operator("stablemax_cross_entropy", "triton.stablemax.forward", _forward_fake)(_forward)
backward_op = dispatch.operator(
    "stablemax_cross_entropy_backward", "triton.stablemax.backward", _backward_fake
)(_backward)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output[1:])


def _op_backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
    return backward_op(grad, *ctx.saved_tensors), None


forward_op.register_autograd(_op_backward, setup_context=_save)
