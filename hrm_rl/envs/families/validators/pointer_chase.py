"""The one right answer: the last node, or with `trajectory` every node on the way."""

from functools import partial

import torch
from torch import Tensor

from hrm_rl.envs.core.source import Validator
from hrm_rl.puzzles.pointer_chase import BLANK, FIRST_NODE, PointerChase


def validator(family: PointerChase) -> Validator:
    return partial(_is_valid, family.nodes, family.hops, family.trajectory)


def _is_valid(nodes: int, hops: int, trajectory: bool, inputs: Tensor, answers: Tensor) -> Tensor:
    arrows = inputs[:, 1 : 1 + nodes].long()
    asked = (inputs[:, 1 + nodes :] == BLANK).sum(-1)  # [B]
    at = inputs[:, :1].long()
    right = torch.ones_like(asked, dtype=torch.bool)
    for hop in range(hops):
        at = arrows.gather(1, (at - FIRST_NODE).clamp(0, nodes - 1))  # [B, 1]
        judged = (asked > hop) if trajectory else (asked == hop + 1)
        right &= ~judged | (answers[:, 1 + nodes + hop] == at[:, 0])
    return right
