"""The parameters: embeddings, rotary tables, relation bias, and stacks of blocks.

Parameters are float32 masters, initialised as in the reference's `models/layers.py`. `ReasoningModule.cast`
casts a module's weights once a segment for all its calls; one compiled block serves every layer.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hrm_rl.kernels import small_block
from hrm_rl.model.config import HRMConfig
from hrm_rl.model.recurrence import NOWHERE, BlockFunction, BlockWeights, MixerWeights, Net, Positions, block
from hrm_rl.puzzles.base.relations import UNRELATED, as_relations

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


class PuzzleEmbedding(nn.Module):
    """A table of one learned vector per puzzle (ARC: per task), [ids, width]; a batch uses only a few.

    Its gradient is sparse, one row per example, not summed over duplicates. As in the reference,
    `weights.grad` is an uncoalesced sparse tensor whose values are [B, width] in the order of the batch;
    `SignSGD` sums duplicates.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(count, width))

    def forward(self, puzzle_identifiers: Tensor) -> Tensor:
        return F.embedding(puzzle_identifiers, self.weights, sparse=True)


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


# --- relations of cells --------------------------------------------------------------------------

# A head that favours a class starts with this bias on it and its negative on all others.
_FAVOUR = 3.0
# The tensor of relations in a model's file.
RELATIONS = "relation_bias.relations"
Favoured = Sequence[Sequence[int]]


class RelationBias(nn.Module):
    """A learned bias on attention by how two cells are related: one number for each head and class of pairs.

    All blocks share it. It is structure of the puzzle that the model is told, which the paper's model is not.
    Learned biases by relative position: arXiv 1803.02155 and
    1910.10683, section 2.1; here the classes are a puzzle's, such as "same row".

    Pairs with a token of the puzzle embedding are a class of their own.
    """

    relations: Tensor  # [T, T] int32

    def __init__(self, config: HRMConfig, relations: ArrayLike, favoured: Favoured | None = None) -> None:
        """
        Args:
            config: of the model.
            relations: a class for each ordered pair of cells, integers [S, S], 0 to 255.
            favoured: sets of classes. Heads start by favouring one set each, in turn; after the last set, one
                head starts flat. By default each class but 0 is a set.

        Raises ValueError for relations of another shape, or a class out of range.
        """
        super().__init__()
        classes = as_relations(relations, config.seq_len)
        self.register_buffer("relations", stored_form(classes, config))
        count = int(self.relations.max()) + 1
        self.weight = nn.Parameter(_start(config.num_heads, count, favoured or _each(classes)))

    def forward(self, dtype: torch.dtype) -> Tensor:
        """The bias on the scores of every head and pair, [heads, T, T]."""
        return F.embedding(self.relations, self.weight.to(dtype)).permute(2, 0, 1).contiguous()


def _each(classes: NDArray[np.int32]) -> Favoured:
    return [(int(number),) for number in np.unique(classes) if number != UNRELATED]


def _start(heads: int, classes: int, favoured: Favoured) -> Tensor:
    """The initial biases, [classes, heads]."""
    start = torch.zeros(classes, heads)
    for head in range(heads):
        turn = head % (len(favoured) + 1)
        if turn < len(favoured):
            start[:, head] = -_FAVOUR
            start[list(favoured[turn]), head] = _FAVOUR
    return start


def stored_form(relations: NDArray[np.int32], config: HRMConfig) -> Tensor:
    """Relations of cells [S, S] as a model keeps them, [T, T]: pairs with a token of the puzzle embedding are
    one class more."""
    pad = ((config.prefix_len, 0),) * 2
    return torch.from_numpy(np.pad(relations, pad, constant_values=int(relations.max()) + 1))


def stored_relations(tensors: Mapping[str, Tensor], config: HRMConfig) -> NDArray[Any] | None:
    """The relations of cells [S, S] in a model's tensors; None if it has none."""
    found = tensors.get(RELATIONS)
    if found is None:
        return None
    if found.is_floating_point():
        raise ValueError(f"{RELATIONS} must hold integers, got {found.dtype}")
    table = found.cpu().numpy()
    return table[config.prefix_len :, config.prefix_len :] if table.ndim == 2 else table


