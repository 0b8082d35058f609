"""A training step on one fixed batch whose episodes never end: what probes and benchmarks time."""

from collections.abc import Callable

import torch
from torch import Tensor

from hrm_rl.agents import Learner
from hrm_rl.agents.learning.update import Update
from hrm_rl.envs import Judgement
from hrm_rl.model import HRMConfig


def random_tokens(config: HRMConfig, rows: int, device: str = "cpu") -> Tensor:
    """int64 [rows, seq_len], drawn on the CPU by torch's global generator."""
    return torch.randint(config.vocab_size, (rows, config.seq_len)).to(device)


def fixed_observation(inputs: Tensor, segment: int = 0) -> dict[str, Tensor]:
    """An environment's observation of these inputs [B, S] after `segment` segments."""
    zeros = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    return {"inputs": inputs, "puzzle_identifiers": zeros, "segment": zeros + segment}


def fixed_step(learner: Learner, obs: dict[str, Tensor], labels: Tensor) -> Callable[[], Update]:
    """A function that acts and learns on this observation once; it returns the update."""
    judged = Judgement.all_wrong(obs["segment"] + 1)
    terminated = torch.zeros_like(judged.correct)

    def step() -> Update:
        out, _ = learner.act(obs)
        return learner.learn(out, obs, labels, terminated, judged)

    return step
