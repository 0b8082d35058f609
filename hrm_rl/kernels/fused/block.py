"""A gradient-free call of a reasoning module, with its norms deferred into its matrix products.

A block is `x = rms(x + attention(x))`, `x = rms(x + swiglu(x))`. Five launches run one: q, k and v with
their rotation; attention; its projection with the residual; gate and up with SwiGLU; down with the
residual. Between them goes `h` before its norm, with its rows' sums of squares; the call's first input
has no norm to come, and its last is applied once at the end.

`hrm_rl.model.layers` uses it only where HRM_KERNELS=triton asks for Triton by name. Not under
`auto`, on a GPU either: a fusion is kept where it is measured at 1.05 times torch.compile or better
(`benchmarks/kernels.py` measures), and these have not been timed on a GPU.
"""

import functools
import logging
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

log = logging.getLogger(__name__)


class BlockMatrices(Protocol):
    """What a block reads of its weights, as `recurrence.BlockWeights` holds them."""

    @property
    def qkv(self) -> Tensor: ...  # [3 D, D]
    @property
    def o(self) -> Tensor: ...  # [D, D]
    @property
    def gate_up(self) -> Tensor: ...  # [2 W, D]
    @property
    def down(self) -> Tensor: ...  # [D, W]


def fused_blocks(
    x: Tensor, blocks: Sequence[BlockMatrices], rotary: Tensor | None, heads: int, eps: float
) -> Tensor:
    """A module's blocks on x, [B, T, D]: `recurrence.block` one after another, normed at the end.

    Where Triton does not run, the same chain in PyTorch's own operations. Raises ValueError where
    a gradient is wanted, shapes do not fit, or no kernel has the head size.
    """
    batch, tokens, width = x.shape
    state = Deferred(x.reshape(-1, width), None)
    for block in blocks:
        qkv = qkv_rope(state, block.qkv, rotary, tokens, heads, eps)
        q, k, v = qkv.view(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        mixed = fused_attention(q, k, v)
        mixed = mixed.transpose(1, 2).reshape(-1, width)
        state = linear_residual(mixed, block.o, state, eps)
        inner = gate_up_swiglu(state, block.gate_up, eps)
        state = linear_residual(inner, block.down, state, eps)
    return normalise(state, eps).view(batch, tokens, width)


def wanted(x: Tensor, block: BlockMatrices, rotary: Tensor | None, heads: int) -> bool:
    """Whether gradient-free module calls on x should go through `fused_blocks`.

    Only where HRM_KERNELS=triton says so; then one log line says why, if the kernels do not have
    these shapes, and the answer is no. Also answers while torch.compile traces.
    """
    width = x.shape[-1]
    head_dim = None if rotary is None else width // heads
    return _wanted(x.device, x.dtype, width, block.down.shape[1], head_dim)


@dispatch.constant_when_traced
def _wanted(
    device: torch.device, dtype: torch.dtype, width: int, inner: int, head_dim: int | None
) -> bool:
    if dispatch.mode() != "triton" or dispatch.backend(device) != "triton":
        return False
    reason = obstacle(dtype, width, inner, head_dim, interpreted=dispatch.interpreting())
    if reason is not None:
        _tell(f"gradient-free calls run block by block: there is no fused kernel for {reason}")
    return reason is None


def obstacle(
    dtype: torch.dtype, width: int, inner: int, head_dim: int | None, *, interpreted: bool = False
) -> str | None:
    """What of a block the kernels do not take, as a noun, or None.

    Args:
        dtype: of the state and the weights.
        width: hidden size.
        inner: of the SwiGLU.
        head_dim: of rotated heads; None without rotation, where any will do.
        interpreted: whether Triton's interpreter runs, which also multiplies float32 but no bfloat16.
    """
    dtypes = (torch.float16, torch.float32 if interpreted else torch.bfloat16)
    if dtype not in dtypes:
        return f"{dtype}, only for {dtypes[0]} and {dtypes[1]}"
    if width not in fused_tiles.WIDTHS:
        return f"a hidden size of {width}, only for multiples of 32 up to {fused_tiles.WIDTHS[-1]}"
    if inner % 16:
        return f"a SwiGLU of width {inner}, only for multiples of 16"
    if head_dim is not None and head_dim not in HEAD_DIMS:
        return f"rotated heads of {head_dim} channels, only for {', '.join(map(str, HEAD_DIMS))}"
    return None


@functools.cache
def _tell(message: str) -> None:
    """Logs a message the first time it comes up."""
    log.warning(message)
