"""The one right answer: every bit has its parity; answers behind the bits do not count."""

from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.puzzles.prefix_parity import ONE, PAD, ZERO, PrefixParity


def validator(family: PrefixParity) -> Validator:
    return _is_valid


def _is_valid(inputs: Tensor, answers: Tensor) -> Tensor:
    parity = (inputs == ONE).cumsum(-1) % 2  # [B, S]
    right = answers == parity + ZERO
    return ((inputs == PAD) | right).all(-1)
