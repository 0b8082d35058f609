"""Replay: the exact outcome of any halting rule on a recorded bank, in milliseconds."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.features import SegmentFeatures
from hrm_rl.halting.rules import RULES
from hrm_rl.halting.rules.combine import Abstain
from hrm_rl.halting.rules.protocol import HaltingRule, needs_of, spec_of, stops_of
from hrm_rl.halting.rules.select import Select
from hrm_rl.halting.rules.spec import parse_rule
from hrm_rl.halting.rules.threshold import ThresholdRule

# A sweep needs the same features once for every threshold.
_features: WeakKeyDictionary[TraceBank, dict[bool, SegmentFeatures]] = WeakKeyDictionary()
_narrow: WeakKeyDictionary[TraceBank, dict[int, TraceBank]] = WeakKeyDictionary()
_merits_by: WeakKeyDictionary[TraceBank, dict[str, NDArray[np.float32]]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Outcome:
    """Where a rule stopped and what it answered, puzzle by puzzle; segments count from 1."""

    stopped: NDArray[np.int64]
    """[N]: segments run, the cost of the answer; of several trajectories, their sum."""
    answered: NDArray[np.int64]
    """[N]: the segment whose draft is the answer; equals `stopped` unless the rule recalls."""
    correct: NDArray[np.bool_]
    """[N]: the answer is the stored solution."""
    valid: NDArray[np.bool_]
    """[N]: the answer is any right answer."""
    max_segments: int
    """The limit on segments, of each trajectory."""
    lengths: NDArray[np.int64] = None  # type: ignore[assignment]
    """[N, K]: segments run by each trajectory; K = 1 but for rules that select among several."""
    declined: NDArray[np.bool_] | None = None
    """[N]: the rule does not answer, which is neither correct nor valid; None if it always does."""

    def __post_init__(self) -> None:
        if self.lengths is None:
            object.__setattr__(self, "lengths", self.stopped[:, None])


def trained_rule(bank: TraceBank) -> str:
    """The rule that the recorded model learned if it is a built-in one, else q: a bank names no code and no
    files."""
    rule = bank.header.trained_rule
    return rule if rule.partition(":")[0] in RULES else "q"


def bank_features(bank: TraceBank, needs: Collection[str] = ()) -> SegmentFeatures:
    """The features of all segments, [B] with B = N * M in puzzle-major order; cached with the bank.

    pooled_z_H is None unless `needs` names it. Raises ValueError, saying how to record it, if the bank
    lacks a column.
    """
    pooled = "pooled_z_H" in needs
    kept = _features.setdefault(bank, {})
    if pooled not in kept:
        names = (name for name in SegmentFeatures._fields if name != "pooled_z_H" or pooled)
        columns: dict[str, Any] = {name: torch.tensor(bank.column(name)).flatten(0, 1) for name in names}
        kept[pooled] = SegmentFeatures(**columns)
    return kept[pooled]


def replay(bank: TraceBank, rule: HaltingRule | str, *, max_segments: int | None = None) -> Outcome:
    """The outcome of a rule on a bank, equal to that of a live run.

    A puzzle stops at the first segment where the rule stops it, or at the limit. A rule that recalls
    answers with the draft it scored highest so far, the earliest of equals.

    Args:
        bank: recorded segments.
        rule: a rule or its spec string; bank-only rules (`oracle`, `first-correct`) too.
        max_segments: the limit; by default all segments of the bank.

    Raises ValueError for an unknown spec, a limit beyond the bank, or a column that the bank lacks.
    """
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    limit = bank.num_segments if max_segments is None else max_segments
    bank.check_limit(limit)
    if isinstance(rule, Abstain):
        return _answered(bank, rule, replay(bank, rule.rule, max_segments=limit))
    needs = needs_of(rule)
    if isinstance(rule, Select):
        return _select(bank, rule, limit)
    recalls = getattr(rule, "recalls", False)
    if "future" in needs:
        stopped = np.asarray(rule.stop_segments(bank.correct[:, :limit]))  # type: ignore[attr-defined]
    else:
        stops = _table(stops_of(rule, bank_features(bank, needs)), bank)[:, :limit]
        stopped = np.where(stops.any(1), stops.argmax(1) + 1, limit)
    answered = stopped
    if recalls:
        scores = _table(rule.score(bank_features(bank, needs)), bank)[:, :limit]  # type: ignore[attr-defined]
        run = np.arange(limit) < stopped[:, None]
        answered = np.where(run, scores, -np.inf).argmax(1) + 1
    rows = np.arange(bank.num_puzzles)
    return Outcome(
        stopped=stopped.astype(np.int64),
        answered=answered.astype(np.int64),
        correct=bank.correct[rows, answered - 1],
        valid=bank.valid[rows, answered - 1],
        max_segments=limit,
    )


def _select(bank: TraceBank, rule: Select, limit: int) -> Outcome:
    """The outcome of a rule that selects among the trajectories of each puzzle."""
    if "live" in rule.needs:
        raise ValueError(
            f"rule {spec_of(rule)!r} changes the trajectories; run it live: `hrm-rl eval RUN --width K`"
        )
    bank = trajectories_of(bank, rule)
    each = replay(bank.unrolled, rule.rule, max_segments=limit)
    lengths, answered, chosen = selected(bank, rule, each.stopped, each.answered)
    rows = np.arange(len(bank)) * bank.width + chosen
    return Outcome(
        stopped=lengths.sum(1),
        answered=answered[rows],
        correct=bank.unrolled.correct[rows, answered[rows] - 1],
        valid=bank.unrolled.valid[rows, answered[rows] - 1],
        max_segments=limit,
        lengths=lengths,
    )


def trajectories_of(bank: TraceBank, rule: Select) -> TraceBank:
    """The bank with the trajectories that a rule selects among; cached with the bank.

    Raises ValueError, with how to record them, if it has fewer.
    """
    width = rule.width or max(2, bank.width)
    if width > bank.width:
        raise ValueError(
            f"rule {spec_of(rule)!r} selects among trajectories, and this bank has {bank.width} a puzzle; "
            f"record more with `hrm-rl trace RUN --out BANK --width {rule.width or 8} --trajectories start`"
        )
    kept = _narrow.setdefault(bank, {})
    if width not in kept:
        kept[width] = bank.narrow(width)
    return kept[width]


def selected(
    bank: TraceBank, rule: Select, stopped: NDArray[np.int64], answered: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """What a rule selects, given where each trajectory stops by itself and its answer then, [N * K] both.

    Returns the segments that each trajectory runs [N, K], the segments of their answers [N * K], and the
    number of the trajectory that answers [N].
    """
    shape, rows, every = (len(bank), bank.width), np.arange(len(stopped)), bank.unrolled
    own = stopped.reshape(shape)
    lengths = np.repeat(own.min(1, keepdims=True), bank.width, axis=1) if rule.together else own
    answered = np.minimum(answered, lengths.ravel())
    merit = _merits(every, rule)[rows, lengths.ravel() - 1].reshape(shape)
    drafts, correct = (
        getattr(every, name)[rows, answered - 1].reshape(shape) for name in ("draft_ids", "correct")
    )
    return lengths, answered, rule.choose(merit, own == lengths, drafts, correct)


def _merits(bank: TraceBank, rule: Select) -> NDArray[np.float32]:
    """`Select.merit` of all segments, [N * K, M]; cached with the bank."""
    kept = _merits_by.setdefault(bank, {})
    if rule.by not in kept:
        kept[rule.by] = _table(rule.merit(bank_features(bank, rule.needs)), bank)
    return kept[rule.by]


def _answered(bank: TraceBank, rule: Abstain, outcome: Outcome) -> Outcome:
    """The outcome without the answers that a rule declines to give."""
    given = _table(rule.answers(bank_features(bank, needs_of(rule.by))), bank)
    given = given[np.arange(bank.num_puzzles), outcome.stopped - 1]
    right = {"correct": outcome.correct & given, "valid": outcome.valid & given}
    return replace(outcome, **right, declined=~given)


def heights_at_stop(bank: TraceBank, rule: ThresholdRule, outcome: Outcome) -> NDArray[np.float32]:
    """The signal of a rule with a threshold where each puzzle stopped, as `ThresholdRule.height`: [N]."""
    heights = _table(rule.height(bank_features(bank, needs_of(rule))), bank)
    return heights[np.arange(bank.num_puzzles), outcome.stopped - 1]


def _table(values: torch.Tensor, bank: TraceBank) -> NDArray[Any]:
    """A rule's values for all segments, as [N, M]. Raises ValueError for another shape."""
    shape = (bank.num_puzzles, bank.num_segments)
    if tuple(values.shape) != (shape[0] * shape[1],):
        raise ValueError(
            f"a rule must return one value a row, [{shape[0] * shape[1]}]; got {tuple(values.shape)}"
        )
    return values.detach().cpu().numpy().reshape(shape)
