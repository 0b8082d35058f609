"""The outcome of a stopping rule, puzzle by puzzle, against constants and hindsight.

Every result is one number per puzzle, so that `bootstrap.nested_bootstrap` can resample it. In this file
`correct` is a recorded matrix, bool [N, M]: whether the draft of puzzle n is correct after segment m + 1.
Segments count from 1, and M is the limit. `cost` is the price of a segment in units of a correct answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A smaller difference between hindsight and the best constant is rounding.
_HEADROOM = 1e-9


@dataclass(frozen=True, eq=False)
class Judgement:
    """The outcome of a rule on N puzzles; every field is float64 [N] of whole numbers.

    A wrong answer can be both premature and overthought: correct, then wrong at the stop, then correct
    again. Wrong answers are therefore `premature + overthinking - both + never_right`.
    """

    correct: NDArray[np.float64]  # 1: the answer is correct
    segments: NDArray[np.float64]  # segments run: the cost, of all trajectories
    premature: NDArray[np.float64]  # 1: wrong, but a draft after the stop is correct
    overthinking: NDArray[np.float64]  # 1: wrong, but a draft up to the stop was correct
    both: NDArray[np.float64]  # 1: counted as premature and as overthinking
    never_right: NDArray[np.float64]  # 1: wrong, and no draft up to the limit is correct
    wasted: NDArray[np.float64]  # segments run after the first correct draft, 0 if there was none

    def answered(self, given: NDArray[np.bool_]) -> "Judgement":
        """The judgement of a rule that answers the puzzles `given`, bool [N]; the others are not wrong."""
        wrong = ("premature", "overthinking", "both", "never_right")
        return replace(self, **{name: getattr(self, name) * given for name in wrong})


def judge(stopped: ArrayLike, answered_correct: ArrayLike, correct: NDArray[np.bool_]) -> Judgement:
    """Judge a rule by where it stopped and whether its answers are correct.

    Of K trajectories a puzzle, which run side by side, a draft of any counts.

    Args:
        stopped: the segment after which it stopped, 1 to M, integers [N], or [N, K].
        answered_correct: bool [N]: `correct[n, stopped[n] - 1]`, or of another draft up to the stop for a
            rule that recalls or selects.
        correct: bool [N, M], or [N, K, M].

    Raises:
        ValueError: shapes or types that do not fit, a stop outside 1 to M, or a correct answer without a
            correct draft up to the stop.
    """
    wanted, limit = correct.shape[:-1], correct.shape[-1]
    first = first_correct(correct.reshape(-1, limit) if correct.ndim == 3 else correct)
    stops = np.asarray(stopped)
    right = np.asarray(answered_correct)
    if stops.shape != wanted or not np.issubdtype(stops.dtype, np.integer):
        raise ValueError(f"stopped is {stops.dtype} {stops.shape}; integers {wanted} needed")
    if right.shape != wanted[:1] or right.dtype != np.bool_:
        raise ValueError(f"answered_correct is {right.dtype} {right.shape}; bool {wanted[:1]} needed")
    if stops.min() < 1 or stops.max() > limit:
        raise ValueError(f"stopped goes from {stops.min()} to {stops.max()}; 1 to {limit} needed")
    drafts = correct.reshape(len(correct), -1, limit)  # [N, K, M]
    stops, first = (array.reshape(drafts.shape[:2]) for array in (stops, first))  # [N, K]
    last = np.where(first > 0, limit - drafts[..., ::-1].argmax(2), 0)
    first = np.where((first > 0) & (first <= stops), first, limit + 1)
    earliest = first.min(1)
    seen, later, wrong = earliest <= limit, (last > stops).any(1), ~right
    if (right & ~seen).any():
        row = int(np.argmax(right & ~seen))
        raise ValueError(
            f"the answer to puzzle {row} is correct after {stops[row].sum()} segments, but none of its "
            "drafts up to there is: the answers do not come from `correct`"
        )
    columns = {
        "correct": right,
        "segments": stops.sum(1),
        "premature": wrong & later,
        "overthinking": wrong & seen,
        "both": wrong & later & seen,
        "never_right": wrong & ~drafts.any((1, 2)),
        "wasted": (stops - earliest[:, None]).clip(0).sum(1),
    }
    return Judgement(**{name: column.astype(np.float64) for name, column in columns.items()})


def judge_oracle(correct: NDArray[np.bool_], cost: float) -> Judgement:
    """Judge hindsight at a cost: of all rules on these drafts, the one with the largest J_c.

    It stops at argmax_t(correct_t - cost * t), the first on ties: the first correct draft if getting there
    costs less than a correct answer pays, else segment 1. Raises ValueError for a negative cost.
    """
    first = first_correct(correct)
    _check_cost(cost)
    stopped = np.where((first > 0) & (cost * (first - 1) < 1), first, 1)
    return judge(stopped, correct[np.arange(len(correct)), stopped - 1], correct)


def first_correct(correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The segment of the first correct draft, int64 [N]; 0 if there is none."""
    _check_matrix(correct)
    return np.where(correct.any(1), correct.argmax(1) + 1, 0)


