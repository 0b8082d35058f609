"""Train Stable-Baselines3's PPO with an HRM as its features extractor, on CartPole.

    python examples/cartpole_ppo.py                                    # a minute on one core
    python examples/cartpole_ppo.py --seeds 3 4 5 6 7 --figure cartpole.png
    python examples/cartpole_ppo.py --policy mlp                       # SB3's default network instead

`policy_kwargs=hrm_policy_kwargs(...)` makes the network an HRM. Three settings keep the training steady:
rewards divided by the spread of returns (VecNormalize), a falling learning rate, and a limit on the policy's
change per update (target_kl). CartPole is solved at a mean return of 475; the maximum is 500.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from hrm_rl.agents.sb3 import hrm_policy_kwargs


@dataclass
class Args:
    seeds: tuple[int, ...] = (0,)
    """One run for each seed."""
    policy: Literal["hrm", "mlp"] = "hrm"
    """The network between the observation and PPO's heads: an HRM, or SB3's default."""
    total_steps: int = 96 * 1024
    """Steps of all environments together; a rollout has 1024."""
    hidden_size: int = 32
    """Width of the HRM."""
    segments: int = 1
    """Reasoning segments for each observation; each has L_cycles updates of L and one of H."""
    L_cycles: int = 1
    """Updates of L before each of H."""
    learning_rate: float = 1e-3
    """Falls linearly to 0."""
    n_epochs: int = 10
    """Largest number of passes over a rollout."""
    target_kl: float = 0.03
    """PPO ends the epochs once the policy has moved by 1.5 times this KL divergence."""
    evaluation_episodes: int = 100
    """Episodes after training, with other seeds and the most probable action."""
    figure: str | None = None
    """PNG file for the learning curves; needs matplotlib."""


class Curve(BaseCallback):
    """Steps and returns of the episodes that ended during training."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.steps.append(self.num_timesteps)
                self.returns.append(info["episode"]["r"])
        return True


def train(args: Args, seed: int) -> tuple[dict[str, Any], Curve]:
    """Train once; return the figures and the curve."""
    hrm = hrm_policy_kwargs(args.hidden_size, args.segments, num_heads=2, L_cycles=args.L_cycles)
    network: dict[str, Any] = {"policy_kwargs": hrm} if args.policy == "hrm" else {}
    envs = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    model = PPO(
        "MlpPolicy",
        # Actor and critic share the HRM; at values up to 100 the critic's gradient would dominate.
        VecNormalize(envs, norm_obs=False, norm_reward=True),
        learning_rate=lambda left: args.learning_rate * left,
        n_steps=128,
        batch_size=256,
        n_epochs=args.n_epochs,
        target_kl=args.target_kl,
        seed=seed,
        device="cpu",
        **network,
    )
    curve, start = Curve(), time.process_time()
    model.learn(args.total_steps, callback=curve)
    seconds = round(time.process_time() - start)
    returns, _ = evaluate_policy(
        model,
        make_vec_env("CartPole-v1", n_envs=8, seed=10_000 + seed),
        n_eval_episodes=args.evaluation_episodes,
        return_episode_rewards=True,
    )
    result = {
        "policy": args.policy,
        "seed": seed,
        "steps": model.num_timesteps,
        "mean_return": round(float(np.mean(returns)), 1),
        "min_return": float(np.min(returns)),
        "parameters": sum(p.numel() for p in model.policy.parameters()),
        "cpu_seconds": seconds,
    }
    return result, curve


def draw(path: str, curves: dict[int, Curve], results: list[dict[str, Any]]) -> None:
    """Plot the returns of training episodes, averaged over 20, against steps."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (seed, curve), result in zip(curves.items(), results, strict=True):
        width = min(20, len(curve.returns))
        smooth = np.convolve(curve.returns, np.full(width, 1 / width), "valid")
        label = f"seed {seed}: {result['mean_return']:.0f} in evaluation"
        axes.plot(curve.steps[width - 1 :], smooth, lw=1.2, label=label)
    axes.axhline(475, color="0.5", lw=0.8, ls="--")
    axes.set(xlabel="steps of the environments", ylabel="return, mean of 20 episodes", ylim=(0, 510))
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    figure.savefig(path, dpi=120)


def main(args: Args) -> list[dict[str, Any]]:
    torch.set_num_threads(1)  # faster for networks this small
    results, curves = [], {}
    for seed in args.seeds:
        result, curves[seed] = train(args, seed)
        results.append(result)
        print(json.dumps(result), flush=True)
    if args.figure:
        draw(args.figure, curves, results)
    return results


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
