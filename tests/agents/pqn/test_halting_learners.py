"""Learned rules: near the known optimum, in replay and online, saved and loaded, never on test puzzles."""

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from hrm_rl.agents import HRMAgent
from hrm_rl.agents.pqn import PQNConfig
from hrm_rl.agents.pqn.halting_learners import train_pqn, train_sb3
from hrm_rl.agents.sb3.rule import load_rule
from hrm_rl.agents.sb3.vec_env import TorchVecEnv
from hrm_rl.envs.halting import make_vector_env
from hrm_rl.halting import parse_rule
from hrm_rl.halting.bank import TraceBank, puzzle_ids
from hrm_rl.halting.bank.replay import bank_features, replay
from hrm_rl.halting.bank.toy import toy_bank, toy_optimal_stops
from hrm_rl.halting.fit.provenance import check_fitted

COST = 0.03
TINY = PQNConfig(total_steps=2_000, hidden=(8,))


@pytest.fixture(scope="module")
def bank() -> TraceBank:
    return toy_bank(2000, seed=0)


@pytest.fixture(scope="module")
def small() -> TraceBank:
    return toy_bank(30, seed=5)


def share_of_optimum(rule: Any, bank: TraceBank) -> float:
    """Of the optimal rule's return, on puzzles that were not learned from."""
    test = bank.in_split("test")
    stops = toy_optimal_stops(test, COST)
    best = (test.correct[np.arange(len(test)), stops - 1] - COST * stops).mean()
    outcome = replay(test, rule)
    return float((outcome.correct - COST * outcome.stopped).mean() / best)


def make(kind: str, bank: TraceBank) -> Any:
    """A rule that has hardly learned anything."""
    validation = bank.in_split("validation")
    if kind == "pqn":
        return train_pqn(validation, COST, config=TINY, num_envs=16)
    if kind == "qrdqn":
        pytest.importorskip("sb3_contrib")
    short = {"learning_starts": 64} if kind.endswith("dqn") else {}
    return train_sb3(validation, COST, 0, kind, total_steps=512, **short)


# --- learning -----------------------------------------------------------------------------------


def trained(kind: str, bank: TraceBank, cost: float, seed: int = 0, **settings: Any) -> Any:
    validation = bank.in_split("validation")
    if kind == "pqn":
        return train_pqn(validation, cost, seed, config=PQNConfig(**settings))
    return train_sb3(validation, cost, seed, kind, **settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("pqn", {"total_steps": 200_000}), ("dqn", {"total_steps": 25_000, "gradient_steps": 4})],
)
def test_it_comes_near_the_optimum(bank: TraceBank, kind: str, settings: dict) -> None:
    assert share_of_optimum(trained(kind, bank, COST, **settings), bank) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", ["pqn", "dqn", "ppo", "a2c", "qrdqn"])
def test_defaults_come_near_the_optimum(bank: TraceBank, kind: str, seed: int) -> None:
    assert share_of_optimum(trained(kind, bank, COST, seed), bank) >= 0.95


@pytest.mark.parametrize(("kind", "steps"), [("pqn", 40_000), ("ppo", 8_192)])
def test_the_price_of_a_segment_counts(kind: str, steps: int, bank: TraceBank) -> None:
    """If a segment costs nearly as much as a right answer pays, the rule stops at once."""
    rule = trained(kind, bank, 0.9, total_steps=steps)
    assert replay(bank.in_split("validation"), rule).stopped.mean() < 1.1


# --- rules as rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pqn", "dqn", "ppo", "a2c", "qrdqn"])
def test_saved_and_loaded_a_rule_is_the_same(kind: str, small: TraceBank, tmp_path: Path) -> None:
    rule = make(kind, small)
    path = tmp_path / "deep" / "rule"
    saved = rule.save(path)
    spec = f"pqn:{path}" if kind == "pqn" else f"sb3:{kind}:{path}"
    assert str(saved) == spec and str(rule) == spec.removesuffix(f":{path}")
    loaded = parse_rule(spec)
    assert str(loaded) == spec
    features = bank_features(small)
    assert torch.equal(loaded(features), rule(features))
    for name in ("model_hash", "split", "cost"):
        assert getattr(loaded.fitted_on, name) == getattr(rule.fitted_on, name)  # type: ignore[attr-defined]
    validation = small.in_split("validation")
    ids = puzzle_ids(validation.inputs, validation.labels)
    assert np.array_equal(loaded.fitted_on.puzzle_ids, ids)  # type: ignore[attr-defined]
    # Judged on new puzzles only, and wrapped like any rule.
    check_fitted(loaded, small.in_split("test"))
    with pytest.raises(ValueError, match="fitted on 30 of these"):
        check_fitted(loaded, validation)
    assert replay(small, f"min(3, {spec})").stopped.min() >= 3
    assert replay(small, f"recall({spec})").max_segments == 8


@pytest.mark.parametrize("kind", ["pqn", "dqn"])
def test_a_rule_stops_at_the_limit_it_was_trained_for(kind: str, small: TraceBank) -> None:
    rule = make(kind, small.truncate(3))
    features = bank_features(small)
    assert rule(features)[features.segment >= 3].all()
    assert replay(small, rule).stopped.max() <= 3


