"""The recurrence on embeddings, for agents in any environment.

`HRM` maps tokens to a token for every cell. `HRMCore` has the same two modules without embedding and heads:
observations come from a tokeniser, and outputs are action values or features.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hrm_rl.model.config import check_sizes, swiglu_width
from hrm_rl.model.layers import ReasoningModule, truncated_normal_
from hrm_rl.model.recurrence import GRADIENTS, Carry, Gradient, Modules, run_segment
from hrm_rl.settings import check_interval, check_one_of


@dataclass(frozen=True)
class CoreConfig:
    """Architecture of an HRMCore; small by default, as agents are trained on CPUs.

    Raises ValueError, naming the field, if a value is out of range.
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
        check_sizes(self)
        check_one_of(self, GRADIENTS, "gradient")
        check_interval(self, "(0, inf)", "rms_norm_eps")

    @property
    def swiglu_width(self) -> int:
        """Inner width of the SwiGLU: two thirds of the expansion, up to a multiple of 16."""
        return swiglu_width(self.expansion, self.hidden_size, 16)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class CoreOutput(NamedTuple):
    """The output of one segment."""

    carry: Carry  # detached
    z_H: Tensor  # [B, T, D], with the segment's gradient


class Recurrent(nn.Module):
    """The initial states and the carry, shared by `PuzzleModel` and `HRMCore`."""

    starts: ClassVar[tuple[str, ...]] = ("H_init", "L_init")
    """The buffers of the initial states; a model with one state has the first, and z_L equals z_H."""
    H_init: Tensor
    L_init: Tensor

    def _draw_initial_states(self, width: int, dtype: torch.dtype) -> None:
        for name in self.starts:
            self.register_buffer(name, truncated_normal_(torch.empty(width), 1.0).to(dtype))

    @property
    def _start(self) -> Carry:
        return Carry(self.H_init, getattr(self, self.starts[-1]))

    def _fresh_carry(self, rows: int, tokens: int) -> Carry:
        """Every position at H_init / L_init."""
        if rows < 0:
            raise ValueError(f"a carry has 0 rows or more, got {rows}")
        shape = (rows, tokens, len(self.H_init))
        return Carry(*(start.expand(shape).clone() for start in self._start))

    def reset(self, carry: Carry, where: Tensor) -> Carry:
        """The carry with the rows of `where` (bool [B]) back at H_init / L_init.

        Raises ValueError for another form of `where`.
        """
        rows = len(carry.z_H)
        if where.dtype != torch.bool or where.shape != (rows,):
            raise ValueError(
                f"where must be bool of shape ({rows},), got {where.dtype} of {tuple(where.shape)}"
            )
        return carry.replace_rows(where, self._start)


class HRMCore(Recurrent):
    """Modules H and L over T embedded tokens; one call runs one segment for a batch.

    Positions are part of the embeddings, so T may differ between calls if the carry has the same T. Computes
    in the parameters' dtype.
    """

    def __init__(self, config: CoreConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CoreConfig()
        self.H_level = ReasoningModule(config, config.H_layers)
        self.L_level = ReasoningModule(config, config.L_layers)
        self._draw_initial_states(config.hidden_size, torch.get_default_dtype())

    def initial_carry(self, batch_size: int, tokens: int) -> Carry:
        """A fresh carry [B, T, D], every position at H_init / L_init."""
        return self._fresh_carry(batch_size, tokens)

    def modules_in(self, dtype: torch.dtype, read: int | None = None) -> Modules:
        """H and L ready to run in `dtype`; with `read=1` for one segment, as in `forward`."""
        H, L = self.H_level.cast(dtype), self.L_level.cast(dtype)
        return Modules(H.ending_in_one_position(self.config.H_cycles) if read == 1 else H, L)

    def forward(self, carry: Carry, x: Tensor, read: int | None = None) -> CoreOutput:
        """Run one segment on embeddings x, [B, T, D].

        With `read=1` the last block may compute z_H's first position alone, [B, 1, D]: no segment
        follows then.
        Raises ValueError if x is not as wide as the core, or the carry has another shape.
        """
        if x.ndim != 3 or x.shape[-1] != self.config.hidden_size:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; this core takes [batch, tokens, {self.config.hidden_size}]"
            )
        if carry.z_H.shape != x.shape:
            raise ValueError(f"the carry has shape {tuple(carry.z_H.shape)}, x has {tuple(x.shape)}")
        modules = self.modules_in(x.dtype, read)
        after = run_segment(self.config, modules, carry, x, self.config.gradient)
        return CoreOutput(after.detach(), after.z_H)
