"""Rules that select among trajectories, against loops over puzzles and trajectories."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hrm_rl.halting import TraceBank, parse_rule, replay, resolve, spec_of, sweep, threshold_curve, toy_bank
from hrm_rl.halting.rules.select import Select

N, K, M = 40, 4, 6
BY = ("first", "best:q-halt", "best:residual", "best:entropy", "vote", "vote:q-halt", "oracle")
STOPS = ("q", "q-halt:0.5", "fixed:3", "min(2, stable:1)", "recall(q)")


@pytest.fixture(scope="module")
def wide(random_bank: Callable[..., TraceBank]) -> TraceBank:
    """Validation puzzles with K noisy trajectories; few different drafts, so that votes tie."""
    ids = np.random.default_rng(0).integers(1, 4, (K, N, M))
    each = [random_bank(N, M, seed) for seed in range(K)]
    each = [replace(b, draft_ids=np.where(b.correct, 0, i)) for b, i in zip(each, ids, strict=True)]
    columns = [{name: b.stacked(name)[:, 0] for name in b._of_segments()} for b in each]
    return replace(each[0], others={name: np.stack([c[name] for c in columns[1:]], 1) for name in columns[0]})


def by_hand(bank: TraceBank, stop: str, by: str, limit: int) -> list[tuple[int, bool, list[int]]]:
    """(segment of the answer, whether it is right, segments of each trajectory) of each puzzle."""
    each = [replay(bank.unrolled.take(slice(k, None, K)), stop, max_segments=limit) for k in range(K)]
    q, residual, entropy, ids, right = (
        bank.stacked(name) for name in ("q_halt", "residual_H", "entropy", "draft_ids", "correct")
    )
    found = []
    for n in range(N):
        stops = [int(outcome.stopped[n]) for outcome in each]
        answers = [int(outcome.answered[n]) for outcome in each]
        end = [s - 1 for s in stops]
        answer = [int(ids[n, k, answers[k] - 1]) for k in range(K)]
        weight = [1 / (1 + np.exp(-float(q[n, k, end[k]]))) if ":" in by else 1 for k in range(K)]
        votes = Counter[int]()
        for k in range(K):
            votes[answer[k]] += weight[k]
        scores = {
            "first": [(-stops[k], q[n, k, end[k]]) for k in range(K)],
            "best:q-halt": [q[n, k, end[k]] for k in range(K)],
            "best:residual": [-residual[n, k, end[k]] for k in range(K)],
            "best:entropy": [-entropy[n, k, end[k]] for k in range(K)],
            "oracle": [right[n, k, answers[k] - 1] for k in range(K)],
        }
        ranks = scores.get(by) or [round(votes[answer[k]], 6) for k in range(K)]
        chosen = max(range(K), key=lambda k: (ranks[k], -k))
        run = [min(stops)] * K if by == "first" else stops
        found.append((answers[chosen], bool(right[n, chosen, answers[chosen] - 1]), run))
    return found


@pytest.mark.parametrize("by", BY)
def test_what_is_selected_and_what_it_costs(wide: TraceBank, by: str) -> None:
    for stop in STOPS:
        for limit in (1, 4, M):
            outcome = replay(wide, f"select({stop}, {by})", max_segments=limit)
            answered, right, run = zip(*by_hand(wide, stop, by, limit), strict=True)
            np.testing.assert_array_equal(outcome.lengths, run)
            np.testing.assert_array_equal(outcome.stopped, np.sum(run, 1))
            np.testing.assert_array_equal(outcome.answered, answered)
            np.testing.assert_array_equal(outcome.correct, right)
            np.testing.assert_array_equal(outcome.correct, outcome.valid)


def test_rules_of_one_trajectory_read_the_plain_one(wide: TraceBank) -> None:
    alone = wide.narrow(1)
    assert (wide.width, wide.narrow(3).width, alone.width, alone.others) == (K, 3, 1, {})
    for spec in (*STOPS, "oracle"):
        one, two = replay(wide, spec), replay(alone, spec)
        np.testing.assert_array_equal(one.stopped, two.stopped)
        np.testing.assert_array_equal(one.correct, two.correct)
        np.testing.assert_array_equal(one.lengths[:, 0], two.stopped)


@pytest.mark.parametrize(
    "stop", ["q-halt:auto", "min(2, confidence:auto)", "recall(entropy:auto)", "fixed:auto"]
)
@pytest.mark.parametrize("by", BY)
def test_thresholds_are_chosen_for_all_trajectories(wide: TraceBank, stop: str, by: str) -> None:
    spec = f"select({stop}, {by})"
    curve = threshold_curve(spec, wide, 9)
    outcomes = [replay(wide, rule) for rule in sweep(spec, wide, 9)]
    np.testing.assert_allclose(curve.accuracy, [o.correct.mean() for o in outcomes])
    np.testing.assert_allclose(curve.mean_segments, [o.stopped.mean() for o in outcomes])
    best = resolve(spec, wide, 0.01)
    assert isinstance(best, Select) and spec_of(best).endswith(f", {by})")


@pytest.mark.parametrize("by", BY)
def test_fewer_trajectories_are_a_narrower_bank(wide: TraceBank, by: str) -> None:
    for width in (2, 3):
        spec = f"select(q-halt:auto, {by}, {width})"
        chosen, narrow = resolve(spec, wide, 0.01), resolve(spec, wide.narrow(width), 0.01)
        assert str(chosen) == str(narrow) and str(parse_rule(str(chosen))) == str(chosen)
        one, two = replay(wide, chosen), replay(wide.narrow(width), str(chosen).replace(f", {width})", ")"))
        np.testing.assert_array_equal(one.lengths, two.lengths)
        np.testing.assert_array_equal(one.correct, two.correct)


def test_selecting_beats_the_best_single_trajectory_where_drafts_differ() -> None:
    bank = toy_bank(500, num_segments=8, width=4).in_split("test")
    one = max(replay(bank, f"fixed:{n}").correct.mean() for n in range(1, 9))
    assert replay(bank, "select(fixed:8, vote)").correct.mean() > one + 0.1
    plain = toy_bank(500, num_segments=8).in_split("test")
    np.testing.assert_array_equal(bank.narrow(1).features["q_halt"], plain.features["q_halt"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("select(q, best:qhalt)", "unknown way to select, 'best:qhalt'; did you mean 'best:q-halt'"),
        ("select(q, residual)", "did you mean 'best:residual'"),
        ("select(q, votes)", "did you mean 'vote'"),
        ("select(q, q)", "unknown way to select, 'q'; did you mean 'best:q-halt'"),
        ("select(q, best:q)", "unknown way to select, 'best:q'"),
        ("select(q, best:numpy:array)", "unknown way to select"),
        ("select(q)", r"the form is select\(RULE, BY, K\), got 1 parts"),
        ("select(q, vote, 4, 4)", "got 4 parts"),
        ("select(q, vote, few)", "'few' is not a whole number; select"),
        ("select(q, vote, 1)", "needs K >= 2 trajectories, got 1"),
        ("select(select(q, vote), first)", r"cannot be part of select\(RULE, BY, K\); select outside"),
        ("select(q, select(q, vote))", "unknown way to select"),
        ("recall(select(q, vote))", r"selects among trajectories and cannot be part of recall\(RULE\)"),
        ("select(oracle, vote)", "decides in hindsight"),
        ("select", r"wraps rules, as in select\(RULE, BY, K\)"),
        ("selct(q, vote)", "did you mean 'select'"),
    ],
)
def test_refusals(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule(spec)


def test_what_a_bank_cannot_do(wide: TraceBank) -> None:
    alone, message = wide.narrow(1), "this bank has 1 a puzzle; record .* --width 8"
    for spec in ("select(q, vote)", "select(q, vote, 8)"):
        with pytest.raises(ValueError, match=message):
            replay(alone, spec)
    with pytest.raises(ValueError, match=message):
        threshold_curve("select(fixed:auto, vote)", alone)
    with pytest.raises(ValueError, match=r"this bank has 4 a puzzle; record more .* --width 9"):
        replay(wide, "select(q, vote, 9)")
    with pytest.raises(ValueError, match="changes the trajectories; run it live"):
        replay(wide, "particles(q)")
    assert spec_of(parse_rule("particles(q)")) == "particles(q)"
