"""The Q-learning ACT learner: deep supervision on every segment, and Q values for when to stop.

    out, action = learner.act(obs)                                   # one segment for every row
    next_obs, reward, terminated, truncated, next_info = envs.step(action)
    learner.learn(out, obs, info["labels"], terminated, next_info)   # losses and optimizer
    obs, info = next_obs, next_info

Source: arXiv 2506.21734, section 2 (deep supervision; adaptive computation time), figure 4.
"""

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from hrm_rl.agents.learning.config import LearnerConfig as LearnerConfig
from hrm_rl.agents.learning.halting_loss import HaltingLoss
from hrm_rl.agents.learning.losses import q_loss, token_loss
from hrm_rl.agents.learning.optim import (
    SkipBroken,
    finite_or_zero,
    learning_rate_factor,
    make_optimizers,
    sum_gradients,
)
from hrm_rl.agents.learning.q_targets import Experience, target_rule
from hrm_rl.agents.learning.stored_state import check_memory, load_optimizer, set_generator
from hrm_rl.agents.learning.update import JudgedSegment, Rows, Update
from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.distributed.sharding import gathered
from hrm_rl.envs import Judgement, PuzzleVectorEnv
from hrm_rl.model import Carry, HRMConfig, ReasoningModel, SegmentOutput
from hrm_rl.model.noise import step_keys
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.settings import check_counts
from hrm_rl.tensors import stored_tensor

_log = logging.getLogger(__name__)


