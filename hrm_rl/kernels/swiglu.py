"""SwiGLU's gate: silu(gate) * up, gate and up side by side in one tensor. Source: arXiv 2002.05202."""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.precision import wide


def swiglu(gate_up: Tensor) -> Tensor:
    """`silu(gate) * up`: gate_up is [..., 2 W], gate first; returns [..., W].

    The Triton kernel rounds once, where eager rounds silu(gate) to the inputs' dtype in between.
    """
    if not dispatch.uses_triton(gate_up.device):
        return _eager(gate_up)
    if torch.compiler.is_compiling():
        return forward_op(gate_up)
    return _SwiGLU.apply(gate_up)


def linear_swiglu(x: Tensor, weight: Tensor) -> Tensor:
    """`swiglu` of a linear layer: x is [..., D], weight [2 W, D], gate first; returns [..., W].

    On a CPU the layer is two products, since half of a joint one is not contiguous, and going over it costs
    twice as much.
    """
    if dispatch.uses_triton(x.device) or not dispatch.runs_in_few_passes(x):
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
        return _triton().forward(gate_up)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _triton().backward(grads[0], *ctx.saved_tensors)


def _triton() -> ModuleType:
    """The Triton form; imported where it runs, since it needs triton."""
    from hrm_rl.kernels.triton import swiglu as swiglu_triton

    return swiglu_triton


# --- what torch.compile sees: one opaque operator, whose eager twin runs on a CPU -----------------


@torch.library.custom_op("hrm_rl::swiglu", mutates_args=())
def forward_op(gate_up: Tensor) -> Tensor:
    """silu(gate) * up."""
    triton = dispatch.backend(gate_up.device) == "triton"
    return _triton().forward(gate_up) if triton else _eager(gate_up)


@forward_op.register_fake
def _(gate_up: Tensor) -> Tensor:
    return gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)


@torch.library.custom_op("hrm_rl::swiglu_backward", mutates_args=())
def backward_op(grad: Tensor, gate_up: Tensor) -> Tensor:
    """The gradient of gate_up."""
    if dispatch.backend(gate_up.device) == "triton":
        return _triton().backward(grad, gate_up)
    gate, up = gate_up.to(wide(gate_up.dtype)).chunk(2, dim=-1)
    opened = gate.sigmoid()
    gate_grad = grad * up * opened * (1 + gate * (1 - opened))
    return torch.cat((gate_grad, grad * gate * opened), dim=-1).to(gate_up.dtype)


@backward_op.register_fake
def _(grad: Tensor, gate_up: Tensor) -> Tensor:
    return torch.empty_like(gate_up, memory_format=torch.contiguous_format)


def _setup(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> Tensor:
    return backward_op(grad, *ctx.saved_tensors)


forward_op.register_autograd(_backward, setup_context=_setup)
