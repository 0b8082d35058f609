"""The parameters: embeddings, rotary tables, and the modules H and L as stacks of blocks.

Parameters are float32 masters, initialised as in the reference's `models/layers.py`. `ReasoningModule.cast`
casts a module's weights once a segment for all its calls; one compiled block serves every layer.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from hrm_rl.kernels.fused.block import fused_blocks, wanted
from hrm_rl.model.recurrence import NOWHERE, BlockFunction, BlockWeights, Positions, block

# Standard deviation of a unit normal cut at two sigma.
_TRUNCATED_STD = 0.87962566103423978


def truncated_normal_(tensor: Tensor, std: float) -> Tensor:
    """Fill with a normal cut at two sigma; `std` is the standard deviation after the cut."""
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


# --- rotary positions ----------------------------------------------------------------------------


def rotary_tables(tokens: int, head_dim: int, theta: float) -> Tensor:
    """Cosine and sine of every position's angles, [2, tokens, head_dim], in float32."""
    frequencies = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(tokens, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1)
    return torch.stack((angles.cos(), angles.sin()))


def board_rotary_tables(width: int, prefix: int, head_dim: int, theta: float) -> Tensor:
    """Cosine and sine for a square board, [2, prefix + width**2, head_dim], in float32.

    Half of the pairs turn with a cell's row, half with its column, so attention can recognise the same row or
    column at any distance. Prefix tokens are at (0, 0).
    Axial rotary positions: arXiv 2403.13298, section 3.
    """
    frequencies = theta ** -(torch.arange(0, head_dim, 4, dtype=torch.float32) / head_dim)
    cell = torch.arange(-prefix, width * width).clamp_min(0)
    row, column = (torch.outer(p.float(), frequencies) for p in (cell // width, cell % width))
    angles = torch.cat((row, column, row, column), dim=-1)
    return torch.stack((angles.cos(), angles.sin()))


# --- blocks --------------------------------------------------------------------------------------


class BlockShape(Protocol):
    """The part of a configuration that a stack of blocks reads."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def swiglu_width(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def rms_norm_eps(self) -> float: ...


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

    def __init__(self, config: BlockShape) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config.hidden_size)
        self.mlp = SwiGLU(config.hidden_size, config.swiglu_width)

    def weights(self, dtype: torch.dtype) -> BlockWeights:
        attn, mlp = self.self_attn, self.mlp
        matrices = (attn.qkv_proj, attn.o_proj, mlp.gate_up_proj, mlp.down_proj)
        return BlockWeights(*(layer.weight.to(dtype) for layer in matrices))


class ReasoningModule(nn.Module):
    """A recurrent module, H or L: a stack of blocks over its state plus its input."""

    def __init__(self, config: BlockShape, layers: int) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config) for _ in range(layers))

    def cast(
        self, dtype: torch.dtype, positions: Positions = NOWHERE, function: BlockFunction = block
    ) -> "CastModule":
        """The module ready to run in `dtype`; `function` is `block`, compiled or not."""
        weights = [layer.weights(dtype) for layer in self.layers]  # type: ignore[union-attr,operator]
        return CastModule(self.config, weights, positions, function)


class CastModule:
    """Runs a module's blocks, with weights cast once for all calls of a segment.

    Calls without gradient run the fused Triton kernels with HRM_KERNELS=triton. Otherwise they take detached
    weights, so that a compiled block gets one kind of weight and compiles once.
    """

    def __init__(
        self,
        config: BlockShape,
        weights: list[BlockWeights],
        positions: Positions,
        function: BlockFunction = block,
    ) -> None:
        self._heads, self._eps = config.num_heads, config.rms_norm_eps
        self._weights, self._positions, self._function = weights, positions, function
        self._detached_positions = positions.detach()
        self._detached = [BlockWeights(*(w.detach() for w in one)) for one in weights]

    def __call__(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self._run(x, self._weights, self._positions)
        positions = self._detached_positions
        if wanted(x, self._detached[0], positions.rotary, self._heads):
            rotary, bias = positions
            return fused_blocks(x, self._detached, rotary, self._heads, self._eps, bias)
        return self._run(x, self._detached, positions)

    def _run(self, x: Tensor, weights: list[BlockWeights], positions: Positions) -> Tensor:
        for one in weights:
            x = self._function(x, one, positions, self._heads, self._eps)
        return x
