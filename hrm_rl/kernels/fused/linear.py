"""Matrix products fused with what follows them in a gradient-free block, with the norm deferred.

RMSNorm has no weight here, so it is one factor per row and commutes with the next linear layer:
linear(rms(h)) = rstd * linear(h). A block's state is `h` before its norm with its rows' sums of squares,
which the product that computes h also returns, so no pass over memory only normalises.

Every function has an eager twin (`*_eager`). Their arguments:

    h, a      [T, D] or [T, K] rows, in float16 or bfloat16 on a GPU (float32 works, slowly)
    squares   [parts, T] float32, the sums of squares of h's rows in parts; None: h has no pending norm
    weight    [N, K] as nn.Linear keeps it
    eps       of the norm

Sums are float32. Forward only: tensors that require a gradient are refused.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.fused import tiles as fused_tiles

HEAD_DIMS = (32, 64, 128)


class Deferred(NamedTuple):
    """Rows with a pending RMSNorm."""

    h: Tensor  # [T, D]
    squares: Tensor | None  # [parts, T], float32; None: no pending norm


def gate_up_swiglu(state: Deferred, weight: Tensor, eps: float) -> Tensor:
    """silu(gate) * up of the normed rows, [T, W]; weight [2 W, D], gate first."""
    _check("gate_up_swiglu", state.h, weight, state)
    if weight.shape[0] % 2:
        raise ValueError(f"gate_up_swiglu: the weight has {weight.shape[0]} rows, an odd number")
    return _chosen(gate_up_swiglu_eager, state.h)(*state, weight, eps)


def linear_residual(a: Tensor, weight: Tensor, state: Deferred, eps: float) -> Deferred:
    """The normed rows + a @ weight.T, [T, D], with their sums of squares; a [T, K], weight [D, K]."""
    _check("linear_residual", a, weight, state)
    if (a.shape[0], weight.shape[0]) != state.h.shape:
        raise ValueError(
            f"linear_residual: a {tuple(a.shape)} and weight {tuple(weight.shape)} do not give "
            f"the residual's shape {tuple(state.h.shape)}"
        )
    return Deferred(*_chosen(linear_residual_eager, a)(a, weight, *state, eps))


def qkv_rope(
    state: Deferred, weight: Tensor, rotary: Tensor | None, tokens: int, heads: int, eps: float
) -> Tensor:
    """q, k and v of the normed rows, [T, 3 D], q and k turned by their positions.

    Args:
        state: T rows; row r stands at position r % tokens.
        weight: [3 D, D]; all q, all k, all v, head-major.
        rotary: cosines and sines, [2, tokens, head_dim], float32, both halves of a position equal;
            None if positions are learned.
        tokens: positions of a sequence.
        heads: of q, of k and of v; with `rotary`, D / heads is 32, 64 or 128.
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
    run = _chosen(qkv_rope_eager, state.h)
    if run is not qkv_rope_eager and rotary is not None and width // heads not in HEAD_DIMS:
        raise ValueError(f"qkv_rope: no kernel for heads of {width // heads}; there are {HEAD_DIMS}")
    return run(*state, weight, rotary, tokens, heads, eps)


def normalise(state: Deferred, eps: float) -> Tensor:
    """The normed rows, [T, D], at the end of a chain."""
    if state.squares is None:
        return state.h
    return _chosen(normalise_eager, state.h)(*state, eps)


def _chosen(eager: Callable[..., Any], like: Tensor) -> Callable[..., Any]:
    """The eager twin, or the kernel of its name: its launch, under torch.compile its operator."""
    if not dispatch.uses_triton(like.device):
        return eager
    compiling = torch.compiler.is_compiling()
    kernels = torch.ops.hrm_rl if compiling else dispatch.triton_form("fused.launch")
    return getattr(kernels, eager.__name__.removesuffix("_eager"))


def _check(name: str, a: Tensor, weight: Tensor, state: Deferred) -> None:
    tensors = (a, weight, state.h)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise ValueError(f"{name} has no gradient; call it under torch.no_grad()")
    if a.ndim != 2 or weight.ndim != 2 or a.shape[1] != weight.shape[1]:
        raise ValueError(f"{name}: rows {tuple(a.shape)} and weight {tuple(weight.shape)} do not multiply")
    if len({t.dtype for t in tensors}) > 1:
        raise ValueError(f"{name}: mixed dtypes {[str(t.dtype) for t in tensors]}")


# --- eager twins, and the operators that torch.compile sees ----------------------------------------


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _rstd(h: Tensor, squares: Tensor | None, eps: float) -> Tensor | float:
    """1 / rms of each row, [T, 1]."""
    if squares is None:
        return 1.0
    return torch.rsqrt(squares.sum(0) / h.shape[1] + eps)[:, None]


def gate_up_swiglu_eager(h: Tensor, squares: Tensor | None, weight: Tensor, eps: float) -> Tensor:
    gate, up = (_rstd(h, squares, eps) * _wide(F.linear(h, weight))).chunk(2, dim=-1)
    return (F.silu(gate) * up).to(h.dtype)


def linear_residual_eager(
    a: Tensor, weight: Tensor, h: Tensor, squares: Tensor | None, eps: float
) -> tuple[Tensor, Tensor]:
    out = (_rstd(h, squares, eps) * _wide(h) + _wide(F.linear(a, weight))).to(a.dtype)
    return out, _wide(out).square().sum(-1)[None]


def qkv_rope_eager(
    h: Tensor,
    squares: Tensor | None,
    weight: Tensor,
    rotary: Tensor | None,
    tokens: int,
    heads: int,
    eps: float,
) -> Tensor:
    qkv = _rstd(h, squares, eps) * _wide(F.linear(h, weight))
    if rotary is None:
        return qkv.to(h.dtype)
    width = h.shape[1]
    qk, v = qkv.split((2 * width, width), dim=-1)
    qk = qk.view(-1, tokens, 2 * heads, width // heads)
    first, second = qk.chunk(2, dim=-1)
    cos, sin = rotary[0][:, None], rotary[1][:, None]
    qk = qk * cos + torch.cat((-second, first), dim=-1) * sin
    return torch.cat((qk.view(-1, 2 * width), v), dim=-1).to(h.dtype)


def normalise_eager(h: Tensor, squares: Tensor, eps: float) -> Tensor:
    return (_rstd(h, squares, eps) * _wide(h)).to(h.dtype)


def _residual_fake(a: Tensor, weight: Tensor, h: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    rows, width = h.shape
    parts = -(-width // fused_tiles.residual_columns(width))
    return torch.empty_like(h), h.new_empty(parts, rows, dtype=torch.float32)


for _eager, _fake in (
    (gate_up_swiglu_eager, lambda h, _, w, *more: h.new_empty(h.shape[0], w.shape[0] // 2)),
    (linear_residual_eager, _residual_fake),
    (qkv_rope_eager, lambda h, _, w, *more: h.new_empty(h.shape[0], w.shape[0])),
    (normalise_eager, lambda h, *_: torch.empty_like(h)),
):
    _name = _eager.__name__.removesuffix("_eager")
    dispatch.operator(_name, f"fused.launch.{_name}", _fake)(_eager)
