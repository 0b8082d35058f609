"""The building blocks: RMSNorm, rotary positions, attention, SwiGLU, and a stack of blocks.

Parameters are float32 masters; a segment casts them to `forward_dtype` once and passes them to plain
functions, so that the gradient-free calls of a segment do not cast again and one compiled block
serves every layer. Source: reference `models/layers.py`; arXiv 2506.21734, section 2 (Post-Norm).
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_rl.kernels.attention import fused_attention
from hrm_rl.kernels.rms_norm import add_rms_norm
from hrm_rl.kernels.rms_norm import rms_norm as rms_norm
from hrm_rl.kernels.rope import rope
from hrm_rl.kernels.rope import rotate as rotate
from hrm_rl.kernels.swiglu import linear_swiglu

# The standard deviation of a unit normal cut at two sigma; dividing by it restores the wanted one.
_TRUNCATED_STD = 0.87962566103423978

# Up to this many tokens two plain matrix products beat the CPU's fused attention (KERNELS, measured).
PLAIN_ATTENTION_TOKENS = 128


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal cut at two sigma whose standard deviation, after the cut, is `std`."""
    wide = std / _TRUNCATED_STD
    return nn.init.trunc_normal_(tensor, std=wide, a=-2 * wide, b=2 * wide)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A bias-free linear layer with LeCun-normal weights."""
    layer = nn.Linear(inputs, outputs, bias=False)
    truncated_normal_(layer.weight, 1.0 / math.sqrt(inputs))
    return layer


class Embedding(nn.Module):
    """A table of vectors, [count, width]."""

    def __init__(self, count: int, width: int, std: float) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(truncated_normal_(torch.empty(count, width), std))


def rotary_tables(tokens: int, head_dim: int, theta: float) -> Tensor:
    """Cosine and sine of every position's angles, [2, tokens, head_dim], in float32."""
    frequencies = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return torch.stack((angles.cos(), angles.sin()))


def board_rotary_tables(width: int, prefix: int, head_dim: int, theta: float) -> Tensor:
    """Cosine and sine for a square board, [2, prefix + width**2, head_dim], in float32.

    Half of the pairs turn with a cell's row, half with its column, so that attention can tell "same
    row" and "same column" whatever the distance along it. Prefix tokens stand at (0, 0).
    Axial rotary positions: arXiv 2403.13298, section 3.
    """
    frequencies = theta ** -(torch.arange(0, head_dim, 4, dtype=torch.float32) / head_dim)
    cell = torch.arange(-prefix, width * width).clamp_min(0)
    row, column = (torch.outer(p.float(), frequencies) for p in (cell // width, cell % width))
    angles = torch.cat((row, column, row, column), dim=-1)
    return torch.stack((angles.cos(), angles.sin()))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Full, non-causal attention; all [B, heads, T, head_dim]."""
    if q.device.type == "cpu" and q.shape[-2] <= PLAIN_ATTENTION_TOKENS:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        return scores.softmax(-1) @ v
    return fused_attention(q, k, v)


class BlockWeights(NamedTuple):
    """One block's matrices in the compute dtype."""

    qkv: Tensor  # [3 D, D]: all q, all k, all v, head-major
    o: Tensor  # [D, D]
    gate_up: Tensor  # [2 W, D]: gate first
    down: Tensor  # [D, W]


def block(
    x: Tensor, weights: BlockWeights, rotary: Tensor | None, heads: int, eps: float
) -> Tensor:
    """One Transformer block with Post-Norm: `rms(x + attention)`, then `rms(x + swiglu)`. [B, T, D]"""
    batch, tokens, width = x.shape
    qkv = F.linear(x, weights.qkv).view(batch, tokens, 3 * heads, width // heads)
    q, k, v = qkv.split(heads, dim=2)
    if rotary is not None:
        q, k = rope(q, k, rotary)
    mixed = attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    mixed = mixed.transpose(1, 2).reshape(batch, tokens, width)
    x = add_rms_norm(x, F.linear(mixed, weights.o), eps)
    return add_rms_norm(x, F.linear(linear_swiglu(x, weights.gate_up), weights.down), eps)


BlockFunction = Callable[[Tensor, BlockWeights, Tensor | None, int, float], Tensor]


class Widths(Protocol):
    """What a block reads of a configuration."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def swiglu_width(self) -> int: ...


class SelfAttention(nn.Module):
    """Holds the attention's matrices."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv_proj = linear(width, 3 * width)
        self.o_proj = linear(width, width)


class SwiGLU(nn.Module):
    """Holds the gated feed-forward's matrices."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = linear(width, 2 * inner)
        self.down_proj = linear(inner, width)


class Block(nn.Module):
    """Holds one block's parameters, under the reference's tensor names."""

    def __init__(self, config: Widths) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config.hidden_size)
        self.mlp = SwiGLU(config.hidden_size, config.swiglu_width)

    def weights(self, dtype: torch.dtype) -> BlockWeights:
        attn, mlp = self.self_attn, self.mlp
        matrices = (attn.qkv_proj, attn.o_proj, mlp.gate_up_proj, mlp.down_proj)
        return BlockWeights(*(layer.weight.to(dtype) for layer in matrices))


class ReasoningModule(nn.Module):
    """A recurrent module, H or L: a stack of blocks over its state plus what is injected."""

    def __init__(self, config: Widths, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(layers))

    def weights(self, dtype: torch.dtype) -> list[BlockWeights]:
        """Every block's matrices, cast once for all calls of a segment."""
        return [layer.weights(dtype) for layer in self.layers]  # type: ignore[union-attr,operator]
