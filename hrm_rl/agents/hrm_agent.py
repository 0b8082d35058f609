"""HRMAgent: a model and a rule for stopping, acting in a puzzle environment."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrm_rl.halting import HaltingRule, Memory, SegmentFeatures, parse_rule, segment_features
from hrm_rl.halting.rules import needs_of, spec_of, stops_of
from hrm_rl.hashing import mix, stream
from hrm_rl.model import HRM, Carry, SegmentOutput


class Best(NamedTuple):
    """The best-scored draft so far, for rules that recall."""

    score: Tensor  # [B] float32; -inf at segment 0
    draft: Tensor  # [B, S] int64


class AgentState(NamedTuple):
    """What the agent carries from segment to segment: thought, and what its rule compares with."""

    carry: Carry
    memory: Memory
    best: Best | None = None
    """None unless the rule recalls."""

    def take_rows(self, rows: Tensor) -> "AgentState":
        """The state of these rows, int64 [K]."""
        carry = Carry(*(z[rows] for z in self.carry))
        best = None if self.best is None else Best(*(t[rows] for t in self.best))
        return AgentState(carry, Memory(*(t[rows] for t in self.memory)), best)


class SegmentResult(NamedTuple):
    """One segment of every row, before the rule decides."""

    out: SegmentOutput
    features: SegmentFeatures
    memory: Memory
    draft: Tensor  # [B, S] int64


class Decision(NamedTuple):
    """One segment's outcome."""

    action: dict[str, Tensor]  # answer [B, S] int64, halt [B] bool
    state: AgentState
    features: SegmentFeatures
    out: SegmentOutput


