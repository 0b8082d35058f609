"""One segment of the two modules' recurrence, on embeddings; what every HRM here has in common."""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from hrm_rl.kernels.fused.block import fused_blocks, wanted
from hrm_rl.model.layers import BlockFunction, BlockWeights

Gradient = Literal["one-step", "last-cycle", "full"]
GRADIENTS: tuple[Gradient, ...] = ("one-step", "last-cycle", "full")


class Carry(NamedTuple):
    """The latent state between segments; both [B, T, D] in the compute dtype, detached. T is a puzzle
    model's prefix + S."""

    z_H: Tensor
    z_L: Tensor


class Cycles(Protocol):
    """What the recurrence reads of a configuration."""

    @property
    def H_cycles(self) -> int: ...
    @property
    def L_cycles(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def rms_norm_eps(self) -> float: ...


class Weights(NamedTuple):
    """Both modules' matrices in the compute dtype."""

    H: list[BlockWeights]
    L: list[BlockWeights]


def run_segment(
    config: Cycles,
    weights: Weights,
    block: BlockFunction,
    carry: Carry,
    x: Tensor,
    rotary: Tensor | None,
    gradient: Gradient,
) -> Carry:
    """H_cycles times L_cycles calls of L and one of H; the calls under `gradient` keep their graph.

    Where HRM_KERNELS=triton asks for Triton, calls without a gradient run `kernels.fused_block`.

    Args:
        config: cycles, heads and the norm's epsilon.
        weights: of both modules, cast.
        block: one Transformer block, compiled or not.
        carry: the state to go on from, [B, T, D].
        x: the embedded input, [B, T, D].
        rotary: tables of `layers.rotary_tables`, or None.
        gradient: how much of the segment is differentiated.

    Source: arXiv 2506.21734, section 2 and figure 4.
    """
    z_H, z_L = carry
    grad_enabled = torch.is_grad_enabled()
    fused = wanted(x, weights.L[0], rotary, config.num_heads)
    for h in range(config.H_cycles):
        last_cycle = h == config.H_cycles - 1
        for l in range(config.L_cycles):  # noqa: E741 (the paper's letter)
            last_call = last_cycle and l == config.L_cycles - 1
            with torch.set_grad_enabled(grad_enabled and _tracked(gradient, last_cycle, last_call)):
                z_L = _reason(config, block, z_L + (z_H + x), weights.L, rotary, fused)
        with torch.set_grad_enabled(grad_enabled and _tracked(gradient, last_cycle, last_cycle)):
            z_H = _reason(config, block, z_H + z_L, weights.H, rotary, fused)
    return Carry(z_H, z_L)


def _reason(
    config: Cycles,
    block: BlockFunction,
    x: Tensor,
    weights: list[BlockWeights],
    rotary: Tensor | None,
    fused: bool,
) -> Tensor:
    if fused and not torch.is_grad_enabled():
        return fused_blocks(x, weights, rotary, config.num_heads, config.rms_norm_eps)
    for block_weights in weights:
        if not torch.is_grad_enabled():
            # Detached, so that the compiled block sees one kind of weight and compiles once.
            block_weights = BlockWeights(*(w.detach() for w in block_weights))
        x = block(x, block_weights, rotary, config.num_heads, config.rms_norm_eps)
    return x


def _tracked(gradient: Gradient, last_cycle: bool, last_call: bool) -> bool:
    if gradient == "one-step":
        return last_call
    if gradient == "last-cycle":
        return last_cycle
    if gradient == "full":
        return True
    raise ValueError(f"gradient must be one of {GRADIENTS}, got {gradient!r}")
