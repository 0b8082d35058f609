"""A synthetic trace bank whose optimal stopping is known exactly, to test learners against.

The world. A puzzle's draft is `right`, `open` (wrong, still solvable) or `hopeless` (wrong forever).
Before the first segment it is hopeless with probability HOPELESS, else open. A segment solves an open
puzzle with probability SOLVES and spoils a right draft with probability SPOILS (overthinking). It then
emits a signal: 1 with probability SHOWS if the draft is right and FOOLS if it is wrong, else 0.

The features. `q_halt` is the log-odds, given all signals so far, that the draft is right, and
`q_continue` that the puzzle is open: by Bayes, so the Q head is perfectly calibrated. With `segment` they
are sufficient statistics of the signals, so a rule without memory can be optimal. The other columns are
functions of the same signals.

The optimum. After t segments there are only 2^t histories of signals, so dynamic programming over all of
them is exact. With A_t(h, s) the probability of history h and state s after segment t, and V_t(h) the
best expected return from there times the probability of h,

    V_M(h) = A_M(h, right)
    V_t(h) = max(A_t(h, right), V_{t+1}(h0) + V_{t+1}(h1) - cost * sum_s A_t(h, s))

and the best return is V_1(0) + V_1(1) - cost: an episode returns correct - cost * segments.
"""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hrm_rl.halting.bank import FEATURES, BankHeader, TraceBank

HOPELESS, SOLVES, SPOILS, SHOWS, FOOLS = 0.25, 0.3, 0.1, 0.9, 0.1
NUM_SEGMENTS = 8

_RIGHT, _OPEN, _HOPELESS = range(3)
_START = np.array([0.0, 1 - HOPELESS, HOPELESS])
_SEGMENT = np.array([[1 - SPOILS, SPOILS, 0], [SOLVES, 1 - SOLVES, 0], [0, 0, 1]])  # [from, to]
_SIGNAL = np.array([[1 - SHOWS, SHOWS], [1 - FOOLS, FOOLS], [1 - FOOLS, FOOLS]])  # [state, signal]
_CELLS = 8


def toy_bank(
    num_puzzles: int = 2000, seed: int = 0, *, num_segments: int = NUM_SEGMENTS, width: int = 1
) -> TraceBank:
    """A trace bank sampled from the toy world; the same arguments give the same bank.

    Args:
        num_puzzles: puzzles of each split, `validation` and `test`; no puzzle is in both.
        seed: of the sample.
        num_segments: segments recorded, M, 1 to 16.
        width: trajectories a puzzle, K, each sampled by itself; a wrong draft is one of four.

    `rating` is 1 for hopeless puzzles and 0 for the others. Raises ValueError for sizes out of range.
    """
    sizes = {"num_puzzles": num_puzzles, "seed": seed, "num_segments": num_segments, "width": width}
    for name, value in sizes.items():
        if not isinstance(value, Integral):
            raise ValueError(f"{name} must be an integer, got {value!r}")
    if num_puzzles < 1 or not 1 <= num_segments <= 16 or width < 1:
        raise ValueError(
            "a toy bank needs num_puzzles >= 1, 1 <= num_segments <= 16 and width >= 1, got "
            f"{num_puzzles}, {num_segments} and {width}"
        )
    rng = np.random.default_rng([seed, num_puzzles])
    total = 2 * num_puzzles
    states, columns = _trajectory(rng, total, num_segments)
    inputs = rng.integers(0, 256, (total, _CELLS)).astype(np.int32)
    for place in range(3):  # no two puzzles alike
        inputs[:, place] = np.arange(total) // 256**place % 256
    labels = (inputs + 1) % 256
    others = {}
    if width > 1:
        rngs = [np.random.default_rng([seed, num_puzzles, number]) for number in range(width)]
        more = [_trajectory(rng, total, num_segments)[1] for rng in rngs[1:]]
        for each, rng in zip((columns, *more), rngs, strict=True):
            wrong = rng.integers(1, 5, (total, num_segments))
            each["draft_ids"] = np.where(each["correct"], 0, wrong)
        others = {name: np.stack([each[name] for each in more], 1) for name in columns}
    return TraceBank(
        **{name: column for name, column in columns.items() if name not in FEATURES},
        features={name: columns[name] for name in FEATURES},
        others=others,
        inputs=inputs,
        labels=labels,
        puzzle_identifiers=np.zeros(total, dtype=np.int32),
        puzzle_key=np.tile(np.arange(num_puzzles, dtype=np.int64), 2),
        rating=(states[:, -1] == _HOPELESS).astype(np.float32),
        source=("toy",) * total,
        split=np.repeat(["validation", "test"], num_puzzles),
        header=BankHeader(
            model_hash="toy",
            halt_max_steps=num_segments,
            note="made up by hrm_rl.halting.bank.toy",
            trajectories="start" if width > 1 else "",
        ),
    )


