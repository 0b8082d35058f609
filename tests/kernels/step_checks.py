"""A few training steps of a whole model with the Triton kernels beside the same steps in eager."""

from collections.abc import Iterator

import gymnasium as gym
import torch
from check_tools import Check, relative
from torch import Tensor

import hrm_rl  # noqa: F401 (registers the environments)
from hrm_rl.agents.learning.learner import Learner, LearnerConfig
from hrm_rl.kernels.dispatch import forced
from hrm_rl.model import HRM, HRMConfig


def training(device: str = "cpu", steps: int = 2) -> Iterator[Check]:
    """Logits and weights after some steps, both ways."""
    logits, weights = _trained("triton", device, steps)
    eager_logits, eager_weights = _trained("eager", device, steps)
    yield Check("training.logits", relative(logits, eager_logits), 1e-4)
    yield Check("training.weights", relative(weights, eager_weights), 1e-5)


def _trained(kernels: str, device: str, steps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=3, size=4, device=device)
    config = HRMConfig(
        vocab_size=6,
        seq_len=16,
        puzzle_emb_ndim=0,
        hidden_size=64,
        num_heads=2,
        H_layers=1,
        L_layers=1,
        pos_encodings="rope",
        halt_max_steps=4,
        forward_dtype="float32",
    )
    with forced(kernels):
        model = HRM(config).to(device)
        learner = Learner(model, 3, LearnerConfig(lr=1e-3, weight_decay=0.1))
        obs, info = envs.reset(seed=1)
        for _ in range(steps):
            out, action = learner.act(obs)
            next_obs, _, terminated, _, next_info = envs.step(action)
            learner.learn(out, obs, info["labels"], terminated, next_info)
            obs, info = next_obs, next_info
    return out.logits, torch.cat([p.detach().flatten() for p in model.parameters()])
