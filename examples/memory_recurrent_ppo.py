"""Train an HRM with memory: sb3-contrib's RecurrentPPO keeps its carry as a recurrent state.

    python examples/memory_recurrent_ppo.py                     # cue recall after 4 blank steps, a minute
    python examples/memory_recurrent_ppo.py --carry reset       # without memory: a mean return of 1/4
    python examples/memory_recurrent_ppo.py --no-through-time   # HRM's one-step gradient between steps
    python examples/memory_recurrent_ppo.py --policy lstm       # sb3-contrib's LSTM, about as many parameters
    python examples/memory_recurrent_ppo.py --env MiniGrid-MemoryS7-v0    # with the extra minigrid

In `HRM/CueRecall-v0` a symbol is shown once and must be named later. docs/recurrent.md has results over
several seeds.
"""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import tyro
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import hrm_rl  # noqa: F401  (registers the environments)
from hrm_rl.agents.sb3 import HRMRecurrentPolicy
from hrm_rl.envs import PlainObservation

CUE_RECALL = "HRM/CueRecall-v0"


@dataclass
class Args:
    env: str = CUE_RECALL
    """Any environment whose observation ObsTokenizer can read."""
    delay: int = 4
    """Steps between the cue, one of four, and the query in cue recall."""
    policy: Literal["hrm", "lstm"] = "hrm"
    """lstm: sb3-contrib's policy, for comparison."""
    carry: Literal["keep", "reset"] = "keep"
    """Keep the carry between steps of the environment, or reset it at each."""
    through_time: bool = True
    """Let gradients pass between steps, as an LSTM's do."""
    segments: int = 1
    """Segments at each step."""
    hidden_size: int = 32
    """Width D of the HRM's tokens."""
    tokens: int | None = None
    """Tokens of the state; by default all of the observation's, 4 in MiniGrid."""
    lstm_hidden_size: int = 56
    """Width of the LSTM."""
    steps: int = 25_000
    """Steps of all environments together."""
    num_envs: int = 64
    """Number of environments."""
    rollout: int = 12
    """Steps of each environment between updates; by default two episodes of cue recall."""
    batch_size: int = 384
    """Steps in a minibatch."""
    epochs: int = 8
    """Passes over a rollout."""
    lr: float = 2e-3
    """Learning rate; falls linearly to 0."""
    entropy: float = 0.01
    """Weight of the policy's entropy."""
    episodes: int = 500
    """Episodes of the evaluation, with the most probable action."""
    seed: int = 0
    """Seed of weights, environments and exploration."""
    json: bool = False
    """Print a last line of JSON: settings, learning curve, result."""


class Curve(BaseCallback):
    """Mean return of the episodes that ended in each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, float]] = []
        self.returns: list[float] = []

    def _on_step(self) -> bool:
        self.returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        if self.returns:
            self.points.append((self.num_timesteps, float(np.mean(self.returns))))
            print(f"step {self.points[-1][0]:7d}   return {self.points[-1][1]:.3f}", flush=True)
        self.returns = []


def make_envs(args: Args, count: int, seed: int) -> Any:
    """Make `count` environments with observations that SB3 accepts."""
    minigrid = args.env.startswith("MiniGrid")
    return make_vec_env(
        f"minigrid:{args.env}" if minigrid else args.env,
        count,
        seed,
        env_kwargs={"delay": args.delay} if args.env == CUE_RECALL else {},
        wrapper_class=PlainObservation,
        wrapper_kwargs={"drop": ("mission",)} if minigrid else {},
    )


def make_model(args: Args) -> RecurrentPPO:
    policy: Any = HRMRecurrentPolicy
    heads = {"pi": [], "vf": [64]}
    settings: dict[str, Any] = {
        "net_arch": heads,
        "hidden_size": args.hidden_size,
        "segments": args.segments,
        "carry": args.carry,
        "through_time": args.through_time,
        "tokens": 4 if args.tokens is None and args.env.startswith("MiniGrid") else args.tokens,
    }
    if args.policy == "lstm":  # shared by actor and critic, like the HRM
        policy = "MultiInputLstmPolicy" if args.env.startswith("MiniGrid") else "MlpLstmPolicy"
        settings = {"shared_lstm": True, "enable_critic_lstm": False}
        settings |= {"net_arch": heads, "lstm_hidden_size": args.lstm_hidden_size}
    return RecurrentPPO(
        policy,
        make_envs(args, args.num_envs, args.seed),
        n_steps=args.rollout,
        batch_size=args.batch_size,
        n_epochs=args.epochs,
        learning_rate=lambda left: args.lr * left,
        ent_coef=args.entropy,
        policy_kwargs=settings,
        seed=args.seed,
        device="cpu",
    )


def main(args: Args) -> dict[str, Any]:
    model, curve, start = make_model(args), Curve(), time.process_time()
    parameters = sum(p.numel() for p in model.policy.parameters())
    model.learn(args.steps, callback=curve)
    seconds = time.process_time() - start
    mean, _ = evaluate_policy(model, make_envs(args, 50, args.seed + 10_000), args.episodes)
    print(f"{parameters:,} parameters, {seconds:.0f} s of CPU, mean return {mean:.3f}")
    result = {"return": float(mean), "parameters": parameters, "cpu_seconds": seconds}
    if args.json:
        print(json.dumps({"settings": asdict(args), "curve": curve.points, **result}))
    return result


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