def toy_optimal_return(cost: float, num_segments: int = NUM_SEGMENTS) -> float:
    """The largest expected correct - cost * segments of any rule without hindsight."""
    return _optimum(cost, num_segments)[0]


def toy_optimal_stops(bank: TraceBank, cost: float) -> NDArray[np.int64]:
    """Where the optimal rule stops on each puzzle of a toy bank, [N] counted from 1; ties stop."""
    stops = _optimum(cost, bank.num_segments)[1]
    history = _histories(_signals(bank))
    stopped = np.stack([stop[h] for stop, h in zip(stops, history.T, strict=True)], 1)
    return stopped.argmax(1) + 1


def _optimum(cost: float, num_segments: int) -> tuple[float, list[NDArray[np.bool_]]]:
    """The best return, and for t = 1..M after which histories to stop, bool [2^t]."""
    *early, last = _joint(num_segments)
    value = last[:, _RIGHT]
    stops = [np.ones(len(last), dtype=bool)]
    for now in reversed(early):
        think_on = value.reshape(-1, 2).sum(1) - cost * now.sum(1)
        stops.append(now[:, _RIGHT] >= think_on)
        value = np.maximum(now[:, _RIGHT], think_on)
    return float(value.sum() - cost), stops[::-1]


def _joint(num_segments: int) -> list[NDArray[np.float64]]:
    """A_t(history, state) for t = 1..M, [2^t, 3] each; a history's newest signal is its last bit."""
    joint, parts = _START[None], []
    for _ in range(num_segments):
        joint = ((joint @ _SEGMENT)[:, None, :] * _SIGNAL.T).reshape(-1, 3)
        parts.append(joint)
    return parts


def _histories(signals: NDArray[np.int64]) -> NDArray[np.int64]:
    """The index of each history of signals [N, M] in the rows of `_joint`."""
    history = [np.zeros(len(signals), dtype=np.int64)]
    for signal in signals.T:
        history.append(2 * history[-1] + signal)
    return np.stack(history[1:], axis=1)


def _draw(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample one outcome for each distribution along the last axis."""
    uniform = rng.random(probabilities.shape[:-1])[..., None]
    return (uniform >= probabilities.cumsum(-1)[..., :-1]).sum(-1)


def _trajectory(
    rng: np.random.Generator, rows: int, num_segments: int
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """States [N, M] and the recorded columns [N, M]."""
    states = _draw_states(rng, rows, num_segments)
    correct = states == _RIGHT
    judged = {"correct": correct, "valid": correct, "cell_accuracy": np.where(correct, 1.0, 0.5)}
    return states, judged | _columns(_draw(_SIGNAL[states], rng))


def _draw_states(rng: np.random.Generator, rows: int, num_segments: int) -> NDArray[np.int64]:
    state, states = _draw(np.tile(_START, (rows, 1)), rng), []
    for _ in range(num_segments):
        state = _draw(_SEGMENT[state], rng)
        states.append(state)
    return np.stack(states, axis=1)


def _signals(bank: TraceBank) -> NDArray[np.int64]:
    return (bank.features["confidence"] > 0.7).astype(np.int64)


def _columns(signals: NDArray[np.int64]) -> dict[str, NDArray]:
    """The features, [N, M] each: functions of the signals so far."""
    joint = _joint(signals.shape[1])
    shown = [now[h] for now, h in zip(joint, _histories(signals).T, strict=True)]
    belief = np.stack([x / x.sum(1, keepdims=True) for x in shown], axis=1)  # [N, M, 3]
    log_odds = np.log(belief) - np.log1p(-belief)
    same = np.zeros(signals.shape, dtype=bool)
    same[:, 1:] = (signals[:, 1:] & signals[:, :-1]) == 1
    unchanged_for = np.zeros(signals.shape, dtype=np.int64)
    for t in range(1, signals.shape[1]):
        unchanged_for[:, t] = np.where(same[:, t], unchanged_for[:, t - 1] + 1, 0)
    first = np.arange(signals.shape[1]) == 0
    floats = {
        "q_halt": log_odds[..., _RIGHT],
        "q_continue": log_odds[..., _OPEN],
        "confidence": np.where(signals, 0.9, 0.5),
        "confidence_min": np.where(signals, 0.8, 0.3),
        "margin": np.where(signals, 0.8, 0.2),
        "entropy": np.where(signals, 0.1, 1.0),
        "kl": np.where(first, np.inf, np.where(same, 1e-4, 0.1)),
        "residual_H": np.where(first, np.inf, np.where(signals, 0.02, 0.3)),
        "residual_L": np.where(first, np.inf, np.where(signals, 0.04, 0.6)),
        "changed": np.where(first | ~same, 1.0, 0.0),
    }
    return {name: column.astype(np.float32) for name, column in floats.items()} | {
        "unchanged_for": unchanged_for
    }
