"""The recurrence alone, on embeddings: an HRM for anything that can be written as vectors.

`HRM` solves puzzles: tokens in, a token for every cell out. `HRMCore` is its two modules without the
ends, for agents in other environments, whose observations come from a tokeniser and whose outputs are
action values or features.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hrm_rl.model.layers import ReasoningModule, block, truncated_normal_
from hrm_rl.model.recurrence import GRADIENTS, Carry, Gradient, Weights, run_segment


@dataclass(frozen=True)
class CoreConfig:
    """Architecture of an HRMCore; small by default, as agents are trained on CPUs.

    Raises ValueError, naming the field, where a value is out of range.
    """

    hidden_size: int = 64
    """Width of both modules; divisible by num_heads."""
    num_heads: int = 4
    """Attention heads of a block."""
    H_layers: int = 1
    """Transformer blocks of H."""
    L_layers: int = 1
    """Transformer blocks of L."""
    H_cycles: int = 1
    """Updates of the slow module H in a segment."""
    L_cycles: int = 2
    """Updates of the fast module L before each of H's."""
    expansion: float = 2.0
    """Inner width of the SwiGLU over hidden_size, before the factor 2/3 and rounding up to 16s."""
    gradient: Gradient = "one-step"
    """How much of a segment is differentiated: the last L and H call, the last H-cycle, or all."""
    rms_norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_heads", "H_layers", "L_layers", "H_cycles", "L_cycles"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not divisible by num_heads={self.num_heads}"
            )
        if self.gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {GRADIENTS}, got {self.gradient!r}")
        for name in ("expansion", "rms_norm_eps"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number > 0, got {getattr(self, name)}")

    @property
    def swiglu_width(self) -> int:
        """Inner width of the SwiGLU: two thirds of the expansion, up to a multiple of 16."""
        return -(-round(self.expansion * self.hidden_size * 2 / 3) // 16) * 16

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class CoreOutput(NamedTuple):
    """What one segment gives."""

    carry: Carry  # detached
    z_H: Tensor  # [B, T, D], with the segment's gradient


class HRMCore(nn.Module):
    """Modules H and L over T embedded tokens; one call runs one segment for a batch.

    Positions are whatever the embeddings say: the core adds none, so T may differ between calls as
    long as the carry has the same T. Computes in the parameters' dtype.
    """

    H_init: Tensor
    L_init: Tensor

    def __init__(self, config: CoreConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CoreConfig()
        self.H_level = ReasoningModule(config, config.H_layers)
        self.L_level = ReasoningModule(config, config.L_layers)
        for name in ("H_init", "L_init"):
            self.register_buffer(name, truncated_normal_(torch.empty(config.hidden_size), 1.0))

    def initial_carry(self, batch_size: int, tokens: int) -> Carry:
        """A fresh carry [B, T, D], every position at H_init / L_init."""
        shape = (batch_size, tokens, self.config.hidden_size)
        return Carry(self.H_init.expand(shape).clone(), self.L_init.expand(shape).clone())

    def reset(self, carry: Carry, where: Tensor) -> Carry:
        """The carry with the rows of `where` (bool [B]) back at H_init / L_init."""
        rows = where.view(-1, 1, 1)
        return Carry(
            torch.where(rows, self.H_init, carry.z_H), torch.where(rows, self.L_init, carry.z_L)
        )

    def forward(self, carry: Carry, x: Tensor) -> CoreOutput:
        """Run one segment on embeddings x, [B, T, D].

        Raises ValueError where x is not as wide as the core, or the carry is of another shape.
        """
        if x.ndim != 3 or x.shape[-1] != self.config.hidden_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; this core takes [batch, tokens, {self.config.hidden_size}]"
            )
        if carry.z_H.shape != x.shape:
            raise ValueError(
                f"the carry has shape {tuple(carry.z_H.shape)}, x has {tuple(x.shape)}"
            )
        weights = Weights(self.H_level.weights(x.dtype), self.L_level.weights(x.dtype))
        after = run_segment(self.config, weights, block, carry, x, None, self.config.gradient)
        return CoreOutput(Carry(after.z_H.detach(), after.z_L.detach()), after.z_H)
