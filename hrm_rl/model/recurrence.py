"""How a segment runs: the recursion of the modules H and L, and the Transformer block they are stacks of.

Functions of tensors alone. layers.py holds the parameters, casts them once a segment, and chooses compiled
blocks. Source: arXiv 2506.21734, section 2 and figure 4; reference `models/layers.py`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels.precision import wide
from hrm_rl.kernels.rms_norm import add_rms_norm
from hrm_rl.kernels.rope import rope
from hrm_rl.kernels.swiglu import linear_swiglu

Gradient = Literal["one-step", "last-cycle", "full"]
GRADIENTS: tuple[Gradient, ...] = ("one-step", "last-cycle", "full")
# Up to this many tokens two plain matrix products are faster than the CPU's fused attention.
PLAIN_ATTENTION_TOKENS = 128
# With a bias they always are, 1.1 to 6 times at 225 and 900 tokens (measured); beyond this many, they would
# need gigabytes where the fused one, without a gradient, needs none.
_PLAIN_WITH_BIAS = 512
# PyTorch's softmax of shorter rows in bfloat16 takes 2.5 times as long as in float32, its backward pass 14.
_SHORT_ROW = 32


class Carry(NamedTuple):
    """The latent state between segments; both [B, T, D] in the compute dtype, detached. T is a puzzle
    model's prefix + S."""

    z_H: Tensor
    z_L: Tensor

    def detach(self) -> "Carry":
        """The same state without its graph."""
        return Carry(self.z_H.detach(), self.z_L.detach())

    def take(self, rows: Tensor) -> "Carry":
        """The state of these rows, int64 [K] or bool [B]."""
        return Carry(self.z_H[rows], self.z_L[rows])

    def replace_rows(self, where: Tensor, new: "Carry") -> "Carry":
        """The state with the rows of `where` (bool [B]) from `new`, [B, T, D] or broadcast to it."""
        rows = where.view(-1, 1, 1)
        return Carry(torch.where(rows, new.z_H, self.z_H), torch.where(rows, new.z_L, self.z_L))


class Cycles(Protocol):
    """The part of a configuration that the recursion reads."""

    @property
    def H_cycles(self) -> int: ...
    @property
    def L_cycles(self) -> int: ...


Net = Callable[[Tensor], Tensor]
"""A stack of blocks, ready to run: [B, T, D] to [B, T, D]."""


class Modules(NamedTuple):
    """H and L, ready to run."""

    H: Net
    L: Net


def run_segment(config: Cycles, modules: Modules, carry: Carry, x: Tensor, gradient: Gradient) -> Carry:
    """One segment on the embedded input x, [B, T, D]: H_cycles times L_cycles calls of L and one of H.

    The calls that `gradient` covers keep their graph; the paper's one-step gradient covers the last call of
    each module. Raises ValueError for an unknown `gradient`.
    """
    (H, L), (z_H, z_L) = modules, carry
    for h in range(config.H_cycles):
        last_cycle = h == config.H_cycles - 1
        for l in range(config.L_cycles):  # noqa: E741 (the paper's letter)
            with graph_of(gradient, last_cycle, l == config.L_cycles - 1):
                z_L = L(z_L + (z_H + x))
        with graph_of(gradient, last_cycle, True):
            z_H = H(z_H + z_L)
    return Carry(z_H, z_L)


def graph_of(gradient: Gradient, last_cycle: bool, last_call: bool) -> AbstractContextManager[None]:
    """A context for one call of a module: it keeps the call's graph if `gradient` covers it.

    Args:
        gradient: how much of a segment is differentiated.
        last_cycle: whether the call is in the segment's last H-cycle.
        last_call: whether it is its module's last call in that cycle.

    Raises ValueError for an unknown `gradient`.
    """
    if gradient not in GRADIENTS:
        raise ValueError(f"gradient must be one of {GRADIENTS}, got {gradient!r}")
    covered = gradient == "full" or (last_cycle and (last_call or gradient == "last-cycle"))
    # Not set_grad_enabled, which acts where it is made: if torch.compile takes this function for itself, as
    # after a graph break in a caller's loop, the mode stays off after the block.
    return nullcontext() if covered else torch.no_grad()


class BlockWeights(NamedTuple):
    """One block's matrices in the compute dtype."""

    qkv: Tensor  # [3 D, D]: all q, all k, all v, head-major
    o: Tensor  # [D, D]
    gate_up: Tensor  # [2 W, D]: gate first
    down: Tensor  # [D, W]


class MixerWeights(NamedTuple):
    """The matrices of a block that mixes tokens by a SwiGLU, in the compute dtype."""

    mix_gate_up: Tensor  # [2 V, T]: gate first
    mix_down: Tensor  # [T, V]
    gate_up: Tensor  # [2 W, D]: gate first
    down: Tensor  # [D, W]


