"""Halting Q-learning in one file: an HRM learns to solve puzzles and when to stop.

    python examples/halting_q_learning.py                       # about 98 % of unseen 4x4 Sudokus
    python examples/halting_q_learning.py --steps 100 --tensorboard runs/halting

The package provides the network (`HRM`, one call is one reasoning *segment*) and the puzzles as a vector
of Gymnasium environments. All learning is written out below, in the order of section 2 of
arXiv 2506.21734. The settings are the sudoku-4x4 preset's, with the target on all rows (`full`).

As reinforcement learning: the state is a puzzle and the network's latent carry. The action submits a
draft, then stops or thinks on. The reward is 1 for stopping with a correct draft, else 0.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

import hrm_rl  # noqa: F401  (registers the environments)
from hrm_rl import HRM, HRMConfig


@dataclass
class Args:
    steps: int = 1500
    """Optimizer steps, each on one segment of every environment."""
    num_envs: int = 256
    """Number of environments: the batch size."""
    lr: float = 2e-3
    """Learning rate after warm-up."""
    lr_min_ratio: float = 0.05
    """Final learning rate, as a share of lr."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Decoupled, as in AdamW."""
    ema_decay: float = 0.98
    """Decay of the weight average, which is evaluated."""
    loss: Literal["stablemax", "softmax"] = "stablemax"
    """Cross-entropy of the cells."""
    exploration: float = 0.1
    """Probability of a floor under the number of segments."""
    halt_max_steps: int = 8
    """Largest number of segments (the paper's M_max)."""
    hidden_size: int = 96
    """Width of both modules."""
    forward_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass; weights are float32. Which is faster depends on the machine."""
    train_puzzles: int = 20_000
    """Distinct training puzzles; each draw applies a random symmetry."""
    test_puzzles: int = 1000
    """Puzzles of held-out symmetry classes."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seed of weights, puzzles and exploration."""
    log_every: int = 100
    """Steps between printed lines."""
    tensorboard: str | None = None
    """Folder for TensorBoard's event files."""


def make_envs(args: Args, split: str, count: int, **options: Any) -> Any:
    """Make 4x4 Sudokus with 0 to 2 givens beyond a minimal puzzle; 20,000 take a few seconds."""
    return gym.make_vec(
        "HRM/Sudoku-v0",
        size=4,
        extra_givens=(0, 2),
        split=split,
        halt_max_steps=args.halt_max_steps,
        device=args.device,
        num_envs=count,
        **options,
    )


