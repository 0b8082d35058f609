"""Any shortest path, and by how much other paths are too long.

`info["path_excess"]` is the number of moves by which the path that an answer draws is longer than a shortest
one; -1 if it draws no path.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from hrm_rl.puzzles import maze
from hrm_rl.puzzles.maze import Maze


def validator(family: Maze) -> "MazeValidator":
    return MazeValidator(family.size)


@dataclass(frozen=True)
class MazeValidator:
    """Accepts any shortest path, without a search and without waiting for the device.

    Every cell drawn touches exactly two others, start and goal one, so the cells are one path from start to
    goal and perhaps closed loops beside it. Only neighbours on a shortest path touch, so no shortest path is
    refused. The path has at least as many cells as the label's; an answer of exactly that many is a shortest
    path with nothing beside it.
    """

    size: int
    needs_labels = True

    def __call__(self, inputs: Tensor, answers: Tensor, labels: Tensor) -> Tensor:
        """bool [B] for [B, S] each; the label's path must be a shortest one."""
        drawn, _ = _drawn(inputs, answers, self.size)
        return drawn & ((answers == maze.PATH).sum(-1) == (labels == maze.PATH).sum(-1))

    def metrics(self, inputs: Tensor, answers: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`path_excess` int64 [B]: see `hrm_rl.puzzles.maze.path_excess`."""
        if inputs.device.type == "cpu":
            excess = maze.path_excess(inputs.numpy(), answers.numpy(), self.size)
            return {"path_excess": torch.from_numpy(excess)}
        return {"path_excess": path_excess(inputs, answers, labels, self.size)}


def _neighbours(on_path: Tensor, size: int) -> Tensor:
    """Whether each neighbour of a cell is on the path: bool [B, S, 4] for bool [B, S].

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
    ways out of it, and round k computes the state 2**k moves on and the number of moves made.
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