class Positions(NamedTuple):
    """What attention knows of the tokens' places, in every block alike."""

    rotary: Tensor | None = None  # [2, T, head_dim]: cosine and sine
    bias: Tensor | None = None  # [heads, T, T]: added to the scores

    def detach(self) -> "Positions":
        """The same without its graph."""
        return self._replace(bias=None if self.bias is None else self.bias.detach())


NOWHERE = Positions()
"""For tokens whose embeddings hold their places."""

BlockFunction = Callable[..., Tensor]
"""`block`, or another with its arguments, compiled or not."""
Gated = Callable[[Tensor, Tensor, float], Tensor]
"""The inner layer of a feed-forward: x [..., D], weight [2 W, D] with the gate first, epsilon -> [..., W]."""


def swiglu_gated(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`silu(gate) * up`; without a norm, so `eps` is not read."""
    return linear_swiglu(x, weight)


def norm_gated(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`sigmoid(gate) * rms(gate * up)`, the SwiGLU of arXiv 2601.19085: its product is normed."""
    gate, up = F.linear(x, weight).chunk(2, dim=-1)
    product = (gate * up).to(wide(x.dtype))
    scale = (product.square().mean(-1, keepdim=True) + eps).rsqrt()
    return gate.sigmoid() * (product * scale).to(x.dtype)


def block(
    x: Tensor,
    weights: BlockWeights,
    positions: Positions,
    heads: int,
    eps: float,
    gated: Gated = swiglu_gated,
    read: int | None = None,
) -> Tensor:
    """One Transformer block with Post-Norm: `rms(x + attention)`, then `rms(x + swiglu)`. [B, T, D]

    With `read`, the output of the first positions alone, [B, read, D].
    """
    batch, tokens, width = x.shape
    qkv = F.linear(x, weights.qkv).view(batch, tokens, 3 * heads, width // heads)
    q, k, v = qkv.split(heads, dim=2)
    if positions.rotary is not None:
        q, k = rope(q, k, positions.rotary)
    bias = positions.bias
    if read is not None:
        x, q, bias = x[:, :read], q[:, :read], None if bias is None else bias[:, :read]
    mixed = attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias)
    mixed = mixed.transpose(1, 2).reshape(x.shape)
    x = add_rms_norm(x, F.linear(mixed, weights.o), eps)
    return add_rms_norm(x, F.linear(gated(x, weights.gate_up, eps), weights.down), eps)


def mixer_block(
    x: Tensor,
    weights: MixerWeights,
    positions: Positions,
    heads: int,
    eps: float,
    gated: Gated = swiglu_gated,
    read: int | None = None,
) -> Tensor:
    """One block with a SwiGLU over the tokens, channel by channel, in place of attention. [B, T, D]

    Its first norm is over tokens. It reads neither `positions` nor `heads`. Source: arXiv 2510.04871, section
    4.5, and the public code's mlp_t.
    """
    x = x.mT.contiguous()
    x = add_rms_norm(x, F.linear(gated(x, weights.mix_gate_up, eps), weights.mix_down), eps)
    x = x.mT[:, :read].contiguous()
    return add_rms_norm(x, F.linear(gated(x, weights.gate_up, eps), weights.down), eps)


def norm_gated_block(
    x: Tensor, weights: Any, positions: Positions, heads: int, eps: float, read: int | None = None
) -> Tensor:
    """`block`, or `mixer_block` for its weights, with `norm_gated` for SwiGLU."""
    kind: Any = mixer_block if isinstance(weights, MixerWeights) else block
    return kind(x, weights, positions, heads, eps, norm_gated, read)  # type: ignore[no-any-return]


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Full, non-causal attention; all [B, heads, T, head_dim], and `bias` on the scores [heads, T, T]."""
    most = PLAIN_ATTENTION_TOKENS if bias is None else _PLAIN_WITH_BIAS
    graph = bias is not None and torch.is_grad_enabled()  # then the fused one keeps all scores too
    if q.device.type == "cpu" and (graph or q.shape[-2] <= most):
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if bias is not None:
            # In place: a second [B, heads, T, T] costs more than the addition. The product's backward pass
            # does not read the scores.
            scores += bias
        short = scores.dtype == torch.bfloat16 and scores.shape[-1] < _SHORT_ROW
        return scores.softmax(-1, dtype=torch.float32 if short else None).to(v.dtype) @ v
    mask = None if bias is None else bias.expand(q.shape[0], *bias.shape)
    return F.scaled_dot_product_attention(q, k, v, mask)
