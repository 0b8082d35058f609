"""The pure core of every puzzle environment: `transition(state, action, candidates)`.

Static shapes, `torch.where` resets, no host synchronisation: it runs unchanged on one row or ten
thousand, on any device, and inside a captured graph. The one exception is asked for by name: a
validator that is `on_host`.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hrm_rl.envs.core.source import Puzzles, Validator
from hrm_rl.puzzles.pool import IGNORE_LABEL

Checker = Literal["exact", "valid"]
CHECKERS: tuple[Checker, ...] = ("exact", "valid")
Autoreset = Literal["same-step", "next-step", "disabled"]


@dataclass(frozen=True)
class Rules:
    """The rules of an episode."""

    halt_max_steps: int = 16
    """Segments after which the draft is submitted and judged."""
    segment_cost: float = 0.0
    """Subtracted from the reward at every segment; 0 is the paper."""
    checker: Checker = "exact"
    """Which judgement pays: the stored solution, or any right answer."""

    def __post_init__(self) -> None:
        if self.halt_max_steps < 1:
            raise ValueError(f"halt_max_steps must be >= 1, got {self.halt_max_steps}")
        if not self.segment_cost >= 0:
            raise ValueError(f"segment_cost must be >= 0, got {self.segment_cost}")
        if self.checker not in CHECKERS:
            raise ValueError(f"checker must be one of {CHECKERS}, got {self.checker!r}")


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
    """What is said of the answer just given, on every row."""

    correct: Tensor  # [B] bool: equals the stored solution on every labelled cell
    valid: Tensor  # [B] bool: any right answer
    cell_accuracy: Tensor  # [B] float32: share of labelled cells that are right
    segments: Tensor  # [B] int64
    first_correct_segment: Tensor  # [B] int64; 0 = none
    forced: Tensor  # [B] bool: the limit ended the episode, not the agent


class Step(NamedTuple):
    """The outcome of one transition, before any autoreset shows."""

    reward: Tensor  # [B] float32
    terminated: Tensor  # [B] bool
    ended_now: Tensor  # [B] bool: the rows whose episode ended at this very step
    judgement: Judgement
    final: EnvState  # as the step left it


def begin(puzzles: Puzzles, keys: Tensor) -> EnvState:
    """Fresh episodes on these puzzles: the draft is the question, no segment has run."""
    zeros = torch.zeros_like(keys)
    return EnvState(
        puzzles,
        keys,
        puzzles.inputs.clone(),
        zeros,
        zeros,
        zeros.float(),
        torch.zeros_like(keys).bool(),
    )


def select(where: Tensor, new: EnvState, old: EnvState) -> EnvState:
    """Rows of `new` where `where` (bool [B]) holds, of `old` elsewhere."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(where.view(-1, *(1,) * (a.ndim - 1)), a, b)

    puzzles = Puzzles(*(pick(a, b) for a, b in zip(new.puzzles, old.puzzles, strict=True)))
    rest = (pick(a, b) for a, b in zip(new[1:], old[1:], strict=True))
    return EnvState(puzzles, *rest)


def will_end(state: EnvState, halt: Tensor, rules: Rules) -> Tensor:
    """Which running episodes the coming step ends: the agent halts, or the limit is reached."""
    return ~state.ended & (halt | (state.segment + 1 >= rules.halt_max_steps))


def _is_valid(
    validator: Validator, puzzles: Puzzles, draft: Tensor, correct: Tensor, terminated: Tensor
) -> Tensor:
    if getattr(validator, "on_host", False):  # asked of as few rows as possible
        asked = terminated & ~correct
        return correct | validator(puzzles.inputs, draft, puzzles.labels, asked)
    if getattr(validator, "needs_labels", False):
        return validator(puzzles.inputs, draft, puzzles.labels)
    return validator(puzzles.inputs, draft)


def transition(
    state: EnvState,
    answer: Tensor,
    halt: Tensor,
    candidates: EnvState,
    rules: Rules,
    validator: Validator | None = None,
    autoreset: Autoreset = "same-step",
) -> tuple[EnvState, Step]:
    """One step of every row.

    Args:
        state: where the rows are.
        answer: drafts, integer [B, S].
        halt: which rows submit their draft, bool [B].
        candidates: fresh episodes, one a row, taken by the rows that reset.
        autoreset: ended rows take their candidate now, at the next step (whose action they
            ignore), or freeze until they are reset from outside.

    Returns:
        The next state, and the step's outcome.
    """
    running = ~state.ended
    draft = torch.where(running[:, None], answer.to(state.draft.dtype), state.draft)
    segment = state.segment + running
    terminated = will_end(state, halt, rules)

    labels = state.puzzles.labels
    judged = labels != IGNORE_LABEL
    right = (draft == labels) & judged
    count = judged.sum(-1)
    hits = right.sum(-1)
    asked = count > 0  # a padded row asks nothing: no answer to it is right
    correct = (hits == count) & asked
    valid = correct
    if validator is not None:
        valid = _is_valid(validator, state.puzzles, draft, correct, terminated) & asked
    first = torch.where((state.first_correct == 0) & correct, segment, state.first_correct)

    paid = correct if rules.checker == "exact" else valid
    reward = (terminated & paid).float() - rules.segment_cost * running
    final = state._replace(
        draft=draft,
        segment=segment,
        first_correct=first,
        episode_return=state.episode_return + reward,
        ended=state.ended | terminated,
    )
    judgement = Judgement(
        correct, valid, hits / count.clamp_min(1), segment, first, terminated & ~halt
    )
    if autoreset == "same-step":
        return select(terminated, candidates, final), Step(
            reward, terminated, terminated, judgement, final
        )
    if autoreset == "next-step":
        return select(state.ended, candidates, final), Step(
            reward, terminated, terminated, judgement, final
        )
    return final, Step(reward, final.ended, terminated, judgement, final)
