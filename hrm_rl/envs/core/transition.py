"""The pure core of every puzzle environment: `transition(state, action, candidates)`, with its reward.

Static shapes, `torch.where` resets, no host synchronisation: it runs unchanged on one row or ten
thousand, on any device, and inside a captured graph. The one exception is a validator with `on_host`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from hrm_rl.envs.core.source import Puzzles, Validator
from hrm_rl.envs.to_torch import map_tensors
from hrm_rl.puzzles.pool import IGNORE_LABEL
from hrm_rl.settings import check_at_least, check_integers, check_one_of

Checker = Literal["exact", "valid"]
CHECKERS: tuple[Checker, ...] = ("exact", "valid")


@dataclass(frozen=True)
class EpisodeSettings:
    """When an episode ends and what it pays. Raises ValueError for a setting out of range."""

    halt_max_steps: int = 16
    """Segments after which the draft is submitted and judged."""
    segment_cost: float = 0.0
    """Subtracted from the reward at every segment; 0 is the paper."""
    checker: Checker = "exact"
    """Which judgement pays: the stored solution, or any right answer."""

    def __post_init__(self) -> None:
        if isinstance(self.halt_max_steps, np.integer):
            object.__setattr__(self, "halt_max_steps", int(self.halt_max_steps))
        check_integers(self, 1, "halt_max_steps")
        check_at_least(self, 0, "segment_cost")
        check_one_of(self, CHECKERS, "checker")

    @property
    def pays(self) -> str:
        """The field of `Judgement` that pays."""
        return "correct" if self.checker == "exact" else "valid"


class EnvState(NamedTuple):
    """Everything an environment remembers, one row a puzzle."""

    puzzles: Puzzles
    puzzle_key: Tensor  # [B] int64: the key the puzzle was drawn by
    draft: Tensor  # [B, S] int32: the last answer given; the inputs after a reset
    segment: Tensor  # [B] int64: segments run on this puzzle
    first_correct: Tensor  # [B] int64: segment of the first correct draft; 0 = none yet
    episode_return: Tensor  # [B] float32
    ended: Tensor  # [B] bool: judged, and not yet reset (never so under same-step)


class Judgement(NamedTuple):
    """The verdict on the answers just given, on every row. A step's info has its fields as keys."""

    correct: Tensor  # [B] bool: equals the stored solution on every labelled cell
    valid: Tensor  # [B] bool: any right answer
    cell_accuracy: Tensor  # [B] float32: share of labelled cells that are right
    segments: Tensor  # [B] int64
    first_correct_segment: Tensor  # [B] int64; 0 = none
    forced: Tensor  # [B] bool: the limit ended the episode, not the agent

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """The judgement in a step's info; a field that a hand-made info lacks is None."""
        fields: list[Any] = [info.get(name) for name in cls._fields]
        return cls(*fields)

    @classmethod
    def all_wrong(cls, segments: Tensor) -> Self:
        """Wrong drafts after `segments` [B] segments, for timing a step without an environment."""
        no, zero = torch.zeros_like(segments).bool(), torch.zeros_like(segments)
        return cls(no, no, zero.float(), segments, zero, no)


class Step(NamedTuple):
    """The outcome of one transition, before any autoreset shows."""

    reward: Tensor  # [B] float32
    terminated: Tensor  # [B] bool
    ended_now: Tensor  # [B] bool: the rows whose episode ended at this very step
    judgement: Judgement
    final: Any  # the EnvState that the step left (a HaltingState in `HRM/Halting-v0`)


def reward(paid: Tensor, ended: Tensor, running: Tensor, segment_cost: float) -> Tensor:
    """1 for a right answer on an episode's last step, minus the segment's cost: float32 [B].

    All bool [B]: whose answer is right (`correct` or `valid`, by the checker), which episodes end at this
    step, and which rows ran a segment. Rows that ended before get 0.
    """
    return (ended & paid).float() - segment_cost * running


