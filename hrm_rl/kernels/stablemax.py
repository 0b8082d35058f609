"""Stablemax cross-entropy in float32, as exact as the float64 form and without its singular point.

Stablemax replaces exp by s(x) = x + 1 for x >= 0 and 1 / (1 - x) below (arXiv 2501.04697). With
y the label, the loss is -log(s_y / sum s) = log1p(sum of the others / s_y): no cancellation where
the label dominates, and with |x| in place of the branches nothing divides by zero at x = 1.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.precision import wide

# The largest vocabulary whose row one program holds.
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
        loss, others, own = (_triton().forward if ctx.triton else _forward)(logits, labels)
        ctx.save_for_backward(logits, labels, others, own)
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return (_triton().backward if ctx.triton else _backward)(grad, *ctx.saved_tensors), None


def _runs_triton(logits: Tensor) -> bool:
    return dispatch.uses_triton(logits.device) and logits.shape[-1] <= WIDEST


def _forward(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and, for the backward, s summed over the other classes and s of the label; all [...]."""
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


def _triton() -> ModuleType:
    """The Triton form; imported where it runs, since it needs triton."""
    from hrm_rl.kernels.triton import stablemax as stablemax_triton

    return stablemax_triton


# --- what torch.compile sees: one opaque operator, whose eager twin runs on a CPU -----------------


@torch.library.custom_op("hrm_rl::stablemax_cross_entropy", mutates_args=())
def forward_op(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and the two sums that the backward needs."""
    triton = dispatch.backend(logits.device) == "triton"
    return (_triton().forward if triton else _forward)(logits, labels)


@forward_op.register_fake
def _(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    loss = logits.new_empty(logits.shape[:-1], dtype=wide(logits.dtype))
    return loss, torch.empty_like(loss), torch.empty_like(loss)


@torch.library.custom_op("hrm_rl::stablemax_cross_entropy_backward", mutates_args=())
def backward_op(
    grad: Tensor, logits: Tensor, labels: Tensor, others: Tensor, own: Tensor
) -> Tensor:
    """The gradient of the logits."""
    triton = dispatch.backend(logits.device) == "triton"
    return (_triton().backward if triton else _backward)(grad, logits, labels, others, own)


@backward_op.register_fake
def _(grad: Tensor, logits: Tensor, labels: Tensor, others: Tensor, own: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output[1:])


def _op_backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None]:
    return backward_op(grad, *ctx.saved_tensors), None


forward_op.register_autograd(_op_backward, setup_context=_setup)
