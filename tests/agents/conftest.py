"""A tiny HRM, environments that it can learn from, and the training loop."""

from collections.abc import Callable
from typing import Any, Self

import pytest
import torch

from hrm_rl.agents import Learner, LearnerConfig, make_learner
from hrm_rl.agents.learning.update import Update
from hrm_rl.envs import PoolSource, PuzzleVectorEnv
from hrm_rl.model import HRM
from hrm_rl.puzzles import sudoku


class Loop:
    """The training loop as a reader meets it."""

    def __init__(self, learner: Learner, source: PoolSource) -> None:
        self.learner, self.model = learner, learner.model
        self.envs = PuzzleVectorEnv(
            learner.num_envs,
            source,
            halt_max_steps=self.model.config.halt_max_steps,
            segment_cost=learner.config.segment_cost,
            device=source.device,
        )
        self.obs, self.info = self.envs.reset(seed=0)

    def step(self) -> Update:
        out, action = self.learner.act(self.obs)
        next_obs, _, self.terminated, _, next_info = self.envs.step(action)
        labels = self.info["labels"]
        update = self.learner.learn(out, self.obs, labels, self.terminated, next_info)
        self.out, self.action = out, action
        self.obs, self.info = next_obs, next_info
        return update

    def steps(self, count: int) -> list[Update]:
        return [self.step() for _ in range(count)]

    def check_equals(self, other: Self) -> None:
        """Check that weights, carries and observations of two runs are the same, bit for bit."""
        assert self.learner.step == other.learner.step
        assert self.learner.learning_rate == other.learner.learning_rate
        states = [(one.model.state_dict(), tuple(one.learner.carry), one.obs) for one in (self, other)]
        torch.testing.assert_close(*states, rtol=0, atol=0)

    def take_up(self, other: Self) -> Self:
        """Go on from the other's state."""
        self.model.load_state_dict(other.model.state_dict())
        self.learner.load_state_dict(other.learner.state_dict())
        self.envs.load_state_dict(other.envs.state_dict())
        self.obs, self.info = self.envs.current()
        return self


@pytest.fixture(scope="session")
def make_source() -> Callable[..., PoolSource]:
    """Makes a source of 4x4 Sudokus with few blanks."""

    def make(extra_givens: tuple[int, int] = (9, 11), device: str = "cpu") -> PoolSource:
        puzzles = sudoku.generate(200, 4, seed=0, extra_givens=extra_givens)
        symmetry = sudoku.symmetry(4)
        return PoolSource(puzzles, sudoku.vocab_size(4), symmetry=symmetry, device=device)

    return make


@pytest.fixture(scope="session")
def easy_source(make_source) -> PoolSource:
    return make_source()


@pytest.fixture(scope="session")
def hrm(tiny_hrm) -> Callable[..., HRM]:
    """Makes the tiny HRM of all tests at half its width."""

    def make(**changes: Any) -> HRM:
        return tiny_hrm(**({"hidden_size": 16} | changes))

    return make


@pytest.fixture(scope="session")
def loop_kind() -> type[Loop]:
    return Loop


@pytest.fixture
def loop(easy_source, hrm) -> Callable[..., Loop]:
    def make(model: HRM | None = None, rows: int = 8, source: Any = easy_source, **learner: Any) -> Loop:
        config = LearnerConfig(**({"warmup_steps": 0, "lr": 1e-3} | learner))
        return Loop(make_learner(model or hrm(), rows, config), source)

    return make
