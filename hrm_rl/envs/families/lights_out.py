"""`HRM/LightsOut-v0`: which buttons turn all lights off? Single and vector.

Tokens, rating and splits are those of `hrm_rl.puzzles.lights_out`; rotations and reflections augment.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.family import EnvFamily
from hrm_rl.puzzles import lights_out
from hrm_rl.puzzles.lights_out import LEAVE, LIT, PRESS


def make_env(size: int = 6, presses: int | None = None, **options: Any) -> PuzzleEnv:
    """One square of lights.

    Args:
        size: width and height: 2, 3, 6, 7, 8 or 10.
        presses: buttons of the answer, 1 to size x size; any number by default.
        options: split, pool_size, pool_seed, augment as in `EnvFamily.single`, and those of `PuzzleEnv`.
    """
    return _FAMILY.single({"size": size, "presses": presses}, **options)


def make_vector_env(
    num_envs: int = 1, size: int = 6, presses: int | None = None, **options: Any
) -> PuzzleVectorEnv:
    """`num_envs` squares; arguments as in `make_env`, and device, and those of PuzzleVectorEnv."""
    return _FAMILY.vector(num_envs, {"size": size, "presses": presses}, **options)


def validator(
    device: torch.device | str = "cpu", size: int = 6, presses: int | None = None
) -> Validator:
    """Any right answer (there is one): pressing turns all lights off."""
    return partial(_is_valid, size)


def _is_valid(size: int, inputs: Tensor, answers: Tensor) -> Tensor:
    pressed = (answers == PRESS).view(-1, size, size).int()
    toggled = torch.zeros_like(pressed) + pressed
    toggled[:, 1:] += pressed[:, :-1]
    toggled[:, :-1] += pressed[:, 1:]
    toggled[:, :, 1:] += pressed[:, :, :-1]
    toggled[:, :, :-1] += pressed[:, :, 1:]
    answered = ((answers == LEAVE) | (answers == PRESS)).all(-1)
    return answered & ((toggled.flatten(1) % 2 == 1) == (inputs == LIT)).all(-1)


_FAMILY = EnvFamily(lights_out, validator)
