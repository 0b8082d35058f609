"""What a rule for stopping did, puzzle by puzzle, and how it compares with constants and hindsight.

Everything is a number a puzzle, so that `bootstrap.nested_bootstrap` can run on it. In this file
`correct` is a recorded matrix, bool [N, M]: was the draft of puzzle n right after segment m + 1. Segments
count from 1, and M is the limit. `cost` is the price of a segment in units of a right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Below it there is nothing to gain over the best constant, up to rounding.
_HEADROOM = 1e-9


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a rule did with N puzzles; every field is float64 [N] of whole numbers.

    A wrong answer can be both premature and overthought: right, then wrong at the stop, then right again.
    So wrong answers are `premature + overthinking - both + never_right`.
    """

    correct: NDArray[np.float64]  # 1: the answer is right
    segments: NDArray[np.float64]  # segments run
    premature: NDArray[np.float64]  # 1: wrong, but a draft after the stop is right
    overthinking: NDArray[np.float64]  # 1: wrong, but a draft up to the stop was right
    both: NDArray[np.float64]  # 1: counted as premature and as overthinking
    never_right: NDArray[np.float64]  # 1: wrong, and no draft up to the limit is right
    wasted: NDArray[np.float64]  # segments run after the first right draft, 0 if there was none

    def columns(self) -> NDArray[np.float64]:
        """All of it, [N, 7], in the order of JUDGEMENT_COLUMNS."""
        return np.stack([getattr(self, name) for name in JUDGEMENT_COLUMNS], axis=1)

    def means(self) -> dict[str, float]:
        """The mean of every field: shares, and mean numbers of segments."""
        return {name: float(getattr(self, name).mean()) for name in JUDGEMENT_COLUMNS}

    def utility(self, cost: float) -> NDArray[np.float64]:
        """`correct - cost * segments` of every puzzle, [N]; its mean is J_c."""
        return self.correct - cost * self.segments


JUDGEMENT_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Judgement))


def judge(stopped: ArrayLike, answered_correct: ArrayLike, correct: NDArray[np.bool_]) -> Judgement:
    """Judge a rule by where it stopped and whether its answers are right.

    Args:
        stopped: the segment after which it stopped, 1 to M, integers [N].
        answered_correct: whether its answer is right, bool [N]. Of a rule that answers with its last
            draft that is `correct[n, stopped[n] - 1]`; one that recalls answers with an earlier one.
        correct: bool [N, M].

    Raises:
        ValueError: shapes or types that do not fit, a stop outside 1 to M, or a right answer where
            no draft up to the stop is right.
    """
    first = first_correct(correct)
    stops = np.asarray(stopped)
    right = np.asarray(answered_correct)
    if stops.shape != first.shape or not np.issubdtype(stops.dtype, np.integer):
        raise ValueError(f"stopped is {stops.dtype} {stops.shape}; integers {first.shape} needed")
    if right.shape != first.shape or right.dtype != np.bool_:
        raise ValueError(
            f"answered_correct is {right.dtype} {right.shape}; bool {first.shape} needed"
        )
    limit = correct.shape[1]
    if stops.min() < 1 or stops.max() > limit:
        raise ValueError(f"stopped goes from {stops.min()} to {stops.max()}; 1 to {limit} needed")
    seen = (first > 0) & (first <= stops)
    if (right & ~seen).any():
        row = int(np.argmax(right & ~seen))
        raise ValueError(
            f"puzzle {row} is answered right after {stops[row]} segments, but none of its drafts up to "
            "there is: the answers were judged by something else than `correct`"
        )
    later = _last_correct(correct) > stops
    wrong = ~right
    return Judgement(
        correct=right.astype(np.float64),
        segments=stops.astype(np.float64),
        premature=(wrong & later).astype(np.float64),
        overthinking=(wrong & seen).astype(np.float64),
        both=(wrong & later & seen).astype(np.float64),
        never_right=(wrong & (first == 0)).astype(np.float64),
        wasted=np.where(seen, stops - first, 0).astype(np.float64),
    )


def judge_fixed(segments: int, correct: NDArray[np.bool_]) -> Judgement:
    """Judge `fixed:N`, the same number of segments for every puzzle.

    Raises:
        ValueError: `correct` is no bool matrix, or `segments` is outside 1 to M.
    """
    _check(correct)
    if not 1 <= segments <= correct.shape[1]:
        raise ValueError(f"segments is {segments}; 1 to {correct.shape[1]} is needed")
    return judge(np.full(len(correct), segments), correct[:, segments - 1], correct)


def judge_oracle(correct: NDArray[np.bool_], cost: float) -> Judgement:
    """Judge hindsight at a cost: of all rules on these drafts, the one with the largest J_c.

    Raises:
        ValueError: `correct` is no bool matrix, or the cost is negative.
    """
    stopped = oracle_segments(correct, cost)
    return judge(stopped, correct[np.arange(len(correct)), stopped - 1], correct)


