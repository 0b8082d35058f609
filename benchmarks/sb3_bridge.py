"""The share of a Stable-Baselines3 training step that our bridge takes.

    python benchmarks/sb3_bridge.py             # a table; --json for one JSON object on stdout

A training step is a rollout in all rows and the updates on it, with SB3's default settings except
`n_steps` and a batch that grows with the rows. Three shares, from pairs of training steps:

- inside: seconds between SB3's call of `TorchVecEnv.step` and its return, less those of the torch
  environment's own `step`, over the seconds of the training step;
- rollout: the same, over the seconds of the rollout alone, as if learning took no time;
- without: the share that a training step saves with a bridge that costs nothing (the environment steps,
  and SB3 gets the arrays of the previous training step again).

Seconds are CPU seconds of the process on one thread, so other work on the machine does not count, except
for the caches that it takes.
"""

import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

import hrm_rl  # noqa: F401 (registers the environments)
from hrm_rl.agents.sb3 import TorchVecEnv


@dataclass(frozen=True)
class Args:
    """Settings; the defaults take about a minute on one core."""

    repeats: int = 9
    """Pairs of training steps, with and without."""
    rollout: int = 64
    """Steps of every row in a training step."""
    limit: float = 0.10
    """Exit with 1 if the median share of the bridge exceeds this."""
    json: bool = False
    """One JSON object on stdout instead of the table."""


class Clocked:
    """A torch environment that adds up the seconds of its steps."""

    def __init__(self, envs: Any) -> None:
        self.envs, self.seconds = envs, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.envs, name)

    def step(self, actions: Any) -> Any:
        start = time.process_time()
        result = self.envs.step(actions)
        self.seconds += time.process_time() - start
        return result


class Bridge(TorchVecEnv):
    """Our bridge with a clock; if `free`, SB3 gets the arrays of the last training step."""

    def __init__(self, envs: Clocked) -> None:
        super().__init__(envs)  # type: ignore[arg-type]
        self.seconds, self.free = 0.0, False
        self.kept: deque[Any] = deque()

    def step_wait(self) -> Any:
        if self.free:
            self.envs.step(self._actions)
            return self.kept.popleft()
        start = time.process_time()
        result = super().step_wait()
        self.seconds += time.process_time() - start
        self.kept.append(result)
        return result


class Rollouts(BaseCallback):
    """Adds up the seconds of rollouts."""

    seconds = started = 0.0

    def _on_rollout_start(self) -> None:
        self.started = time.process_time()

    def _on_rollout_end(self) -> None:
        self.seconds += time.process_time() - self.started

    def _on_step(self) -> bool:
        return True


def ppo(envs: TorchVecEnv, kind: str, rollout: int) -> BaseAlgorithm:
    return PPO(kind, envs, seed=0, device="cpu", n_steps=rollout, batch_size=4 * envs.num_envs)


def dqn(envs: TorchVecEnv, kind: str, rollout: int) -> BaseAlgorithm:
    return DQN(kind, envs, seed=0, device="cpu", learning_starts=0, batch_size=4 * envs.num_envs)


HALTING = {"id": "HRM/Halting-v0"}
SUDOKU = {"id": "HRM/Sudoku-v0", "size": 4, "flat_action": True, "halt_max_steps": 4}
Maker = Callable[[TorchVecEnv, str, int], BaseAlgorithm]
CASES: dict[str, tuple[Maker, str, int, dict[str, Any]]] = {
    "ppo.halting.b16": (ppo, "MlpPolicy", 16, HALTING),
    "ppo.halting.b256": (ppo, "MlpPolicy", 256, HALTING),
    "dqn.halting.b64": (dqn, "MlpPolicy", 64, HALTING),
    "ppo.sudoku-4x4.b64": (ppo, "MultiInputPolicy", 64, SUDOKU),
}


def measure(name: str, args: Args) -> dict[str, Any]:
    """Shares of the bridge in a training step of one case."""
    maker, kind, rows, options = CASES[name]
    clocked = Clocked(gym.make_vec(num_envs=rows, **options))
    bridge = Bridge(clocked)
    model = maker(bridge, kind, args.rollout)
    steps = args.rollout * rows

    def train() -> tuple[float, float]:
        """Seconds of a training step, and of its rollouts."""
        rollouts, start = Rollouts(), time.process_time()
        model.learn(steps, callback=rollouts, reset_num_timesteps=False)
        return time.process_time() - start, rollouts.seconds

    train()  # warm
    shares: dict[str, list[float]] = {"inside": [], "rollout": [], "without": []}
    for _ in range(args.repeats):
        bridge.seconds = clocked.seconds = 0.0
        bridge.kept.clear()
        whole, rollout = train()
        ours = bridge.seconds - clocked.seconds
        bridge.free = True
        free, _ = train()
        bridge.free = False
        shares["inside"].append(ours / whole)
        shares["rollout"].append(ours / rollout)
        shares["without"].append(1 - free / whole)
    result: dict[str, Any] = {"name": name}
    for key, values in shares.items():
        result |= {key: statistics.median(values), f"{key}_spread": quartiles(values)}
    return result


def quartiles(values: list[float]) -> list[float]:
    return [float(q) for q in np.quantile(values, [0.25, 0.75])]


def main(args: Args) -> int:
    torch.set_num_threads(1)
    rows = [measure(name, args) for name in CASES]
    if args.json:
        print(json.dumps({"limit": args.limit, "rows": rows}))
    else:
        print(f"{'share of the bridge':20}  {'inside':>20}  {'rollout':>20}  {'without':>20}")
        for row in rows:
            shares = (
                f"{100 * row[key]:5.1f} % [{100 * low:4.1f}, {100 * high:4.1f}]"
                for key in ("inside", "rollout", "without")
                for low, high in [row[f"{key}_spread"]]
            )
            print("  ".join([f"{row['name']:20}", *shares]))
    return int(any(row["inside"] > args.limit for row in rows))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))
