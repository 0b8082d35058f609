"""Checks of a stored learner's state: damaged tensors would be read or written beyond their ends."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents.learning.optim import AdamATan2, SignSGD
from hrm_rl.distributed.sharding import divided_state
from hrm_rl.tensors import stored_tensor

_log = logging.getLogger(__name__)

# The tensors that each optimizer keeps of a parameter.
_NAMES: dict[type, set[str]] = {
    AdamATan2: {"step", "m", "v"},
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    SignSGD: set(),
}
if hasattr(torch.optim, "Muon"):  # PyTorch 2.9 or newer
    _NAMES[torch.optim.Muon] = {"momentum_buffer"}


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load an optimizer's state.

    Raises ValueError or KeyError if it has other groups or settings, or a tensor unlike its parameter.
    """
    for ours, theirs in zip(optimizer.state_dict()["param_groups"], saved["param_groups"], strict=True):
        if list(map(repr, theirs["params"])) != list(map(repr, ours["params"])):
            raise ValueError("the optimizer's parameters must be numbered in order")
        for name, value in ours.items():
            if name not in ("params", "lr") and not _alike(theirs[name], value):
                raise ValueError(f"the optimizer's {name} must be {value!r}, got {theirs[name]!r}")
        if not isinstance(theirs["lr"], float | Tensor):
            raise ValueError(f"the optimizer's lr must be a number, got {theirs['lr']!r}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, tensors in saved["state"].items():
        if number not in range(len(parameters)):
            raise ValueError(f"the optimizer has {len(parameters)} parameters, and none of number {number!r}")
        parameter = parameters[number].detach()
        if set(tensors) != _NAMES[type(optimizer)]:
            raise ValueError(
                f"the optimizer's state of parameter {number} has {', '.join(map(str, tensors))}"
            )
        for name, value in tensors.items():
            like = torch.zeros((), dtype=torch.float32) if name == "step" else parameter
            stored_tensor(f"optimizer {name} of parameter {number}", value, like)
    optimizer.load_state_dict(divided_state(optimizer, saved))


def _alike(value: Any, ours: Any) -> bool:
    """Whether a stored setting has the kind of ours: a number, several of them, a switch, or none."""
    if isinstance(ours, tuple | list):
        listed = isinstance(value, tuple | list) and len(value) == len(ours)
        return listed and all(map(_alike, value, ours))
    return type(value) in ((int, float) if type(ours) in (int, float) else (type(ours),))


def check_memory(memory: Any, carry: Tensor, limit: int, row_dim: int) -> None:
    """Raise ValueError unless a target rule's memory is empty or fits the rows of a carry [B, T, D]."""
    if memory is None:
        return
    state, values = memory
    like = carry.detach()[:, 0]
    if row_dim:  # of every segment
        stored_tensor("target_memory", state, like.expand(limit, *like.shape))
        stored_tensor("target_memory", values, like.new_zeros((limit, len(like)), dtype=torch.float32))
    else:
        stored_tensor("target_memory", state, like)
        stored_tensor("target_memory", values, like.new_zeros(len(like), dtype=torch.bool))


def set_generator(generator: torch.Generator, stored: Tensor) -> None:
    """Load a generator's state; from a device of another kind, a seed that is made of it, with a line.

    Raises ValueError if it is neither.
    """
    sizes = {"cpu": 5056, "cuda": 16, "mps": 5056}
    if stored.dtype != torch.uint8 or stored.ndim != 1 or len(stored) not in sizes.values():
        raise ValueError(f"the generator's state is damaged: {stored.dtype} {list(stored.shape)}")
    if len(stored) == len(generator.get_state()):
        generator.set_state(stored)
        return
    digest = hashlib.sha256(stored.numpy().tobytes()).digest()
    generator.manual_seed(int.from_bytes(digest[:7], "little"))
    _log.warning(
        "The run comes from a device of another kind than this %s: exploration draws other random numbers, "
        "and the digits are not those of that device.",
        generator.device.type,
    )
