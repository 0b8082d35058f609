"""`HRM/PointerChase-v0`: where does so long a walk along the arrows of a map end? Single and vector.

Tokens, rating and splits are those of `hrm_rl.puzzles.pointer_chase`. Nothing augments: what keeps a
map a map is renaming its nodes, which is no symmetry of cells and tokens apart. Take a large `pool_size`.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.family import EnvFamily
from hrm_rl.puzzles import pointer_chase
from hrm_rl.puzzles.pointer_chase import BLANK, FIRST_NODE


def make_env(
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
    **options: Any,
) -> PuzzleEnv:
    """One chase.

    Args:
        nodes: of the map, 2 to 512.
        hops: of the longest chase, 1 to nodes - 1.
        min_hops: of the shortest; by default all have `hops`.
        trajectory: ask for every node on the way, not for the last alone.
        options: split, pool_size, pool_seed, augment as in `EnvFamily.single`, and those of `PuzzleEnv`.
    """
    return _FAMILY.single(_dials(nodes, hops, min_hops, trajectory), **options)


def make_vector_env(
    num_envs: int = 1,
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
    **options: Any,
) -> PuzzleVectorEnv:
    """`num_envs` chases; arguments as in `make_env`, and device, and those of PuzzleVectorEnv."""
    return _FAMILY.vector(num_envs, _dials(nodes, hops, min_hops, trajectory), **options)


def _dials(nodes: int, hops: int, min_hops: int | None, trajectory: bool) -> dict[str, Any]:
    return {"nodes": nodes, "hops": hops, "min_hops": min_hops, "trajectory": trajectory}


def validator(
    device: torch.device | str = "cpu",
    nodes: int = 16,
    hops: int = 8,
    min_hops: int | None = None,
    trajectory: bool = False,
) -> Validator:
    """Any right answer (there is one): the last node, or with `trajectory` all on the way."""
    return partial(_is_valid, nodes, hops, trajectory)


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


_FAMILY = EnvFamily(pointer_chase, validator)
