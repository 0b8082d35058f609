"""Steps of reinforcement learning with a small HRM, with the small block against the plain formulas.

    python benchmarks/rl_steps.py             # a table; --json for one JSON object on stdout

`plain` runs with HRM_KERNELS=eager. Each round runs every case both ways, one after the other. Seconds are
CPU seconds of the process on one thread. `floor` is the same step of Stable-Baselines3 without an HRM, its
heads alone; `of_hrm` is the ratio without it.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
import tyro
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env

from hrm_rl.agents.cell import HRMCell
from hrm_rl.agents.pqn.hrm_pqn import HRMPQNConfig, train_hrm
from hrm_rl.agents.sb3 import hrm_policy_kwargs
from hrm_rl.envs.to_torch import ToTorch
from hrm_rl.kernels.dispatch import forced
from hrm_rl.model import CoreConfig

WIDTH = 32
Run = Callable[[], Any]


@dataclass(frozen=True)
class Args:
    """Settings; the defaults take about a minute on one core."""

    rounds: int = 9
    """Rounds, each with every case both ways."""
    json: bool = False
    """One JSON object on stdout instead of the table."""


def ppo(policy_kwargs: dict[str, Any]) -> Run:
    """512 steps of 8 environments, then 4 epochs of minibatches of 64."""
    envs = make_vec_env("CartPole-v1", 8, seed=0)
    options: dict[str, Any] = {"n_steps": 64, "batch_size": 64, "n_epochs": 4}
    model = PPO("MlpPolicy", envs, seed=0, device="cpu", policy_kwargs=policy_kwargs, **options)
    return lambda: model.learn(512, reset_num_timesteps=False)


def dqn(policy_kwargs: dict[str, Any]) -> Run:
    """200 steps of 4 environments, and an update with 32 rows for every 16."""
    envs = make_vec_env("CartPole-v1", 4, seed=0)
    options: dict[str, Any] = {"learning_starts": 0, "batch_size": 32, "train_freq": 4}
    model = DQN("MlpPolicy", envs, seed=0, device="cpu", policy_kwargs=policy_kwargs, **options)
    return lambda: model.learn(200, reset_num_timesteps=False)


def cell() -> Run:
    """16 time steps of 8 sequences, forward and backward."""
    torch.manual_seed(0)
    module, x = HRMCell(8, WIDTH), torch.randn(16, 8, 8)
    return lambda: module(x)[0].square().sum().backward()


def pqn() -> Run:
    """Four rollouts of 8 steps in 16 environments, each with its updates."""
    envs = ToTorch(gym.make_vec("CartPole-v1", 16, "sync", {"autoreset_mode": "SameStep"}))
    config = HRMPQNConfig(total_steps=512, core=CoreConfig(hidden_size=WIDTH))
    return lambda: train_hrm(envs, config, seed=0)


def seconds(run: Run) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(rounds: int) -> list[dict[str, Any]]:
    """A row for each case, in CPU seconds."""
    heads = {"net_arch": [64]}
    cases: dict[str, tuple[Run, Run | None]] = {
        "ppo": (ppo(hrm_policy_kwargs(WIDTH)), ppo(heads)),
        "dqn": (dqn(hrm_policy_kwargs(WIDTH)), dqn(heads)),
        "cell": (cell(), None),
        "pqn": (pqn(), None),
    }
    times: dict[str, dict[str, list[float]]] = {name: {} for name in cases}
    for number in range(rounds + 1):  # the first warms up
        for name, (ours, without) in cases.items():
            ways: dict[str, tuple[Run | None, str]] = {
                "ours": (ours, "auto"),
                "plain": (ours, "eager"),
                "floor": (without, "auto"),
            }
            for way, (run, mode) in ways.items():
                if run is not None:
                    with forced(mode):
                        spent = seconds(run)
                    if number:
                        times[name].setdefault(way, []).append(spent)
    return [row(name, found) for name, found in times.items()]


def row(name: str, times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the ratios of rounds: median, lowest and highest."""
    found: dict[str, Any] = {"name": f"{name}.h{WIDTH}"}
    found |= {way: statistics.median(values) for way, values in times.items()}
    ratios = [a / b for a, b in zip(times["ours"], times["plain"], strict=True)]
    found |= {"ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]}
    if "floor" in times:
        found["of_hrm"] = (found["ours"] - found["floor"]) / (found["plain"] - found["floor"])
    return found


def main(args: Args) -> None:
    torch.set_num_threads(1)
    rows = measure(args.rounds)
    if args.json:
        print(json.dumps({"torch": torch.__version__, "rounds": args.rounds, "rows": rows}))
        return
    for one in rows:
        low, high = one["spread"]
        floor = f"  floor {one['floor']:.3f}  of HRM {one['of_hrm']:.2f}" if "floor" in one else ""
        times = f"{one['ours']:.3f} s  plain {one['plain']:.3f} s"
        print(f"{one['name']:10} {times}  ratio {one['ratio']:.2f} [{low:.2f}, {high:.2f}]{floor}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))
