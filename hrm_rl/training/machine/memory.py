"""Memory of a training step, counted on meta tensors (nothing is computed)."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from hrm_rl.agents import LearnerConfig
from hrm_rl.agents.learning.losses import token_loss
from hrm_rl.model import HRMConfig, ReasoningModel, make_model
from hrm_rl.model.layers import unrelated
from hrm_rl.model.recurrence import Gradient
from hrm_rl.tensors import total_memory

# Copies of each weight in float32: itself, its gradient and two moments.
_COPIES = 4


@dataclass(frozen=True)
class StepMemory:
    """Bytes of a training step."""

    fixed: int
    """Weights, gradients and the optimizer's moments, and the weights cast to the compute dtype."""
    per_row: int
    """What the backward pass keeps for a row, and the row's carry before and after."""
    carry: int = 0
    """The carry's part of a row."""
    weights: int = 0
    """The part of the weights and their cast; the rest of `fixed` is gradients and moments."""

    def rows(self, available: int) -> int:
        """The largest power of two of rows that fits into `available` bytes, or 0."""
        spare = (available - self.fixed) // self.per_row
        return 1 << spare.bit_length() - 1 if spare >= 1 else 0


def step_memory(model: HRMConfig, learner: LearnerConfig, device: str = "meta") -> StepMemory:
    """The memory of a training step: close to what autograd keeps, on "meta" with fused attention, on "cpu",
    which computes a few rows, as a CPU's attention does.

    Not counted are the scratch space of kernels, the allocator's waste and the puzzle embedding's table.
    """
    model = dataclasses.replace(model, num_puzzle_identifiers=1)
    with torch.random.fork_rng(devices=[]), torch.device(device):
        network = make_model(model, unrelated(model))
        two, four = (_kept(network, rows, learner) for rows in (2, 4))
        carry = network.initial_carry(1)
    weights = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("puzzle_"))
    carries = 2 * sum(z.numel() * z.element_size() for z in carry)
    cast = weights * network.dtype.itemsize
    return StepMemory(4 * _COPIES * weights + cast, (four - two) // 2 + carries, carries, 4 * weights + cast)


def kept_per_row(
    model: HRMConfig, gradient: Gradient = "one-step", *, segments: int = 1, at_once: bool = False
) -> int:
    """Peak bytes per row that autograd keeps over an episode of `segments` segments.

    With `at_once` one backward pass goes through all segments at the end (the states between them count in
    either case); otherwise one follows each segment, which frees what that one kept.
    """
    learner = LearnerConfig(gradient=gradient)
    with torch.device("meta"):
        network = make_model(model, unrelated(model))
        two, four = (_kept(network, rows, learner, segments, at_once) for rows in (2, 4))
    return (four - two) // 2


def _kept(
    network: ReasoningModel, rows: int, learner: LearnerConfig, segments: int = 1, at_once: bool = False
) -> int:
    """Bytes that autograd keeps for `rows` rows, each storage counted once: the largest segment's, or all."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    inputs = torch.zeros(rows, network.config.seq_len, dtype=torch.int64)
    ids = torch.zeros(rows, dtype=torch.int64)
    carry, most = network.initial_carry(rows), 0
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        for _ in range(segments):
            out = network(carry, inputs, ids, gradient=learner.gradient)
            token_loss(out.logits, inputs, learner.token_loss)
            carry = out.carry
            most = max(most, sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
            if not at_once:
                kept.clear()
    return most


def refuse_too_large(model: HRMConfig, batch_size: int, device: str, parts: int = 1) -> None:
    """Raise MemoryError if the weights in training, or the states of a batch, exceed the device's memory.

    The network is divided into `parts`, one a device. Both are less than a step takes, so nothing that fits
    is refused.
    """
    with torch.device("meta"):
        network = make_model(model, unrelated(model))
        state = sum(z.numel() * z.element_size() for z in network.initial_carry(1))
    table = sum(p.numel() for p in network.parameters()) - network.num_parameters()
    weights, total = 4 * (_COPIES * network.num_parameters() // parts + table), total_memory(device)
    room = f"the {total / 1e9:.1f} GB of {device}"
    if weights > total:
        raise MemoryError(f"the weights take {weights / 1e9:,.0f} GB in training, more than {room}")
    if batch_size * state > total - weights:
        rows = max(1, (total - weights) // (8 * state))
        raise MemoryError(f"batch_size {batch_size} does not fit into {room}; try {rows} at most")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; a CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def too_large(batch_size: int, device: str, memory: StepMemory, total: int) -> MemoryError:
    """The error for a batch that does not fit; it names the largest that should."""
    rows = min(memory.rows(int(0.9 * total)), batch_size // 2)
    fits = (
        f"an estimate of {memory.per_row / 1e6:.1f} MB a row and {memory.fixed / 1e6:.0f} MB besides "
        f"leaves room for {rows} rows: --batch-size {rows}"
        if rows
        else "by estimate not even one row fits; use a smaller model"
    )
    return MemoryError(f"{batch_size} rows do not fit into the {total / 1e9:.1f} GB of {device}; {fits}")
