"""Fitted rules: near the best stopping, kept in files, never judged on their own puzzles."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from hrm_rl.halting import BankHeader, TraceBank, parse_rule, spec_of
from hrm_rl.halting.bank.replay import bank_features, replay
from hrm_rl.halting.bank.toy import toy_bank, toy_optimal_return
from hrm_rl.halting.fit.linear import check_fitted, fit_lsm, fit_voc, load_fitted
from hrm_rl.halting.fit.regression import Design, designs
from hrm_rl.halting.rules import needs_of
from hrm_rl.halting.rules.combine import AtLeast, Recall

FITS: dict[str, Any] = {
    "lsm": lambda bank: fit_lsm(bank, 0.01),
    "voc": lambda bank: fit_voc(bank, 0.01, "blinkered"),
}


def mean_return(bank: TraceBank, rule: Any, cost: float) -> float:
    result = replay(bank, rule)
    return float((result.correct - cost * result.stopped).mean())


def first_segment(bank: TraceBank, segment: int) -> Any:
    """Features of one segment of all puzzles, as the live loop sees them."""
    rows = slice(segment - 1, None, bank.num_segments)
    return type(f := bank_features(bank))(*(None if x is None else x[rows] for x in f))


# --- how good they are ----------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [0.003, 0.03])
def test_least_squares_stopping_is_nearly_optimal_on_the_toy(cost: float) -> None:
    bank = toy_bank(2000, seed=0)
    rule = fit_lsm(bank.in_split("validation"), cost)
    test = toy_bank(4000, seed=1).in_split("test")
    assert mean_return(test, rule, cost) >= 0.95 * toy_optimal_return(cost)


def hazard_bank(random_bank: Any, puzzles: int, seed: int) -> TraceBank:
    """Solved at a segment drawn evenly, or never, and staying so; q_halt is high for right drafts."""
    solved = np.random.default_rng(seed).integers(1, 9, puzzles)  # 7, 8: beyond the limit
    correct = np.arange(1, 7) >= solved[:, None]
    plain = random_bank(puzzles, seed=seed)
    return random_bank(
        puzzles,
        seed=seed,
        correct=correct,
        valid=correct,
        features={**plain.features, "q_halt": np.where(correct, 4.0, -4.0)},
    )


def test_the_value_of_computation_is_what_theory_says(random_bank: Any) -> None:
    """A wrong draft is solved by segment t + k with probability k / (8 - t), a right one stays right.

    So right drafts stop, and wrong ones think on, until a segment costs more than it can gain.
    """
    fitting, test = (hazard_bank(random_bank, 3000, seed) for seed in (0, 1))
    first = np.where(test.correct.any(1), test.correct.argmax(1) + 1, 6)
    for horizon in (1, "blinkered"):
        cheap = replay(test, fit_voc(fitting, 0.05, horizon)).stopped  # type: ignore[arg-type]
        assert (cheap == first).mean() > 0.98  # the other columns are noise
        dear = replay(test, fit_voc(fitting, 0.5, horizon)).stopped  # type: ignore[arg-type]
        assert (dear == 1).mean() > 0.99
    rule = fit_voc(fitting, 0.05, "blinkered")
    gains = rule.regression.predict(first_segment(test, 2)).numpy()
    wrong, k = ~test.correct[:, 1], np.arange(1, 5)
    np.testing.assert_allclose(gains[wrong][:, :4].mean(0), k / 6, atol=0.03)
    np.testing.assert_allclose(gains[~wrong].mean(0), 0, atol=0.03)


def test_drafts_that_turn_right_at_segment_3(random_bank: Any) -> None:
    """The myopic rule stops at 1, the others continue; p is 0, 0, 1, ... and C is 1 - 3 c, then 1 - 4 c."""
    correct, cost = np.broadcast_to(np.arange(1, 7) >= 3, (100, 6)), 0.01
    bank = random_bank(100, correct=correct, valid=correct)
    assert (replay(bank, fit_voc(bank, cost, 1)).stopped == 1).all()
    assert (replay(bank, fit_voc(bank, cost, "blinkered")).stopped == 3).all()
    rule = fit_lsm(bank, cost)
    assert (replay(bank, rule).stopped == 3).all()
    for segment, right, later in ((1, 0, 1 - 3 * cost), (2, 0, 1 - 3 * cost), (3, 1, 1 - 4 * cost)):
        p, value = rule.values(first_segment(bank, segment))
        np.testing.assert_allclose(p, right, atol=1e-5)
        np.testing.assert_allclose(value, later, atol=1e-5)


def test_what_lies_ahead_is_worth_what_the_rule_gets_there(random_bank: Any) -> None:
    """Not what hindsight would get: on average over the puzzles fitted on, at every segment."""
    bank, cost = random_bank(200), 0.02
    rule = fit_lsm(bank, cost)
    for t in range(1, 6):
        later = replay(bank, AtLeast(t + 1, rule))
        got = later.correct - cost * later.stopped
        _, value = rule.values(first_segment(bank, t))
        assert float(value.mean()) == pytest.approx(got.mean(), abs=1e-5)


def test_ridge_regression_against_its_normal_equations() -> None:
    """On noise-free data the smallest penalty wins, and it is the textbook's solution."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    x -= x.mean(0)
    x /= x.std(0)
    target = (x @ [1.0, -2.0, 0.5] + 3)[:, None].astype(np.float64)
    values, vectors = np.linalg.eigh(x.T.astype(float) @ x / 200)
    design = Design(np.zeros(3, np.float32), np.ones(3, np.float32), x, values, vectors)
    weights, intercept = design.fit(target)
    gram = x.T.astype(float) @ x / 200 + 1e-5 * np.eye(3)
    wanted = np.linalg.solve(gram, x.T @ (target - target.mean()) / 200)
    np.testing.assert_allclose(weights, wanted.T, rtol=1e-5)
    np.testing.assert_allclose(intercept, target.mean(0), rtol=1e-6)
    # Noise that has nothing to do with the columns is shrunk away.
    noise = rng.normal(size=(200, 1))
    assert np.abs(design.fit(noise)[0]).max() < np.abs(x.T @ noise / 200).max()


