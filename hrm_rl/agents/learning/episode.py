"""The learner of jointly trained halting: one update an episode, from the losses of all its segments.

A segment's share of the loss hangs on what came before and after it, so nothing can be learned before
the episode's end. The weights do not change until then, and a segment passes no gradient to another:
so the episode is only played at first, which gives every L_t and lambda_t; from those follow the
loss's derivatives by each; and then the segments are run again, one at a time, each differentiated
with its derivatives as coefficients. That is the gradient of the whole loss, at the memory of one
segment, for one more segment a step, which is what the paper's bootstrap target costs as well.
"""

from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents.learning.joint_loss import EpisodeLoss, act_loss, ponder_loss
from hrm_rl.agents.learning.learner import Learner, LearnerConfig
from hrm_rl.agents.learning.losses import token_loss
from hrm_rl.model.hrm import HRM, SegmentOutput
from hrm_rl.puzzles.pool import IGNORE_LABEL


class EpisodeLearner(Learner):
    """`Learner` for `halting="act"` and `halting="ponder"`; the loop around it is the same.

    No row halts before the model's `halt_max_steps`, so all rows begin and end together. A step is
    one segment of every row, as ever; the weights change at every `halt_max_steps`-th.

    Raises:
        ValueError: `halt_max_steps` is 1, where there is nothing to decide; from `learn`, if the rows
            did not begin and end together.
    """

    kinds = ("act", "ponder")

    def __init__(self, model: HRM, num_envs: int, config: LearnerConfig) -> None:
        config.check_limit(model.config.halt_max_steps)
        super().__init__(model, num_envs, config)
        # Of each segment of the running episode: its halt logits and token losses, [B].
        self._q_halt: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._in_step = torch.ones((), dtype=torch.bool, device=model.device)
        # Means over rows of the last episode learned from: loss, price, segments.
        self._learned = torch.zeros(3, device=model.device)

    @torch.no_grad()
    def act(self, obs: dict[str, Tensor]) -> tuple[SegmentOutput, dict[str, Tensor]]:
        """Run one segment on every row, without gradient; nobody halts."""
        return super().act(obs)

    @torch.no_grad()
    def decide(self, out: SegmentOutput, segment: Tensor) -> dict[str, Tensor]:
        """The draft; rows think on until the environment ends them at their limit."""
        halt = torch.zeros(segment.shape, dtype=torch.bool, device=segment.device)
        return {"answer": out.logits.argmax(-1), "halt": halt}

    def learn(
        self,
        out: SegmentOutput,
        obs: dict[str, Tensor],
        labels: Tensor,
        next_info: dict[str, Any],
    ) -> dict[str, Tensor]:
        """Note the segment; after an episode's last one, one update from all of them.

        Arguments as `Learner.learn`. Returns its metrics: `token_loss` is this segment's; `loss`,
        `halting_loss` (its price) and `expected_segments` are of the last whole episode, 0 before the
        first; the Q losses are 0, since nothing is learned by them.
        """
        self._in_step = self._in_step & (obs["segment"] == len(self._losses)).all()
        labelled = (labels != IGNORE_LABEL).any(-1)
        with torch.no_grad():
            ce = token_loss(out.logits, labels, self.config.token_loss)
        self._q_halt.append(out.q_halt.detach())
        self._losses.append(ce)
        if len(self._losses) == self.model.config.halt_max_steps:
            # The one host synchronisation, once an episode.
            if not self._in_step:
                raise ValueError(
                    f"halting {self.config.halting!r} learns from whole episodes: all rows have to "
                    "begin together, with the model's halt_max_steps as their limit"
                )
            self._learned = self._backward(obs, labels, labelled)
            self._q_halt, self._losses = [], []
            self.apply_gradients()
        else:
            self.step += 1
        self.carry = self.model.reset(out.carry, next_info["_episode"])
        loss, price, segments = self._learned
        nothing = torch.zeros_like(out.q_halt)
        return {
            "loss": loss,
            "token_loss": ce.mean(),
            "q_halt_loss": torch.zeros_like(loss),
            "q_continue_loss": torch.zeros_like(loss),
            "halting_loss": price,
            "expected_segments": segments,
            "q_target": nothing,
            **self._outcome(out, labelled, next_info),
        }

    def _backward(self, obs: dict[str, Tensor], labels: Tensor, labelled: Tensor) -> Tensor:
        """Gradients of the episode's loss; the means over rows of loss, price and segments.

        A row without labels teaches nothing.
        """
        q_halt = torch.stack(self._q_halt).requires_grad_()  # [M, B]
        losses = torch.stack(self._losses).requires_grad_()
        episode = self.episode_loss(losses, q_halt)
        loss = (episode.loss * labelled).sum() / len(labels)
        by_loss, by_q_halt = torch.autograd.grad(loss, (losses, q_halt))
        carry = self.model.initial_carry(len(labels))
        for a, b in zip(by_loss, by_q_halt, strict=True):
            again = self.model(
                carry, obs["inputs"], obs["puzzle_identifiers"], gradient=self.config.gradient
            )
            ce = token_loss(again.logits, labels, self.config.token_loss)
            (a * ce + b * again.q_halt).sum().backward()
            carry = again.carry
        if self.model.puzzle_emb is not None:
            # One row an id, for its optimizer compares every row with every other.
            table = self.model.puzzle_emb.weights
            assert table.grad is not None
            table.grad = table.grad.coalesce()
        means = (loss.detach(), episode.price.mean(), episode.segments.mean())
        return torch.stack([mean.float() for mean in means])

    def episode_loss(self, losses: Tensor, q_halt: Tensor) -> EpisodeLoss:
        """The configured loss of token losses and halt logits, both [M, B]."""
        c = self.config
        if c.halting == "ponder":
            return ponder_loss(losses, q_halt, c.ponder_prior, c.ponder_weight)
        return act_loss(losses, q_halt, c.act_cost, c.act_epsilon)

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on; in the middle of an episode, that is little more."""
        return super().state_dict() | {
            "episode": (tuple(self._q_halt), tuple(self._losses), self._in_step, self._learned)
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        device = self.model.device
        q_halt, losses, in_step, learned = state["episode"]
        self._q_halt = [t.to(device) for t in q_halt]
        self._losses = [t.to(device) for t in losses]
        self._in_step, self._learned = in_step.to(device), learned.to(device)


def make_learner(model: HRM, num_envs: int, config: LearnerConfig) -> Learner:
    """The learner of `config.halting`: `Learner`, or `EpisodeLearner`. Raises ValueError as they do."""
    kind = EpisodeLearner if config.halting in EpisodeLearner.kinds else Learner
    return kind(model, num_envs, config)
