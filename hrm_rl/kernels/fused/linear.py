"""Matrix products fused with what follows them in a gradient-free block, with the norm deferred.

RMSNorm has no weight here, so it is one factor per row and commutes with the next linear layer:
linear(rms(h)) = rstd * linear(h). A block's state is then `h` before its norm together with its rows'
sums of squares, which the product that made h leaves behind, and no pass over memory only normalises.

Every function has an eager twin (`*_eager`), and both take:

    h, a      [T, D] or [T, K] rows, in float16 or bfloat16 on a GPU (float32 works, slowly)
    squares   [parts, T] float32, the sums of squares of h's rows in parts; None: h has no norm pending
    weight    [N, K] as nn.Linear keeps it
    eps       of the norm

Sums are float32. Forward only: a function refuses tensors that want a gradient.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.fused import tiles as fused_tiles

HEAD_DIMS = (32, 64, 128)


class Deferred(NamedTuple):
    """Rows whose RMSNorm is still to come."""

    h: Tensor  # [T, D]
    squares: Tensor | None  # [parts, T], float32; None: no norm to come


def gate_up_swiglu(state: Deferred, weight: Tensor, eps: float) -> Tensor:
    """silu(gate) * up of the normed rows, [T, W]; weight [2 W, D], gate first."""
    _check("gate_up_swiglu", state.h, weight, state)
    if weight.shape[0] % 2:
        raise ValueError(f"gate_up_swiglu: the weight has {weight.shape[0]} rows, an odd number")
    if not dispatch.uses_triton(state.h.device):
        return gate_up_swiglu_eager(state, weight, eps)
    return _ops().gate_up_swiglu(state.h, state.squares, weight, eps)


def linear_residual(a: Tensor, weight: Tensor, state: Deferred, eps: float) -> Deferred:
    """The normed rows + a @ weight.T, [T, D], with their sums of squares; a [T, K], weight [D, K]."""
    _check("linear_residual", a, weight, state)
    if (a.shape[0], weight.shape[0]) != state.h.shape:
        raise ValueError(
            f"linear_residual: a {tuple(a.shape)} and weight {tuple(weight.shape)} do not give "
            f"the residual's shape {tuple(state.h.shape)}"
        )
    if not dispatch.uses_triton(a.device):
        return linear_residual_eager(a, weight, state, eps)
    return Deferred(*_ops().linear_residual(a, weight, state.h, state.squares, eps))


def qkv_rope(
    state: Deferred, weight: Tensor, rotary: Tensor | None, tokens: int, heads: int, eps: float
) -> Tensor:
    """q, k and v of the normed rows, [T, 3 D], q and k turned by their positions.

    Args:
        state: T rows; row r stands at position r % tokens.
        weight: [3 D, D]; all q, all k, all v, head-major.
        rotary: cosines and sines, [2, tokens, head_dim], float32, a position's two halves alike;
            None where positions are learned.
        tokens: positions of a sequence.
        heads: of q, of k and of v; D / heads is 32, 64 or 128 where there is `rotary`.
        eps: of the norm.
    """
    _check("qkv_rope", state.h, weight, state)
    width = state.h.shape[1]
    if weight.shape[0] != 3 * width or width % heads:
        raise ValueError(
            f"qkv_rope: a weight of {tuple(weight.shape)} does not hold q, k and v of {heads} heads "
            f"for rows of width {width}"
        )
    if rotary is not None and rotary.shape != (2, tokens, width // heads):
        raise ValueError(
            f"qkv_rope: rotary tables are {tuple(rotary.shape)}, want {(2, tokens, width // heads)}"
        )
    if not dispatch.uses_triton(state.h.device):
        return qkv_rope_eager(state, weight, rotary, tokens, heads, eps)
    if rotary is not None and width // heads not in HEAD_DIMS:
        raise ValueError(
            f"qkv_rope: no kernel for heads of {width // heads}; there are {HEAD_DIMS}"
        )
    return _ops().qkv_rope(state.h, state.squares, weight, rotary, tokens, heads, eps)


def normalise(state: Deferred, eps: float) -> Tensor:
    """The normed rows themselves, [T, D]: what ends a chain."""
    if state.squares is None:
        return state.h
    if not dispatch.uses_triton(state.h.device):
        return normalise_eager(state, eps)
    return _ops().normalise(state.h, state.squares, eps)


def _check(name: str, a: Tensor, weight: Tensor, state: Deferred) -> None:
    tensors = (a, weight, state.h)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise ValueError(f"{name} has no gradient; call it under torch.no_grad()")
    if a.ndim != 2 or weight.ndim != 2 or a.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{name}: rows {tuple(a.shape)} and weight {tuple(weight.shape)} do not multiply"
        )
    if len({t.dtype for t in tensors}) > 1:
        raise ValueError(f"{name}: mixed dtypes {[str(t.dtype) for t in tensors]}")


# --- eager twins -------------------------------------------------------------------------------


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _rstd(state: Deferred, eps: float) -> Tensor | float:
    """1 / rms of each row, [T, 1]."""
    if state.squares is None:
        return 1.0
    return torch.rsqrt(state.squares.sum(0) / state.h.shape[1] + eps)[:, None]


def gate_up_swiglu_eager(state: Deferred, weight: Tensor, eps: float) -> Tensor:
    gate, up = (_rstd(state, eps) * _wide(F.linear(state.h, weight))).chunk(2, dim=-1)
    return (F.silu(gate) * up).to(state.h.dtype)


def linear_residual_eager(a: Tensor, weight: Tensor, state: Deferred, eps: float) -> Deferred:
    out = (_rstd(state, eps) * _wide(state.h) + _wide(F.linear(a, weight))).to(a.dtype)
    return Deferred(out, _wide(out).square().sum(-1)[None])


def qkv_rope_eager(
    state: Deferred, weight: Tensor, rotary: Tensor | None, tokens: int, heads: int, eps: float
) -> Tensor:
    qkv = _rstd(state, eps) * _wide(F.linear(state.h, weight))
    if rotary is None:
        return qkv.to(state.h.dtype)
    width = state.h.shape[1]
    qk, v = qkv.split((2 * width, width), dim=-1)
    qk = qk.view(-1, tokens, 2 * heads, width // heads)
    first, second = qk.chunk(2, dim=-1)
    cos, sin = rotary[0][:, None], rotary[1][:, None]
    qk = qk * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((qk.view(-1, 2 * width), v), dim=-1).to(state.h.dtype)


def normalise_eager(state: Deferred, eps: float) -> Tensor:
    return (_rstd(state, eps) * _wide(state.h)).to(state.h.dtype)


# --- Triton ------------------------------------------------------------------------------------
# torch.compile sees each launch as one opaque operator; outside it the launch is called directly.


def _launches() -> ModuleType:
    from hrm_rl.kernels.fused import launch as fused_launch

    return fused_launch


def _ops() -> Any:
    return torch.ops.hrm_rl if torch.compiler.is_compiling() else _launches()


@torch.library.custom_op("hrm_rl::gate_up_swiglu", mutates_args=())
def _gate_up_swiglu(h: Tensor, squares: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    return _launches().gate_up_swiglu(h, squares, weight, eps)


@_gate_up_swiglu.register_fake
def _(h: Tensor, squares: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    return h.new_empty(h.shape[0], weight.shape[0] // 2)


@torch.library.custom_op("hrm_rl::linear_residual", mutates_args=())
def _linear_residual(
    a: Tensor, weight: Tensor, h: Tensor, squares: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    return _launches().linear_residual(a, weight, h, squares, eps)


@_linear_residual.register_fake
def _(
    a: Tensor, weight: Tensor, h: Tensor, squares: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    rows, width = h.shape
    parts = -(-width // fused_tiles.residual_columns(width))
    return torch.empty_like(h), h.new_empty(parts, rows, dtype=torch.float32)


@torch.library.custom_op("hrm_rl::qkv_rope", mutates_args=())
def _qkv_rope(
    h: Tensor,
    squares: Tensor | None,
    weight: Tensor,
    rotary: Tensor | None,
    tokens: int,
    heads: int,
    eps: float,
) -> Tensor:
    return _launches().qkv_rope(h, squares, weight, rotary, tokens, heads, eps)


@_qkv_rope.register_fake
def _(
    h: Tensor,
    squares: Tensor | None,
    weight: Tensor,
    rotary: Tensor | None,
    tokens: int,
    heads: int,
    eps: float,
) -> Tensor:
    return h.new_empty(h.shape[0], weight.shape[0])


@torch.library.custom_op("hrm_rl::normalise", mutates_args=())
def _normalise(h: Tensor, squares: Tensor, eps: float) -> Tensor:
    return _launches().normalise(h, squares, eps)


@_normalise.register_fake
def _(h: Tensor, squares: Tensor, eps: float) -> Tensor:
    return torch.empty_like(h)