# --- live and on a bank ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FITS)
def test_a_row_alone_is_decided_as_in_a_batch(random_bank: Any, kind: str) -> None:
    """Bit for bit: the live loop's batches differ from a bank's."""
    bank = random_bank(300)
    rule = FITS[kind](random_bank(200, seed=9))
    features = bank_features(bank)
    together = rule.regression.predict(features)
    for row in (0, 7, 1799):
        alone = type(features)(*(None if x is None else x[row : row + 1] for x in features))
        assert torch.equal(rule.regression.predict(alone), together[row : row + 1])
    stops = rule(features).view(300, 6)
    assert stops[:, -1].all() and 0 < stops[:, :-1].float().mean() < 1
    beyond = features._replace(segment=features.segment + 6)
    assert rule(beyond).all()


def test_pooled_states_are_regressed_on_where_asked_for(random_bank: Any) -> None:
    """Only they tell which drafts are right."""
    rng = np.random.default_rng(0)
    plain = random_bank(300)
    states = rng.normal(size=(300, 6, 4)) + 0.0
    states[..., 2] = np.where(plain.correct, 2.0, -2.0)
    blank = {name: np.zeros((300, 6)) for name in plain.features}
    bank = random_bank(300, features=blank, pooled_z_H=states.astype(np.float16))
    rule = fit_lsm(bank, 0.01, pooled=True)
    assert needs_of(rule) == {"pooled_z_H"} and needs_of(fit_lsm(bank, 0.01)) == set()
    assert mean_return(bank, rule, 0.01) > mean_return(bank, fit_lsm(bank, 0.01), 0.01) + 0.1
    with pytest.raises(ValueError, match=r"pooled_z_H.*--pooled"):
        fit_lsm(plain, 0.01, pooled=True)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FITS)
