"""HRM as a recurrent cell with nn.LSTM's interface: a time step is one or more segments.

An HRM keeps its carry (z_H, z_L) as an LSTM keeps (h, c), so code written for an LSTM can use it:
sb3-contrib's RecurrentPPO, CleanRL's ppo_atari_lstm.py, or any other loop.

    cell = HRMCell(input_size=10)                      # instead of nn.LSTM(10, 64, num_layers=4)
    out, (h, c) = cell(torch.randn(7, 3, 10))          # [L, N, F] -> [L, N, D], each state [4, N, D]
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from hrm_rl.model import Carry, CoreConfig, HRMCore
from hrm_rl.model.layers import truncated_normal_
from hrm_rl.model.recurrence import Modules, run_segment
from hrm_rl.settings import check_integers, check_one_of

State = tuple[Tensor, Tensor]
"""(h, c), each [T, N, D], or [T, D] for an input without a batch: the carry minus its initial value."""

CarryMode = Literal["keep", "reset"]
_SHARE = 0.5**0.5  # scales two summands of unit variance so that their sum has unit variance


def core_config(hidden_size: int | None) -> CoreConfig:
    """The default core of this width, by default 64, with four heads, or two or one if they divide it."""
    if not isinstance(hidden_size, int) or hidden_size < 1:
        return CoreConfig() if hidden_size is None else CoreConfig(hidden_size=hidden_size)
    return CoreConfig(hidden_size=hidden_size, num_heads=math.gcd(hidden_size, CoreConfig.num_heads))


class HRMCell(nn.Module):
    """nn.LSTM's interface to an `HRMCore` of T tokens, whose number takes the place of `num_layers`.

    The states are h = z_H - H_init and c = z_L - L_init, so zero is a fresh state, and multiplying a row by
    zero resets it, as recurrent learners do at the start of an episode.

    Gradients pass from one time step to another, as in an LSTM: backpropagation through time over the given
    sequence, whose memory grows with its length. `through_time=False` is HRM's one-step gradient
    (arXiv 2506.21734, section 2): constant memory, but it learns to read what the recurrence happens to keep,
    not what to keep.

    Args:
        input_size: number of features F at a time step.
        hidden_size: width D; by default the config's, else 64. Without a config there are 4 heads, or 2 or 1
            if 4 do not divide it.
        tokens: number of tokens T of the carry. The features are projected to T tokens, and the output is
            z_H of the first. None, with `embedded`: the input's tokens.
        segments: segments run at each time step.
        carry: "keep" it between time steps, or "reset" it at each: the output is then a function of the
            present input alone, and the returned state is zero.
        through_time: let gradients pass between time steps, and between the segments of one. False costs
            less memory and seldom learns to remember.
        embedded: the input consists of n = F / D embedded tokens of about unit variance in sequence, the
            first one being read out (`ObsTokenizer` makes such tokens). With `tokens=None` the carry has
            these n. With a number it has the first and `tokens - 1` others, which the cell adds; the
            input's other tokens start every step from a fresh state, so a large observation does not make
            a large state.
        batch_first: sequences are [N, L, F] instead of [L, N, F]; states are not affected.
        config: architecture of the core.

    Raises ValueError for a setting out of range, sizes that do not fit together, or `through_time` with a
    core in which no gradient passes from the carry to the output.
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
        through_time: bool = True,
        embedded: bool = False,
        batch_first: bool = False,
        config: CoreConfig | None = None,
    ) -> None:
        super().__init__()
        config = config or core_config(hidden_size)
        width = config.hidden_size
        self.input_size, self.tokens, self.segments = input_size, tokens, segments
        self.carry, self.through_time = carry, through_time
        self.embedded, self.batch_first = embedded, batch_first
        check_integers(self, 1, "input_size", "segments", *(() if tokens is None else ("tokens",)))
        check_one_of(self, ("keep", "reset"), "carry")
        if hidden_size not in (None, width):
            raise ValueError(f"hidden_size={hidden_size}, but config.hidden_size={width}")
        if through_time and config.gradient != "full" and config.H_cycles > 1:
            raise ValueError(
                f"through_time=True needs H_cycles=1 or gradient='full': with H_cycles={config.H_cycles} "
                f"and gradient={config.gradient!r} no gradient passes from the carry to the output "
                "(through_time=False trains without it, but hardly learns what to remember)"
            )
        if embedded and input_size % width:
            wanted = f"a multiple of {width}, got {input_size}"
            raise ValueError(f"with embedded=True input_size must be {wanted}")
        if tokens is None and not embedded:
            raise ValueError("tokens=None needs embedded=True; features need a number of tokens")
        self.hidden_size = width
        self.num_layers = input_size // width if tokens is None else tokens
        self.core = HRMCore(config)
        if not embedded:
            self.projection = nn.Linear(input_size, self.num_layers * width)
            truncated_normal_(self.projection.weight, input_size**-0.5)
            truncated_normal_(self.projection.bias, 1.0)  # distinguishes the tokens
        elif tokens is not None:
            self.added_tokens = nn.Parameter(truncated_normal_(torch.empty(tokens - 1, width), 1.0))

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Run a sequence: input [L, N, F], [N, L, F] with batch_first, or [L, F] without a batch.

        Returns the outputs, of the input's shape with D instead of F, and the state after the last step.
        `hx=None` is a fresh state. Raises ValueError for an input or a state of another shape.
        """
        if isinstance(input, PackedSequence):
            raise ValueError("HRMCell needs a padded input, not a PackedSequence (pad_packed_sequence)")
        shape = tuple(input.shape)
        if len(shape) not in (2, 3) or shape[-1] != self.input_size:
            wanted = f"{'[N, L, F]' if self.batch_first else '[L, N, F]'} or [L, F]"
            wanted = f"{wanted} with F = {self.input_size}"
            raise ValueError(f"the input must have shape {wanted}, got {shape}")
        own = self.core.H_init.dtype
        if input.dtype != own and not torch.is_autocast_enabled(input.device.type):
            raise ValueError(f"the input must be {own}, as the cell's weights, got {input.dtype}")
        if not input.shape[1 if self.batch_first and input.ndim == 3 else 0]:
            raise ValueError(f"the input must have one time step or more, got shape {shape}")
        h, c = self._checked(hx, input)
        single, batch_dim = input.ndim == 2, 0 if self.batch_first else 1
        if single:
            input, h, c = input.unsqueeze(batch_dim), h.unsqueeze(1), c.unsqueeze(1)
        sequence = input.transpose(0, 1) if self.batch_first else input  # [L, N, F]
        run = self._run_apart if self.carry == "reset" else self._run_on
        out, (h, c) = run(self._embed(sequence), h, c)
        out = out.transpose(0, 1) if self.batch_first else out
        return (out.squeeze(batch_dim), (h.squeeze(1), c.squeeze(1))) if single else (out, (h, c))

    def flatten_parameters(self) -> None:
        """Do nothing: code written for cuDNN's LSTMs calls this."""

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, tokens={self.num_layers}, "
            f"segments={self.segments}, carry={self.carry!r}, through_time={self.through_time}"
        )

    def _run_on(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, State]:
        """Run each step from the state of the last one. x [L, N, T, D]."""
        modules, initial = self.core.modules_in(x.dtype), Carry(self.core.H_init, self.core.L_init)
        states = Carry(*((s + z).transpose(0, 1) for s, z in zip((h, c), initial, strict=True)))  # [N, K, D]
        outputs = []
        for step in x:
            if not self.through_time:
                states = states.detach()
            carry = Carry(*(self._with_fresh(z, z0, step) for z, z0 in zip(states, initial, strict=True)))
            carry = self._think(modules, carry, step)
            outputs.append(carry.z_H[:, 0])
            states = Carry(*(z[:, : self.num_layers] for z in carry))
        if not self.through_time:
            states = states.detach()
        h, c = ((z - z0).transpose(0, 1).contiguous() for z, z0 in zip(states, initial, strict=True))
        return torch.stack(outputs), (h, c)

    def _run_apart(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, State]:
        """Run all steps at once, each from a fresh carry."""
        steps = x.flatten(0, 1)  # [L * N, T, D]
        fresh = self.core.initial_carry(len(steps), steps.shape[1])
        z_H, _ = self._think(self.core.modules_in(x.dtype), fresh, steps)
        return z_H[:, 0].unflatten(0, x.shape[:2]), (torch.zeros_like(h), torch.zeros_like(c))

    def _think(self, modules: Modules, carry: Carry, x: Tensor) -> Carry:
        """Run the segments of one time step; the last one, or with through_time all, keep their graph."""
        config = self.core.config
        for segment in range(self.segments):
            tracked = self.through_time or segment == self.segments - 1
            with torch.set_grad_enabled(tracked and torch.is_grad_enabled()):
                carry = run_segment(config, modules, carry, x, config.gradient)
        return carry

    def _embed(self, sequence: Tensor) -> Tensor:
        """[L, N, F] -> [L, N, T, D]; the tokens of the carry come first."""
        if not self.embedded:
            x = _SHARE * self.projection(sequence).unflatten(-1, (-1, self.hidden_size))
            return x.transpose(1, 2).contiguous().transpose(1, 2)  # in memory as small blocks want it
        x = sequence.unflatten(-1, (-1, self.hidden_size))
        if self.tokens is None:
            return x
        added = self.added_tokens.expand(*x.shape[:2], -1, -1)
        return torch.cat((x[:, :, :1], added, x[:, :, 1:]), dim=2)

    def _with_fresh(self, kept: Tensor, initial: Tensor, x: Tensor) -> Tensor:
        """A module's carry [N, T, D] from its kept tokens [N, K, D]; the others are fresh."""
        missing = x.shape[1] - self.num_layers
        return torch.cat((kept, initial.expand(len(x), missing, -1)), dim=1) if missing else kept

    def _checked(self, hx: State | None, input: Tensor) -> State:
        """The state, zero for None. Raises ValueError if it does not fit the input."""
        rows = input.shape[0 if self.batch_first else 1] if input.ndim == 3 else None
        shape = (self.num_layers, *([] if rows is None else [rows]), self.hidden_size)
        if hx is None:
            return input.new_zeros(shape), input.new_zeros(shape)
        if not isinstance(hx, tuple | list) or len(hx) != 2:
            raise ValueError(f"the state must be the pair (h, c), got {type(hx).__name__}")
        for name, state in zip(("h", "c"), hx, strict=True):
            if state.ndim == len(shape) == 3 and (held := state.shape[1]) != rows:
                raise ValueError(f"{name} is the state of {held} sequences, the input has {rows}")
            if state.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(state.shape)}")
        return hx
