"""Think before you walk: how much does thinking pay in a maze, and who decides when it is enough?

    python examples/think_before_you_walk.py --seeds 2 3 4 --figure thinking_maze.png

`OneWayMaze` shows its whole plan; which door is right takes up to two look-ups, one after the other. A
small HRM learns to walk it by Q-learning from rewards alone, with up to three segments for every step.
The same network then walks with one segment, with three (`HaltedThinking`, rules fixed:1 and fixed:3),
and stopping by its Q head (rule q). Last, it is the reasoner of a `ThinkingWrapper`: another agent, a
plain MLP, learns when to think and which door to take, and pays for every thought.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from hrm_rl.agents import HRMPQNConfig, HRMQNetwork, ThinkingConfig, train_hrm
from hrm_rl.agents.hrm_pqn import evaluate
from hrm_rl.agents.pqn import PQNConfig, train
from hrm_rl.agents.reasoner import HRMReasoner
from hrm_rl.envs import ToTorch
from hrm_rl.envs.one_way_maze import OneWayMaze
from hrm_rl.envs.thinking import HaltedThinking, ThinkingWrapper
from hrm_rl.model import CoreConfig

WAYS = {"one segment": "fixed:1", "three segments": "fixed:3", "its Q head": "learned"}
THINKING: Any = {"max_segments": 3, "segment_cost": 0.02}  # a right door pays 1


@dataclass(frozen=True)
class Args:
    seeds: tuple[int, ...] = (2,)
    steps: int = 300_000  # of the maze, that the HRM learns from
    think_steps: int = 40_000  # thoughts among them, that the MLP then learns from
    episodes: int = 200
    report_every: int = 100  # updates of 256 steps each
    figure: str = ""  # a file; the numbers go beside it, as .json


def vector(make: Any, rows: int) -> ToTorch:
    return ToTorch(SyncVectorEnv([make] * rows, autoreset_mode=AutoresetMode.SAME_STEP))


def learn_to_walk(seed: int, args: Args) -> tuple[HRMQNetwork, dict[str, list[float]]]:
    """Q-learning of the doors and of thinking on; and its curves, right doors less thoughts."""
    config = HRMPQNConfig(
        total_steps=args.steps, rollout=4, epochs=1, lr=3e-3, trace=0.0, epsilon_start=0.5,
        epsilon_fraction=0.3, gamma=0.0,  # every door pays by itself
        core=CoreConfig(hidden_size=32, num_heads=2, L_cycles=1),
        thinking=ThinkingConfig(**THINKING),
    )  # fmt: skip
    test = vector(OneWayMaze, 64)
    curves: dict[str, list[float]] = {name: [] for name in ("steps", *WAYS)}

    def report(steps: int, network: HRMQNetwork, metrics: dict[str, torch.Tensor]) -> None:
        if steps // 256 % args.report_every == 0:
            curves["steps"].append(steps)
            for name, halting in WAYS.items():
                network.thinking = replace(config.thinking, halting=halting)
                played = evaluate(network, test, 256, seed=10_000)
                thoughts = played.mean_segments * played.lengths.mean()
                paid = played.returns.mean() - THINKING["segment_cost"] * thoughts
                curves[name].append(round(float(paid), 4))
            network.thinking = config.thinking
            print(f"seed {seed}, {steps} steps:", {name: curves[name][-1] for name in WAYS})

    return train_hrm(vector(OneWayMaze, 64), config, seed=seed, report=report), curves


def learn_when_to_think(network: HRMQNetwork, seed: int, args: Args) -> tuple[Any, Any]:
    """An MLP that sees thoughts and nothing else; thinking is one of its three actions."""

    def make() -> gym.Env[Any, Any]:
        env = ThinkingWrapper(OneWayMaze(), HRMReasoner.of_network(network), **THINKING)
        return gym.wrappers.FlattenObservation(gym.wrappers.FilterObservation(env, ["thought"]))

    learner = train(vector(make, 32), PQNConfig(total_steps=args.think_steps), seed=seed)
    return make(), lambda obs, info: int(learner(torch.tensor(obs)[None]).argmax())


@torch.no_grad()
def judge(env: gym.Env[Any, Any], act: Any, args: Args) -> dict[str, Any]:
    """Right doors a walk less thoughts; walks that get out; segments a door, and by look-ups."""
    returns, out, doors = [], [], []
    for episode in range(args.episodes):
        obs, info = env.reset(seed=1_000_000 + episode)
        over, look_ups = False, info["look_ups"]
        returns.append(0.0)
        while not over:
            obs, reward, over, _, info = env.step(act(obs, info))
            returns[-1] += float(reward)
            if over or "look_ups" in info:  # a door, not a thought
                doors.append((look_ups, info["thoughts"]))
                look_ups = info.get("look_ups")
        out.append(info["is_success"])
    ahead, thoughts = np.array(doors).T
    by = {int(k): thoughts[ahead == k].mean() for k in np.unique(ahead)}
    return {"return": np.mean(returns), "out": np.mean(out), "segments": thoughts.mean(), "by": by}


def compare(network: HRMQNetwork, seed: int, args: Args) -> dict[str, Any]:
    judged = {}
    for name, halting in WAYS.items():
        rule = "q" if halting == "learned" else halting
        env = HaltedThinking(OneWayMaze(), HRMReasoner.of_network(network), rule, **THINKING)
        judged[name] = judge(env, lambda obs, info: info["reasoner_action"], args)
    judged["think as an action"] = judge(*learn_when_to_think(network, seed, args), args)
    return judged


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    steps, *lines = zip(*[run["curves"].values() for run in runs], strict=True)
    for name, seeds in zip(list(runs[0]["curves"])[1:], map(np.array, lines), strict=True):
        left.plot(steps[0], seeds.mean(0), label=name)
        left.fill_between(steps[0], seeds.min(0), seeds.max(0), alpha=0.2)
    left.set(xlabel="steps of the maze", ylabel="right doors a walk, less the price of thoughts")
    for name in runs[0]["judged"]:
        by = [run["judged"][name]["by"] for run in runs]
        right.plot(range(3), [np.mean([b[k] for b in by]) for k in range(3)], "o-", label=name)
    right.set(xlabel="look-ups behind the right door", ylabel="segments", xticks=range(3))
    right.legend(fontsize=8)  # the colours of both
    figure.savefig(path, dpi=110)


def main(args: Args) -> list[dict[str, Any]]:
    runs = []
    for seed in args.seeds:
        network, curves = learn_to_walk(seed, args)
        runs.append({"seed": seed, "curves": curves, "judged": compare(network, seed, args)})
        print(json.dumps(runs[-1]["judged"], indent=1))
        if args.figure:
            Path(args.figure).with_suffix(".json").write_text(json.dumps(runs))
            draw(runs, Path(args.figure))
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