def token_loss(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """Mean cross-entropy of a draft's cells. logits [B, S, V], labels [B, S]; returns [B], in nats."""
    logits, labels = logits.float(), labels.long()
    if kind == "softmax":
        return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(-1)
    # Stablemax (arXiv 2501.04697; the paper's choice for small data sets): s(x) instead of exp(x), with
    # s(x) = x + 1 above zero and 1 / (1 - x) below. Growing linearly, it keeps a gradient where softmax
    # has saturated. With |x|, neither branch of `where` divides by zero.
    grown = 1 + logits.abs()
    s = torch.where(logits < 0, 1 / grown, grown)
    own = s.gather(-1, labels[..., None]).squeeze(-1)
    return (s.sum(-1).log() - own.log()).mean(-1)


def exploration_floor(args: Args, rows: int, generator: torch.Generator) -> Tensor:
    """The segment before which a row may not halt, [B]: 0 for most, else drawn from 2..M_max.

    Section 2, ACT: a network that always stops at once cannot learn the value of thinking on. With
    probability epsilon a row must therefore run at least M_min segments. As in the authors' code, the
    floor is drawn at every step.
    """
    rand = {"generator": generator, "device": args.device}
    explores = torch.rand(rows, **rand) < args.exploration
    return torch.where(explores, torch.randint(2, args.halt_max_steps + 1, (rows,), **rand), 0)


@torch.no_grad()
def continue_target(model: HRM, carry: Any, obs: dict[str, Tensor], last: Tensor) -> Tensor:
    """Compute the target of Q_continue, the value of thinking on, [B] in [0, 1]. Section 2, ACT.

    Q-learning's bootstrap: run one more segment on the same puzzle from the current carry, and take
    the larger of its two Q values. Rows of `last` can only halt. Without a discount and a cost of
    segments, the value is the probability of a correct final draft, so Q_continue exceeds Q_halt where
    thinking on is expected to help. Instead of a target network and replay, the paper relies on
    normalisation after each layer and AdamW's decay, which bound the weights.
    """
    after = model(carry, obs["inputs"], obs["puzzle_identifiers"])
    better = torch.maximum(after.q_halt, after.q_continue)
    return torch.where(last, after.q_halt, better).sigmoid()


def learning_rate(args: Args, step: int) -> float:
    """The learning rate at `step`: linear warm-up, then a cosine to lr * lr_min_ratio."""
    if step < args.warmup_steps:
        return args.lr * (step + 1) / args.warmup_steps
    progress = (step + 1 - args.warmup_steps) / max(1, args.steps - args.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return args.lr * (args.lr_min_ratio + (1 - args.lr_min_ratio) * cosine)


@torch.no_grad()
def evaluate(model: HRM, args: Args) -> dict[str, float]:
    """Evaluate on one test puzzle per row, halting where q_halt > q_continue or at the limit.

    Without autoreset each row runs one episode, so `halt_max_steps` steps suffice.
    """
    n = args.test_puzzles
    options = {"autoreset_mode": gym.vector.AutoresetMode.DISABLED}
    envs = make_envs(args, "test", n, pool_size=10 * n, pool_seed=2, **options)
    obs, _ = envs.reset(seed=0)
    carry = model.initial_carry(n)
    correct = torch.zeros(n, dtype=torch.bool, device=args.device)
    segments = torch.zeros(n, device=args.device)
    for _ in range(args.halt_max_steps):
        out = model(carry, obs["inputs"], obs["puzzle_identifiers"])
        action = {"answer": out.logits.argmax(-1), "halt": out.q_halt > out.q_continue}
        obs, _, terminated, _, info = envs.step(action)
        first = terminated & (segments == 0)
        correct = torch.where(first, info["correct"], correct)
        segments = torch.where(first, info["segments"].float(), segments)
        carry = out.carry
    return {"exact_accuracy": float(correct.float().mean()), "segments": float(segments.mean())}


def train(args: Args) -> dict[str, float]:
    """Train and evaluate; return the last losses and the test figures."""
    torch.manual_seed(args.seed)
    generator = torch.Generator(args.device).manual_seed(args.seed)
    model = HRM(
        HRMConfig(
            vocab_size=6,  # padding, blank and four digits
            seq_len=16,
            hidden_size=args.hidden_size,
            num_heads=4,
            H_layers=1,
            L_layers=1,
            # Rotary positions encode one dimension of the board, which is too little at this size.
            pos_encodings="learned",
            puzzle_emb_ndim=0,
            halt_max_steps=args.halt_max_steps,
            forward_dtype=args.forward_dtype,
        )
    ).to(args.device)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        model.parameters(), args.lr, (0.9, 0.95), weight_decay=args.weight_decay, fused=True
    )
    writer = SummaryWriter(args.tensorboard) if args.tensorboard else None
    envs = make_envs(args, "train", args.num_envs, pool_size=args.train_puzzles)
    obs, info = envs.reset(seed=args.seed)
    carry = model.initial_carry(args.num_envs)
    figures: dict[str, float] = {}

    for step in range(args.steps):
        # One segment for every row. H_cycles x L_cycles recurrent calls, but only the last call of
        # each module carries gradient: section 2, "Approximate gradient", the one-step approximation
        # of backpropagation through time. Memory does not grow with the number of calls.
        out = model(carry, obs["inputs"], obs["puzzle_identifiers"])

        # Act: submit the draft, and halt where q_halt exceeds q_continue.
        allowed = obs["segment"] + 1 >= exploration_floor(args, args.num_envs, generator)
        action = {"answer": out.logits.argmax(-1), "halt": (out.q_halt > out.q_continue) & allowed}
        # A row that ends (halted, or at the limit) gets its next puzzle in the same step.
        next_obs, _, ended, _, next_info = envs.step(action)

        # Learn. Section 2, "Deep supervision": every segment is a separate training example, with the
        # puzzle's solution as its label, whether or not the row continues.
        cells = token_loss(out.logits, info["labels"], args.loss)
        # ACT: Q_halt is the probability that the draft is correct; Q_continue has the bootstrap target.
        # The target uses the puzzle of this segment (`obs`), not the next one.
        right = next_info["correct"].float()
        last = next_info["segments"] >= args.halt_max_steps
        target = continue_target(model, out.carry, obs, last)
        halt_loss = F.binary_cross_entropy_with_logits(out.q_halt, right)
        continue_loss = F.binary_cross_entropy_with_logits(out.q_continue, target)
        loss = cells.mean() + 0.5 * (halt_loss + continue_loss)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(args, step)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():  # the average varies less than the last weights of a small model
            for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 1 - args.ema_decay)

        # The carry continues, detached (no gradient between segments); a new puzzle gets a fresh one.
        carry = model.reset(out.carry, ended)
        obs, info = next_obs, next_info

        if (step + 1) % args.log_every == 0 or step + 1 == args.steps:
            done = float(ended.sum())
            figures = {
                "token_loss": float(cells.detach().mean()),
                "q_halt_loss": float(halt_loss.detach()),
                "q_continue_loss": float(continue_loss.detach()),
                "exact_accuracy": float((ended * right).sum()) / max(1.0, done),
            }
            print(f"step {step + 1:5d}  " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
            for name, value in figures.items():
                if writer:
                    writer.add_scalar(f"train/{name}", value, step + 1)

    result = evaluate(average, args)
    print(
        f"test: {100 * result['exact_accuracy']:.1f} % of {args.test_puzzles} unseen puzzles solved, "
        f"after {result['segments']:.2f} of at most {args.halt_max_steps} segments"
    )
    if writer:
        writer.add_scalar("test/exact_accuracy", result["exact_accuracy"], args.steps)
        writer.close()
    return figures | result


if __name__ == "__main__":
    train(tyro.cli(Args, description=__doc__))
