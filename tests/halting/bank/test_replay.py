"""Replay against a plain loop over puzzles and segments, for every rule."""

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import torch

from hrm_rl.halting import Outcome, SegmentFeatures, TraceBank, bank_features, parse_rule
from hrm_rl.halting.bank.replay import replay
from hrm_rl.halting.rules import RULES, HaltingRule

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

N, M, D = 12, 5, 3
SHARE = st.integers(0, 20).map(lambda n: n / 20)
PLAIN = {
    "fixed": st.integers(1, M + 2),
    "random": st.integers(1, 20).map(lambda n: n / 20),
    "q": st.none(),
    "q-halt": st.integers(-20, 20).map(lambda n: n / 10),
    "confidence": SHARE,
    "margin": SHARE,
    "entropy": SHARE,
    "stable": st.integers(1, 3),
    "residual": SHARE,
    "second-order": SHARE,
    "kl": SHARE,
    "act": st.integers(1, 30).map(lambda n: n / 10),
    "ponder": SHARE,
}
HINDSIGHT = {"oracle": SHARE, "first-correct": st.none()}
assert set(RULES) == set(PLAIN) | set(HINDSIGHT)  # no rule is left out


def spec_of_kind(kind: str) -> st.SearchStrategy[str]:
    values = (PLAIN | HINDSIGHT)[kind]
    return values.map(lambda value: kind if value is None else f"{kind}:{value}")


plain = st.sampled_from(sorted(PLAIN)).flatmap(spec_of_kind)
wrapped = st.recursive(
    plain,
    lambda inner: st.one_of(
        inner.map("recall({})".format),
        st.tuples(st.integers(1, M), inner).map(lambda p: "min({}, {})".format(*p)),
        st.tuples(st.sampled_from(["any", "all"]), inner, inner).map(lambda p: "{}({}, {})".format(*p)),
    ),
    max_leaves=3,
)


@pytest.fixture(scope="module")
def banks(random_bank: Callable[..., TraceBank]) -> list[TraceBank]:
    rng = np.random.default_rng(0)
    fields = {
        "valid": rng.random((N, M)) < 0.7,
        "puzzle_key": rng.integers(0, 1 << 40, N),
        "pooled_z_H": rng.normal(size=(N, M, D)).astype(np.float16),
    }
    return [random_bank(N, M, seed, **fields) for seed in range(3)]


def one_segment(bank: TraceBank, n: int, m: int) -> SegmentFeatures:
    """The features of puzzle n after its segment m + 1, [1]."""
    columns = {name: torch.tensor(bank.column(name)[n, m])[None] for name in SegmentFeatures._fields}
    return SegmentFeatures(**columns)


def by_hand(bank: TraceBank, rule: HaltingRule, limit: int) -> Outcome:
    """One puzzle after the other, one segment after the other, as the live loop does it."""
    stopped, answered = [], []
    for n in range(bank.num_puzzles):
        best_score, best = -float("inf"), 1
        for m in range(limit):
            features = one_segment(bank, n, m)
            if getattr(rule, "recalls", False):
                score = float(rule.score(features))  # type: ignore[attr-defined]
                if score > best_score:
                    best_score, best = score, m + 1
            else:
                best = m + 1
            if bool(rule(features)):
                break
        stopped.append(m + 1)
        answered.append(best)
    return outcome(bank, stopped, answered, limit)


def in_hindsight(bank: TraceBank, kind: str, cost: float, limit: int) -> Outcome:
    """The hindsight rules by their definitions, all segments tried."""
    stopped = []
    for n in range(bank.num_puzzles):
        right = [bool(bank.correct[n, m]) for m in range(limit)]
        if kind == "oracle":
            returns = [right[m] - cost * (m + 1) for m in range(limit)]
            stopped.append(returns.index(max(returns)) + 1)
        else:
            stopped.append(right.index(True) + 1 if True in right else limit)
    return outcome(bank, stopped, stopped, limit)


def outcome(bank: TraceBank, stopped: list[int], answered: list[int], limit: int) -> Outcome:
    picked = np.arange(bank.num_puzzles), np.array(answered) - 1
    arrays = np.array(stopped), np.array(answered), bank.correct[picked], bank.valid[picked]
    return Outcome(*arrays, limit)


