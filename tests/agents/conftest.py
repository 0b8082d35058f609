"""A tiny HRM, and environments that it can learn from."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hrm_rl.agents import LearnerConfig, make_learner
from hrm_rl.envs import PoolSource, PuzzleVectorEnv
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import sudoku


def tiny_hrm(**changes: Any) -> HRM:
    """For 4x4 Sudoku; the seed is always the same."""
    settings: dict[str, Any] = {
        "vocab_size": 6,
        "seq_len": 16,
        "puzzle_emb_ndim": 0,
        "hidden_size": 16,
        "num_heads": 2,
        "H_layers": 1,
        "L_layers": 1,
        "pos_encodings": "learned",
        "halt_max_steps": 4,
        "forward_dtype": "float32",
    }
    torch.manual_seed(0)
    return HRM(HRMConfig(**(settings | changes)))


class Loop:
    """The training loop as a reader meets it."""

    def __init__(self, model: HRM, source: PoolSource, rows: int = 8, **learner: Any) -> None:
        config = LearnerConfig(**({"warmup_steps": 0, "lr": 1e-3} | learner))
        self.model, self.learner = model, make_learner(model, rows, config)
        self.envs = PuzzleVectorEnv(
            rows,
            source,
            halt_max_steps=model.config.halt_max_steps,
            segment_cost=config.segment_cost,
        )
        self.obs, self.info = self.envs.reset(seed=0)
        self.halts: list[torch.Tensor] = []

    def step(self) -> dict[str, torch.Tensor]:
        out, action = self.learner.act(self.obs)
        next_obs, _, self.terminated, _, next_info = self.envs.step(action)
        metrics = self.learner.learn(out, self.obs, self.info["labels"], next_info)
        self.out, self.action, self.next_info = out, action, next_info
        self.obs, self.info = next_obs, next_info
        return metrics


@pytest.fixture(scope="session")
def easy_source() -> PoolSource:
    """4x4 Sudokus with few blanks."""
    puzzles = sudoku.generate(200, 4, seed=0, extra_givens=(9, 11))
    return PoolSource(puzzles, sudoku.vocab_size(4), symmetry=sudoku.symmetry(4))


@pytest.fixture
def hrm() -> Callable[..., HRM]:
    return tiny_hrm


@pytest.fixture
def play() -> type[Loop]:
    return Loop


@pytest.fixture
def loop(easy_source) -> Callable[..., Loop]:
    def make(model: HRM | None = None, rows: int = 8, **learner: Any) -> Loop:
        return Loop(model or tiny_hrm(), easy_source, rows, **learner)

    return make