def best_fixed(correct: NDArray[np.bool_], cost: float) -> int:
    """The constant number of segments with the largest J_c, the fewest on ties.

    Choose it on validation puzzles: a constant chosen on the test puzzles has an advantage there. Raises
    ValueError for a negative cost.
    """
    _check_matrix(correct)
    _check_cost(cost)
    utility = correct.mean(0) - cost * np.arange(1, correct.shape[1] + 1)
    # Constants that differ by rounding only are tied.
    return int(np.argmax(utility >= utility.max() - 1e-12)) + 1


def adaptive_gain(rule: ArrayLike, fixed: ArrayLike, oracle: ArrayLike) -> NDArray[np.float64]:
    """AG_c = (J(rule) - J(fixed)) / (J(oracle) - J(fixed)): 0 is the best constant, 1 is hindsight.

    It is negative if the rule does worse than the constant, and NaN if hindsight does no better (see
    `why_undefined`). It is a ratio of means: pass the J_c of means, or of bootstrap draws of means [D],
    never of single puzzles.
    """
    rules, base, best = np.broadcast_arrays(rule, np.asarray(fixed, np.float64), oracle)
    gained, headroom = rules - base, best - base
    unknown = np.full(gained.shape, np.nan)
    return np.divide(gained, headroom, out=unknown, where=headroom > _HEADROOM)


def why_undefined(fixed: float, oracle: float) -> str | None:
    """The reason why the adaptive gain has no value, in one sentence; None if it has one."""
    if np.isnan(fixed) or np.isnan(oracle):
        return "adaptive gain is undefined: the return of the best constant or of hindsight is NaN"
    if oracle - fixed > _HEADROOM:
        return None
    return (
        "adaptive gain is undefined: hindsight does no better than the best constant "
        f"(returns {oracle:.6g} and {fixed:.6g}), so there is nothing to gain by adapting"
    )


def iso_accuracy(
    mean_segments: ArrayLike, accuracy: ArrayLike, full: float, below: Sequence[float] = (0, 0.5, 1, 2)
) -> dict[float, float | None]:
    """The fewest mean segments with (nearly) the accuracy of always running to the limit.

    Only measured points count, nothing between them.

    Args:
        mean_segments: of the curve's points, [P].
        accuracy: of the same points, [P], in 0 to 1.
        full: accuracy of running to the limit; missing it by 1e-9 counts as reaching it.
        below: percentage points that may be lost.

    Returns:
        For each entry of `below` the fewest mean segments, or None if no point reaches it.
    """
    segments, share = np.asarray(mean_segments, np.float64), np.asarray(accuracy, np.float64)
    if segments.ndim != 1 or share.shape != segments.shape:
        raise ValueError(f"mean_segments {segments.shape} and accuracy {share.shape} must both be [P]")
    reached = {float(points): share >= full - points / 100 - 1e-9 for points in below}
    return {points: float(segments[hit].min()) if hit.any() else None for points, hit in reached.items()}


def _check_matrix(correct: NDArray[np.bool_]) -> None:
    given = np.asarray(correct)
    if given.ndim != 2 or given.size == 0 or given.dtype != np.bool_:
        raise ValueError(
            f"correct is {given.dtype} {given.shape}; a bool array [puzzles, segments] is needed"
        )


def _check_cost(cost: float) -> None:
    if not (np.isfinite(cost) and cost >= 0):
        raise ValueError(f"cost is {cost}; a number of at least 0 is needed, such as 0.01")
