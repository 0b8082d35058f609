"""Train an HRM by PQN on CartPole-v1: action values from rewards, without replay or target network.

    python examples/cartpole_pqn.py                                 # a minute and a half on one core
    python examples/cartpole_pqn.py --seeds 3 4 5 --plot curve.png  # three runs and their learning curves
    python examples/cartpole_pqn.py --halting learned               # also learn the number of segments

An HRM reads each observation as a few tokens and takes the action with the highest value. With `learned` it
runs one or two segments. CartPole is solved at 475 of 500; docs/pqn.md has more runs.
"""

import time
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode
from torch import Tensor

from hrm_rl.agents import HRMPQNConfig, HRMQNetwork, ThinkingConfig, train_hrm
from hrm_rl.agents.pqn.hrm_pqn import Evaluation, evaluate
from hrm_rl.envs import ToTorch
from hrm_rl.model import CoreConfig


@dataclass
class Args:
    seeds: tuple[int, ...] = (0,)
    """One run for each seed."""
    steps: int = 200_000
    """Training steps of all environments together."""
    num_envs: int = 16
    """Number of environments."""
    halting: str = "fixed:1"
    """Segments for each observation: `fixed:N`, or `learned`, at most two."""
    segment_cost: float = 0.01
    """Cost of the second segment under `learned`; a step pays 1."""
    episodes: int = 100
    """Greedy episodes after training."""
    plot: str | None = None
    """File for the learning curves (needs matplotlib)."""
    save: str | None = None
    """Folder for the last network."""


def make_envs(count: int) -> ToTorch:
    """Make CartPole environments with SAME_STEP autoreset that return tensors."""
    return ToTorch(
        gym.make_vec(
            "CartPole-v1",
            num_envs=count,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
    )


def settings(args: Args) -> HRMPQNConfig:
    """The settings, chosen on seeds 100 and 101; seeds 0 to 2 were used for earlier ones (docs/pqn.md)."""
    return HRMPQNConfig(
        total_steps=args.steps,
        rollout=16,
        epochs=2,
        minibatches=4,
        lr=1e-3,
        gamma=0.98,
        q_lambda=0.8,
        epsilon_fraction=0.5,
        max_grad_norm=1.0,
        value_scale=50.0,  # 1 / (1 - gamma), the largest return
        core=CoreConfig(hidden_size=64, L_cycles=1),
        thinking=ThinkingConfig(args.halting, max_segments=2, segment_cost=args.segment_cost),
    )


def train(args: Args, seed: int) -> tuple[HRMQNetwork, Evaluation, np.ndarray]:
    """Return a trained network, its evaluation, and [updates, 3]: steps, return, segments."""
    curve: list[tuple[int, Tensor, Tensor]] = []
    every = max(1, args.steps // (16 * args.num_envs) // 10)

    def report(steps: int, network: HRMQNetwork, metrics: dict[str, Tensor]) -> None:
        curve.append((steps, metrics["episode_return"], metrics["segments"]))
        if len(curve) % every == 0:
            recent = mean(np.array([float(point[1]) for point in curve[-every:]]))
            print(
                f"seed {seed}  step {steps:7,}  return {recent:6.1f}  "
                f"segments {float(metrics['segments']):.2f}",
                flush=True,
            )

    network = train_hrm(make_envs(args.num_envs), settings(args), seed=seed, report=report)
    result = evaluate(network, make_envs(20), args.episodes, seed=10_000 + seed)
    return network, result, np.array([[float(x) for x in point] for point in curve])


def mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN marks updates without an ended episode."""
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else float("nan")


def smooth(steps: np.ndarray, values: np.ndarray, width: int = 4000) -> np.ndarray:
    """Moving means over `width` steps."""
    return np.array([mean(values[(steps > s - width) & (steps <= s)]) for s in steps])


def draw(curves: dict[int, np.ndarray], path: str) -> None:
    """Plot the return of episodes and the segments for each step over training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for seed, curve in curves.items():
        for axis, column in zip(axes, (1, 2), strict=True):
            axis.plot(curve[:, 0], smooth(curve[:, 0], curve[:, column]), label=f"seed {seed}")
    for axis, name in zip(axes, ("return of an episode", "segments a step"), strict=True):
        axis.set(xlabel="steps of the environments", title=name)
        axis.grid(alpha=0.3)
    axes[0].axhline(475, color="gray", linestyle="--", linewidth=1)
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main(args: Args) -> dict[int, Any]:
    torch.set_num_threads(1)  # the network is too small for more
    curves, results = {}, {}
    for seed in args.seeds:
        began = time.process_time()
        network, result, curves[seed] = train(args, seed)
        results[seed] = result
        print(
            f"seed {seed}: return {result.returns.mean():.1f} (lowest {result.returns.min():.0f}) in "
            f"{len(result.returns)} episodes, {result.mean_segments:.2f} segments a step; "
            f"{time.process_time() - began:.0f} seconds of CPU",
            flush=True,
        )
        if args.save:
            network.save(args.save)
    if args.plot:
        draw(curves, args.plot)
    return results


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
