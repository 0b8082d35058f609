"""Train an HRM on a memory task of POPGym; its carry is the memory.

    pip install -e ".[popgym,sb3]"
    python examples/popgym_memory.py                        # RepeatFirstEasy
    python examples/popgym_memory.py --carry reset          # the same network without memory
    python examples/popgym_memory.py --env popgym-RepeatPreviousEasy-v0
    python examples/popgym_memory.py --plot curves.png      # plots every run under --out

In RepeatFirst, cards are dealt one by one, and each of 51 answers must be the suit of the first. The reward
is 1/51 or -1/51 per answer: perfect memory returns 1, guessing -0.5. `HRMRecurrentPolicy` keeps the carry
between steps of the environment as its recurrent state.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import popgym  # noqa: F401 (registers the environments)
import torch
import tyro
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from hrm_rl.agents.sb3 import HRMRecurrentPolicy


@dataclass(frozen=True)
class Args:
    """Settings."""

    env: str = "popgym-RepeatFirstEasy-v0"
    carry: Literal["keep", "reset"] = "keep"
    """reset: every step starts from a fresh carry, without memory."""
    seed: int = 0
    steps: int = 150_000
    """Steps of all environments together."""
    hidden_size: int = 32
    num_envs: int = 64
    rollout: int = 51
    """Steps of an environment between updates, and length of the gradient's path: one episode."""
    batch_size: int = 816
    epochs: int = 4
    learning_rate: float = 2e-3
    gamma: float = 0.0
    """Discount; 0, because answers only affect their immediate reward."""
    ent_coef: float = 0.01
    episodes: int = 100
    """Evaluation episodes, deterministic."""
    out: Path = Path("runs/popgym")
    plot: Path | None = None
    """Plot the runs under `out` into this file instead of training."""


class Curve(BaseCallback):
    """Mean return of the last 100 episodes, after every rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, float]] = []

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        if episodes:
            mean = sum(episode["r"] for episode in episodes) / len(episodes)
            self.points.append((self.num_timesteps, mean))
            print(f"step {self.num_timesteps:7d}  return {mean:6.3f}", flush=True)

    def _on_step(self) -> bool:
        return True


def train(args: Args) -> dict[str, object]:
    """Train; return the learning curve and the final return."""
    model = RecurrentPPO(
        HRMRecurrentPolicy,
        make_vec_env(args.env, args.num_envs, seed=args.seed),
        policy_kwargs={
            "hidden_size": args.hidden_size,
            "carry": args.carry,
            "through_time": args.carry == "keep",
        },
        n_steps=args.rollout,
        batch_size=args.batch_size,
        n_epochs=args.epochs,
        learning_rate=lambda left: args.learning_rate * left,
        gamma=args.gamma,
        gae_lambda=1.0,
        ent_coef=args.ent_coef,
        seed=args.seed,
        device="cpu",
    )
    curve, start = Curve(), time.perf_counter()
    model.learn(args.steps, callback=curve)
    seconds = time.perf_counter() - start
    unseen = make_vec_env(args.env, 25, seed=args.seed + 10_000)
    mean, spread = evaluate_policy(model, unseen, args.episodes, deterministic=True)
    return {
        "env": args.env,
        "carry": args.carry,
        "seed": args.seed,
        "parameters": sum(p.numel() for p in model.policy.parameters()),
        "curve": curve.points,
        "return": float(mean),
        "spread": float(spread),
        "seconds": round(seconds, 1),
    }


def plot(args: Args) -> None:
    """Plot a line for every run."""
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(5.5, 3.2))
    runs = [json.loads(path.read_text()) for path in sorted(args.out.glob("*.json"))]
    for run in runs:
        color = "C0" if run["carry"] == "keep" else "C1"
        label = f"{run['env'].removeprefix('popgym-')}, carry {run['carry']}, seed {run['seed']}"
        panel.plot(*zip(*run["curve"], strict=True), color=color, label=label, alpha=0.8)
    panel.set(xlabel="steps", ylabel="mean return, last 100 episodes", ylim=(-1, 1))
    panel.locator_params(axis="x", nbins=5)
    panel.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(args.plot, dpi=110)


def main(args: Args) -> None:
    if args.plot is not None:
        plot(args)
        return
    result = train(args)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{args.env}-{args.carry}-{args.seed}.json").write_text(json.dumps(result))
    print({key: value for key, value in result.items() if key != "curve"})


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are small
    main(tyro.cli(Args, description=__doc__))