class HRMAgent:
    """Thinks one segment an action and stops by a rule; trains nothing.

    Args:
        model: the network, on its device.
        rule: a rule for stopping, or its spec string; `q` is the paper's. With one that recalls
            (`recall(q)`) the answer is at every segment the draft of the largest score so far.
        flat_action: `predict` returns the actions of environments made with `flat_action=True`, as
            tools that take no Dict actions want them (Stable-Baselines3's `evaluate_policy`, say).
        pooled: compute the feature pooled_z_H even if the rule does not need it.
    """

    def __init__(
        self,
        model: HRM,
        rule: HaltingRule | str = "q",
        *,
        flat_action: bool = False,
        pooled: bool = False,
    ) -> None:
        self.model = model
        self.flat_action = flat_action
        self.rule: HaltingRule = parse_rule(rule) if isinstance(rule, str) else rule
        needs = needs_of(self.rule)
        if "future" in needs:
            raise ValueError(
                f"rule {spec_of(self.rule)!r} decides in hindsight: it runs on a trace bank "
                "(`hrm-rl compare`), not live"
            )
        self._pooled = pooled or "pooled_z_H" in needs
        self._recalls = bool(getattr(self.rule, "recalls", False))

    def initial_state(self, batch_size: int) -> AgentState:
        config, device = self.model.config, self.model.device
        best = None
        if self._recalls:
            score = torch.full((batch_size,), -torch.inf, device=device)
            draft = torch.zeros(batch_size, config.seq_len, dtype=torch.int64, device=device)
            best = Best(score, draft)
        return AgentState(
            self.model.initial_carry(batch_size),
            Memory.blank(batch_size, config.seq_len, config.vocab_size, device),
            best,
        )

    @torch.no_grad()
    def act(
        self,
        obs: dict[str, Tensor],
        state: AgentState | None = None,
        *,
        puzzle_key: Tensor | None = None,
    ) -> Decision:
        """Run one segment and decide, on tensors.

        Args:
            obs: a `PuzzleVectorEnv` observation; rows whose `segment` is 0 start afresh.
            state: the state after the last segment; None starts every row afresh.
            puzzle_key: info["puzzle_key"], by which rules that draw at random count; a hash of the
                inputs by default.
        """
        rows = obs["inputs"].shape[0]
        if state is None:
            state = self.initial_state(rows)
        key = _hash_rows(obs["inputs"]) if puzzle_key is None else puzzle_key
        out, features, memory, answer = self._think(obs, state, key)
        best = None
        if self._recalls:
            assert state.best is not None
            fresh = obs["segment"] == 0
            score: Tensor = self.rule.score(features).float()  # type: ignore[attr-defined]
            better = fresh | (score > state.best.score)
            best = Best(
                torch.where(better, score, state.best.score),
                torch.where(better[:, None], answer, state.best.draft),
            )
            answer = best.draft
        action = {"answer": answer, "halt": stops_of(self.rule, features)}
        return Decision(action, AgentState(out.carry, memory, best), features, out)

    def _think(self, obs: dict[str, Tensor], state: AgentState, puzzle_key: Tensor) -> SegmentResult:
        """A segment of every row, and what it shows."""
        fresh = obs["segment"] == 0
        carry = self.model.reset(state.carry, fresh)
        out = self.model(carry, obs["inputs"], obs["puzzle_identifiers"])
        features, memory = segment_features(
            state.memory.reset(fresh), carry, out, puzzle_key, pooled=self._pooled
        )
        return SegmentResult(out, features, memory, out.logits.argmax(-1))

    def predict(
        self,
        observation: dict[str, Any],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[dict[str, np.ndarray] | np.ndarray, tuple[np.ndarray, ...]]:
        """Stable-Baselines3's `predict`: NumPy in, NumPy out, for one environment or a batch.

        Args:
            observation: of a `PuzzleEnv`, or stacked.
            state: what the last call returned, None at first.
            episode_start: bool [B]; rows that begin a new episode. Rows whose observation is at
                segment 0 do so anyway.
            deterministic: accepted for the interface; the rule alone decides.

        Returns:
            The action (`answer` and `halt`, or one array [B, S + 1] with `flat_action`; unbatched for an
            unbatched observation), and the state.
        """
        inputs = np.asarray(observation["inputs"])
        single = inputs.ndim == 1
        obs = {
            key: torch.as_tensor(np.atleast_1d(value), device=self.model.device)
            for key, value in observation.items()
        }
        if single:
            obs["inputs"], obs["draft"] = obs["inputs"][None], obs["draft"][None]
        if episode_start is not None:
            starts = torch.as_tensor(np.atleast_1d(episode_start), device=self.model.device)
            obs["segment"] = torch.where(starts.bool(), 0, obs["segment"])
        decision = self.act(obs, None if state is None else self._from_numpy(state))
        action = {k: v.cpu().numpy().astype(np.int64) for k, v in decision.action.items()}
        memory = self._to_numpy(decision.state)
        if self.flat_action:
            flat = np.concatenate([action["answer"], action["halt"][:, None]], axis=1)
            return (flat[0] if single else flat), memory
        if single:
            action = {key: value[0] for key, value in action.items()}
        return action, memory

    def _to_numpy(self, state: AgentState) -> tuple[np.ndarray, ...]:
        # NumPy has no bfloat16; float32 holds its values exactly.
        tensors = (*state.carry, *state.memory, *(state.best or ()))
        return tuple((t.float() if t.dtype == torch.bfloat16 else t).cpu().numpy() for t in tensors)

    def _from_numpy(self, arrays: tuple[np.ndarray, ...]) -> AgentState:
        z_H, z_L, *others = (torch.as_tensor(a, device=self.model.device) for a in arrays)
        dtype, split = self.model.dtype, len(Memory._fields)
        best = Best(*others[split:]) if self._recalls else None
        return AgentState(Carry(z_H.to(dtype), z_L.to(dtype)), Memory(*others[:split]), best)


def _hash_rows(inputs: Tensor) -> Tensor:
    """A key for each row of tokens, int64 [B]."""
    places = torch.arange(inputs.shape[1], device=inputs.device)
    return mix(stream(inputs.long(), places).sum(-1))
