"""The torch-native vector environment: a batch of puzzles, tensors out, tensors or NumPy in."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike
from torch import Tensor

from hrm_rl.envs.core.from_arrays import take_pool
from hrm_rl.envs.core.rendering import Drawer, Frame, PictureDrawer, Rendering
from hrm_rl.envs.core.rows import Order, RowsVectorEnv, masked
from hrm_rl.envs.core.source import Puzzles, Source, check_source
from hrm_rl.envs.core.transition import Checker, EnvState, EpisodeSettings, begin, transition, will_end
from hrm_rl.envs.to_numpy import to_numpy
from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.tensors import as_halt, as_tensor, in_range, row_numbers, stored_tensor

_UNLABELLED = f" ({IGNORE_LABEL} marks cells without a label, where any token will do)"


class PuzzleVectorEnv(RowsVectorEnv):
    """`num_envs` puzzles side by side; an action ends a reasoning segment on each.

    Returned tensors belong to the environment: clone before writing into them.

    Observation (Dict): `inputs` and `draft` [B, S] int32 tokens, `puzzle_identifiers` and `segment`
    [B] int64. Action (Dict): `answer` [B, S] tokens and `halt` [B] in {0, 1}; with
    `flat_action=True` one array [B, S + 1]. Reward (`transition.reward`): right - segment_cost on the last
    step, -segment_cost before. An episode terminates when it halts or reaches `halt_max_steps`; the
    environment itself never truncates.

    Info, all tensors on the device: reset and step give `labels`, `rating` and `puzzle_key` of the puzzle in
    the returned observation. Every step, whether or not a row ended, also gives the judgement of the answers
    (`Judgement`: `correct`, `valid`, `cell_accuracy`, `segments`, `first_correct_segment`, `forced`),
    `episode` {r, l, t}, `final_obs`, `final_info`, and the metrics of the source's validator, if any. Every
    key has its `_key` mask.

    Row i's k-th puzzle is a pure hash of (seed + i, k). With `order="epoch"` the rows instead walk
    the source's keys 0, 1, 2, ... together, each key once: evaluation with slot refill.

    `autoreset_mode` SAME_STEP gives ended rows their next puzzle at once, NEXT_STEP at the next step, whose
    action they ignore. Under DISABLED they freeze until `reset(options={"reset_mask": bool [B]})`.

    Raises:
        ValueError: a setting out of range, `checker="valid"` for a source without a validator, a bad draw.
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
        drawer: Drawer | None = None,
        picture: PictureDrawer | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(num_envs, autoreset_mode, order, device)
        self._rendering = Rendering(render_mode, drawer, picture)
        self.render_mode = render_mode
        self.metadata |= {"render_modes": self._rendering.modes, "render_fps": 4}
        check_source(source, num_envs, self.device)
        if checker == "valid" and source.validator is None:
            raise ValueError("checker='valid' needs a source with a validator; this one has none")
        self.source = source
        self.settings = EpisodeSettings(halt_max_steps, segment_cost, checker)
        self.flat_action = flat_action
        # Tokens are integer boxes, since SB3 would one-hot a MultiDiscrete.
        tokens = spaces.Box(0, source.vocab_size - 1, (source.seq_len,), np.int32)
        observation = {
            "inputs": tokens,
            "draft": tokens,
            "puzzle_identifiers": spaces.Discrete(source.num_ids),
            "segment": spaces.Discrete(halt_max_steps + 1),
        }
        answer, halt = [source.vocab_size] * source.seq_len, 2
        action: spaces.Space = spaces.MultiDiscrete([*answer, halt])
        if not flat_action:
            action = spaces.Dict(answer=spaces.MultiDiscrete(answer), halt=spaces.Discrete(halt))
        self._set_spaces(spaces.Dict(observation), action)

    @classmethod
    def from_arrays(
        cls, num_envs: int, inputs: ArrayLike, labels: ArrayLike, **settings: Any
    ) -> "PuzzleVectorEnv":
        """Environments over your puzzles: tokens of questions and answers, integers [N, S].

        Cells without a label hold -100. The settings are those of `source_from_arrays` (vocab_size,
        puzzle_identifiers, num_ids, rating, symmetry, validator, relations) and of this class.

        Raises ValueError naming the field and the row for an array of the wrong form.
        """
        source = take_pool(inputs, labels, settings, cls)
        return cls(num_envs, source, **settings)

    @property
    def halt_max_steps(self) -> int:
        """The most segments of an episode."""
        return self.settings.halt_max_steps

    @property
    def vocab_size(self) -> int:
        """Tokens are 0 .. vocab_size - 1."""
        return self.source.vocab_size

    @property
    def seq_len(self) -> int:
        """Cells of a puzzle, S."""
        return self.source.seq_len

    # --- Gymnasium's interface ---------------------------------------------------------------

    def reset(self, **options: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
        self._rendering.q_values = None
        return super().reset(**options)

    def step(self, actions: Any) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        """Submit one draft a row, and halt or think on."""
        if self.state is None:
            raise RuntimeError("call reset() before step()")
        answer, halt = self.read_action(actions)
        taking = self._taking(will_end(self.state, halt, self.settings))
        candidates = self.state if taking is None else self._fresh(taking)
        settings, mode = self.settings, self.metadata["autoreset_mode"]
        self.state, step = transition(
            self.state, answer, halt, candidates, settings, self.source.validator, mode
        )
        return self._outcome(step, taking, **self._metrics(step.final))

    def render(self) -> tuple[Frame, ...] | None:  # type: ignore[override]
        """A drawing of every row, as `PuzzleEnv.render` draws it; None without a mode or a reset."""
        if self.render_mode is None or self.state is None:
            return None
        return self._rendering.frames(self.state, self.halt_max_steps)

    def show_q(self, q_halt: ArrayLike, q_continue: ArrayLike) -> None:
        """Show these Q values, logits [B] each, in the pictures until the next call or reset."""
        pair = [np.asarray(to_numpy(q), np.float64) for q in (q_halt, q_continue)]
        self._rendering.q_values = np.stack(pair)

    def current(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The observation and puzzle info that the last reset or step returned.

        Raises RuntimeError before the first reset.
        """
        if self.state is None:
            raise RuntimeError("call reset() first")
        return self._observe(self.state), self._puzzle_info(self.state, self._all)

    def take_rows(self, rows: Tensor) -> "PuzzleVectorEnv":
        """An environment of these rows only, int64 [K], each once, with their seeds, counters and episodes.

        Do not step this environment afterwards. Raises ValueError for rows that it does not have.
        """
        if self.state is None:
            raise RuntimeError("call reset() first")
        rows = row_numbers(rows, self.num_envs, self.device)
        fewer = copy.copy(self)
        fewer.num_envs = len(rows)
        fewer.observation_space = batch_space(self.single_observation_space, fewer.num_envs)
        fewer.action_space = batch_space(self.single_action_space, fewer.num_envs)
        fewer.state = map_tensors(lambda t: t[rows], self.state)
        fewer._keys = self._keys.take(rows)
        for name in ("_all", "_began"):
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
            "row_seeds": self._keys.seeds,
            "drawn": self._keys.drawn,
            "cursor": self._keys.cursor,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; episode times start at 0.

        Raises ValueError for a state of other rows or cells, or with numbers out of range.
        """
        missing = {"puzzles", "rows", "row_seeds", "drawn", "cursor"} - state.keys()
        if missing:
            raise ValueError(f"a state of `state_dict` has {', '.join(sorted(missing))}; this one lacks it")
        on_device = [t.to(self.device) for t in (*state["puzzles"], *state["rows"])]
        if on_device[0].shape != (self.num_envs, self.source.seq_len):
            raise ValueError(
                f"the state has (rows, cells) {tuple(on_device[0].shape)}; these environments have "
                f"({self.num_envs}, {self.source.seq_len})"
            )
        count = len(Puzzles._fields)
        read = EnvState(Puzzles(*on_device[:count]), *on_device[count:])
        keys = self._keys
        stored = [
            stored_tensor(name, state[name], like)
            for name, like in (("row_seeds", keys.seeds), ("drawn", keys.drawn), ("cursor", keys.cursor))
        ]
        self._check_state(read)
        self.state = read
        keys.seeds, keys.drawn, keys.cursor = stored
        self._began = torch.full_like(self._began, self._now())

    def _check_state(self, state: EnvState) -> None:
        """Raise ValueError unless tensors have the types, shapes and ranges of these environments' state."""
        rows, limit, puzzles = torch.zeros_like(self._keys.seeds), self.halt_max_steps + 1, state.puzzles
        board = rows.new_zeros((self.num_envs, self.seq_len), dtype=torch.int32)
        # Cells without a label count as those of token 0.
        labels = stored_tensor("labels", puzzles.labels, board)
        labels = torch.where(labels == IGNORE_LABEL, 0, labels)
        for name, found, like, count in (
            ("inputs", puzzles.inputs, board, self.vocab_size),
            ("labels", labels, board, self.vocab_size),
            ("draft", state.draft, board, self.vocab_size),
            ("puzzle_identifiers", puzzles.puzzle_identifiers, rows, self.source.num_ids),
            ("rating", puzzles.rating, rows.float(), None),
            ("puzzle_key", state.puzzle_key, rows, None),
            ("segment", state.segment, rows, limit),
            ("first_correct", state.first_correct, rows, limit),
            ("episode_return", state.episode_return, rows.float(), None),
            ("ended", state.ended, rows.bool(), None),
        ):
            stored_tensor(name, found, like, count)

    # --- actions, seeds and keys ---------------------------------------------------------------

    def read_action(self, actions: Any) -> tuple[Tensor, Tensor]:
        """An action in any accepted form as (answer [B, S], halt bool [B]) on the device.

        Raises ValueError for another form, shape or type. Numbers outside the action space are refused if
        they lie on the host; those on a GPU count as wrong answers, since reading them would wait for it.
        """
        if isinstance(actions, Mapping):
            if not {"answer", "halt"} <= actions.keys():
                raise ValueError(f"an action needs 'answer' and 'halt', got {list(actions)}")
            answer, halt = (as_tensor(name, actions[name]) for name in ("answer", "halt"))
        elif self.flat_action:
            flat = torch.atleast_1d(as_tensor("an action", actions))
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
        answer = in_range("answer", answer, self.vocab_size, self.device, _UNLABELLED)
        return answer, as_halt("halt", halt, self.device)

    def _fresh(self, taking: Tensor) -> EnvState:
        keys = self._keys.draw(taking)
        return begin(self.source.draw(keys), keys)

    # --- observations and infos ----------------------------------------------------------------

    def _observe(self, state: EnvState) -> dict[str, Tensor]:
        return {
            "inputs": state.puzzles.inputs,
            "draft": state.draft,
            "puzzle_identifiers": state.puzzles.puzzle_identifiers,
            "segment": state.segment,
        }

    def _puzzle_info(self, state: EnvState, mask: Tensor) -> dict[str, Any]:
        puzzle = {
            "labels": state.puzzles.labels,
            "rating": state.puzzles.rating,
            "puzzle_key": state.puzzle_key,
        }
        return masked(puzzle, mask)

    def _metrics(self, state: EnvState) -> dict[str, Any]:
        """The metrics of the source's validator on the answers just given; mostly none."""
        metrics = getattr(self.source.validator, "metrics", None)
        if metrics is None:
            return {}
        return metrics(state.puzzles.inputs, state.draft, state.puzzles.labels)
