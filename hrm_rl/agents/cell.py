"""HRM as a recurrent cell with nn.LSTM's interface: one step of time is one or more segments.

What an LSTM keeps as (h, c), an HRM keeps as its carry (z_H, z_L), so code written for the one runs
with the other: sb3-contrib's RecurrentPPO, CleanRL's ppo_atari_lstm.py, a loop of your own.

    cell = HRMCell(input_size=10)                      # instead of nn.LSTM(10, 64, num_layers=4)
    out, (h, c) = cell(torch.randn(7, 3, 10))          # [L, N, F] -> [L, N, D], each state [4, N, D]
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from hrm_rl.model import Carry, CoreConfig, HRMCore
from hrm_rl.model.layers import block, truncated_normal_
from hrm_rl.model.recurrence import Weights, run_segment

State = tuple[Tensor, Tensor]
"""(h, c), each [T, N, D], or [T, D] of an input without a batch: the carry minus its initial value."""

CarryMode = Literal["keep", "reset"]
_SHARE = 0.5**0.5  # of two summands of unit variance that are to have unit variance together


class HRMCell(nn.Module):
    """nn.LSTM's interface over an `HRMCore` of T tokens, whose number stands for `num_layers`.

    The states are h = z_H - H_init and c = z_L - L_init, so zero is a fresh state, and multiplying a row
    by zero starts it afresh: that is how recurrent learners reset at an episode's start.

    By default no gradient crosses from one time step to another: this is HRM's own one-step gradient
    (arXiv 2506.21734, section 2), with constant memory. It learns to read what the recurrence happens to
    keep, but not what to keep. `through_time=True` lets gradients pass, which is backpropagation
    through time over the sequence given, as an LSTM has it.

    Args:
        input_size: features F of a time step.
        hidden_size: width D; 64, or the config's, by default.
        tokens: tokens T of the carry. The features are projected to as many, and the first one's z_H is
            the output. None, with `embedded`: the input's tokens.
        segments: segments run in a time step.
        carry: "keep" it between time steps, or "reset" it at each, which forgets everything: the output
            is a function of the present input alone, and the returned state is zero.
        through_time: let gradients pass between time steps, and between the segments of one.
        embedded: the input holds n = F / D embedded tokens, one after another, of about unit variance,
            the first one being read out (`ObsTokenizer` makes such). With `tokens=None` the carry is
            of these n. With a number, it is of the first and `tokens - 1` others, which the cell
            adds; the rest of the input's tokens starts afresh at every step. So a large observation
            does not make a large state.
        batch_first: sequences are [N, L, F] instead of [L, N, F]; states are not affected.
        config: architecture of the core.

    Raises:
        ValueError: a setting out of range, sizes that do not fit together, or `through_time` with a
            core in which no gradient gets from the carry to the output.
    """

    bidirectional = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        tokens: int | None = 4,
        segments: int = 1,
        carry: CarryMode = "keep",
        through_time: bool = False,
        embedded: bool = False,
        batch_first: bool = False,
        config: CoreConfig | None = None,
    ) -> None:
        super().__init__()
        config = config or CoreConfig(hidden_size=64 if hidden_size is None else hidden_size)
        width = config.hidden_size
        if hidden_size not in (None, width):
            raise ValueError(f"hidden_size={hidden_size}, but config.hidden_size={width}")
        for name, value in (("input_size", input_size), ("segments", segments), ("tokens", tokens)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if carry not in ("keep", "reset"):
            raise ValueError(f"carry must be 'keep' or 'reset', got {carry!r}")
        if through_time and config.gradient != "full" and config.H_cycles > 1:
            raise ValueError(
                f"through_time=True, but with H_cycles={config.H_cycles} a core of gradient="
                f"{config.gradient!r} passes none from its carry: use H_cycles=1 or gradient='full'"
            )
        if embedded and input_size % width:
            raise ValueError(f"input_size={input_size} is no number of tokens of width {width}")
        if tokens is None and not embedded:
            raise ValueError("tokens=None needs embedded=True: features must be given a number")
        self.input_size, self.hidden_size = input_size, width
        self.num_layers = input_size // width if tokens is None else tokens
        self.segments, self.carry, self.through_time = segments, carry, through_time
        self.embedded, self.batch_first = embedded, batch_first
        self.core = HRMCore(config)
        if not embedded:
            self.projection = nn.Linear(input_size, self.num_layers * width)
            truncated_normal_(self.projection.weight, input_size**-0.5)
            truncated_normal_(self.projection.bias, 1.0)  # tells the tokens apart
        elif tokens is not None:
            self.added_tokens = nn.Parameter(truncated_normal_(torch.empty(tokens - 1, width), 1.0))
        self._adds_tokens = embedded and tokens is not None

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Run a sequence: input [L, N, F], [N, L, F] with batch_first, or [L, F] without a batch.

        Returns the outputs, of the input's shape with D instead of F, and the state after the last step.
        None for `hx` is a fresh state.

        Raises ValueError for an input of another shape, or a state that does not belong to it.
        """
        if isinstance(input, PackedSequence):
            raise ValueError("HRMCell takes no PackedSequence: pad it (pad_packed_sequence)")
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"the input has shape {tuple(input.shape)}; this cell takes "
                f"{'[N, L, F]' if self.batch_first else '[L, N, F]'} or [L, F] with F = {self.input_size}"
            )
        h, c = self._checked(hx, input)
        batched, batch_dim = input.ndim == 3, 0 if self.batch_first else 1
        if not batched:
            input, h, c = input.unsqueeze(batch_dim), h.unsqueeze(1), c.unsqueeze(1)
        sequence = input.transpose(0, 1) if self.batch_first else input  # [L, N, F]
        run = self._run_apart if self.carry == "reset" else self._run_on
        out, (h, c) = run(self._embed(sequence), h, c)
        out = out.transpose(0, 1) if self.batch_first else out
        return (out, (h, c)) if batched else (out.squeeze(batch_dim), (h.squeeze(1), c.squeeze(1)))

    def flatten_parameters(self) -> None:
        """Does nothing; what is written for cuDNN's LSTMs may call it."""

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, tokens={self.num_layers}, "
            f"segments={self.segments}, carry={self.carry!r}, through_time={self.through_time}"
        )

    def _run_on(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, State]:
        """Each step from where the last one stopped. x [L, N, T, D]."""
        weights, initial = self._weights(x.dtype), (self.core.H_init, self.core.L_init)
        outputs = []
        for step in x:
            if not self.through_time:
                h, c = h.detach(), c.detach()
            carry = Carry(
                *(self._with_fresh(s, i, step) for s, i in zip((h, c), initial, strict=True))
            )
            z_H, z_L = self._think(weights, carry, step)
            outputs.append(z_H[:, 0])
            h, c = (
                (z - i)[:, : self.num_layers].transpose(0, 1)
                for z, i in zip((z_H, z_L), initial, strict=True)
            )
        if not self.through_time:
            h, c = h.detach(), c.detach()
        return torch.stack(outputs), (h.contiguous(), c.contiguous())

    def _run_apart(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, State]:
        """Every step from a fresh carry, so all at once."""
        steps = x.flatten(0, 1)  # [L * N, T, D]
        fresh = self.core.initial_carry(len(steps), steps.shape[1])
        z_H, _ = self._think(self._weights(x.dtype), fresh, steps)
        return z_H[:, 0].unflatten(0, x.shape[:2]), (torch.zeros_like(h), torch.zeros_like(c))

    def _think(self, weights: Weights, carry: Carry, x: Tensor) -> Carry:
        """The segments of one time step; the last one, or with through_time all, keep their graph."""
        config = self.core.config
        for segment in range(self.segments):
            tracked = self.through_time or segment == self.segments - 1
            with torch.set_grad_enabled(tracked and torch.is_grad_enabled()):
                carry = run_segment(config, weights, block, carry, x, None, config.gradient)
        return carry

    def _weights(self, dtype: torch.dtype) -> Weights:
        return Weights(self.core.H_level.weights(dtype), self.core.L_level.weights(dtype))

    def _embed(self, sequence: Tensor) -> Tensor:
        """[L, N, F] -> [L, N, T, D]; what is carried comes first."""
        if not self.embedded:
            return _SHARE * self.projection(sequence).unflatten(-1, (-1, self.hidden_size))
        x = sequence.unflatten(-1, (-1, self.hidden_size))
        if not self._adds_tokens:
            return x
        added = self.added_tokens.expand(*x.shape[:2], -1, -1)
        return torch.cat((x[:, :, :1], added, x[:, :, 1:]), dim=2)

    def _with_fresh(self, state: Tensor, initial: Tensor, x: Tensor) -> Tensor:
        """A module's state [K, N, D] as what it stands for, [N, T, D], tokens not carried fresh."""
        fresh = initial.expand(len(x), x.shape[1] - self.num_layers, -1)
        return torch.cat((state.transpose(0, 1) + initial, fresh), dim=1)

    def _checked(self, hx: State | None, input: Tensor) -> State:
        """The state that goes with the input, fresh for None; ValueError for another's."""
        rows = input.shape[0 if self.batch_first else 1] if input.ndim == 3 else None
        shape = (self.num_layers, *([] if rows is None else [rows]), self.hidden_size)
        if hx is None:
            zero = input.new_zeros(shape)
            return zero, zero
        for name, state in zip(("h", "c"), hx, strict=True):
            if state.ndim == len(shape) == 3 and state.shape[1] != rows:
                raise ValueError(
                    f"{name} is the state of {state.shape[1]} sequences, the input holds {rows}"
                )
            if state.shape != shape:
                raise ValueError(f"{name} has shape {tuple(state.shape)}, {shape} is needed")
        return hx
