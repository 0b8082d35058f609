"""EpisodeLearner: jointly trained halting, with one update per episode.

A segment's share of the loss depends on all segments of the episode. An episode first runs without gradient,
which gives every token loss L_t and halt logit. The episode's loss is differentiated by each of them; then
every segment runs again and is differentiated with these derivatives as coefficients. The weights are
constant meanwhile and no gradient crosses segments, so this is the exact gradient, at the memory of one
segment and the cost of one more segment per step, as with the paper's bootstrap target.
"""

from typing import Any

import torch
from torch import Tensor

from hrm_rl.agents.learning.config import LearnerConfig
from hrm_rl.agents.learning.learner import Learner
from hrm_rl.agents.learning.update import JudgedSegment, Rows, Update
from hrm_rl.distributed.ranks import ALONE, Ranks
from hrm_rl.model import ReasoningModel, SegmentOutput
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.tensors import stored_tensor


class EpisodeLearner(Learner):
    """`Learner` for halting losses of whole episodes (`act`, `ponder`), with the same training loop.

    No row halts before the model's `halt_max_steps`, so all rows begin and end together. A step is still one
    segment of every row; the weights change at every `halt_max_steps`-th step.

    Raises ValueError if `halt_max_steps` leaves nothing to decide; `learn` does if the rows did not begin
    and end together.
    """

    whole_episodes = True

    def __init__(
        self, model: ReasoningModel, num_envs: int, config: LearnerConfig, *, ranks: Ranks = ALONE
    ) -> None:
        config.check_limit(model.config.halt_max_steps)
        super().__init__(model, num_envs, config, ranks=ranks)
        # Of each segment of the running episode, [B]: halt logits, token losses, whether drafts are right.
        self._q_halt: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._in_step = torch.ones((), dtype=torch.bool, device=model.device)
        # Means over rows of the last episode learned from: loss, price, segments.
        self._learned = torch.zeros(3, device=model.device)

    @torch.no_grad()
    def act(self, obs: dict[str, Tensor]) -> tuple[SegmentOutput, dict[str, Tensor]]:
        """As `Learner.act`, without gradient; no row halts."""
        return super().act(obs)

    def _update(self, segment: JudgedSegment) -> Update:
        """Store the segment's losses; after an episode's last segment, update from all of them.

        `token_loss` is this segment's. `loss`, `halting_loss` (the price) and `expected_segments` are of the
        last whole episode, 0 before the first; the Q losses are always 0.
        """
        out, obs, labels, ended, judged = segment
        self._in_step = self._in_step & (obs["segment"] == len(self._losses)).all()
        labelled = (labels != IGNORE_LABEL).any(-1)
        with torch.no_grad():
            ce = self._token_loss(out.logits, labels)
        self._q_halt.append(out.q_halt.detach())
        self._losses.append(ce)
        self._correct.append(judged.correct)
        if len(self._losses) == self.model.config.halt_max_steps:
            self._learn_episode(obs, labels, labelled)
        else:
            self.step += 1
        self.carry = out.carry
        loss, price, segments = self._learned
        no_loss, no_target = torch.zeros_like(loss), torch.zeros_like(out.q_halt)
        losses = {"loss": loss, "token_loss": ce.mean()}
        losses |= {"q_halt_loss": no_loss, "q_continue_loss": no_loss}
        losses |= {"halting_loss": price, "expected_segments": segments}
        return Update(losses, Rows.of(out, ended & labelled, judged, no_target))

    def _learn_episode(self, obs: dict[str, Tensor], labels: Tensor, labelled: Tensor) -> None:
        # The only host synchronisation, once per episode.
        if not self._in_step:
            raise ValueError(
                f"halting_loss {self.config.halting_loss!r} learns from whole episodes: all rows must "
                "begin together, with the model's halt_max_steps as their limit"
            )
        self._learned = self._backward(obs, labels, labelled)
        self._q_halt, self._losses, self._correct = [], [], []
        self.apply_gradients()

    def _backward(self, obs: dict[str, Tensor], labels: Tensor, labelled: Tensor) -> Tensor:
        """Compute the gradients of the episode's loss; return mean loss, price and segments over rows."""
        q_halt = torch.stack(self._q_halt).requires_grad_()  # [M, B]
        losses = torch.stack(self._losses).requires_grad_()
        episode = self.stopping(losses, q_halt, torch.stack(self._correct))
        # Rows without labels do not contribute.
        loss = (episode.loss * labelled).sum()
        by_loss, by_q_halt = torch.autograd.grad(loss / self.global_batch, (losses, q_halt))
        carry, first = self.model.initial_carry(len(labels)), self.step + 1 - len(losses)
        for number, (a, b) in enumerate(zip(by_loss, by_q_halt, strict=True)):
            carry = self._noisy(carry, torch.full_like(self._rows, number), first + number)
            again = self.model(carry, obs["inputs"], obs["puzzle_identifiers"], gradient=self.config.gradient)
            ce = self._token_loss(again.logits, labels)
            (a * ce + b * again.q_halt).sum().backward()
            carry = again.carry
        if self.model.puzzle_emb is not None:
            # One row per id: its optimizer compares all pairs of rows.
            table = self.model.puzzle_emb.weights
            assert table.grad is not None
            table.grad = table.grad.coalesce()
        means = (loss.detach() / len(labels), episode.price.mean(), episode.segments.mean())
        return torch.stack([mean.float() for mean in means])

    def begin_episodes(self) -> None:
        super().begin_episodes()
        self._q_halt, self._losses, self._correct = [], [], []
        self._in_step = torch.ones_like(self._in_step)
        self._learned = torch.zeros_like(self._learned)

    # --- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state that the next step depends on, also in the middle of an episode."""
        ranks, learned = self.ranks, self.ranks.whole(self._learned[None])[0].mean(0)
        q_halt, losses, correct = (ranks.whole(*ts) for ts in (self._q_halt, self._losses, self._correct))
        return super().state_dict() | {
            "episode": (q_halt, losses, self._in_step, learned),
            "episode_correct": correct,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        device = self.model.device
        q_halt, losses, in_step, learned = state["episode"]
        # Checkpoints of losses that do not read them may lack them.
        correct = state.get("episode_correct", [torch.zeros_like(t, dtype=torch.bool) for t in losses])
        rows, most = torch.zeros(self.num_envs, device=device), self.model.config.halt_max_steps
        if not len(q_halt) == len(losses) == len(correct) < most:
            raise ValueError(f"an episode must have fewer than {most} segments, each with its loss")
        # A model in float64 has losses in float64.
        losses_like = rows.to(losses[0].dtype) if losses and losses[0].is_floating_point() else rows
        self._q_halt, self._losses, self._correct = (
            [stored_tensor("episode", self.ranks.own(t), like) for t in ts]
            for ts, like in ((q_halt, rows), (losses, losses_like), (correct, rows.bool()))
        )
        self._in_step = stored_tensor("episode", in_step, self._in_step)
        self._learned = stored_tensor("episode", learned, self._learned)


def make_learner(
    model: ReasoningModel, num_envs: int, config: LearnerConfig, *, ranks: Ranks = ALONE
) -> Learner:
    """The learner of `config.halting_loss`: `Learner`, or `EpisodeLearner`. Raises ValueError as they do."""
    kind = EpisodeLearner if config.stopping.whole_episodes else Learner
    return kind(model, num_envs, config, ranks=ranks)
