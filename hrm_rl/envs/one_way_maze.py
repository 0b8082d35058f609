"""One-way maze: walk two passages, seen whole, door by door; a small task in which planning pays."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hrm_rl.settings import check_integers
from hrm_rl.tensors import read_discrete


class OneWayMaze(gym.Env[NDArray[np.int64], Any]):
    """Choose between two doors at every fork; only one of the two one-way passages leads to the exit.

    ## Description

    Two passages of `depth` rooms each, their 2 * depth rooms scattered over the plan. The exit is the last
    room of one of them. At every fork one door opens into the next room of either passage, in random order;
    the wrong door leads to a dead end. The plan shows where each room leads, the rooms behind the
    two doors, and the exit. To find the right door, follow the passages from the doors or from the exit.

    ## Observation space

    `Box(int64, [2 * depth, 1, 2])`: for each room, the number of the room that it leads to (its own number at
    the end of a passage) and a mark: 0 none, 1 behind the left door, 2 behind the right door, plus 3 for
    the exit.

    ## Action space

    `Discrete(2)`: the left door or the right door.

    ## Rewards

    1 for the right door, 0 for the wrong one.

    ## Starting state

    A fork at a random place on the way, so the exit is 0 to depth - 1 look-ups behind the right door, and one
    fewer after every door.

    ## Episode end

    Terminated in the exit or behind a wrong door. Never truncated.

    ## Info

    `look_ups`, int, at a fork: how far the exit is behind the right door. `is_success`, bool, in the last
    step: the exit was reached.

    Args:
        depth: rooms of a passage, 1..100.

    Raises:
        ValueError: a depth out of range.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's form)

    def __init__(self, depth: int = 3) -> None:
        self.depth, self.rooms = depth, 2 * depth
        check_integers(self, 1, "depth")
        if depth > 100:
            raise ValueError(f"depth must be at most 100, got {depth}")
        highest = np.empty((self.rooms, 1, 2), np.int64)
        highest[..., 0], highest[..., 1] = self.rooms - 1, 5
        self.observation_space = spaces.Box(np.zeros_like(highest), highest, dtype=np.int64)
        self.action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Draw a plan and a fork to start at."""
        super().reset(seed=seed)
        # Row 0 is the passage to the exit, row 1 the other.
        self._passages = self.np_random.permutation(self.rooms).reshape(2, self.depth)
        self._leads_to = np.empty(self.rooms, np.int64)
        self._leads_to[self._passages[:, :-1]] = self._passages[:, 1:]
        self._leads_to[self._passages[:, -1]] = self._passages[:, -1]
        self._walked = int(self.np_random.integers(self.depth))
        self._doors = self.np_random.permutation(2)
        return self._plan(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Go through a door. Raises ValueError for an action other than 0 and 1."""
        right = bool(self._doors[read_discrete(self.action_space, action)] == 0)
        self._walked += 1
        out = right and self._walked == self.depth
        if out or not right:
            plan = self._plan(at_a_fork=False)
            return plan, float(right), True, False, {"is_success": out}
        self._doors = self.np_random.permutation(2)
        return self._plan(), 1.0, False, False, self._info()

    def _info(self) -> dict[str, Any]:
        return {"look_ups": self.depth - 1 - self._walked}

    def _plan(self, at_a_fork: bool = True) -> NDArray[np.int64]:
        plan = np.zeros((self.rooms, 1, 2), np.int64)
        plan[:, 0, 0] = self._leads_to
        if at_a_fork:
            # Entry i of _doors is the passage behind door i.
            plan[self._passages[self._doors, self._walked], 0, 1] = (1, 2)
        plan[self._passages[0, -1], 0, 1] += 3
        return plan


def leads_out(plan: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Compute whether each room leads to the exit, bool [..., rooms]: labels for learning to plan.

    `plan` is an observation of `OneWayMaze` or a batch of them, [..., rooms, 1, 2].
    """
    leads_to, mark = plan[..., 0, 0], plan[..., 0, 1]
    end = leads_to
    for _ in range(plan.shape[-3] // 2 - 1):  # a passage has half of the rooms
        end = np.take_along_axis(leads_to, end, -1)
    return np.take_along_axis(mark, end, -1) >= 3
