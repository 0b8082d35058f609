"""Residual + RMSNorm without a weight, the end of both halves of a Post-Norm block."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.precision import wide

# The widest row that a Triton program holds.
WIDEST = 8192


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """RMSNorm without a weight, computed in float32 (float64 stays), returned in x's dtype."""
    h = x.to(wide(x.dtype))
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def add_rms_norm(x: Tensor, residual: Tensor, eps: float) -> Tensor:
    """`rms_norm(x + residual, eps)`; both [..., D], of one dtype.

    The Triton kernel adds in float32 too; eager rounds the sum to x's dtype first.
    """
    if dispatch.runs_in_few_passes(x, torch.bfloat16) and _fits(x, residual):
        # Without a gradient autograd's bookkeeping would be 1 to 4 % of a small batch's segment.
        run = _InFewPasses.apply if torch.is_grad_enabled() else _in_few_passes
        return run(x, residual, eps)[0]
    if dispatch.uses_triton(x.device) and _fits(x, residual):
        if torch.compiler.is_compiling():
            return forward_op(x, residual, eps)[0]
        return _AddRMSNorm.apply(x, residual, eps)
    return rms_norm(x + residual, eps)


def _fits(x: Tensor, residual: Tensor) -> bool:
    return x.shape == residual.shape and x.dtype == residual.dtype and x.shape[-1] <= WIDEST


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, eps: float) -> Tensor:
        y, rstd = dispatch.triton_form("triton.rms_norm").forward(x, residual, eps)
        ctx.save_for_backward(y, rstd)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        out = dispatch.triton_form("triton.rms_norm").backward(grads[0], *ctx.saved_tensors)
        return out, out, None


def _in_few_passes(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    h = (x + residual).to(wide(x.dtype))
    rstd = torch.linalg.vector_norm(h, dim=-1, keepdim=True)
    rstd.square_().div_(h.shape[-1]).add_(eps).rsqrt_()
    return h.mul_(rstd).to(x.dtype), rstd


class _InFewPasses(torch.autograd.Function):
    """y and 1 / rms of each row; both are outputs so that they have second derivatives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        y, rstd = _in_few_passes(x, residual, eps)
        ctx.save_for_backward(y, rstd)
        ctx.set_materialize_grads(False)
        return y, rstd

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        y, rstd = ctx.saved_tensors
        of_y, of_rstd = grads
        dtype, y = y.dtype, y.to(rstd.dtype)
        of_y = None if of_y is None else of_y.to(rstd.dtype)
        if of_rstd is None and of_y is not None and not torch.is_grad_enabled():
            along = torch.linalg.vecdot(of_y, y).div_(-y.shape[-1])
            out = torch.addcmul(of_y, y, along[..., None]).mul_(rstd).to(dtype)
            return out, out, None
        total = torch.zeros_like(y)
        if of_y is not None:
            total = (of_y - y * (of_y * y).mean(-1, keepdim=True)) * rstd
        if of_rstd is not None:
            total = total - of_rstd * rstd.square() * y / y.shape[-1]
        total = total.to(dtype)
        return total, total, None


# --- what torch.compile sees: opaque operators, whose eager twins run on a CPU --------------------


def _forward_fake(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    rstd = x.new_empty(x.shape[:-1], dtype=wide(x.dtype))
    return torch.empty_like(x, memory_format=torch.contiguous_format), rstd


@dispatch.operator("add_rms_norm", "triton.rms_norm.forward", _forward_fake)
def forward_op(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """y and, for the backward pass, 1 / rms of each row."""
    h = x.to(wide(x.dtype)) + residual
    rstd = torch.rsqrt(h.square().mean(-1) + eps)
    return (h * rstd[..., None]).to(x.dtype), rstd


def _backward_fake(grad: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    return torch.empty_like(y)


@dispatch.operator("rms_norm_backward", "triton.rms_norm.backward", _backward_fake)
def backward_op(grad: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    """The gradient of the sum."""
    grad, y, dtype = grad.to(rstd.dtype), y.to(rstd.dtype), y.dtype
    return ((grad - y * (grad * y).mean(-1, keepdim=True)) * rstd[..., None]).to(dtype)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    out = backward_op(grad, *ctx.saved_tensors)
    return out, out, None


forward_op.register_autograd(_backward, setup_context=_save)
