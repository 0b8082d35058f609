"""`HRM/Life-v0`: Conway's game on a torus, so many steps ahead. Single and vector.

Tokens, rating and splits are those of `hrm_rl.puzzles.life`; shifts, rotations and reflections augment.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.family import EnvFamily
from hrm_rl.puzzles import life


def make_env(size: int = 10, steps: int = 4, **options: Any) -> PuzzleEnv:
    """One pattern.

    Args:
        size: width and height of the torus, 4 to 32.
        steps: to look ahead, 1 to 64.
        options: split, pool_size, pool_seed, augment as in `EnvFamily.single`, and those of `PuzzleEnv`.
    """
    return _FAMILY.single({"size": size, "steps": steps}, **options)


def make_vector_env(
    num_envs: int = 1, size: int = 10, steps: int = 4, **options: Any
) -> PuzzleVectorEnv:
    """`num_envs` patterns; arguments as in `make_env`, and device, and those of PuzzleVectorEnv."""
    return _FAMILY.vector(num_envs, {"size": size, "steps": steps}, **options)


def validator(device: torch.device | str = "cpu", size: int = 10, steps: int = 4) -> Validator:
    """Any right answer (there is one): what becomes of the pattern."""
    return partial(_is_valid, size, steps)


def _is_valid(size: int, steps: int, inputs: Tensor, answers: Tensor) -> Tensor:
    alive = (inputs == life.ALIVE).view(-1, size, size).int()
    for _ in range(steps):
        rows = alive + alive.roll(1, -2) + alive.roll(-1, -2)
        around = rows + rows.roll(1, -1) + rows.roll(-1, -1)  # itself included
        alive = ((around == 3) | ((around == 4) & (alive == 1))).int()
    return (answers == alive.flatten(1) + life.DEAD).all(-1)


_FAMILY = EnvFamily(life, validator)
