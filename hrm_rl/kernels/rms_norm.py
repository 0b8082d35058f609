"""RMSNorm without a weight of a sum: what ends both halves of a Post-Norm block."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.precision import wide

# The widest row that one program holds.
WIDEST = 8192


def rms_norm(x: Tensor, eps: float) -> Tensor:
    """RMSNorm without a weight, computed in float32 (float64 stays), returned in x's dtype."""
    h = x.to(wide(x.dtype))
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def add_rms_norm(x: Tensor, residual: Tensor, eps: float) -> Tensor:
    """`rms_norm(x + residual, eps)`; both [..., D], of one dtype.

    The Triton kernel adds in float32 too, where eager rounds the sum to x's dtype first.
    """
    if dispatch.uses_triton(x.device) and _fits(x, residual):
        if torch.compiler.is_compiling():
            return forward_op(x, residual, eps)[0]
        return _AddRMSNorm.apply(x, residual, eps)
    if dispatch.runs_in_few_passes(x) and _fits(x, residual):
        # Autograd's bookkeeping would be 1 to 4 % of a small batch's segment (so in rope.py).
        run = _InFewPasses.apply if torch.is_grad_enabled() else _in_few_passes
        return run(x, residual, eps)[0]
    return rms_norm(x + residual, eps)


def _fits(x: Tensor, residual: Tensor) -> bool:
    return x.shape == residual.shape and x.dtype == residual.dtype and x.shape[-1] <= WIDEST


class _AddRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, eps: float) -> Tensor:
        y, rstd = _triton().forward(x, residual, eps)
        ctx.save_for_backward(y, rstd)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        out = _triton().backward(grads[0], *ctx.saved_tensors)
        return out, out, None


def _in_few_passes(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    h = x + residual
    rstd = torch.linalg.vector_norm(h, dim=-1, keepdim=True)
    rstd.square_().div_(h.shape[-1]).add_(eps).rsqrt_()
    return h.mul_(rstd), rstd


class _InFewPasses(torch.autograd.Function):
    """y and each row's 1 / rms; both are outputs so that a second derivative can go through them."""

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
        if of_rstd is None and of_y is not None and not torch.is_grad_enabled():
            along = torch.linalg.vecdot(of_y, y).div_(-y.shape[-1])
            out = torch.addcmul(of_y, y, along[..., None]).mul_(rstd)
            return out, out, None
        total = None
        if of_y is not None:
            total = (of_y - y * (of_y * y).mean(-1, keepdim=True)) * rstd
        if of_rstd is not None:
            through = -of_rstd * rstd.square() * y / y.shape[-1]
            total = through if total is None else total + through
        return total, total, None


def _triton() -> ModuleType:
    """The Triton form; imported where it runs, since it needs triton."""
    from hrm_rl.kernels.triton import rms_norm as rms_norm_triton

    return rms_norm_triton


# --- what torch.compile sees: one opaque operator, whose eager twin runs on a CPU -----------------


@torch.library.custom_op("hrm_rl::add_rms_norm", mutates_args=())
def forward_op(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """y and, for the backward, each row's 1 / rms."""
    if dispatch.backend(x.device) == "triton":
        return _triton().forward(x, residual, eps)
    h = x.to(wide(x.dtype)) + residual
    rstd = torch.rsqrt(h.square().mean(-1) + eps)
    return (h * rstd[..., None]).to(x.dtype), rstd


@forward_op.register_fake
def _(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    rstd = x.new_empty(x.shape[:-1], dtype=wide(x.dtype))
    return torch.empty_like(x, memory_format=torch.contiguous_format), rstd


@torch.library.custom_op("hrm_rl::rms_norm_backward", mutates_args=())
def backward_op(grad: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    """The gradient of the sum."""
    if dispatch.backend(y.device) == "triton":
        return _triton().backward(grad, y, rstd)
    grad, y, dtype = grad.to(rstd.dtype), y.to(rstd.dtype), y.dtype
    return ((grad - y * (grad * y).mean(-1, keepdim=True)) * rstd[..., None]).to(dtype)


@backward_op.register_fake
def _(grad: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    return torch.empty_like(y)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output)


def _backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
    out = backward_op(grad, *ctx.saved_tensors)
    return out, out, None


forward_op.register_autograd(_backward, setup_context=_setup)
