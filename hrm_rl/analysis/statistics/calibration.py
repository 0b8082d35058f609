"""Calibration of Q-halt: is sigmoid(q_halt) the probability that the draft is correct?

Sources: Brier (1950) for the score; Naeini, Cooper and Hauskrecht (2015) for the expected calibration
error, here with bins of equal mass as Nixon et al. (2019, arXiv 1904.01685) advise; Hanley and McNeil
(1982) for the area under the ROC curve as a rank statistic.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hrm_rl.analysis.statistics.stats import midranks

DEFAULT_BINS = 15


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Bins by rising probability; an empty bin is left out."""

    probability: NDArray[np.float64]  # [b]: mean predicted probability
    accuracy: NDArray[np.float64]  # [b]: share that was correct
    count: NDArray[np.int64]  # [b]: predictions in the bin


@dataclass(frozen=True)
class Calibration:
    """Agreement of predicted probabilities with outcomes."""

    count: int  # predictions
    accuracy: float  # share that was correct
    mean_probability: float  # mean prediction; above `accuracy` is overconfident
    ece: float  # expected calibration error, 0 to 1, lower is better
    brier: float  # mean squared error, 0 to 1, lower is better
    auroc: float  # P(a correct one is ranked above a wrong one); NaN without both kinds


@dataclass(frozen=True)
class HaltCalibration:
    """Calibration of Q-halt over a bank, pooled and segment by segment."""

    pooled: Calibration  # all N x M predictions
    segments: tuple[Calibration, ...]  # [M]
    curve: ReliabilityCurve  # of all predictions


def reliability_curve(
    probability: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS
) -> ReliabilityCurve:
    """Share correct (bool [N]) against predicted probability [N], in bins of equally many predictions.

    Equal predictions share the bin in which their middle falls, so the result does not depend on the
    order of the rows. With many ties bins are unequal, and there may be fewer than `bins`.

    Raises ValueError for shapes or types that do not fit, no rows, a prediction outside 0 to 1, bins < 1.
    """
    predicted, right = _checked(probability, correct)
    if predicted.min() < 0 or predicted.max() > 1:
        raise ValueError(
            f"predictions go from {predicted.min()} to {predicted.max()}; "
            "probabilities are needed: give sigmoid(q_halt), not the logit"
        )
    if bins < 1:
        raise ValueError(f"bins is {bins}; at least 1 is needed")
    # A mean rank is 1 to N: the middle of its place is half less.
    number = ((midranks(predicted) - 0.5) * bins / len(predicted)).astype(np.int64)  # [N], < bins
    count = np.bincount(number, minlength=bins)
    used = count > 0
    return ReliabilityCurve(
        probability=np.bincount(number, predicted, bins)[used] / count[used],
        accuracy=np.bincount(number, right, bins)[used] / count[used],
        count=count[used],
    )


def auroc(score: ArrayLike, correct: ArrayLike) -> float:
    """Probability that a correct answer scores higher than a wrong one; a tie counts half.

    Scores [N] may be infinite; outcomes are bool [N]. NaN if all are correct or all are wrong. Raises
    ValueError for shapes or types that do not fit, no rows, or a score that is NaN.
    """
    values, right = _checked(score, correct)
    positives = int(right.sum())
    negatives = len(right) - positives
    if positives == 0 or negatives == 0:
        return math.nan
    above = midranks(values)[right].sum() - positives * (positives + 1) / 2  # Mann-Whitney U
    return float(above / (positives * negatives))


def calibration(probability: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS) -> Calibration:
    """Every number of `Calibration`; arguments and errors as in `reliability_curve`.

    The expected calibration error is the mean distance between predicted probability and share correct
    over the bins. It is never negative, so noise alone makes it positive: up to 0.4 * sqrt(bins / N) on
    average for perfectly calibrated predictions.
    """
    predicted, right = _checked(probability, correct)
    found = reliability_curve(predicted, right, bins)
    distance = np.abs(found.accuracy - found.probability)
    return Calibration(
        count=len(right),
        accuracy=float(right.mean()),
        mean_probability=float(predicted.mean()),
        ece=float((found.count * distance).sum() / found.count.sum()),
        brier=float(np.mean((predicted - right) ** 2)),
        auroc=auroc(predicted, right),
    )


def halt_calibration(q_halt: ArrayLike, correct: ArrayLike, bins: int = DEFAULT_BINS) -> HaltCalibration:
    """Calibration of sigmoid(q_halt), [N, M], as the probability that the draft is correct, bool [N, M].

    Pooled, a puzzle counts once a segment, so the pooled rows are not independent: intervals must
    resample puzzles, not rows. Raises ValueError for shapes or types that do not fit, or a NaN.
    """
    logits, right = np.asarray(q_halt, np.float64), np.asarray(correct)
    if logits.ndim != 2 or logits.size == 0 or right.shape != logits.shape:
        raise ValueError(f"q_halt {logits.shape} and correct {right.shape} must both be [N, M]")
    if np.isnan(logits).any():
        row, column = np.argwhere(np.isnan(logits))[0]
        raise ValueError(f"q_halt is NaN for puzzle {row} after segment {column + 1}")
    probability = 0.5 * (1 + np.tanh(0.5 * logits))  # a sigmoid that cannot overflow
    everything = probability.ravel(), right.ravel(), bins
    return HaltCalibration(
        pooled=calibration(*everything),
        segments=tuple(calibration(p, r, bins) for p, r in zip(probability.T, right.T, strict=True)),
        curve=reliability_curve(*everything),
    )


def _checked(predictions: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    predicted, right = np.asarray(predictions, np.float64), np.asarray(correct)
    if predicted.ndim != 1 or predicted.size == 0 or right.shape != predicted.shape:
        raise ValueError(
            f"predictions {predicted.shape} and correct {right.shape} must both be [N] with N > 0"
        )
    if right.dtype != np.bool_:
        raise ValueError(f"correct is {right.dtype}; bool is needed")
    if np.isnan(predicted).any():
        raise ValueError(f"prediction {int(np.argmax(np.isnan(predicted)))} is NaN")
    return predicted, right
