"""Recording a frozen model: every puzzle to the limit, what each segment would have answered.

Halting never changes a frozen model's latent trajectory, so a recording knows the outcome of every
rule for stopping.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.agents import HRMAgent
from hrm_rl.envs import PuzzleVectorEnv, SequentialSource
from hrm_rl.model import HRM
from hrm_rl.puzzles.source import PuzzleArrays


@dataclass(frozen=True)
class Recording:
    """N puzzles x M segments; column m is the (m + 1)-th segment."""

    drafts: NDArray[np.int32]  # [N, M, S]
    correct: NDArray[np.bool_]  # [N, M]
    q_halt: NDArray[np.float32]  # [N, M]
    q_continue: NDArray[np.float32]  # [N, M]

    def accuracy(self) -> NDArray[np.float64]:
        """Share of puzzles whose draft is right after each segment, [M]."""
        return self.correct.mean(0)


def record(
    model: HRM, puzzles: PuzzleArrays, max_segments: int, *, batch_size: int = 256
) -> Recording:
    """Run every puzzle for `max_segments` segments, whatever the Q head says."""
    parts = [
        _record_batch(model, puzzles.take(slice(start, start + batch_size)), max_segments)
        for start in range(0, len(puzzles), batch_size)
    ]
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    return Recording(*columns)


def _record_batch(
    model: HRM, puzzles: PuzzleArrays, max_segments: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    source = SequentialSource(puzzles, model.config.vocab_size, device=model.device)
    envs = PuzzleVectorEnv(
        len(puzzles),
        source,
        halt_max_steps=max_segments,
        order="epoch",
        autoreset_mode="Disabled",
        device=model.device,
    )
    agent = HRMAgent(model, f"fixed:{max_segments}")
    obs, _ = envs.reset(seed=0)
    state = None
    rows = []
    for _ in range(max_segments):
        decision = agent.act(obs, state)
        obs, _, _, _, info = envs.step(decision.action)
        state = decision.state
        features = decision.features
        rows.append((obs["draft"], info["correct"], features.q_halt, features.q_continue))
    drafts, correct, q_halt, q_continue = (
        torch.stack(column, dim=1) for column in zip(*rows, strict=True)
    )
    return drafts, correct, q_halt, q_continue
