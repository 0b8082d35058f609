"""Rotary positions, half-split, on queries and keys at once. Source: arXiv 2104.09864."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch

# The widest head that a Triton program holds.
WIDEST = 512


def rotate(x: Tensor, tables: Tensor) -> Tensor:
    """Rotary positions, half-split: x is [B, T, heads, head_dim]; computed in the tables' dtype."""
    cos, sin = tables[0][:, None], tables[1][:, None]  # [T, 1, head_dim]
    wide = x.to(tables.dtype)
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def rope(q: Tensor, k: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
    """`rotate` of queries and keys.

    Args:
        q: [B, T, heads, head_dim], any strides: a slice of the joint projection is not copied.
        k: the same shape and dtype.
        tables: cosines and sines, [2, T, head_dim], both halves of a position equal; no gradient.
    """
    if dispatch.runs_in_few_passes(q) and q.dtype == k.dtype == tables.dtype:
        if torch.is_grad_enabled():
            return _Rotate.apply(q, tables), _Rotate.apply(k, tables)
        return _turn(q, tables, 1), _turn(k, tables, 1)
    if dispatch.uses_triton(q.device) and _fits(q, k, tables):
        if torch.compiler.is_compiling():
            return rope_op(q, k, tables, False)
        return _Rope.apply(q, k, tables)
    return rotate(q, tables), rotate(k, tables)


def _fits(q: Tensor, k: Tensor, tables: Tensor) -> bool:
    alike = q.shape == k.shape and q.dtype == k.dtype and tables.shape[1] == q.shape[1]
    return alike and q.shape[-1] == tables.shape[2] <= WIDEST and q.shape[-1] % 2 == 0


class _Rope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, tables: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(tables)
        return dispatch.triton_form("triton.rope").turn(q, k, tables, inverse=False)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (tables,) = ctx.saved_tensors
        return *dispatch.triton_form("triton.rope").turn(*grads, tables, inverse=True), None


class _Rotate(torch.autograd.Function):
    """`rotate` of a tensor of the tables' dtype, in few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tables: Tensor) -> Tensor:
        ctx.save_for_backward(tables)
        return _turn(x, tables, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (tables,) = ctx.saved_tensors
        return _turn(grads[0], tables, -1), None


def _turn(x: Tensor, tables: Tensor, direction: int) -> Tensor:
    """x turned by its positions' angles times `direction`, 1 or -1 for the backward pass."""
    half = x.shape[-1] // 2
    cos, sin = tables[0][:, None], tables[1][:, None, :half]  # both halves are equal
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin, value=-direction)
    out[..., half:].addcmul_(x[..., :half], sin, value=direction)
    return out


# --- what torch.compile sees: an opaque operator, whose eager twin runs on a CPU ------------------


def _fake(q: Tensor, k: Tensor, tables: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape)


@dispatch.operator("rope", "triton.rope.turn", _fake)
def rope_op(q: Tensor, k: Tensor, tables: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """Queries and keys turned by their positions' angles, or back: the backward pass is the inverse."""
    signed = torch.stack((tables[0], -tables[1] if inverse else tables[1]))
    return rotate(q, signed).contiguous(), rotate(k, signed).contiguous()


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[2])
    ctx.inverse = inputs[3]


def _backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
    return *rope_op(*grads, *ctx.saved_tensors, not ctx.inverse), None, None


rope_op.register_autograd(_backward, setup_context=_save)