def test_a_saved_rule_decides_to_the_bit_as_before(random_bank: Any, tmp_path: Path, kind: str) -> None:
    bank, path = random_bank(), tmp_path / "sub" / "rule.safetensors"
    rule = FITS[kind](bank)
    saved = rule.save(path)
    read: Any = parse_rule(f"{kind}:{path}")
    assert spec_of(saved) == spec_of(read) == f"{kind}:{path}" and spec_of(rule) == kind
    features = bank_features(random_bank(seed=7))
    predicted = [r.regression.predict(features) for r in (rule, saved, read)]
    assert torch.equal(predicted[0], predicted[1]) and torch.equal(predicted[0], predicted[2])
    was, now = vars(rule.fitted_on), vars(read.fitted_on)
    np.testing.assert_array_equal(now.pop("puzzle_ids"), was.pop("puzzle_ids"))
    assert now == was == {"model_hash": "abc", "split": "validation", "cost": 0.01}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    wrapped = parse_rule(f"recall(min(2, {kind}:{path}))")
    assert spec_of(wrapped) == f"recall(min(2, {kind}:{path}))"


def test_files_without_the_rule_are_refused(random_bank: Any, tmp_path: Path) -> None:
    rule, path = fit_lsm(random_bank(), 0.01), tmp_path / "rule"
    rule.save(path)
    with pytest.raises(ValueError, match=f"kind 'lsm', not 'voc'; .*lsm:{path}"):
        parse_rule(f"voc:{path}")
    data = path.read_bytes()
    for bad in (data[: len(data) // 2], b"", b"nonsense" * 9, data.replace(b"weights", b"wights_")):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=str(path)):
            load_fitted(path)
    path.write_bytes(data.replace(rb"\"format\": 1", rb"\"format\": 7"))
    with pytest.raises(ValueError, match=r"has format 7.*reads 1"):
        load_fitted(path)
    with pytest.raises(ValueError, match="must not contain commas or parentheses"):
        rule.save(tmp_path / "a, b")


def changed(path: Path, **changes: Any) -> None:
    """Rewrite a rule's file: fields of the header, of its settings, or arrays; None removes one."""
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["halting_rule"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, value in changes.items():
        home = next((d for d in (header, header["settings"], arrays) if name in d), header["settings"])
        home.pop(name, None) if value is None else home.update({name: value})
    save_file(arrays, path, {"halting_rule": json.dumps(header)})


LSM, CALM = "lsm.safetensors", "calm.safetensors"


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (LSM, {"cost": "x"}, "cost must be a number, got 'x'"),
        (LSM, {"cost": -1}, "cost must be >= 0, got -1"),
        (LSM, {"model_hash": 3}, "model_hash must be a string, got 3"),
        (LSM, {"settings": []}, r"settings must be an object, got \[\]"),
        (LSM, {"kind": None}, "it lacks kind"),
        (LSM, {"pooled": "x"}, "settings.pooled must be true or false, got 'x'"),
        (LSM, {"mean": None}, "it must hold the tables mean, scale, weights, intercept"),
        (LSM, {"mean": np.zeros(3, np.bool_)}, "mean must be float32, got bool"),
        (LSM, {"mean": np.array(3, np.float32)}, "tables of the regression"),
        (CALM, {"delta": "0.1"}, "settings.delta must be a number, got '0.1'"),
        (CALM, {"epsilon": 2}, r"settings.epsilon must lie in \(0, 1\), got 2"),
        (CALM, {"risk": "all"}, "settings.risk must be one of accuracy, consistency"),
        (CALM, {"limit": 1.5}, "settings.limit must be an integer, got 1.5"),
        (CALM, {"rule": 5}, "settings.rule must be a string, got 5"),
        (CALM, {"rule": "ctypes:string_at"}, "'ctypes:string_at', and a file may not name code to run"),
        (CALM, {"rule": "http.server:test:0.5"}, "'http.server:test', and a file may not name code"),
        (CALM, {"rule": "recall(os:abort)"}, r"'recall\(os:abort\)' is not a threshold of one built-in rule"),
        (CALM, {"rule": "lsm:lsm.safetensors"}, "is not a threshold of one built-in rule"),
        (CALM, {"evil": 1}, "unknown setting 'settings.evil'"),
        ("pqn.safetensors", {"max_segments": "4"}, "settings.max_segments must be an integer"),
        ("pqn.safetensors", {"pooled": "x"}, "settings.pooled must be true or false"),
        ("pqn.safetensors", {"pooled": True}, "settings.pooled must be False"),
        ("pqn.safetensors", {"hidden": [10**8, 10**8]}, "size mismatch"),
        ("pqn.safetensors", {"hidden": [-1]}, "settings.hidden must be widths >= 1"),
    ],
)
def test_a_damaged_rule_names_its_file_and_field(tmp_path, name, changes, words) -> None:
    path = tmp_path / name
    shutil.copy(Path(__file__).parents[2] / "pins" / "artifacts" / name, path)
    changed(path, **changes)
    with pytest.raises(ValueError, match=rf"(?s){path.name}.*{words}"):
        load_fitted(path)


# --- honesty --------------------------------------------------------------------------------------


def test_judging_on_the_fitting_puzzles_is_refused(random_bank: Any, tmp_path: Path) -> None:
    bank, other = random_bank(seed=0), random_bank(seed=1)
    rule = fit_lsm(bank.take(slice(0, 30)), 0.01)
    read = parse_rule(f"lsm:{rule.save(tmp_path / 'rule').path}")
    for judged in (rule, read, Recall(rule), parse_rule(f"any(q, min(2, {read}))")):
        with pytest.raises(ValueError, match=r"fitted on 30 of these 60 puzzles .split 'validation'"):
            check_fitted(judged, bank)
        with pytest.raises(ValueError, match="fitted on 1 of these 1 puzzles"):
            check_fitted(judged, bank.take([3]), allow_mismatch=True)
        check_fitted(judged, bank.take(slice(30, None)))
        check_fitted(judged, other)
    check_fitted(parse_rule("q"), bank)


def test_another_model_is_refused_unless_allowed(random_bank: Any) -> None:
    rule = fit_voc(random_bank(), 0.01)
    other = random_bank(seed=1, header=BankHeader(model_hash="xyz"))
    with pytest.raises(ValueError, match="fitted for model 'abc', but these are segments of 'xyz'"):
        check_fitted(rule, other)
    check_fitted(rule, other, allow_mismatch=True)


@pytest.mark.parametrize("fit", [fit_lsm, fit_voc])
@pytest.mark.parametrize(
    ("change", "cost", "message"),
    [
        (lambda bank: bank.truncate(1), 0.01, "at least 2 segments, but this one has 1"),
        (lambda bank: replace(bank, split=np.full(60, "test")), 0.01, "holds 60 of split 'test'"),
        (lambda bank: bank, -0.1, "cost of a segment"),
        (lambda bank: bank, float("nan"), "cost of a segment"),
        (lambda bank: bank, float("inf"), "cost of a segment"),
    ],
)
def test_refusals(random_bank: Any, fit: Any, change: Any, cost: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(change(random_bank()), cost)


def test_an_unknown_horizon_is_refused(random_bank: Any) -> None:
    with pytest.raises(ValueError, match="horizon must be 1 or 'blinkered', got 2"):
        fit_voc(random_bank(), 0.01, 2)  # type: ignore[arg-type]


def test_few_puzzles_and_constant_columns_fit_all_the_same(random_bank: Any) -> None:
    """With fewer puzzles than columns the penalty has to do the work."""
    for bank in (random_bank(3), random_bank(1)):
        assert np.isfinite(fit_lsm(bank, 0.01).regression.weights).all()
    assert len(designs(random_bank(3))) == 5
