"""The toy bank: its statistics are the model's, its Bayes is right, its optimum is the optimum."""

import itertools

import numpy as np
import pytest

from hrm_rl.halting.bank import TraceBank, puzzle_ids, toy
from hrm_rl.halting.bank.replay import replay
from hrm_rl.halting.bank.toy import toy_bank, toy_optimal_return, toy_optimal_stops


@pytest.fixture(scope="module")
def bank() -> TraceBank:
    return toy_bank(10_000, seed=3)


def returns(bank: TraceBank, stops: np.ndarray, cost: float) -> np.ndarray:
    return bank.correct[np.arange(bank.num_puzzles), stops - 1] - cost * stops


def close(sample: np.ndarray, expected: float) -> bool:
    """The mean of a sample, within four standard errors."""
    return abs(sample.mean() - expected) <= 4 * sample.std() / len(sample) ** 0.5


def test_the_same_arguments_give_the_same_bank() -> None:
    one, same, other = toy_bank(50, seed=1), toy_bank(50, seed=1), toy_bank(50, seed=2)
    assert np.array_equal(one.correct, same.correct)
    assert all(np.array_equal(one.features[k], same.features[k]) for k in one.features)
    assert one.header == same.header
    assert not np.array_equal(one.correct, other.correct)


def test_splits_are_of_one_size_and_share_no_puzzle(bank: TraceBank) -> None:
    assert bank.counts() == {"validation": 10_000, "test": 10_000}
    assert len(np.unique(puzzle_ids(bank.inputs, bank.labels))) == bank.num_puzzles
    for split in ("validation", "test"):
        assert np.array_equal(bank.in_split(split).puzzle_key, np.arange(10_000))


def test_outcomes_follow_the_chain(bank: TraceBank) -> None:
    """Hazard, spoiling and hopelessness, counted."""
    open_puzzles = bank.take(bank.rating == 0)
    assert close(bank.rating, toy.HOPELESS)
    assert not bank.correct[bank.rating == 1].any()
    assert close(open_puzzles.correct[:, 0], toy.SOLVES)
    before, after = open_puzzles.correct[:, :-1], open_puzzles.correct[:, 1:]
    assert close(after[~before], toy.SOLVES)
    assert close(~after[before], toy.SPOILS)
    signal = bank.features["confidence"] > 0.7
    assert close(signal[bank.correct], toy.SHOWS)
    assert close(signal[~bank.correct], toy.FOOLS)


def test_q_halt_is_calibrated(bank: TraceBank) -> None:
    """Of drafts that show one and the same q_halt at a segment, sigma(q_halt) are right."""
    for segment in (0, 2, 5):
        q = bank.features["q_halt"][:, segment]
        for value in np.unique(q)[::5]:
            shown = bank.correct[q == value, segment]
            expected = 1 / (1 + np.exp(-np.float64(value)))
            error = (expected * (1 - expected) / len(shown)) ** 0.5
            assert abs(shown.mean() - expected) <= 4.5 * error


@pytest.mark.parametrize("segments", [1, 2, 3])
@pytest.mark.parametrize("cost", [0.04, 0.1])
def test_the_optimum_by_trying_every_rule(segments: int, cost: float) -> None:
    """All ways to stop on the histories of signals before the last segment, weighed by the chain itself."""
    moves = ((0.9, 0.1, 0.0), (0.3, 0.7, 0.0), (0.0, 0.0, 1.0))
    weights: dict[tuple, float] = {}  # (signals, states) -> probability
    for states in itertools.product(range(3), repeat=segments + 1):
        chance = (0.0, 0.75, 0.25)[states[0]]
        for a, b in itertools.pairwise(states):
            chance *= moves[a][b]
        for signals in itertools.product((0, 1), repeat=segments):
            seen = 1.0
            for state, signal in zip(states[1:], signals, strict=True):
                seen *= (0.9 if signal else 0.1) if state == 0 else (0.1 if signal else 0.9)
            weights[signals, states[1:]] = weights.get((signals, states[1:]), 0) + chance * seen
    histories = [h for t in range(1, segments) for h in itertools.product((0, 1), repeat=t)]
    best = -np.inf
    for choice in itertools.product((False, True), repeat=len(histories)):
        stops = dict(zip(histories, choice, strict=True))
        value = 0.0
        for (signals, states), weight in weights.items():
            early = (t for t in range(1, segments) if stops[signals[:t]])
            stop = next(early, segments)
            value += weight * ((states[stop - 1] == 0) - cost * stop)
        best = max(best, value)
    assert toy_optimal_return(cost, segments) == pytest.approx(best)


@pytest.mark.parametrize("cost", [0.0, 0.01, 0.05])
def test_optimal_stops_reach_the_optimal_return(bank: TraceBank, cost: float) -> None:
    stops = toy_optimal_stops(bank, cost)
    assert close(returns(bank, stops, cost), toy_optimal_return(cost))
    assert stops.min() >= 1 and stops.max() <= bank.num_segments


@pytest.mark.parametrize("spec", ["q", "q-halt:0.0", "fixed:3", "confidence:0.8", "stable:1"])
def test_no_rule_beats_the_optimum_and_hindsight_does(bank: TraceBank, spec: str) -> None:
    cost = 0.03
    outcome = replay(bank, spec)
    reached = returns(bank, outcome.stopped, cost).mean()
    hindsight = returns(bank, replay(bank, f"oracle:{cost}").stopped, cost).mean()
    assert reached < toy_optimal_return(cost) < hindsight


@pytest.mark.parametrize(("puzzles", "segments"), [(0, 8), (5, 0), (5, 17)])
def test_impossible_sizes_are_refused(puzzles: int, segments: int) -> None:
    with pytest.raises(ValueError, match=f"got {puzzles}, {segments} and 1"):
        toy_bank(puzzles, num_segments=segments)
