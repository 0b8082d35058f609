"""The one right answer: pressing its buttons turns every light off."""

from functools import partial

import torch
from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.puzzles.lights_out import LEAVE, LIT, PRESS, LightsOut


def validator(family: LightsOut) -> Validator:
    return partial(_is_valid, family.size)


def _is_valid(size: int, inputs: Tensor, answers: Tensor) -> Tensor:
    pressed = (answers == PRESS).view(-1, size, size).int()
    toggled = torch.zeros_like(pressed) + pressed
    toggled[:, 1:] += pressed[:, :-1]
    toggled[:, :-1] += pressed[:, 1:]
    toggled[:, :, 1:] += pressed[:, :, :-1]
    toggled[:, :, :-1] += pressed[:, :, 1:]
    answered = ((answers == LEAVE) | (answers == PRESS)).all(-1)
    return answered & ((toggled.flatten(1) % 2 == 1) == (inputs == LIT)).all(-1)
