"""Train PPO with an HRM on MiniGrid.

    pip install -e ".[minigrid]"
    python examples/minigrid_ppo.py --env MiniGrid-Empty-8x8-v0
    python examples/minigrid_ppo.py --env MiniGrid-DoorKey-5x5-v0
    python examples/minigrid_ppo.py --env MiniGrid-DoorKey-5x5-v0 --policy default   # SB3's default network
    python examples/minigrid_ppo.py --plot curves.png          # plots every run under --out

The observation is 7x7 cells of three ids (object, colour, state) and a direction. `PlainObservation` keeps
SB3 from treating the cells as a picture; the tokenizer makes one token per 4x4 cells and one for the
direction; PPO's heads read the HRM's summary token. As in SB3's network, actor and critic share no weights:
each has an HRM. Training stops at the first evaluation (50 episodes, sampled actions) whose mean return
reaches --goal.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import minigrid  # noqa: F401 (registers the environments)
import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

from hrm_rl.agents.sb3 import hrm_policy_kwargs
from hrm_rl.envs import PlainObservation


@dataclass(frozen=True)
class Args:
    """Settings."""

    env: str = "MiniGrid-Empty-8x8-v0"
    policy: Literal["hrm", "default"] = "hrm"
    """default: SB3's MultiInputPolicy, two layers of 64 on the same observations."""
    seed: int = 0
    steps: int = 150_000
    """Largest number of steps of all environments together."""
    goal: float = 0.9
    """Mean return that ends the training; the return is 1 - 0.9 * steps / limit at the goal, else 0."""
    hidden_size: int = 32
    segments: int = 1
    """Reasoning segments for each observation."""
    L_cycles: int = 1
    """Updates of L before each of H; with one, the whole segment is differentiated."""
    patch: int = 4
    """Side of the square of cells in a token; 1: one token per cell."""
    start: Literal["zero", "drawn"] = "zero"
    """HRM's fresh carry."""
    share: bool = False
    """One HRM for actor and critic."""
    n_envs: int = 16
    n_steps: int = 64
    n_epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 1e-3
    ent_coef: float = 0.01
    eval_every: int = 4096
    eval_episodes: int = 50
    out: Path = Path("runs/minigrid")
    plot: Path | None = None
    """Plot the runs under `out` into this file instead of training."""


def make_envs(args: Args, count: int, seed: int) -> VecEnv:
    """Make environments without the mission, which is the same in every episode."""
    drop = {"drop": ("mission",)}
    return make_vec_env(args.env, count, seed=seed, wrapper_class=PlainObservation, wrapper_kwargs=drop)


def train(args: Args) -> Path:
    """Train; return the folder of evaluations.npz (the learning curve), model and TensorBoard."""
    folder = args.out / args.env / f"{args.policy}-{args.seed}"
    core = {"num_heads": 2, "L_cycles": args.L_cycles}
    read = {"patch_size": {"image": args.patch}, "start": args.start}
    hrm = hrm_policy_kwargs(args.hidden_size, args.segments, **core, **read)
    hrm["share_features_extractor"] = args.share
    model = PPO(
        "MultiInputPolicy",
        make_envs(args, args.n_envs, args.seed),
        policy_kwargs=hrm if args.policy == "hrm" else None,
        n_steps=args.n_steps,
        n_epochs=args.n_epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        ent_coef=args.ent_coef,
        seed=args.seed,
        tensorboard_log=str(folder),
        device="cpu",
    )
    evaluation = EvalCallback(
        make_envs(args, args.eval_episodes, args.seed + 10_000),  # other layouts than training's
        callback_on_new_best=StopTrainingOnRewardThreshold(args.goal, verbose=1),
        n_eval_episodes=args.eval_episodes,
        eval_freq=args.eval_every // args.n_envs,
        deterministic=False,
        log_path=str(folder),
        verbose=1,
    )
    parameters = sum(p.numel() for p in model.policy.parameters())
    print(f"{args.env}, {args.policy}, seed {args.seed}: {parameters:,} parameters")
    model.learn(args.steps, callback=evaluation)
    model.save(folder / "model")
    return folder


def plot(args: Args) -> None:
    """Plot a panel for every environment and a line for every run."""
    import matplotlib.pyplot as plt

    envs = sorted(folder for folder in args.out.iterdir() if folder.is_dir())
    figure, panels = plt.subplots(1, len(envs), figsize=(6 * len(envs), 3.2), squeeze=False)
    for panel, folder in zip(panels[0], envs, strict=True):
        seen = set()
        for run in sorted(folder.glob("*/evaluations.npz")):
            policy = run.parent.name.rpartition("-")[0]
            curve = np.load(run)
            label = "_" if policy in seen else policy
            color = "C0" if policy == "hrm" else "C1"
            panel.plot(curve["timesteps"], curve["results"].mean(1), color, alpha=0.8, label=label)
            seen.add(policy)
        panel.axhline(args.goal, color="grey", linewidth=0.8, linestyle=":")
        panel.set(title=folder.name, xlabel="steps", ylabel="mean return, 50 episodes", ylim=(0, 1))
        panel.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(args.plot, dpi=110)


def main(args: Args) -> None:
    if args.plot is not None:
        plot(args)
        return
    folder = train(args)
    curve = np.load(folder / "evaluations.npz")
    mean, steps = curve["results"].mean(1), curve["timesteps"]
    solved = np.flatnonzero(mean >= args.goal)
    verdict = f"{steps[solved[0]]:,} steps" if len(solved) else f"not within {steps[-1]:,} steps"
    print(f"mean return {args.goal} reached: {verdict} (last {mean[-1]:.3f}); {folder}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are small
    main(tyro.cli(Args, description=__doc__))