def test_learned_rules_play_online(small: TraceBank, tmp_path: Path, tiny_hrm: Any) -> None:
    """In the live loop as on a recording: HRMAgent takes the spec like any other."""
    envs = gym.make_vec("HRM/Sudoku-v0", num_envs=5, size=4, pool_size=10, halt_max_steps=4)
    for kind in ("pqn", "ppo"):
        rule = make(kind, small).save(tmp_path / kind)
        agent, state = HRMAgent(tiny_hrm(), str(rule)), None
        obs, _ = envs.reset(seed=0)
        for _ in range(4):
            decision = agent.act(obs, state)
            assert torch.equal(decision.action["halt"], rule(decision.features))
            obs, *_ = envs.step(decision.action)
            state = decision.state


def test_the_same_seed_learns_the_same_rule(small: TraceBank) -> None:
    validation = small.in_split("validation")
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[union-attr]
    for train in (
        lambda seed: train_pqn(validation, COST, seed, config=TINY).network,
        lambda seed: train_sb3(validation, COST, seed, "ppo", total_steps=2048).policy,
    ):
        one, same, other = (train(seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert any(not torch.equal(one[key], other[key]) for key in one)
    # What the caller draws afterwards does not depend on it.
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]
    assert random.getstate() == states[2]


@pytest.mark.parametrize("train", [train_pqn, train_sb3])
def test_test_puzzles_and_bad_prices_are_refused(train: Any, small: TraceBank) -> None:
    with pytest.raises(ValueError, match="30 of split 'test'"):
        train(small, COST)
    with pytest.raises(ValueError, match="cost"):
        train(small.in_split("validation"), float("nan"))


# --- files ------------------------------------------------------------------------------------------


def test_a_model_saved_by_sb3_itself_is_a_rule(small: TraceBank, tmp_path: Path) -> None:
    """Its weights are read, with SB3's default network; nothing in it is unpickled."""
    envs = TorchVecEnv(make_vector_env(4, small))
    model = PPO("MlpPolicy", envs, n_steps=8, batch_size=32)
    model.save(tmp_path / "model.zip")
    rule = load_rule("ppo", tmp_path / "model.zip")
    seen, _ = make_vector_env(64, small).reset(seed=0)
    expected, _ = model.predict(seen.numpy(), deterministic=True)
    with torch.no_grad():
        assert np.array_equal(rule.policy._predict(seen, deterministic=True), expected)
    assert rule.fitted_on is None and str(rule) == f"sb3:ppo:{tmp_path / 'model.zip'}"
    other = PPO("MlpPolicy", envs, policy_kwargs={"net_arch": [5]})
    other.save(tmp_path / "other.zip")
    with pytest.raises(ValueError, match=r"other\.zip holds another network"):
        load_rule("ppo", tmp_path / "other.zip")


@pytest.fixture(scope="module")
def files(small: TraceBank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are not the rule they are opened as, and one that is."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "text").write_text("no rule")
    zipfile.ZipFile(folder / "empty.zip", "w").close()
    make("dqn", small).save(folder / "dqn.zip")
    with zipfile.ZipFile(folder / "dqn.zip") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    note = json.loads(parts["hrm_rl.json"]) | {"features": ["another"]}
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        for name, content in (parts | {"hrm_rl.json": json.dumps(note).encode()}).items():
            archive.writestr(name, content)
    return folder


@pytest.mark.parametrize(
    ("algo", "name", "message"),
    [
        ("dqn", "text", "text is not the file of an SB3 policy"),
        ("dqn", "empty.zip", r"empty\.zip is not the file of an SB3 policy"),
        ("pqn", "text", "text is not the file of a fitted rule"),
        ("ppo", "dqn.zip", "policy of 'dqn'; its spec is sb3:dqn:"),
        ("dqn", "old.zip", r"old\.zip was fitted on other features"),
        ("td3", "dqn.zip", "unknown algorithm 'td3'; known: dqn, ppo, a2c, qrdqn"),
    ],
)
def test_other_files_are_refused_by_name(algo: str, name: str, message: str, files: Path) -> None:
    with pytest.raises(ValueError, match=message):
        parse_rule(f"pqn:{files / name}") if algo == "pqn" else load_rule(algo, files / name)


def test_a_path_that_no_spec_could_hold_is_refused(files: Path) -> None:
    with pytest.raises(ValueError, match="must not contain commas"):
        load_rule("dqn", files / "dqn.zip").save(files / "a,b")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy_kwargs": {"net_arch": "evil"}}, "no tensor has the width 'e'"),
        ({"policy_kwargs": {"net_arch": [30_000] * 3}}, "no tensor has the width 30000"),
        ({"policy_kwargs": {"net_arch": 5}}, "no policy has its hrm_rl.json's policy_kwargs"),
        ({"policy_kwargs": {"activation_fn": "os.system"}}, "no policy has its"),
        ({"policy_kwargs": {"evil": 1}}, "no policy has its"),
        ({"policy_kwargs": [1]}, "policy_kwargs must be an object"),
        ({"max_segments": "4"}, "max_segments must be an integer, got '4'"),
        ({"pooled": "x"}, "pooled must be true or false"),
        ({"cost": "x"}, "cost must be a number"),
        ({"algo": None}, "it lacks hrm_rl.json.algo"),
    ],
)
def test_a_damaged_note_names_its_file_and_field(tmp_path, changes, words) -> None:
    pytest.importorskip("stable_baselines3")
    from hrm_rl.agents.sb3.rule import Sb3Rule

    whole, damaged = Path(__file__).parents[2] / "pins/artifacts/dqn.zip", tmp_path / "rule.zip"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "hrm_rl.json":
                note = {**json.loads(data), **changes}
                kept = {key: value for key, value in note.items() if value is not None}
                data = json.dumps(kept).encode()
            target.writestr(name, data)
    with pytest.raises(ValueError, match=rf"rule\.zip.*{words}"):
        Sb3Rule.load(damaged)