def transition(
    state: EnvState,
    answer: Tensor,
    halt: Tensor,
    candidates: EnvState,
    settings: EpisodeSettings,
    validator: Validator | None = None,
    autoreset: AutoresetMode = AutoresetMode.SAME_STEP,
) -> tuple[EnvState, Step]:
    """One step of every row.

    Args:
        state: of every row before the step.
        answer: drafts, integer [B, S].
        halt: which rows submit their draft, bool [B].
        candidates: fresh episodes, one a row, taken by the rows that reset.
        settings: when an episode ends and what it pays.
        validator: checks for any right answer; without one, `valid` is `correct`.
        autoreset: ended rows take their candidate now (SAME_STEP), at the next step, whose action they
            ignore (NEXT_STEP), or freeze until they are reset from outside (DISABLED).

    Returns:
        The next state, and the step's outcome.
    """
    running = ~state.ended
    ends = will_end(state, halt, settings)
    answered = state._replace(
        draft=torch.where(running[:, None], answer.to(state.draft.dtype), state.draft),
        segment=state.segment + running,
    )
    judgement = judge(answered, ends, ends & ~halt, validator)
    paid = getattr(judgement, settings.pays)
    gained = reward(paid, ends, running, settings.segment_cost)
    final = answered._replace(
        first_correct=judgement.first_correct_segment,
        episode_return=state.episode_return + gained,
        ended=state.ended | ends,
    )
    if autoreset is AutoresetMode.DISABLED:
        return final, Step(gained, final.ended, ends, judgement, final)
    resets = ends if autoreset is AutoresetMode.SAME_STEP else state.ended
    return select(resets, candidates, final), Step(gained, ends, ends, judgement, final)


def begin(puzzles: Puzzles, keys: Tensor) -> EnvState:
    """Fresh episodes on these puzzles: the draft is the question, no segment has run."""
    zeros = torch.zeros_like(keys)
    draft = puzzles.inputs.clone()
    return EnvState(puzzles, keys, draft, zeros, zeros, zeros.float(), zeros.bool())


def will_end(state: EnvState, halt: Tensor, settings: EpisodeSettings) -> Tensor:
    """Which running episodes the coming step ends: the agent halts, or the limit is reached."""
    return ~state.ended & (halt | (state.segment + 1 >= settings.halt_max_steps))


def judge(state: EnvState, ends: Tensor, forced: Tensor, validator: Validator | None) -> Judgement:
    """The judgement of the drafts in `state`; `ends` and `forced`, bool [B], are of this step."""
    labels = state.puzzles.labels
    labelled = labels != IGNORE_LABEL
    count = labelled.sum(-1)
    hits = ((state.draft == labels) & labelled).sum(-1)
    has_labels = count > 0  # no answer to a padded row is right
    correct = (hits == count) & has_labels
    valid = correct
    if validator is not None:
        valid = _is_valid(validator, state.puzzles, state.draft, correct, ends) & has_labels
    first = torch.where((state.first_correct == 0) & correct, state.segment, state.first_correct)
    return Judgement(correct, valid, hits / count.clamp_min(1), state.segment, first, forced)


def _is_valid(validator: Validator, puzzles: Puzzles, draft: Tensor, correct: Tensor, ends: Tensor) -> Tensor:
    if getattr(validator, "on_host", False):  # for as few rows as possible
        return correct | validator(puzzles.inputs, draft, puzzles.labels, ends & ~correct)
    if getattr(validator, "needs_labels", False):
        return validator(puzzles.inputs, draft, puzzles.labels)
    return validator(puzzles.inputs, draft)


def select(where: Tensor, new: Any, old: Any) -> Any:
    """The state ([B] and [B, S] tensors) with the rows of `new` where `where` holds, of `old` elsewhere."""
    rows = where[:, None]
    return map_tensors(lambda a, b: torch.where(where if a.ndim == 1 else rows, a, b), new, old)
