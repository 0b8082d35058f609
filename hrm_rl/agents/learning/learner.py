"""The Q-learning ACT learner: deep supervision on every segment, and Q values for when to stop.

    out, action = learner.act(obs)                                   # one segment for every row
    next_obs, reward, terminated, truncated, next_info = envs.step(action)
    learner.learn(out, obs, info["labels"], next_info)               # losses, optimizer, carry
    obs, info = next_obs, next_info

Source: arXiv 2506.21734, section 2 (deep supervision; adaptive computation time), figure 4.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from hrm_rl.agents.learning.losses import TOKEN_LOSSES, TokenLoss, q_loss, token_loss
from hrm_rl.agents.learning.matching import check_envs
from hrm_rl.agents.learning.optim import AdamATan2, SignSGD, learning_rate_factor
from hrm_rl.agents.learning.q_targets import Experience, target_rule
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.model.hrm import HRM, SegmentOutput
from hrm_rl.model.recurrence import GRADIENTS, Carry, Gradient
from hrm_rl.puzzles.pool import IGNORE_LABEL

Exploration = Literal["step", "episode"]
EXPLORATIONS: tuple[Exploration, ...] = ("step", "episode")
OptimizerName = Literal["adam-atan2", "adamw"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("adam-atan2", "adamw")
Halting = Literal["q", "act", "ponder"]
HALTINGS: tuple[Halting, ...] = ("q", "act", "ponder")
# What only Q-learning reads.
Q_SETTINGS = ("q_target", "exploration", "gamma", "segment_cost")


@dataclass(frozen=True)
class LearnerConfig:
    """How an HRM learns; the defaults are the reference's Sudoku recipe.

    Raises ValueError, naming the field, where a value is none of those accepted.
    """

    optimizer: OptimizerName = "adam-atan2"
    """adam-atan2 (the reference's; no epsilon) or adamw. Puzzle embeddings always take sign-SGD."""
    lr: float = 1e-4
    """Learning rate after warm-up."""
    weight_decay: float = 1.0
    """Decoupled decay of every weight: each step multiplies it by 1 - lr * weight_decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of the gradient's running mean and mean square."""
    puzzle_emb_lr: float = 1e-4
    """Learning rate of the puzzle embeddings' sign-SGD, on the same schedule."""
    puzzle_emb_weight_decay: float = 1.0
    """Decay of the puzzle embeddings, on the rows a batch touches."""
    warmup_steps: int = 2000
    """Steps in which the learning rate rises linearly to lr."""
    lr_min_ratio: float = 1.0
    """Where the cosine ends, as a share of lr; 1 keeps lr constant."""
    total_steps: int | None = None
    """Length of the cosine, in steps; `hrm-rl train` stretches it with max_steps."""
    token_loss: TokenLoss = "stablemax"
    """Cross-entropy of the cells by stablemax (the reference) or softmax."""
    q_target: str = "full"
    """What q_continue learns from: `full` (the paper), `every:K`, `subsample:P`, `delayed`, `lambda:L`,
    or `none`, which learns only q_halt and halts where it is > 0. See `hrm_rl.agents.learning.q_targets`."""
    gradient: Gradient = "one-step"
    """How much of a segment is differentiated: the last L and H call, the last H-cycle, or all."""
    exploration: Exploration = "step"
    """Draw the floor under which a row may not halt anew every step (the reference's code) or once
    an episode (the paper)."""
    gamma: float = 1.0
    """Discount of the bootstrap target."""
    segment_cost: float = 0.0
    """Price of a segment in the bootstrap target; give the environment the same."""
    halting: Halting = "q"
    """How stopping is learned: by Q-learning (the paper), or jointly with the answers: `act` (Graves) or
    `ponder` (PonderNet), where episodes run to the limit and each gives one update."""
    ponder_prior: float = 0.2
    """ponder: the prior's probability of halting at a segment; higher stops earlier."""
    ponder_weight: float = 0.1
    """ponder: weight of the divergence from the prior."""
    act_cost: float = 0.001
    """act: price of a segment in the loss; higher stops earlier."""
    act_epsilon: float = 0.01
    """act: an episode is over where the halting units' sum reaches 1 - act_epsilon."""
    seed: int = 0
    """Seeds the exploration."""

    def __post_init__(self) -> None:
        for name, accepted in (
            ("optimizer", OPTIMIZERS),
            ("token_loss", TOKEN_LOSSES),
            ("gradient", GRADIENTS),
            ("exploration", EXPLORATIONS),
            ("halting", HALTINGS),
        ):
            if getattr(self, name) not in accepted:
                raise ValueError(
                    f"{name} must be one of {', '.join(accepted)}; got {getattr(self, name)!r}"
                )
        target_rule(self.q_target)
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must lie in (0, 1], got {self.gamma}")
        rates = ("lr", "weight_decay", "puzzle_emb_lr", "puzzle_emb_weight_decay")
        for name in (*rates, "warmup_steps", "segment_cost", "ponder_weight", "act_cost"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("ponder_prior", "act_epsilon"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in (0, 1), got {getattr(self, name)}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {self.betas}")
        if not 0 <= self.lr_min_ratio <= 1:
            raise ValueError(f"lr_min_ratio must lie in [0, 1], got {self.lr_min_ratio}")
        if self.total_steps is not None and self.total_steps < 1:
            raise ValueError(f"total_steps must be >= 1, got {self.total_steps}")
        if self.lr_min_ratio != 1.0 and self.total_steps is None:
            raise ValueError("lr_min_ratio needs total_steps, the length of the cosine")
        if self.halting != "q":
            for name in Q_SETTINGS:
                value, default = getattr(self, name), getattr(LearnerConfig, name)
                if value != default:
                    raise ValueError(
                        f"{name} {value!r} is for halting 'q'; with halting {self.halting!r} there is no "
                        f"Q-learning, and {name} has to be {default!r}"
                    )

    def check_limit(self, halt_max_steps: int) -> None:
        """Raises ValueError where the model's limit of segments leaves jointly trained halting nothing
        to decide."""
        if self.halting != "q" and halt_max_steps < 2:
            raise ValueError(
                f"halting {self.halting!r} needs halt_max_steps of 2 or more, got {halt_max_steps}: "
                "there is nothing to decide"
            )


class Learner:
    """Trains an HRM through a `PuzzleVectorEnv` with SAME_STEP autoreset and the model's own
    `halt_max_steps` as its limit.

    It owns the optimizers, the exploration and the carry; the environment owns the puzzles and says
    what was right. All of a step stays on the device.

    Raises ValueError for a config of jointly trained halting: `make_learner` gives its learner.
    """

    kinds: tuple[Halting, ...] = ("q",)

    def __init__(self, model: HRM, num_envs: int, config: LearnerConfig | None = None) -> None:
        self.model = model
        self.config = config or LearnerConfig()
        if self.config.halting not in self.kinds:
            raise ValueError(
                f"{type(self).__name__} learns halting {' or '.join(self.kinds)}, not "
                f"{self.config.halting!r}; make_learner gives the right learner"
            )
        self.num_envs = num_envs
        self.step = 0
        dense = [p for n, p in model.named_parameters() if not n.startswith("puzzle_emb.")]
        self.optimizers = [self._dense_optimizer(dense)]
        if model.puzzle_emb is not None:
            c = self.config
            self.optimizers.append(
                SignSGD(model.puzzle_emb.parameters(), c.puzzle_emb_lr, c.puzzle_emb_weight_decay)
            )
        self._base_lrs = [o.param_groups[0]["lr"] for o in self.optimizers]
        self._generator = torch.Generator(model.device).manual_seed(self.config.seed)
        self._floor = torch.zeros(num_envs, dtype=torch.int64, device=model.device)
        self.carry: Carry = model.initial_carry(num_envs)
        c = self.config
        # With a limit of one segment there is nothing to go on to.
        spec = c.q_target if model.config.halt_max_steps > 1 else "none"
        self._target_rule = target_rule(spec, c.gamma, c.segment_cost)

    @classmethod
    def for_envs(
        cls, model: HRM, envs: PuzzleVectorEnv, config: LearnerConfig | None = None
    ) -> Self:
        """A learner for these environments.

        Raises ValueError where their limit of segments, their price of a segment, their autoreset or
        their puzzles are not those of the model and the config.
        """
        config = config or LearnerConfig()
        check_envs(model.config, config, envs)
        return cls(model, envs.num_envs, config)

    def _dense_optimizer(self, params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        c = self.config
        if c.optimizer == "adam-atan2":
            return AdamATan2(params, c.lr, c.betas, c.weight_decay)
        return torch.optim.AdamW(
            params, c.lr, c.betas, weight_decay=c.weight_decay, fused=params[0].device.type != "mps"
        )

    # --- acting --------------------------------------------------------------------------------

    def act(self, obs: dict[str, Tensor]) -> tuple[SegmentOutput, dict[str, Tensor]]:
        """Run one segment on every row: its output, and the action (draft, and halt or think on).

        A row halts where its Q values say so and it has reached its exploration floor; the
        environment itself ends rows at their limit.
        """
        self._check_rows(obs)
        # Rows that start afresh, whoever reset them; after `learn` that changes nothing.
        carry = self.model.reset(self.carry, obs["segment"] == 0)
        out = self.model(
            carry, obs["inputs"], obs["puzzle_identifiers"], gradient=self.config.gradient
        )
        return out, self.decide(out, obs["segment"])

    def _check_rows(self, obs: dict[str, Tensor]) -> None:
        wanted, got = [self.num_envs, self.model.config.seq_len], list(obs["inputs"].shape)
        if got != wanted:
            raise ValueError(f"this learner's observations have inputs {wanted}, got {got}")

    @torch.no_grad()
    def decide(self, out: SegmentOutput, segment: Tensor) -> dict[str, Tensor]:
        """The action after a segment; `segment` [B] counts those run before it."""
        wants = out.q_halt > (0.0 if self.config.q_target == "none" else out.q_continue)
        halt = wants & (segment + 1 >= self._explore(segment))
        return {"answer": out.logits.argmax(-1), "halt": halt}

    def _explore(self, segment: Tensor) -> Tensor:
        """The segment before which a row may not halt: with some probability one of 2..limit."""
        model = self.model.config
        if model.halt_exploration_prob == 0 or model.halt_max_steps < 2:
            return self._floor
        rows, generator, device = (self.num_envs,), self._generator, segment.device
        explores = (
            torch.rand(rows, generator=generator, device=device) < model.halt_exploration_prob
        )
        drawn = torch.randint(2, model.halt_max_steps + 1, rows, generator=generator, device=device)
        floor = torch.where(explores, drawn, 0)
        if self.config.exploration == "episode":
            floor = torch.where(segment == 0, floor, self._floor)
        self._floor = floor
        return floor

    # --- learning ------------------------------------------------------------------------------

    def learn(
        self,
        out: SegmentOutput,
        obs: dict[str, Tensor],
        labels: Tensor,
        next_info: dict[str, Any],
    ) -> dict[str, Tensor]:
        """One update from the segment `out`, then the carry of the rows that ended is reset.

        Args:
            out: what `act` returned for `obs`.
            obs: the observation the segment ran on.
            labels: the solutions of those puzzles, [B, S].
            next_info: what the environment said of the drafts.

        Returns:
            Metrics, detached tensors: the losses (means over rows), and of every row whether it
            ended, was right, and its Q values.
        """
        c, batch = self.config, labels.shape[0]
        labelled = (labels != IGNORE_LABEL).any(-1)
        # A row without labels has nothing to get wrong: halting on it is right.
        right = next_info["correct"] | ~labelled
        ended = next_info["_episode"]
        ce = token_loss(out.logits, labels, c.token_loss)
        halt_loss = q_loss(out.q_halt, right)
        continue_loss, target = self._target_rule(
            Experience(
                self.model,
                out,
                obs["inputs"],
                obs["puzzle_identifiers"],
                next_info["segments"],
                ended,
                right,
                self.clock,
            )
        )
        loss = ce + 0.5 * (halt_loss + continue_loss)
        # The sum over rows over the global batch: every row counts, halted or thinking on.
        (loss.sum() / batch).backward()
        self.apply_gradients()
        self.carry = self.model.reset(out.carry, ended)
        return {
            "loss": loss.detach().mean(),
            "token_loss": ce.detach().mean(),
            "q_halt_loss": halt_loss.detach().mean(),
            "q_continue_loss": continue_loss.detach().mean(),
            "q_target": target,
            **self._outcome(out, labelled, next_info),
        }

    def _outcome(
        self, out: SegmentOutput, labelled: Tensor, next_info: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The metrics that are one number a row, [B]."""
        return {
            "ended": next_info["_episode"] & labelled,
            "correct": next_info["correct"],
            "cell_accuracy": next_info["cell_accuracy"],
            "segments": next_info["segments"],
            "q_halt": out.q_halt.detach(),
            "q_continue": out.q_continue.detach(),
        }

    def apply_gradients(self) -> None:
        """One optimizer step from the gradients at hand, at this step's learning rate."""
        for optimizer, rate in zip(self.optimizers, self.scheduled_rates(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def scheduled_rates(self) -> list[float]:
        """The learning rate of this step, one an optimizer."""
        c = self.config
        factor = learning_rate_factor(self.step, c.warmup_steps, c.total_steps, c.lr_min_ratio)
        return [base * factor for base in self._base_lrs]

    @property
    def clock(self) -> int | Tensor:
        """The step as the target rules read it."""
        return self.step

    @property
    def learning_rate(self) -> float:
        """Of the network's optimizer, at the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, the weights left out."""
        return {
            "step": self.step,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "carry": tuple(self.carry),
            "floor": self._floor,
            "generator": self._generator.get_state(),
            "target_memory": self._target_rule.memory,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        device = self.model.device
        self.carry = Carry(*(z.to(device) for z in state["carry"]))
        self._floor = state["floor"].to(device)
        self._generator.set_state(state["generator"])
        memory = state["target_memory"]
        self._target_rule.memory = memory and tuple(t.to(device) for t in memory)
