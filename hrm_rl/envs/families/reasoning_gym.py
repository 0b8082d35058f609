"""Grid puzzles of reasoning-gym as environments, single and vector.

    from hrm_rl.envs import reasoning_gym

    env = reasoning_gym.make_env("mini_sudoku", size=1000, seed=0)
    config = {"n": 6, "max_remove": 6}
    envs = reasoning_gym.make_vector_env(64, "n_queens", config=config, checker="valid")

Observation, action and reward are those of every puzzle environment; tokens, datasets and splits those of
`hrm_rl.puzzles.reasoning_gym`. `checker="exact"` pays for the stored answer alone, `checker="valid"` for
every answer that the dataset's `score_answer` gives its full 1.0. The score is Python on text and runs on the
host, for the rows that end and differ from the stored answer, so a step waits for the device. On rows that
continue, `info["valid"]` is `info["correct"]`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import PoolSource
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.validators import HostValidator
from hrm_rl.envs.options import split_options
from hrm_rl.puzzles.base.splits import Split
from hrm_rl.puzzles.reasoning_gym import ReasoningGymPool, load


def make_env(dataset: str = "mini_sudoku", **options: Any) -> PuzzleEnv:
    """One puzzle of a dataset.

    Args:
        dataset: a name in reasoning-gym, one of `hrm_rl.puzzles.reasoning_gym.FORMATS`.
        options: those of `reasoning_gym_pool` (size, seed, split, config), and of PuzzleEnv: halt_max_steps,
            segment_cost, checker, flat_action, render_mode.

    Raises:
        ValueError: as `hrm_rl.puzzles.reasoning_gym.load` does.
    """
    return _make(PuzzleEnv, dataset, "cpu", options)


def make_vector_env(
    num_envs: int = 1, dataset: str = "mini_sudoku", *, device: torch.device | str = "cpu", **options: Any
) -> PuzzleVectorEnv:
    """`num_envs` puzzles on a device; other arguments as in `make_env`, options of PuzzleVectorEnv."""
    return _make(partial(PuzzleVectorEnv, num_envs, device=device), dataset, device, options)


def _make(make: Callable[..., Any], dataset: str, device: torch.device | str, options: dict[str, Any]) -> Any:
    """The environment of `make`, from options of `reasoning_gym_pool` and those of `make`."""
    chosen, others = split_options(options, reasoning_gym_pool, make)
    pool = reasoning_gym_pool(dataset, **chosen)
    return make(source_of(pool, device), drawer=pool.draw, picture=pool.picture, **others)


def source_of(pool: ReasoningGymPool, device: torch.device | str = "cpu") -> PoolSource:
    """The pool as a source; its validator accepts every answer that reasoning-gym gives a full score."""
    validator = HostValidator(partial(_has_full_score, pool))
    return PoolSource(pool.arrays, pool.format.vocab_size, device=device, validator=validator)


def _has_full_score(
    pool: ReasoningGymPool, inputs: NDArray[Any], answers: NDArray[Any], labels: NDArray[Any]
) -> NDArray[np.bool_]:
    return pool.scores(inputs, answers, labels) >= 1


def reasoning_gym_pool(
    dataset: str = "mini_sudoku",
    *,
    size: int = 1000,
    seed: int = 0,
    split: Split | None = "train",
    config: Mapping[str, Any] | None = None,
) -> ReasoningGymPool:
    """`hrm_rl.puzzles.reasoning_gym.load`, once in a process for the same arguments."""
    return _pool(dataset, size, seed, split, tuple(sorted((config or {}).items())))


@lru_cache(maxsize=16)
def _pool(
    dataset: str, size: int, seed: int, split: Split | None, config: tuple[tuple[str, Any], ...]
) -> ReasoningGymPool:
    return load(dataset, size=size, seed=seed, split=split, config=dict(config))
