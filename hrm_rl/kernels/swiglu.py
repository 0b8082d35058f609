"""SwiGLU: silu(gate) * up, with gate and up side by side in one tensor. Source: arXiv 2002.05202."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.precision import wide


def swiglu(gate_up: Tensor) -> Tensor:
    """`silu(gate) * up`: gate_up is [..., 2 W], gate first; returns [..., W].

    The Triton kernel rounds once; eager also rounds silu(gate) to the inputs' dtype.
    """
    if not dispatch.uses_triton(gate_up.device):
        return _eager(gate_up)
    if torch.compiler.is_compiling():
        return forward_op(gate_up)
    return _SwiGLU.apply(gate_up)


def linear_swiglu(x: Tensor, weight: Tensor) -> Tensor:
    """`swiglu` of a linear layer: x is [..., D], weight [2 W, D], gate first; returns [..., W].

    On a CPU the layer is two products: half of a joint one is not contiguous, and a pass over it costs twice
    as much.
    """
    if not dispatch.runs_in_few_passes(x, torch.bfloat16):
        return swiglu(F.linear(x, weight))
    gate, up = (F.linear(x, half) for half in weight.chunk(2))
    if torch.is_grad_enabled():
        return F.silu(gate) * up
    return F.silu(gate, inplace=True).mul_(up)


def _eager(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate_up = gate_up.contiguous()
        ctx.save_for_backward(gate_up)
        return dispatch.triton_form("triton.swiglu").forward(gate_up)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return dispatch.triton_form("triton.swiglu").backward(grads[0], *ctx.saved_tensors)


# --- what torch.compile sees: opaque operators, whose eager twins run on a CPU --------------------


def _forward_fake(gate_up: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)


def _backward_fake(grad: Tensor, gate_up: Tensor) -> Tensor:
    return torch.empty_like(gate_up, memory_format=torch.contiguous_format)


forward_op = dispatch.operator("swiglu", "triton.swiglu.forward", _forward_fake)(_eager)


@dispatch.operator("swiglu_backward", "triton.swiglu.backward", _backward_fake)
def backward_op(grad: Tensor, gate_up: Tensor) -> Tensor:
    """The gradient of gate_up."""
    gate, up = gate_up.to(wide(gate_up.dtype)).chunk(2, dim=-1)
    opened = gate.sigmoid()
    gate_grad = grad * up * opened * (1 + gate * (1 - opened))
    return torch.cat((gate_grad, grad * gate * opened), dim=-1).to(gate_up.dtype)


def _save(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> Tensor:
    return backward_op(grad, *ctx.saved_tensors)


forward_op.register_autograd(_backward, setup_context=_save)