class Learner:
    """Train a model by Q-learning, through a `PuzzleVectorEnv` with SAME_STEP autoreset and the model's
    `halt_max_steps` as its limit.

    The learner owns the optimizers, the exploration and the carry; the environment owns the puzzles and
    evaluates the drafts. A step stays on the device. Of several `ranks`, `num_envs` counts this one's rows;
    together they take the step of one process with all rows.

    Raises ValueError for a config whose halting loss needs another learner: `make_learner` chooses.
    """

    whole_episodes: ClassVar[bool] = False

    def __init__(
        self,
        model: ReasoningModel,
        num_envs: int,
        config: LearnerConfig | None = None,
        *,
        ranks: Ranks = ALONE,
    ) -> None:
        check_counts(num_envs=num_envs)
        self.model, self.ranks = model, ranks
        self.config = config = config or LearnerConfig()
        self.stopping: HaltingLoss = config.stopping
        if self.stopping.whole_episodes != self.whole_episodes:
            raise ValueError(
                f"{type(self).__name__} does not learn by halting_loss {config.halting_loss!r}; "
                "make_learner gives the right learner"
            )
        self.num_envs = num_envs
        self.global_batch = num_envs * ranks.count
        self.step = 0
        self.optimizers = make_optimizers(model, config)
        self._base_lrs = [o.param_groups[0]["lr"] for o in self.optimizers]
        self.generator = torch.Generator(model.device).manual_seed(config.seed)
        self._floor = torch.zeros(num_envs, dtype=torch.int64, device=model.device)
        self._noise = config.noise
        self._rows = ranks.own(torch.arange(self.global_batch, device=model.device))
        self.carry: Carry = model.initial_carry(num_envs)
        # A limit of one segment leaves nothing to continue.
        spec = config.q_target if model.config.halt_max_steps > 1 else "none"
        self._target_rule = target_rule(spec, config.gamma, config.segment_cost)
        self._target_rule.check_ranks(num_envs, ranks.count)
        self._skip: SkipBroken | None = None

    @classmethod
    def for_envs(
        cls, model: ReasoningModel, envs: PuzzleVectorEnv, config: LearnerConfig | None = None
    ) -> Self:
        """A learner for these environments. Raises ValueError as `check_envs`."""
        config = config or LearnerConfig()
        if not isinstance(config, LearnerConfig):
            raise ValueError(f"config must be a LearnerConfig, got {type(config).__name__}")
        if not hasattr(model, "initial_carry"):  # a compiled model has it too
            raise ValueError(f"model must be a ReasoningModel, got {type(model).__name__}")
        check_envs(model.config, config, envs)
        return cls(model, envs.num_envs, config)

    @property
    def rule(self) -> str:
        """Spec of the rule for stopping that it trains for, as `LearnerConfig.rule`."""
        return self.stopping.rule

    # --- acting --------------------------------------------------------------------------------

    def act(self, obs: dict[str, Tensor]) -> tuple[SegmentOutput, dict[str, Tensor]]:
        """Run one segment on every row; return its output and the action (draft, and halt or think on).

        A row halts where its Q values favour halting and it has reached its exploration floor; the
        environment ends rows at their limit.
        """
        self._check_rows(obs)
        out = self.think(obs)
        return out, self.decide(out, obs["segment"])

    def think(self, obs: dict[str, Tensor]) -> SegmentOutput:
        """Run one segment of every row; rows at segment 0 start from a fresh carry."""
        carry = self.model.reset(self.carry, obs["segment"] == 0)
        carry = self._noisy(carry, obs["segment"], self.clock)
        return self.model(carry, obs["inputs"], obs["puzzle_identifiers"], gradient=self.config.gradient)

    def _noisy(self, carry: Carry, segment: Tensor, step: int | Tensor) -> Carry:
        """The carry that the segment of a step starts from, after `segment` [B] others. Target rules that
        run one more segment run it without noise."""
        if not self._noise:
            return carry
        return self._noise(carry, step_keys(self.config.seed, self._rows, step), segment)

    def _check_rows(self, obs: dict[str, Tensor]) -> None:
        missing = {"inputs", "puzzle_identifiers", "segment"} - obs.keys()
        if missing:
            raise ValueError(f"an observation has {', '.join(sorted(missing))} too; got {', '.join(obs)}")
        if not isinstance(obs["inputs"], Tensor):
            raise ValueError("a learner takes observations of tensors; leave ToNumpy out")
        wanted, got = [self.num_envs, self.model.config.seq_len], list(obs["inputs"].shape)
        if got != wanted:
            raise ValueError(f"this learner's observations have inputs {wanted}, got {got}")

    @torch.no_grad()
    def decide(self, out: SegmentOutput, segment: Tensor, floor: Tensor | None = None) -> dict[str, Tensor]:
        """Return the draft and whether each row halts; `segment` [B] counts those run before this one.

        No row halts before its segment `floor` [B], by default drawn for exploration.
        """
        floor = self._explore(segment) if floor is None else floor
        halt = self.stopping.halts(out.q_halt, out.q_continue) & (segment + 1 >= floor)
        return {"answer": out.logits.argmax(-1), "halt": halt}

    def _explore(self, segment: Tensor) -> Tensor:
        """The segment before which a row may not halt: with some probability one of 2..limit."""
        model = self.model.config
        if model.halt_exploration_prob == 0 or model.halt_max_steps < 2:
            return self._floor
        # Every rank draws for all rows, and keeps its own.
        rows, generator, device = (self.global_batch,), self.generator, segment.device
        luck = torch.rand(rows, generator=generator, device=device)
        explores = luck < model.halt_exploration_prob
        drawn = torch.randint(2, model.halt_max_steps + 1, rows, generator=generator, device=device)
        floor = self.ranks.own(torch.where(explores, drawn, 0))
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
        terminated: Tensor | Mapping[str, Any],
        info: Mapping[str, Any] | Judgement | None = None,
    ) -> Update:
        """Update from the segment `out`.

        Args:
            out: what `act` returned for `obs`.
            obs: the observation the segment ran on.
            labels: the solutions of those puzzles, [B, S].
            terminated: which episodes the step ended, bool [B].
            info: the step's info, or the judgement of the drafts alone.

        The older form `learn(out, obs, labels, info)` is accepted: `terminated` is then the info's mask
        of ended episodes.

        Returns the losses, and of every row (of all ranks) its judgement and Q values, detached.
        """
        if isinstance(terminated, Mapping):
            return self.learn(out, obs, labels, terminated["_episode"], terminated)
        if info is None:
            raise ValueError("learn needs the step's info beside terminated")
        judged = info if isinstance(info, Judgement) else Judgement.of(info)
        segment = JudgedSegment(out, obs, labels, terminated, judged)
        segment.check(self.num_envs, self.model.config)
        if self._skip is not None:
            self._skip.begin()
        update = self._update(segment)
        update = update if self._skip is None else self._skip.update(update)
        return update.whole(self.ranks)

    def _update(self, segment: JudgedSegment) -> Update:
        """Take an optimizer step from the segment's loss."""
        loss, update = self._loss(segment)
        loss.backward()
        self.apply_gradients()
        self.carry = segment.out.carry
        if self._skip is not None:
            self.carry, memory = self._skip.carry(self.carry), self._target_rule.memory
            self._target_rule.memory = memory and tuple(map(finite_or_zero, memory))
        return update

    def _loss(self, segment: JudgedSegment) -> tuple[Tensor, Update]:
        """The loss of a segment with its target, a scalar, and what `learn` returns."""
        out, obs, labels, ended, judged = segment
        labelled = (labels != IGNORE_LABEL).any(-1)
        right = judged.correct | ~labelled  # a row without labels counts as correct
        puzzles = obs["inputs"], obs["puzzle_identifiers"]
        now = Experience(self.model, out, *puzzles, judged.segments, ended, right, self.clock)
        continue_loss, target = self._target_rule(now)
        halt_loss = q_loss(out.q_halt, right)
        ce = self._token_loss(out.logits, labels)
        loss = ce + self.config.q_loss_weight * (halt_loss + continue_loss)
        q_losses = {"q_halt_loss": halt_loss, "q_continue_loss": continue_loss}
        losses = {"loss": loss, "token_loss": ce} | q_losses
        means = {name: rows.detach().mean() for name, rows in losses.items()}
        # The sum over rows over the global batch: every row counts, halted or thinking on.
        return loss.sum() / self.global_batch, Update(means, Rows.of(out, ended & labelled, judged, target))

    def _token_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels, self.config.token_loss, self.config.label_smoothing)

    def apply_gradients(self) -> None:
        """Take one optimizer step from the current gradients, at this step's learning rate."""
        sum_gradients(self.ranks, self.optimizers, self.num_envs)
        for optimizer, rate in zip(self.optimizers, self.scheduled_rates(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate
        self._step_optimizers()
        self.step += 1

    def _step_optimizers(self) -> None:
        with contextlib.nullcontext() if self._skip is None else self._skip.watching():
            for optimizer in self.optimizers:
                optimizer.step()
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def scheduled_rates(self) -> list[float]:
        """The learning rate of this step for each optimizer."""
        c = self.config
        factor = learning_rate_factor(self.step, c.warmup_steps, c.total_steps, c.lr_min_ratio)
        return [base * factor for base in self._base_lrs]

    @property
    def clock(self) -> int | Tensor:
        """The step as the target rules read it."""
        return self.step

    @property
    def learning_rate(self) -> float:
        """Learning rate of the network's optimizer at the last step."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    # --- values that are not finite ----------------------------------------------------------------

    def skip_broken(self) -> SkipBroken:
        """From now on leave out updates that are not finite, and return what counts them. Call it before the
        first step. `learn` then also returns the loss `skipped`."""
        self._skip = SkipBroken(self.model, self.optimizers)
        return self._skip

    def begin_episodes(self) -> None:
        """Forget the running episodes; every row must begin a new one."""
        self.carry = self.model.initial_carry(self.num_envs)
        self._floor = torch.zeros_like(self._floor)
        self._target_rule.memory = None

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state that the next step depends on, except the weights; of all ranks, whose number may be
        another when it is loaded."""
        memory, dim = self._target_rule.memory, self._target_rule.row_dim
        return {
            "step": self.step,
            "optimizers": [gathered(o.state_dict()) for o in self.optimizers],
            "carry": self.ranks.whole(*self.carry),
            "floor": self.ranks.whole(self._floor)[0],
            "generator": self.generator.get_state(),
            "target_memory": memory and self.ranks.whole_state(memory, dim),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a `state_dict`. Raises ValueError or KeyError where it does not fit."""
        check_counts(step=state["step"] + 1)
        own = self.ranks.own_state
        memory = own(state["target_memory"], self._target_rule.row_dim)
        check_memory(memory, self.carry.z_H, self.model.config.halt_max_steps, self._target_rule.row_dim)
        names = zip(("z_H", "z_L"), own(state["carry"]), self.carry, strict=True)
        carry = Carry(*(stored_tensor(f"carry.{name}", z, like) for name, z, like in names))
        floor = stored_tensor("floor", own(state["floor"]), self._floor)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            load_optimizer(optimizer, saved)
        set_generator(self.generator, state["generator"])
        self.step, self.carry, self._floor = state["step"], carry, floor
        self._target_rule.memory = memory and tuple(t.to(self.model.device) for t in memory)


def check_envs(model: HRMConfig, config: LearnerConfig, envs: PuzzleVectorEnv) -> None:
    """Raise ValueError, naming every mismatch, unless limit of segments, segment cost, autoreset mode and
    puzzles of the environments fit the model and the config: a mismatch would train a different problem."""
    if not isinstance(envs, PuzzleVectorEnv):
        raise ValueError(
            "a learner takes the vector environment that gym.make_vec returns without a vectorization_mode, "
            f"unwrapped and in tensors; got {type(envs).__name__}"
        )
    if envs.source.num_ids > 1 and not model.embedding_width:
        _log.warning(
            "The environments have %d puzzle identifiers, which the model does not see: "
            "its puzzle_emb_ndim is 0.",
            envs.source.num_ids,
        )
    same_step = AutoresetMode.SAME_STEP
    both = (
        ("halt_max_steps", envs.halt_max_steps, model.halt_max_steps, "the model"),
        ("segment_cost", envs.settings.segment_cost, config.segment_cost, "the learner's config"),
        ("seq_len", envs.seq_len, model.seq_len, "the model"),
        ("autoreset_mode", envs.metadata["autoreset_mode"], same_step, "the learner"),
    )
    wrong = [
        f"{name} is {theirs} in the environments but {ours} in {owner}"
        for name, theirs, ours, owner in both
        if theirs != ours
    ]
    if envs.vocab_size > model.vocab_size:
        tokens = envs.vocab_size
        wrong.append(f"the environments have {tokens} tokens but the model {model.vocab_size}")
    if model.embedding_width and envs.source.num_ids > model.num_puzzle_identifiers:
        wrong.append(
            f"the environments have {envs.source.num_ids} puzzle identifiers but the model "
            f"{model.num_puzzle_identifiers}"
        )
    if wrong:
        raise ValueError(f"environments and learner disagree: {'; '.join(wrong)}")
