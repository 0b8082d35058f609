"""Halting Q-learning in one file: an HRM learns to solve puzzles, and when to stop thinking.

    python examples/halting_q_learning.py                       # about 98 % of unseen 4x4 Sudokus
    python examples/halting_q_learning.py --steps 100 --tensorboard runs/halting

The package gives two things: the network (`HRM`, one call is one reasoning *segment*) and the puzzles
as a vector of Gymnasium environments. All the learning is written out below, in the order of section 2
of arXiv 2506.21734. The settings are the sudoku-4x4 preset's, with the target on all rows (`full`).

Read as reinforcement learning: the state is a puzzle and the network's latent carry. The action is
"here is my draft, and I stop", or "... and I think on". Stopping pays 1 if the draft is right, else 0.
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
    """Optimizer steps; each one trains on one segment of every environment."""
    num_envs: int = 256
    """Puzzles side by side: the batch."""
    lr: float = 2e-3
    """Learning rate after warm-up."""
    lr_min_ratio: float = 0.05
    """Where the cosine ends, as a share of lr."""
    warmup_steps: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Decoupled, as in AdamW."""
    ema_decay: float = 0.98
    """Of the weight average that is evaluated."""
    loss: Literal["stablemax", "softmax"] = "stablemax"
    """Cross-entropy of the cells."""
    exploration: float = 0.1
    """Probability of a floor under the number of segments."""
    halt_max_steps: int = 8
    """Segments after which the draft is submitted (the paper's M_max)."""
    hidden_size: int = 96
    """Width of both modules."""
    forward_dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; the weights stay float32. Try which is faster on your machine."""
    train_puzzles: int = 20_000
    """Distinct puzzles to learn from; each time one is drawn, a random symmetry is applied."""
    test_puzzles: int = 1000
    """Puzzles of classes (up to symmetry) that training never sees."""
    device: str = "cpu"
    """cpu or cuda."""
    seed: int = 0
    """Seeds weights, puzzles and exploration."""
    log_every: int = 100
    """Steps between two lines."""
    tensorboard: str | None = None
    """Folder for TensorBoard's event files."""


def make_envs(args: Args, split: str, count: int, **options: Any) -> Any:
    """4x4 Sudokus with 0 to 2 givens beyond a minimal puzzle; 20,000 take a few seconds to make."""
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
    # has saturated. Written with |x|, no branch divides by zero, not even the one not taken.
    grown = 1 + logits.abs()
    s = torch.where(logits < 0, 1 / grown, grown)
    own = s.gather(-1, labels[..., None]).squeeze(-1)
    return (s.sum(-1).log() - own.log()).mean(-1)


def exploration_floor(args: Args, rows: int, generator: torch.Generator) -> Tensor:
    """The segment before which a row may not halt, [B]: 0 for most, else drawn from 2..M_max.

    Section 2, ACT: a network that always stopped at once would never learn the value of thinking. So
    with probability epsilon a row must think for at least M_min segments. As in the authors' code, the
    floor is drawn at every step.
    """
    rand = {"generator": generator, "device": args.device}
    explores = torch.rand(rows, **rand) < args.exploration
    return torch.where(explores, torch.randint(2, args.halt_max_steps + 1, (rows,), **rand), 0)


@torch.no_grad()
def continue_target(model: HRM, carry: Any, obs: dict[str, Tensor], last: Tensor) -> Tensor:
    """What thinking on is worth, [B] in [0, 1]. Section 2, ACT: the target of Q_continue.

    Q-learning's bootstrap: run one more segment on the same puzzle from the carry just reached, and take
    the better of its two Q values. After the last segment only halting is left. There is no discount and
    no price on a segment: the value is simply the probability of being right in the end, so Q_continue
    exceeds Q_halt where thinking on is expected to help. There is no target network and no replay
    either; the paper trusts normalisation after each layer and AdamW's decay, which bound the weights.
    """
    after = model(carry, obs["inputs"], obs["puzzle_identifiers"])
    better = torch.maximum(after.q_halt, after.q_continue)
    return torch.where(last, after.q_halt, better).sigmoid()


def learning_rate(args: Args, step: int) -> float:
    """Linear warm-up, then a cosine down to lr_min_ratio."""
    if step < args.warmup_steps:
        return args.lr * (step + 1) / args.warmup_steps
    progress = (step + 1 - args.warmup_steps) / max(1, args.steps - args.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return args.lr * (args.lr_min_ratio + (1 - args.lr_min_ratio) * cosine)


@torch.no_grad()
def evaluate(model: HRM, args: Args) -> dict[str, float]:
    """Answer one test puzzle a row, stopping where q_halt > q_continue, at the latest at the limit.

    Nothing is explored. Without autoreset a row that has ended keeps its verdict, so `halt_max_steps`
    steps are enough for all.
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
    """The whole run; returns the last losses and the test figures."""
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
            # Rotary positions see one dimension of the board and learn nothing at this size.
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
        # of backpropagation through time. Memory does not grow with thinking.
        out = model(carry, obs["inputs"], obs["puzzle_identifiers"])

        # Act: submit the draft, and stop where stopping looks better than thinking on.
        allowed = obs["segment"] + 1 >= exploration_floor(args, args.num_envs, generator)
        action = {"answer": out.logits.argmax(-1), "halt": (out.q_halt > out.q_continue) & allowed}
        # A row that ends (it halted, or reached the limit) gets its next puzzle within this step.
        next_obs, _, ended, _, next_info = envs.step(action)

        # Learn. Section 2, "Deep supervision": every segment is a training example of its own, with
        # the puzzle's solution as its label, whether or not the row goes on.
        cells = token_loss(out.logits, info["labels"], args.loss)
        # ACT: Q_halt is the probability that the draft is right; Q_continue learns from the bootstrap.
        # The target reads the puzzle the segment ran on (`obs`), not the one that replaced it.
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
        with torch.no_grad():  # a small model's last steps jitter; their average does not
            for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 1 - args.ema_decay)

        # The carry goes on, detached (no gradient crosses a segment), but a new puzzle starts afresh.
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
