"""HRMAgent: a model and a halting rule that act in a puzzle environment."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.halting import HaltingRule, Memory, SegmentFeatures, segment_features
from hrm_rl.halting.live import LiveRule
from hrm_rl.hashing import mix, stream
from hrm_rl.model import Carry, ReasoningModel, SegmentOutput
from hrm_rl.model.noise import Noise
from hrm_rl.tensors import as_halt, as_tensor, in_range, row_numbers


class Best(NamedTuple):
    """The draft with the largest score so far, for rules that recall."""

    score: Tensor  # [B] float32; -inf at segment 0
    draft: Tensor  # [B, S] int64


class AgentState(NamedTuple):
    """The state between segments: the model's carry, and the rule's memory of earlier segments."""

    carry: Carry
    memory: Memory
    best: Best | None = None  # None unless the rule recalls

    def take_rows(self, rows: Tensor) -> "AgentState":
        """The state of these rows, int64 [K]. Raises ValueError for rows that it does not have."""
        rows = row_numbers(rows, len(self.memory.segment), self.memory.segment.device)
        return map_tensors(lambda t: t[rows], self)


class SegmentResult(NamedTuple):
    """One segment of every row, before the rule decides."""

    out: SegmentOutput
    features: SegmentFeatures
    memory: Memory
    draft: Tensor  # [B, S] int64


class Decision(NamedTuple):
    """The outcome of one segment."""

    action: dict[str, Tensor]  # answer [B, S] int64, halt [B] bool
    state: AgentState
    features: SegmentFeatures
    out: SegmentOutput


class HRMAgent:
    """Run one segment for each action and stop by a halting rule, without training.

    Args:
        model: the network, on its device.
        rule: a halting rule or its spec string; `q` is the paper's. A rule that recalls (`recall(q)`)
            answers at every segment with the draft of the largest score so far.
        flat_action: `predict` returns the actions of environments made with `flat_action=True`, for tools
            without Dict actions, such as Stable-Baselines3's `evaluate_policy`.
        pooled: compute the feature pooled_z_H even if the rule does not need it.
        noise: of the trajectories, none by default; its numbers follow from `puzzle_key`.

    Raises ValueError for something else than a model, or a rule that decides in hindsight.
    """

    def __init__(
        self,
        model: ReasoningModel,
        rule: HaltingRule | str = "q",
        *,
        flat_action: bool = False,
        pooled: bool = False,
        noise: Noise | None = None,
    ) -> None:
        if not hasattr(model, "initial_carry"):  # a compiled model has it too
            raise ValueError(
                f"model must be a ReasoningModel, got {type(model).__name__}; hrm_rl.from_pretrained opens "
                "a run's"
            )
        self.model, self.flat_action = model, flat_action
        self.noise = noise or Noise()
        self._live = LiveRule.of(rule)
        self.rule = self._live.rule
        self._pooled = pooled or self._live.pooled

    def initial_state(self, batch_size: int) -> AgentState:
        """The state of a fresh batch."""
        config, device = self.model.config, self.model.device
        score = torch.full((batch_size,), -torch.inf, device=device)
        draft = torch.zeros(batch_size, config.seq_len, dtype=torch.int64, device=device)
        best = Best(score, draft) if self._live.recalls else None
        memory = Memory.blank(batch_size, config.seq_len, config.vocab_size, device)
        return AgentState(self.model.initial_carry(batch_size), memory, best)

    @torch.no_grad()
    def act(
        self,
        obs: dict[str, Tensor],
        state: AgentState | None = None,
        *,
        puzzle_key: Tensor | None = None,
        trajectory: Tensor | None = None,
    ) -> Decision:
        """Run one segment and decide, on tensors.

        Args:
            obs: a `PuzzleVectorEnv` observation; rows at `segment` 0 start from a fresh state.
            state: the state after the last segment; None: every row starts from a fresh state.
            puzzle_key: info["puzzle_key"], the counter of rules that draw at random; a hash of the
                inputs by default.
            trajectory: which of a puzzle's trajectories each row runs, int64 [B], for the noise; number 0
                has none. By default 1.

        Raises ValueError for an observation or a state that does not fit the model. Of tensors on a GPU only
        shapes and types are checked, since reading numbers would wait for it.
        """
        obs = self._checked(obs)
        rows = len(obs["inputs"])
        if state is None:
            state = self.initial_state(rows)
        elif not isinstance(state, AgentState):
            raise ValueError(
                f"state must be the AgentState of the last act, or None; got {type(state).__name__}"
            )
        elif len(state.memory.segment) != rows:
            raise ValueError(
                f"the state is of {len(state.memory.segment)} rows, the observation of {rows}; a new batch "
                "starts without a state"
            )
        key = _hash_rows(obs["inputs"]) if puzzle_key is None else as_tensor("puzzle_key", puzzle_key)
        keys = {"puzzle_key": key}
        if trajectory is not None:
            keys["trajectory"] = obs["trajectory"] = as_tensor("trajectory", trajectory)
        for name, part in keys.items():
            if part.shape != (rows,):
                raise ValueError(f"{name} must have the shape ({rows},), got {tuple(part.shape)}")
        out, features, memory, answer = self._think(obs, state, key)
        best = state.best
        if best is not None:
            score = self._live.score(features)
            better = (obs["segment"] == 0) | (score > best.score)
            answer = torch.where(better[:, None], answer, best.draft)
            best = Best(torch.where(better, score, best.score), answer)
        action = {"answer": answer, "halt": self._live.stops(features)}
        return Decision(action, AgentState(out.carry, memory, best), features, out)

    def _checked(self, obs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The parts of an observation that the model reads, as tensors on its device."""
        config, device = self.model.config, self.model.device
        ids = config.num_puzzle_identifiers if config.puzzle_emb_ndim else None
        counts = {"inputs": config.vocab_size, "puzzle_identifiers": ids, "segment": None}
        if not isinstance(obs, Mapping) or not counts.keys() <= obs.keys():
            given = list(obs) if isinstance(obs, Mapping) else type(obs).__name__
            raise ValueError(f"an observation is a dict of {', '.join(counts)}; got {given}")
        parts = {name: as_tensor(name, obs[name]) for name in counts}
        rows = len(parts["inputs"]) if parts["inputs"].ndim else 0
        for name, part in parts.items():
            wanted = (rows, config.seq_len) if name == "inputs" else (rows,)
            if part.shape != wanted:
                raise ValueError(f"{name} must have the shape {wanted}, got {tuple(part.shape)}")
        return {name: in_range(name, parts[name], counts[name], device) for name in counts}

    def _think(self, obs: dict[str, Tensor], state: AgentState, puzzle_key: Tensor) -> SegmentResult:
        """Run one segment of every row and compute its features."""
        fresh = obs["segment"] == 0
        carry = self.model.reset(state.carry, fresh)
        carry = self.noise(carry, puzzle_key, obs["segment"], obs.get("trajectory"))
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
        """Act as Stable-Baselines3's `predict` does: NumPy in and out, one environment or a batch.

        Rows of `episode_start` (bool [B]) begin a new episode, as do rows whose observation is at segment
        0. `deterministic` has no effect: the rule alone decides.

        Returns the action (`answer` and `halt`, or one array [B, S + 1] with `flat_action`; unbatched for an
        unbatched observation) and the state for the next call.

        Raises ValueError for an observation, a state or an `episode_start` that does not fit the model.
        """
        single = isinstance(observation, Mapping) and np.ndim(observation.get("inputs", 0)) == 1
        if single:
            observation = {key: np.asarray(value)[None] for key, value in observation.items()}
        obs = self._checked(observation)
        if episode_start is not None:
            starts = as_tensor("episode_start", np.atleast_1d(episode_start))
            if starts.shape != obs["segment"].shape:
                raise ValueError(
                    f"episode_start must have the shape {tuple(obs['segment'].shape)}, got "
                    f"{tuple(starts.shape)}"
                )
            starts = as_halt("episode_start", starts, self.model.device)
            obs["segment"] = torch.where(starts, 0, obs["segment"])
        decision = self.act(obs, None if state is None else self._from_numpy(state))
        action: Any = {k: v.cpu().numpy().astype(np.int64) for k, v in decision.action.items()}
        if self.flat_action:
            action = np.concatenate([action["answer"], action["halt"][:, None]], axis=1)
        if single:
            action = map_tensors(lambda array: array[0], action)
        return action, self._to_numpy(decision.state)

    def _to_numpy(self, state: AgentState) -> tuple[np.ndarray, ...]:
        # NumPy has no bfloat16; float32 holds its values exactly.
        tensors = (*state.carry, *state.memory, *(state.best or ()))
        return tuple((t.float() if t.dtype == torch.bfloat16 else t).cpu().numpy() for t in tensors)

    def _from_numpy(self, arrays: tuple[np.ndarray, ...]) -> AgentState:
        dtype, split = self.model.dtype, len(Memory._fields)
        count = 2 + split + (len(Best._fields) if self._live.recalls else 0)
        if not isinstance(arrays, tuple | list) or len(arrays) != count:
            found = f"{len(arrays)} arrays" if hasattr(arrays, "__len__") else type(arrays).__name__
            raise ValueError(
                f"the state must be the {count} arrays that predict returned, got {found}; None starts afresh"
            )
        z_H, z_L, *others = (torch.as_tensor(a, device=self.model.device) for a in arrays)
        best = Best(*others[split:]) if self._live.recalls else None
        return AgentState(Carry(z_H.to(dtype), z_L.to(dtype)), Memory(*others[:split]), best)


def _hash_rows(inputs: Tensor) -> Tensor:
    """A key for each row of tokens, int64 [B]."""
    places = torch.arange(inputs.shape[1], device=inputs.device)
    return mix(stream(inputs.long(), places).sum(-1))