def unrelated(config: HRMConfig) -> NDArray[np.int32] | None:
    """Relations for a model that is only measured, not trained; None if it takes none."""
    return np.zeros((config.seq_len,) * 2, np.int32) if config.relation_bias else None


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
    """Holds one block's parameters, under the reference's tensor names.

    With `mixer`, the numbers of tokens and of the inner width, a SwiGLU over tokens replaces attention.
    """

    def __init__(self, config: BlockShape, mixer: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.mixes = mixer is not None
        if mixer is not None:
            self.mlp_t = SwiGLU(*mixer)
        else:
            self.self_attn = SelfAttention(config.hidden_size)
        self.mlp = SwiGLU(config.hidden_size, config.swiglu_width)

    def weights(self, dtype: torch.dtype) -> BlockWeights | MixerWeights:
        mlp, mixer = self.mlp, self.mlp_t if self.mixes else None
        last = mlp.gate_up_proj.weight.to(dtype), mlp.down_proj.weight.to(dtype)
        if mixer is not None:
            return MixerWeights(mixer.gate_up_proj.weight.to(dtype), mixer.down_proj.weight.to(dtype), *last)
        attn = self.self_attn
        return BlockWeights(attn.qkv_proj.weight.to(dtype), attn.o_proj.weight.to(dtype), *last)


class ReasoningModule(nn.Module):
    """A recurrent module, H or L: a stack of blocks over its state plus its input. `mixer` as in `Block`."""

    def __init__(self, config: BlockShape, layers: int, mixer: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config, mixer) for _ in range(layers))

    def cast(
        self, dtype: torch.dtype, positions: Positions = NOWHERE, function: BlockFunction = block
    ) -> "CastModule":
        """The module ready to run in `dtype`; `function` is its blocks', compiled or not."""
        weights = [layer.weights(dtype) for layer in self.layers]  # type: ignore[union-attr,operator]
        return CastModule(self.config, weights, positions, function)


class CastModule:
    """Runs a module's blocks, with weights cast once for all calls of a segment.

    Calls without gradient take detached weights, so that a compiled block gets one kind of weight and
    compiles once.
    """

    def __init__(
        self,
        config: BlockShape,
        weights: list[BlockWeights | MixerWeights],
        positions: Positions,
        function: BlockFunction = block,
    ) -> None:
        self._heads, self._eps = config.num_heads, config.rms_norm_eps
        self._weights, self._positions, self._function = weights, positions, function
        self._plain: tuple[Positions, list[BlockWeights | MixerWeights]] | None = None
        self._may_be_small = function is block and not any(part is not None for part in positions)

    def __call__(self, x: Tensor, read: int | None = None) -> Tensor:
        """The output [B, T, D]; with `read`, of the first positions at least, [B, read or T, D]."""
        if self._may_be_small and small_block.fits(x, self._weights[0][0]):
            for one in self._weights[:-1]:
                x = small_block.small_block(x, one, self._heads, self._eps)
            return small_block.small_block(x, self._weights[-1], self._heads, self._eps, read)
        if torch.is_grad_enabled():
            return self._run(x, self._weights, self._positions, read)
        positions, weights = self._detached()
        return self._run(x, weights, positions, read)

    def _detached(self) -> tuple[Positions, list[BlockWeights | MixerWeights]]:
        """Positions and weights without their graph."""
        if self._plain is not None:  # torch.compile traces no cached_property of Python 3.11
            return self._plain
        weights = [type(one)(*(w.detach() for w in one)) for one in self._weights]
        plain = self._positions.detach(), weights
        if not torch.compiler.is_compiling():  # PyTorch 2.11 hands the next call an empty tuple
            self._plain = plain
        return plain

    def ending_in_one_position(self, calls: int) -> Net:
        """The module for a segment of `calls` calls, whose last one may give the first position alone."""
        number = itertools.count(1)
        return lambda x: self(x, 1 if next(number) == calls else None)

    def _run(
        self, x: Tensor, weights: list[BlockWeights | MixerWeights], positions: Positions, read: int | None
    ) -> Tensor:
        rest = (positions, self._heads, self._eps)
        for one in weights[:-1]:
            x = self._function(x, one, *rest)
        last = {} if read is None else {"read": read}
        return self._function(x, weights[-1], *rest, **last)
