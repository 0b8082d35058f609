"""A tiny HRM, environments that it can learn from, and the training loop."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hrm_rl.agents import LearnerConfig, make_learner
from hrm_rl.agents.learning.update import Update
from hrm_rl.envs import PoolSource, PuzzleVectorEnv
from hrm_rl.model import HRM
from hrm_rl.puzzles import sudoku


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

    def step(self) -> Update:
        out, action = self.learner.act(self.obs)
        next_obs, _, self.terminated, _, next_info = self.envs.step(action)
        labels = self.info["labels"]
        update = self.learner.learn(out, self.obs, labels, self.terminated, next_info)
        self.out, self.action, self.next_info = out, action, next_info
        self.obs, self.info = next_obs, next_info
        return update


@pytest.fixture(scope="session")
def easy_source() -> PoolSource:
    """4x4 Sudokus with few blanks."""
    puzzles = sudoku.generate(200, 4, seed=0, extra_givens=(9, 11))
    return PoolSource(puzzles, sudoku.vocab_size(4), symmetry=sudoku.symmetry(4))


@pytest.fixture(scope="session")
def hrm(tiny_hrm) -> Callable[..., HRM]:
    """Makes the tiny HRM of all tests at half its width."""

    def make(**changes: Any) -> HRM:
        return tiny_hrm(**({"hidden_size": 16} | changes))

    return make


@pytest.fixture
def play() -> type[Loop]:
    return Loop


@pytest.fixture
def loop(easy_source, hrm) -> Callable[..., Loop]:
    def make(model: HRM | None = None, rows: int = 8, **learner: Any) -> Loop:
        return Loop(model or hrm(), easy_source, rows, **learner)

    return make


@pytest.fixture(scope="session")
def continued() -> Callable[[Loop, Loop], Loop]:
    """Makes the second of two loops go on from the state of the first."""

    def make(first: Loop, second: Loop) -> Loop:
        second.model.load_state_dict(first.model.state_dict())
        second.learner.load_state_dict(first.learner.state_dict())
        second.envs.load_state_dict(first.envs.state_dict())
        second.obs, second.info = second.envs.current()
        return second

    return make
