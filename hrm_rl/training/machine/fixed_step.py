"""A training step on one fixed batch whose episodes never end: what probes and benchmarks time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents import Learner
from hrm_rl.model import HRMConfig


def random_tokens(config: HRMConfig, rows: int, device: str = "cpu") -> Tensor:
    """int64 [rows, seq_len], drawn on the CPU by torch's global generator."""
    return torch.randint(config.vocab_size, (rows, config.seq_len)).to(device)


def fixed_observation(inputs: Tensor, segment: int = 0) -> dict[str, Tensor]:
    """An environment's observation of these inputs [B, S] after `segment` segments."""
    zeros = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    return {"inputs": inputs, "puzzle_identifiers": zeros, "segment": zeros + segment}


def fixed_step(
    learner: Learner, obs: dict[str, Tensor], labels: Tensor
) -> Callable[[], dict[str, Tensor]]:
    """A function that acts and learns on this observation once, and returns the step's metrics."""
    going_on = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
    info: dict[str, Any] = {
        "correct": going_on,
        "_episode": going_on,
        "segments": obs["segment"] + 1,
        "cell_accuracy": going_on.float(),
    }

    def step() -> dict[str, Tensor]:
        out, _ = learner.act(obs)
        return learner.learn(out, obs, labels, info)

    return step