def assert_same(one: Outcome, two: Outcome) -> None:
    for name in ("stopped", "answered", "correct", "valid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
        assert getattr(one, name).dtype == getattr(two, name).dtype
    assert one.max_segments == two.max_segments


@pytest.mark.parametrize("kind", sorted(PLAIN))
@given(data=st.data(), which=st.integers(0, 2), limit=st.integers(1, M))
@settings(max_examples=6)
def test_every_rule_is_a_loop(
    banks: list[TraceBank], kind: str, data: st.DataObject, which: int, limit: int
) -> None:
    rule = parse_rule(data.draw(spec_of_kind(kind)))
    wanted = by_hand(banks[which], rule, limit)
    assert_same(replay(banks[which], rule, max_segments=limit), wanted)


@given(spec=wrapped, which=st.integers(0, 2), limit=st.integers(1, M))
@settings(max_examples=30)
def test_wrapped_rules_are_a_loop(banks: list[TraceBank], spec: str, which: int, limit: int) -> None:
    wanted = by_hand(banks[which], parse_rule(spec), limit)
    assert_same(replay(banks[which], spec, max_segments=limit), wanted)


@given(cost=st.sampled_from([0.0, 0.001, 0.1, 0.4, 2.0]), which=st.integers(0, 2))
@settings(max_examples=20)
def test_hindsight(banks: list[TraceBank], cost: float, which: int) -> None:
    for limit in (1, 3, M):
        for kind, spec in (("oracle", f"oracle:{cost}"), ("first-correct", "first-correct")):
            wanted = in_hindsight(banks[which], kind, cost, limit)
            assert_same(replay(banks[which], spec, max_segments=limit), wanted)


def test_recall_answers_with_the_earliest_of_the_best(random_bank: Callable[..., TraceBank]) -> None:
    """By hand: q_halt 1 3 3 2, so segment 2, whenever the rule stops later."""
    features = dict(random_bank(1, 4).features)
    features["q_halt"] = np.array([[1.0, 3.0, 3.0, 2.0]])
    correct = np.array([[False, True, False, False]])
    bank = random_bank(1, 4, features=features, correct=correct)
    for stop, answered in ((1, 1), (2, 2), (3, 2), (4, 2), (9, 2)):
        found = replay(bank, f"recall(fixed:{stop})")
        assert (found.stopped[0], found.answered[0]) == (min(stop, 4), answered)
        assert found.correct[0] == (answered == 2)


class NeedsPooled:
    """A custom rule that reads the latent state."""

    needs = frozenset({"pooled_z_H"})

    def __call__(self, features: SegmentFeatures) -> torch.Tensor:
        assert features.pooled_z_H is not None
        return features.pooled_z_H[:, 0] > 0.5


def test_pooled_states_come_where_they_are_needed(banks: list[TraceBank], random_bank) -> None:
    plain = bank_features(banks[0])
    assert plain.pooled_z_H is None and plain.segment.shape == (N * M,)
    assert bank_features(banks[0], {"halt_sum"}) is plain is not bank_features(banks[1])  # kept
    assert_same(replay(banks[0], NeedsPooled()), by_hand(banks[0], NeedsPooled(), M))
    with pytest.raises(ValueError, match=r"'pooled_z_H', which this bank lacks.*--pooled"):
        replay(random_bank(2, 2), NeedsPooled())


def test_bad_use_is_named(banks: list[TraceBank]) -> None:
    for limit in (0, M + 1):
        with pytest.raises(ValueError, match=rf"1\.\.{M}, .* got {limit}"):
            replay(banks[0], "q", max_segments=limit)
    with pytest.raises(ValueError, match=r"a bool tensor \[60\], got bool \[3\]"):
        replay(banks[0], lambda features: features.q_halt[:3] > 0)
    with pytest.raises(ValueError, match="confidense"):
        replay(banks[0], "confidense:1")


@pytest.mark.filterwarnings("ignore:hrm_rl.halting.replay has moved")
def test_the_package_names_the_function_whatever_was_imported_before() -> None:
    import_module("hrm_rl.halting.replay")  # the module's old path
    assert import_module("hrm_rl.halting").replay is replay
