"""The one right answer: the pattern of Conway's game, computed step by step."""

from functools import partial

from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.puzzles.life import ALIVE, DEAD, Life


def validator(family: Life) -> Validator:
    return partial(_is_valid, family.size, family.steps)


def _is_valid(size: int, steps: int, inputs: Tensor, answers: Tensor) -> Tensor:
    alive = (inputs == ALIVE).view(-1, size, size).int()
    for _ in range(steps):
        rows = alive + alive.roll(1, -2) + alive.roll(-1, -2)
        around = rows + rows.roll(1, -1) + rows.roll(-1, -1)  # itself included
        alive = ((around == 3) | ((around == 4) & (alive == 1))).int()
    return (answers == alive.flatten(1) + DEAD).all(-1)
