"""The torch-native vector environment: a batch of puzzles, tensors out, tensors or NumPy in."""

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from hrm_rl.envs.source import Puzzles, Source
from hrm_rl.envs.spaces import action_space, observation_space
from hrm_rl.envs.transition import (
    Autoreset,
    Checker,
    EnvState,
    Judgement,
    Rules,
    Step,
    begin,
    select,
    transition,
    will_end,
)
from hrm_rl.hashing import as_keys, mix

Order = Literal["hash", "epoch"]
_MODES: dict[AutoresetMode, Autoreset] = {
    AutoresetMode.SAME_STEP: "same-step",
    AutoresetMode.NEXT_STEP: "next-step",
    AutoresetMode.DISABLED: "disabled",
}


class PuzzleVectorEnv(VectorEnv):
    """`num_envs` puzzles side by side; an action ends a reasoning segment on each.

    Tensors returned are the environment's own: clone before writing into them.

    Observation (Dict): `inputs` and `draft` [B, S] int32 tokens, `puzzle_identifiers` and `segment`
    [B] int64. Action (Dict): `answer` [B, S] tokens and `halt` [B] in {0, 1}; with
    `flat_action=True` one array [B, S + 1]. Reward: right - segment_cost on the last step,
    -segment_cost before. An episode terminates when it halts or reaches `halt_max_steps`; the
    environment itself never truncates.

    Info, all tensors on the device: `labels`, `rating`, `puzzle_key` of the puzzle in the returned
    observation, from reset and step; and from every step, whether or not a row ended, `correct`,
    `valid`, `cell_accuracy`, `segments`, `first_correct_segment`, `forced` of the answer just given,
    `episode` {r, l, t}, and `final_obs` and `final_info`. Every key has its `_key` mask.

    Row i's k-th puzzle is a pure hash of (seed + i, k). With `order="epoch"` the rows instead walk
    the source's keys 0, 1, 2, ... together, each key once: evaluation with slot refill.

    Raises:
        ValueError: a setting is out of range, or `checker="valid"` where the source cannot check.
    """

    def __init__(
        self,
        num_envs: int,
        source: Source,
        *,
        halt_max_steps: int = 16,
        segment_cost: float = 0.0,
        checker: Checker = "exact",
        flat_action: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        order: Order = "hash",
        device: torch.device | str = "cpu",
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be >= 1, got {num_envs}")
        if order not in ("hash", "epoch"):
            raise ValueError(f"order must be 'hash' or 'epoch', got {order!r}")
        if checker == "valid" and source.validator is None:
            raise ValueError("checker='valid' needs a source with a validator; this one has none")
        self.num_envs = num_envs
        self.source = source
        self.rules = Rules(halt_max_steps, segment_cost, checker)
        self.flat_action = flat_action
        self.order = order
        self.device = torch.device(device)
        mode = _read_mode(autoreset_mode)
        self._autoreset = _MODES[mode]
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.render_mode = None
        self.single_observation_space = observation_space(source, halt_max_steps)
        self.single_action_space = action_space(source, flat_action)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.state: EnvState | None = None
        self._all = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._row_seeds = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._drawn = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._cursor = torch.zeros((), dtype=torch.int64, device=self.device)
        self._began = torch.zeros(num_envs, device=self.device)
        self._clock_start = time.perf_counter()

    # --- Gymnasium's interface ---------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: row i is seeded with `seed + i`, or with the i-th of a list, and starts at its
                puzzle 0; None goes on with the next puzzles (random ones at first).
            options: {"reset_mask": bool [num_envs]} resets, and seeds, those rows only.
        """
        mask = self._reset_mask(options)
        where = self._all if mask is None else mask
        self._seed(seed, where)
        fresh = self._candidates(where)
        self.state = fresh if self.state is None else select(where, fresh, self.state)
        self._began = torch.where(where, self._now(), self._began)
        return self._observation(self.state), self._puzzle_info(self.state, self._all)

    def step(
        self, actions: Any
    ) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        """Submit one draft a row, and halt or think on."""
        if self.state is None:
            raise RuntimeError("call reset() before step()")
        answer, halt = self.read_action(actions)
        ending = will_end(self.state, halt, self.rules)
        taking = self.state.ended if self._autoreset == "next-step" else ending
        keeps = self._autoreset == "disabled"
        candidates = self.state if keeps else self._candidates(taking)
        self.state, step = transition(
            self.state,
            answer,
            halt,
            candidates,
            self.rules,
            self.source.validator,
            self._autoreset,
        )
        info = self._step_info(step)
        if not keeps:
            self._began = torch.where(taking, self._now(), self._began)
        truncated = torch.zeros_like(step.terminated)
        return self._observation(self.state), step.reward, step.terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        self.state = None

    def current(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The observation and puzzle info of this moment, as the last reset or step returned them.

        Raises RuntimeError before the first reset.
        """
        if self.state is None:
            raise RuntimeError("call reset() first")
        return self._observation(self.state), self._puzzle_info(self.state, self._all)

    def take_rows(self, rows: Tensor) -> "PuzzleVectorEnv":
        """These environments in their present state, as fewer: rows int64 [K], each once.

        Their seeds, counters and episodes go with them; this object is not to be stepped on with.
        """
        if self.state is None:
            raise RuntimeError("call reset() first")
        fewer = copy.copy(self)
        fewer.num_envs = len(rows)
        fewer.observation_space = batch_space(self.single_observation_space, fewer.num_envs)
        fewer.action_space = batch_space(self.single_action_space, fewer.num_envs)
        puzzles = Puzzles(*(t[rows] for t in self.state.puzzles))
        fewer.state = EnvState(puzzles, *(t[rows] for t in self.state[1:]))
        for name in ("_all", "_row_seeds", "_drawn", "_began"):
            setattr(fewer, name, getattr(self, name)[rows])
        return fewer

    # --- the state, for checkpoints ---------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Puzzles, drafts and counters of every row; with the same source, all a resume needs."""
        if self.state is None:
            raise RuntimeError("an environment has no state before its first reset")
        return {
            "puzzles": tuple(self.state.puzzles),
            "rows": tuple(self.state[1:]),
            "row_seeds": self._row_seeds,
            "drawn": self._drawn,
            "cursor": self._cursor,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; episode times start anew."""
        on_device = [t.to(self.device) for t in (*state["puzzles"], *state["rows"])]
        if on_device[0].shape != (self.num_envs, self.source.seq_len):
            raise ValueError(
                f"the state is of {tuple(on_device[0].shape)} rows and cells, these environments "
                f"of ({self.num_envs}, {self.source.seq_len})"
            )
        count = len(Puzzles._fields)
        self.state = EnvState(Puzzles(*on_device[:count]), *on_device[count:])
        self._row_seeds = state["row_seeds"].to(self.device)
        self._drawn = state["drawn"].to(self.device)
        self._cursor = state["cursor"].to(self.device)
        self._began = torch.full_like(self._began, self._now())

    # --- actions, seeds and keys ---------------------------------------------------------------

    def read_action(self, actions: Any) -> tuple[Tensor, Tensor]:
        """An action in any accepted form as (answer [B, S], halt bool [B]) on the device.

        Raises ValueError where its form or shape is another.
        """
        if isinstance(actions, Mapping):
            if not {"answer", "halt"} <= actions.keys():
                raise ValueError(f"an action needs 'answer' and 'halt', got {list(actions)}")
            answer = torch.as_tensor(actions["answer"], device=self.device)
            halt = torch.as_tensor(actions["halt"], device=self.device)
        elif self.flat_action:
            flat = torch.atleast_1d(torch.as_tensor(actions, device=self.device))
            answer, halt = flat[..., :-1], flat[..., -1]
        else:
            raise ValueError(
                "an action is a dict of 'answer' and 'halt' (an array only with flat_action=True), "
                f"got {type(actions).__name__}"
            )
        if answer.shape != (self.num_envs, self.source.seq_len) or halt.shape != (self.num_envs,):
            raise ValueError(
                f"answer and halt have shapes {tuple(answer.shape)} and {tuple(halt.shape)}; wanted "
                f"({self.num_envs}, {self.source.seq_len}) and ({self.num_envs},)"
            )
        return answer, halt.bool()

    def _seed(self, seed: int | Sequence[int | None] | None, where: Tensor) -> None:
        rows = range(self.num_envs)
        if isinstance(seed, Sequence):
            if len(seed) != self.num_envs:
                raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments")
            super().reset(seed=seed[0])
            fill = iter(self.np_random.integers(1 << 62, size=self.num_envs).tolist())
            seeds = [next(fill) if s is None else int(s) for s in seed]
        elif seed is not None:
            super().reset(seed=seed)
            seeds = [int(seed) + i for i in rows]
        elif self.state is None:
            start = int(self.np_random.integers(1 << 62))
            seeds = [start + i for i in rows]
        else:
            return
        self._row_seeds = torch.where(where, as_keys(seeds, self.device), self._row_seeds)
        self._drawn = torch.where(where, 0, self._drawn)
        if where is self._all:
            self._cursor = torch.zeros_like(self._cursor)

    def _candidates(self, taking: Tensor) -> EnvState:
        """A fresh episode for every row; the rows of `taking` use theirs up."""
        if self.order == "hash":
            keys = mix(mix(self._row_seeds) + self._drawn)
            self._drawn = self._drawn + taking
        else:
            keys = self._cursor + taking.cumsum(0) - 1
            self._cursor = self._cursor + taking.sum()
        return begin(self.source.draw(keys), keys)

    def _reset_mask(self, options: dict[str, Any] | None) -> Tensor | None:
        if not options or options.get("reset_mask") is None:
            return None
        if self.state is None:
            raise RuntimeError("the first reset resets every row; reset_mask comes later")
        mask = torch.as_tensor(options["reset_mask"], device=self.device)
        if mask.shape != (self.num_envs,) or mask.dtype != torch.bool:
            raise ValueError(
                f"reset_mask is {mask.dtype} of shape {tuple(mask.shape)}; wanted bool "
                f"({self.num_envs},)"
            )
        return mask

    def _now(self) -> float:
        return time.perf_counter() - self._clock_start

    # --- observations and infos ----------------------------------------------------------------

    def _observation(self, state: EnvState) -> dict[str, Tensor]:
        return {
            "inputs": state.puzzles.inputs,
            "draft": state.draft,
            "puzzle_identifiers": state.puzzles.puzzle_identifiers,
            "segment": state.segment,
        }

    def _masked(self, values: dict[str, Any], mask: Tensor) -> dict[str, Any]:
        return values | {f"_{key}": mask for key in values}

    def _puzzle_info(self, state: EnvState, mask: Tensor) -> dict[str, Any]:
        puzzle = {
            "labels": state.puzzles.labels,
            "rating": state.puzzles.rating,
            "puzzle_key": state.puzzle_key,
        }
        return self._masked(puzzle, mask)

    def _judgement_info(self, judgement: Judgement, mask: Tensor) -> dict[str, Any]:
        return self._masked(judgement._asdict(), mask)

    def _step_info(self, step: Step) -> dict[str, Any]:
        assert self.state is not None
        ended = step.ended_now
        episode = {
            "r": step.final.episode_return,
            "l": step.final.segment,
            "t": self._now() - self._began,
        }
        final_info = self._puzzle_info(step.final, ended) | self._judgement_info(
            step.judgement, ended
        )
        return (
            self._puzzle_info(self.state, self._all)
            | self._judgement_info(step.judgement, self._all)
            | self._masked(
                {
                    "episode": episode,
                    "final_obs": self._observation(step.final),
                    "final_info": final_info,
                },
                ended,
            )
        )


def _read_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Gymnasium's mode, from itself, its name (SAME_STEP) or its value (SameStep)."""
    for known in AutoresetMode:
        if mode in (known, known.name, known.value):
            return known
    names = ", ".join(known.name for known in AutoresetMode)
    raise ValueError(f"autoreset_mode must be one of {names}; got {mode!r}")


def to_numpy(value: Any) -> Any:
    """Tensors, and tensors in dicts, as NumPy arrays of their own."""
    if isinstance(value, Mapping):
        return {key: to_numpy(inner) for key, inner in value.items()}
    return np.array(value.detach().cpu().numpy()) if isinstance(value, Tensor) else value