def first_correct(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The segment of the first right draft, int64 [N]; 0 where none is.

    Raises:
        ValueError: `correct` is no bool matrix.
    """
    _check(correct)
    return np.where(correct.any(1), correct.argmax(1) + 1, 0)


def oracle_segments(correct: NDArray[np.bool_], cost: float) -> NDArray[np.int64]:
    """Where hindsight stops, argmax_t(correct_t - cost * t), the first on ties; int64 [N].

    That is the first right draft if getting there costs less than a right answer pays, else segment 1.

    Raises:
        ValueError: `correct` is no bool matrix, or the cost is negative.
    """
    first = first_correct(correct)
    _check_cost(cost)
    worth_it = (first > 0) & (cost * (first - 1) < 1)
    return np.where(worth_it, first, 1)


def best_fixed(correct: NDArray[np.bool_], cost: float) -> int:
    """The constant number of segments with the largest J_c, the fewest on ties.

    Give it validation puzzles: the constant that is best on the test puzzles was chosen on them.

    Raises:
        ValueError: `correct` is no bool matrix, or the cost is negative.
    """
    _check(correct)
    _check_cost(cost)
    utility = correct.mean(0) - cost * np.arange(1, correct.shape[1] + 1)
    # Constants that differ by rounding only are tied.
    return int(np.argmax(utility >= utility.max() - 1e-12)) + 1


def adaptive_gain(rule: ArrayLike, fixed: ArrayLike, oracle: ArrayLike) -> NDArray[np.float64]:
    """AG_c = (J(rule) - J(fixed)) / (J(oracle) - J(fixed)): 0 is the best constant, 1 is hindsight.

    Negative if the rule does worse than the constant. A ratio of means: give it means, or bootstrap draws
    of means, never single puzzles.

    Args:
        rule: J_c of the rule, a number or an array such as draws [D].
        fixed: J_c of the best constant, likewise.
        oracle: J_c of hindsight at the same cost, likewise.

    Returns:
        The gains; NaN where hindsight does no better than the constant (`why_undefined` says so).
    """
    base = np.asarray(fixed, np.float64)
    headroom = np.asarray(oracle, np.float64) - base
    gained = np.asarray(rule, np.float64) - base
    gained, headroom = np.broadcast_arrays(gained, headroom)
    unknown = np.full(gained.shape, np.nan)
    return np.divide(gained, headroom, out=unknown, where=headroom > _HEADROOM)


def why_undefined(fixed: float, oracle: float) -> str | None:
    """Why the adaptive gain has no value, in one sentence; None if it has one."""
    if np.isnan(fixed) or np.isnan(oracle):
        return "adaptive gain is undefined: the return of the best constant or of hindsight is NaN"
    if oracle - fixed > _HEADROOM:
        return None
    return (
        "adaptive gain is undefined: hindsight does no better than the best constant "
        f"(returns {oracle:.6g} and {fixed:.6g}), so there is nothing to gain by adapting"
    )


def segments_at_accuracy(
    mean_segments: ArrayLike, accuracy: ArrayLike, target: float
) -> float | None:
    """The fewest mean segments with which a point of the curve reaches an accuracy.

    Points only, nothing between them: what is reported was seen.

    Args:
        mean_segments: of the curve's points, [P].
        accuracy: of the same points, [P], in 0 to 1.
        target: the accuracy to reach, in 0 to 1; missing it by 1e-9 is reaching it.

    Returns:
        Mean segments, or None where no point reaches it.
    """
    segments = np.asarray(mean_segments, np.float64)
    reached = np.asarray(accuracy, np.float64) >= target - 1e-9
    if segments.ndim != 1 or reached.shape != segments.shape:
        raise ValueError(
            f"mean_segments {segments.shape} and accuracy {reached.shape} must both be [P]"
        )
    return float(segments[reached].min()) if reached.any() else None


def iso_accuracy(
    mean_segments: ArrayLike,
    accuracy: ArrayLike,
    full: float,
    below: Sequence[float] = (0, 0.5, 1, 2),
) -> dict[float, float | None]:
    """Segments needed for (nearly) the accuracy of always running to the limit.

    Args:
        mean_segments: of the curve's points, [P].
        accuracy: of the same points, [P], in 0 to 1.
        full: accuracy of running to the limit, in 0 to 1.
        below: how many percentage points may be lost.

    Returns:
        For each entry of `below` the fewest mean segments, or None where no point reaches it.
    """
    return {
        float(points): segments_at_accuracy(mean_segments, accuracy, full - points / 100)
        for points in below
    }


def _last_correct(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The segment of the last right draft, [N]; 0 where none is."""
    return np.where(correct.any(1), correct.shape[1] - correct[:, ::-1].argmax(1), 0)


def _check(correct: NDArray[np.bool_]) -> None:
    if not (
        isinstance(correct, np.ndarray)
        and correct.ndim == 2
        and correct.size > 0
        and correct.dtype == np.bool_
    ):
        described = f"{np.asarray(correct).dtype} {np.shape(correct)}"
        raise ValueError(f"correct is {described}; a bool array [puzzles, segments] is needed")


def _check_cost(cost: float) -> None:
    if not (np.isfinite(cost) and cost >= 0):
        raise ValueError(f"cost is {cost}; a number of at least 0 is needed, such as 0.01")
