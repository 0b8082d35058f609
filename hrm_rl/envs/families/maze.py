"""`HRM/Maze-v0`: find a shortest path in a maze, single and vector.

Observation, action and reward are those of every puzzle environment; the tokens are those of
`hrm_rl.puzzles.maze`: an answer repeats the maze and has PATH on every cell between START and GOAL.

Random walls (the default, like Maze-Hard) leave many shortest paths. `checker="exact"` pays for the
stored one alone, `checker="valid"` for any of them. `info["path_excess"]` says by how many moves the path
that the answer draws is longer than a shortest one; -1 where it draws no path.

Rotating a maze keeps `valid` answers valid, but not the stored choice among several: with
`augment=True` on such mazes no function of the maze is right for all copies, so exact accuracy suffers.
By default only mazes of one path (perfect, braid 0) are augmented.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from hrm_rl.envs.core.single import PuzzleEnv
from hrm_rl.envs.core.source import PoolSource, Validator
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.families.family import EnvFamily
from hrm_rl.puzzles import maze


def make_env(
    size: int = 30,
    perfect: bool = False,
    braid: float = 0.0,
    min_path: int | None = None,
    *,
    augment: bool | None = None,
    **options: Any,
) -> PuzzleEnv:
    """One maze.

    Args:
        size: cells a side, 3 to 100.
        perfect: corridors with exactly one path between any two cells, instead of random walls.
        braid: share of a perfect maze's dead ends that are opened, which makes loops.
        min_path: least moves of a shortest path; by default 4 * size - 9 (111 for 30x30, as in
            Maze-Hard), and 1 for perfect mazes.
        augment: turn or mirror every maze drawn at random; by default where mazes have one path only.
        options: of the pool (split, pool_size, pool_seed), and those of PuzzleEnv: halt_max_steps,
            segment_cost, checker, flat_action, render_mode.
    """
    dials = _dials(size, perfect, braid, min_path)
    return _FAMILY.single(dials, augment=_augments(dials, augment), **options)


def make_vector_env(
    num_envs: int = 1,
    size: int = 30,
    perfect: bool = False,
    braid: float = 0.0,
    min_path: int | None = None,
    *,
    augment: bool | None = None,
    device: torch.device | str = "cpu",
    **options: Any,
) -> PuzzleVectorEnv:
    """`num_envs` mazes on a device; arguments as in `make_env`, options also those of PuzzleVectorEnv."""
    dials = _dials(size, perfect, braid, min_path)
    augmented = _augments(dials, augment)
    return _FAMILY.vector(num_envs, dials, augment=augmented, device=device, **options)


def maze_source(
    size: int = 30,
    perfect: bool = False,
    braid: float = 0.0,
    min_path: int | None = None,
    *,
    augment: bool | None = None,
    **options: Any,
) -> PoolSource:
    """A generated pool, times symmetries; options as in `EnvFamily.source`."""
    dials = _dials(size, perfect, braid, min_path)
    return _FAMILY.source(dials, augment=_augments(dials, augment), **options)


def _dials(size: int, perfect: bool, braid: float, min_path: int | None) -> dict[str, Any]:
    return {"size": size, "perfect": perfect, "braid": braid, "min_path": min_path}


def _augments(dials: dict[str, Any], augment: bool | None) -> bool:
    return bool(dials["perfect"] and dials["braid"] == 0) if augment is None else augment


def validator(device: torch.device | str = "cpu", size: int = 30, **dials: Any) -> Validator:
    """Any shortest path; wherever the mazes lie, and whatever the dials but their size."""
    return MazeValidator(size)


_FAMILY = EnvFamily(maze, validator)


@dataclass(frozen=True)
class MazeValidator:
    """Any shortest path, judged without a search and without waiting for the device.

    Every cell drawn touches exactly two others, start and goal one: so the cells are one path from
    start to goal, and perhaps closed loops beside it. No two cells of a shortest path touch but those
    next to each other on it, so none is refused. The path has as many cells as the label's or more;
    an answer of exactly so many has that path and nothing beside it.
    """

    size: int
    needs_labels = True

    def __call__(self, inputs: Tensor, answers: Tensor, labels: Tensor) -> Tensor:
        """bool [B] for [B, S] each; a label's own path must be a shortest one."""
        drawn, _ = _drawn(inputs, answers, self.size)
        return drawn & ((answers == maze.PATH).sum(-1) == (labels == maze.PATH).sum(-1))

    def metrics(self, inputs: Tensor, answers: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`path_excess` int64 [B]: see `hrm_rl.puzzles.maze.path_excess`."""
        if inputs.device.type == "cpu":
            excess = maze.path_excess(inputs.numpy(), answers.numpy(), self.size)
            return {"path_excess": torch.from_numpy(excess)}
        return {"path_excess": path_excess(inputs, answers, labels, self.size)}


def _neighbours(on_path: Tensor, size: int) -> Tensor:
    """Which of its neighbours a cell has on the path: bool [B, S, 4] for bool [B, S].

    In the order up, left, right, down: the opposite of the k-th is the (3 - k)-th.
    """
    grid = pad(on_path.view(-1, size, size), (1, 1, 1, 1))
    last = size + 1
    sides = (
        grid[:, : last - 1, 1:last],
        grid[:, 1:last, : last - 1],
        grid[:, 1:last, 2:],
        grid[:, 2:, 1:last],
    )
    return torch.stack([side.reshape(-1, size * size) for side in sides], dim=-1)


def _drawn(inputs: Tensor, answers: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Whether an answer draws a path, and perhaps loops beside it, bool [B]; and its `_neighbours`."""
    path = answers == maze.PATH
    kept = (answers == inputs) | (path & (inputs == maze.SPACE))
    ends = (answers == maze.START) | (answers == maze.GOAL)
    neighbours = _neighbours(path | ends, size)
    touching = neighbours.sum(-1)
    chained = (~path | (touching == 2)) & (~ends | (touching == 1))
    return (kept & chained).all(-1), neighbours


def path_excess(inputs: Tensor, answers: Tensor, labels: Tensor, size: int) -> Tensor:
    """`hrm_rl.puzzles.maze.path_excess` of tensors [B, S], without waiting for the device: int64 [B].

    Walks the drawn cells by pointer doubling (J. C. Wyllie, 1979): a state is a cell and one of the two
    ways out of it, and in round k it knows the state 2**k moves on, and how many of them were made.
    """
    cells = size * size
    drawn, neighbours = _drawn(inputs, answers, size)
    ways = torch.stack([neighbours.int().argmax(-1), 3 - neighbours.flip(-1).int().argmax(-1)], -1)
    steps = torch.tensor([-size, -1, 1, size], device=inputs.device)
    places = torch.arange(cells, device=inputs.device)
    onto = (places[:, None] + steps[ways]).clamp(0, cells - 1)  # [B, S, 2]
    # Out of the next cell by the way that does not lead back.
    first_way = ways[..., 0].gather(1, onto.flatten(1)).view_as(onto)
    then = 2 * onto + (first_way == 3 - ways).long()
    goal = (inputs == maze.GOAL)[..., None]
    then = torch.where(goal, 2 * places[:, None] + torch.arange(2, device=inputs.device), then)
    then, moves = then.flatten(1), (~goal).expand(-1, -1, 2).long().flatten(1)
    for _ in range(cells.bit_length()):
        moves, then = moves + moves.gather(1, then), then.gather(1, then)
    start = 2 * (inputs == maze.START).int().argmax(-1, keepdim=True)
    walked = moves.gather(1, start).squeeze(1)
    path, shortest = (answers == maze.PATH).sum(-1), (labels == maze.PATH).sum(-1)
    return torch.where(drawn & (walked == path + 1), path - shortest, -1)
