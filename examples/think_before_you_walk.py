"""Train an HRM to plan in a maze and to choose its number of segments.

    python examples/think_before_you_walk.py --seeds 2 3 4 --figure thinking_maze.png

A small HRM learns to plan from labels after every segment, as in the paper's puzzles: which rooms of
`OneWayMaze` lead to the exit, and which door is right. It is then frozen, and two heads learn from rewards
alone the values of each door and of thinking on, which has a cost. The evaluation compares 1, 2 or 4
segments at each door, the Q head's choice, an HRM trained with one segment only, and an MLP on the HRM's
latent that learns when to think and which door to take, as actions of a `ThinkingWrapper`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from hrm_rl.agents import HRMPQNConfig, HRMQNetwork, HRMReasoner, ThinkingConfig
from hrm_rl.agents.pqn import PQNConfig, train
from hrm_rl.agents.pqn.hrm_pqn import evaluate, train_hrm
from hrm_rl.envs import HaltedThinking, ThinkingWrapper, ToTorch
from hrm_rl.envs.one_way_maze import OneWayMaze, leads_out
from hrm_rl.model import CoreConfig

DEPTH, maze = 6, partial(OneWayMaze, 6)  # up to five look-ups to the exit behind the right door
THINKING: Any = {"max_segments": 4, "segment_cost": 0.05}  # a right door pays 1
WAYS = {"only 1": "fixed:1", "1": "fixed:1", "2": "fixed:2", "4": "fixed:4", "Q head": "q"}


@dataclass(frozen=True)
class Args:
    seeds: tuple[int, ...] = (2,)
    updates: int = 1_500  # each on 128 labelled plans
    steps: int = 40_000  # in the maze, with rewards; the MLP's include thoughts
    episodes: int = 300  # of the evaluation
    figure: str = ""  # a file name


def vector(make: Any, rows: int) -> ToTorch:
    return ToTorch(SyncVectorEnv([make] * rows, autoreset_mode=AutoresetMode.SAME_STEP))


def learn_to_plan(network: HRMQNetwork, seed: int, updates: int) -> None:
    env, head = maze(), torch.nn.Linear(network.core.config.hidden_size, 1)
    env.reset(seed=seed)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], betas=(0.9, 0.95))
    weight = torch.tensor([2.0] + [1.0] * 2 * DEPTH)  # of the summary token, and of each room
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 3e-3 * min((update + 1) / 100, 1 - update / updates)
        plan = np.stack([env.reset()[0] for _ in range(128)])  # [128, rooms, 1, 2]
        out, behind_left = leads_out(plan), plan[..., 0, 1] % 3 == 1
        left = (out & behind_left).any(1, keepdims=True)  # the summary token's label
        labels = torch.tensor(np.concatenate([left, out], 1)).float()
        x, carry, loss = network.tokenizer(torch.tensor(plan)), network.initial_carry(128), 0.0
        for _ in range(network.thinking.segments):
            carry, z_H = network.core(carry, x)  # the carry is detached
            loss = loss + cross_entropy(head(z_H)[..., 0], labels, weight)
        optimizer.zero_grad()
        (loss / network.thinking.segments).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


def learn(halting: str, seed: int, args: Args) -> tuple[HRMQNetwork, list[tuple[int, float]]]:
    """Learn to plan, then to walk; return the network and the curve of returns minus the cost."""
    torch.manual_seed(seed)
    core = CoreConfig(hidden_size=32, num_heads=2, L_cycles=1)  # a segment is two blocks
    network = HRMQNetwork(maze().observation_space, 2, core, ThinkingConfig(halting, **THINKING))
    learn_to_plan(network, seed, args.updates)
    torch.nn.ModuleList([network.tokenizer, network.core]).requires_grad_(False)
    # gamma is 0: every door is rewarded at once.
    pqn = HRMPQNConfig(args.steps, 4, lr=1e-2, gamma=0, epsilon_start=0.5, epsilon_fraction=0.3)
    walks, test, curve = vector(maze, 64), vector(maze, 64), []

    def report(steps: int, network: HRMQNetwork, metrics: dict[str, torch.Tensor]) -> None:
        if steps % 5120 == 0 or steps == 256:
            played = evaluate(network, test, 256, seed=10_000)
            cost = THINKING["segment_cost"] * played.mean_segments * played.lengths.mean()
            curve.append((steps, float(played.returns.mean() - cost)))

    return train_hrm(walks, pqn, seed=seed, network=network, report=report), curve


def thinker(network: HRMQNetwork, seed: int, args: Args) -> tuple[gym.Env[Any, Any], Any]:
    def make() -> gym.Env[Any, Any]:
        env = ThinkingWrapper(maze(), HRMReasoner.of_network(network), **THINKING)
        return gym.wrappers.FlattenObservation(gym.wrappers.FilterObservation(env, ["thought"]))

    mlp = train(vector(make, 32), PQNConfig(args.steps), seed=seed)
    return make(), lambda obs, info: int(mlp(torch.tensor(obs)[None]).argmax())


def judge(env: gym.Env[Any, Any], act: Any, args: Args) -> dict[str, Any]:
    """Return the return minus cost, the share of exits reached, and segments per door, also by look-ups."""
    paid, out, doors = 0.0, 0.0, []
    for episode in range(args.episodes):
        obs, info = env.reset(seed=1_000_000 + episode)
        over, ahead = False, info["look_ups"]
        while not over:
            obs, reward, over, _, info = env.step(act(obs, info))
            paid += float(reward) / args.episodes
            if over or "look_ups" in info:  # a door, not a thought
                doors.append((ahead, info["thoughts"]))
                ahead = info.get("look_ups")
        out += info["is_success"] / args.episodes
    look_ups, thoughts = np.array(doors).T
    by = [round(float(thoughts[look_ups == k].mean()), 2) for k in range(DEPTH)]
    return {"return": paid, "out": out, "segments": float(thoughts.mean()), "by": by}


def draw(runs: list[dict[str, Any]], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for i, name in enumerate(runs[0]["judged"]):
        right.plot(np.mean([r["judged"][name]["by"] for r in runs], 0), f"C{i}o-", label=name)
        curves = [run["curves"].get(name, [(0, np.nan)]) for run in runs]
        left.plot(*np.transpose(curves), f"C{i}")  # one line per seed
    left.set(xlabel="steps of the maze, after planning", ylabel="return minus cost")
    right.set(xlabel="look-ups behind the right door", ylabel="segments")
    right.legend(fontsize=8, ncols=2, loc=(0.5, 0.11))  # for both panels
    figure.savefig(path, dpi=110)


def main(args: Args) -> list[dict[str, Any]]:
    runs = []
    for seed in args.seeds:
        (network, curve), (only_1, curve_1) = (learn(h, seed, args) for h in ("learned", "fixed:1"))
        judged = {}
        for name, rule in WAYS.items():
            reasoner = HRMReasoner.of_network(only_1 if name == "only 1" else network)
            walk = HaltedThinking(maze(), reasoner, rule, **THINKING)
            judged[name] = judge(walk, lambda obs, info: info["reasoner_action"], args)
        judged["an action"] = judge(*thinker(network, seed, args), args)
        curves = {"only 1": curve_1, "Q head": curve}
        runs.append({"seed": seed, "curves": curves, "judged": judged})
        print(runs[-1], flush=True)
        if args.figure:
            draw(runs, args.figure)
    return runs


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
