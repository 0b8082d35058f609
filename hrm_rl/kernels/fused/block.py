"""A gradient-free call of a reasoning module, with its norms deferred into its matrix products.

A block is `x = rms(x + attention(x))`, `x = rms(x + swiglu(x))`. It is five launches: q, k and v with their
rotation; attention; its projection with the residual; gate and up with SwiGLU; down with the residual. They
pass on `h` before its norm with its rows' sums of squares; the call's input has no pending norm, and the last
norm is applied at the end.

`hrm_rl.model.layers` uses it only with HRM_KERNELS=triton, not under `auto`: a fusion becomes the default
where it is measured at 1.05 times torch.compile or better (`benchmarks/kernels.py`), and these have not been
timed on a GPU.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.attention import fused_attention
from hrm_rl.kernels.fused import tiles as fused_tiles
from hrm_rl.kernels.fused.linear import (
    HEAD_DIMS,
    Deferred,
    gate_up_swiglu,
    linear_residual,
    normalise,
    qkv_rope,
)


class BlockMatrices(Protocol):
    """The matrices of a block, as in `recurrence.BlockWeights`."""

    @property
    def qkv(self) -> Tensor: ...  # [3 D, D]
    @property
    def o(self) -> Tensor: ...  # [D, D]
    @property
    def gate_up(self) -> Tensor: ...  # [2 W, D]
    @property
    def down(self) -> Tensor: ...  # [D, W]


def fused_blocks(
    x: Tensor,
    blocks: Sequence[BlockMatrices],
    rotary: Tensor | None,
    heads: int,
    eps: float,
    bias: Tensor | None = None,
) -> Tensor:
    """A module's blocks on x, [B, T, D]: `recurrence.block` one after another, normed at the end.

    Without Triton, the same chain in PyTorch's own operations. Raises ValueError if a gradient is required,
    shapes do not fit, or no kernel has the head size.
    """
    batch, tokens, width = x.shape
    state = Deferred(x.reshape(-1, width), None)
    for block in blocks:
        qkv = qkv_rope(state, block.qkv, rotary, tokens, heads, eps)
        q, k, v = qkv.view(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        mixed = fused_attention(q, k, v, bias)
        mixed = mixed.transpose(1, 2).reshape(-1, width)
        state = linear_residual(mixed, block.o, state, eps)
        inner = gate_up_swiglu(state, block.gate_up, eps)
        state = linear_residual(inner, block.down, state, eps)
    return normalise(state, eps).view(batch, tokens, width)


def wanted(x: Tensor, block: BlockMatrices, rotary: Tensor | None, heads: int) -> bool:
    """Whether gradient-free module calls on x go through `fused_blocks`; also while torch.compile traces.

    Only with HRM_KERNELS=triton, and if the kernels support these shapes; otherwise one log line gives the
    reason.
    """
    width = x.shape[-1]
    head_dim = None if rotary is None else width // heads
    return _wanted(x.device, x.dtype, width, block.down.shape[1], head_dim)


@dispatch.constant_when_traced
def _wanted(device: torch.device, dtype: torch.dtype, width: int, inner: int, head_dim: int | None) -> bool:
    if dispatch.mode() != "triton" or dispatch.backend(device) != "triton":
        return False
    reason = obstacle(dtype, width, inner, head_dim, interpreted=dispatch.interpreting())
    if reason is not None:
        dispatch.warn_once(
            f"gradient-free calls run block by block: the fused kernels do not support {reason}"
        )
    return reason is None


def obstacle(
    dtype: torch.dtype, width: int, inner: int, head_dim: int | None, *, interpreted: bool = False
) -> str | None:
    """The first property of a block that the kernels do not support, as a noun; None if there is none.

    Args:
        dtype: of the state and the weights.
        width: hidden size.
        inner: of the SwiGLU.
        head_dim: of rotated heads; None without rotation, which supports any.
        interpreted: whether Triton's interpreter runs, which multiplies float32 but not bfloat16.
    """
    dtypes = (torch.float16, torch.float32 if interpreted else torch.bfloat16)
    if dtype not in dtypes:
        return f"{dtype}, only {dtypes[0]} and {dtypes[1]}"
    if width not in fused_tiles.WIDTHS:
        return f"a hidden size of {width}, only multiples of 32 up to {fused_tiles.WIDTHS[-1]}"
    if inner % 16:
        return f"a SwiGLU of width {inner}, only multiples of 16"
    if head_dim is not None and head_dim not in HEAD_DIMS:
        return f"rotated heads of {head_dim} channels, only {', '.join(map(str, HEAD_DIMS))}"
    return None
