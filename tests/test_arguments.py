"""Python's entry points refuse an argument of another type or form in words that name it."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

import hrm_rl
from hrm_rl import HRM, HRMAgent, Learner, PuzzleEnv, PuzzleVectorEnv, compare
from hrm_rl.envs import ThinkingWrapper, ToNumpy
from hrm_rl.halting import parse_rule
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.halting.rules import Confidence, Stable
from hrm_rl.model import HRMConfig
from hrm_rl.puzzles import PuzzleArrays
from hrm_rl.puzzles.sudoku import Sudoku

CONFIG = HRMConfig(6, 16, hidden_size=16, num_heads=2, H_layers=1, L_layers=1, forward_dtype="float32")
TOKENS = np.ones((2, 16), int)


@pytest.fixture(scope="module")
def here():
    """The things that cases are about."""

    class Here:
        model = HRM(CONFIG)
        agent = HRMAgent(model)
        envs = gym.make_vec("HRM/Sudoku-v0", num_envs=4, size=4)
        obs, info = envs.reset(seed=0)
        labels, learner = info["labels"].clone(), Learner.for_envs(model, envs)
        carry = model.initial_carry(4)
        state = agent.act(obs).state
        bank = toy_bank(4)
        ids = torch.zeros(4, dtype=torch.int64)

        @classmethod
        def learn(cls, **other):
            out, action = cls.learner.act(cls.obs)
            *_, terminated, _, info = cls.envs.step(action)
            arguments = {"labels": cls.labels, "terminated": terminated, "info": info} | other
            return cls.learner.learn(out, cls.obs, **arguments)

    return Here


CASES = {
    "from_arrays: option": (
        lambda h: PuzzleVectorEnv.from_arrays(2, TOKENS, TOKENS, vocab_sise=6),
        "unknown option 'vocab_sise'; did you mean 'vocab_size'",
    ),
    "from_arrays, single": (
        lambda h: PuzzleEnv.from_arrays(TOKENS, TOKENS, halt_max_step=6),
        "did you mean 'halt_max_steps'",
    ),
    "from_arrays, device of one": (
        lambda h: PuzzleEnv.from_arrays(TOKENS, TOKENS, device="cpu"),
        "device is an option of gym.make_vec",
    ),
    "take_rows": (lambda h: h.envs.take_rows(torch.tensor([0, 9])), "rows: row 1 holds 9; they are 0 to 3"),
    "take_rows, a mask": (lambda h: h.envs.take_rows(torch.ones(4).bool()), "rows must be integers"),
    "take_rows of a state": (lambda h: h.state.take_rows(torch.tensor([-1])), "row 0 holds -1"),
    "reset: options": (lambda h: h.envs.reset(options=3), "options must be a dict, got 3"),
    "learner: NumPy": (lambda h: Learner.for_envs(h.model, ToNumpy(h.envs)), "got ToNumpy"),
    "learner: single": (lambda h: Learner.for_envs(h.model, gym.make("HRM/Sudoku-v0", size=4)), "got Order"),
    "learner: config": (lambda h: Learner.for_envs(h.model, h.envs, {"lr": 1}), "LearnerConfig, got dict"),
    "learner: model": (lambda h: Learner.for_envs("run", h.envs), "model must be a ReasoningModel, got str"),
    "learn: labels": (lambda h: h.learn(labels=h.labels[:3]), r"labels must be a tensor of shape \(4, 16\)"),
    "learn: labels in NumPy": (lambda h: h.learn(labels=h.labels.numpy()), "labels must be .* got ndarray"),
    "learn: labels past the end": (lambda h: h.learn(labels=h.labels + 50), "row 0, cell 0 holds 5"),
    "learn: reward for terminated": (lambda h: h.learn(terminated=torch.zeros(4)), "terminated must be bool"),
    "learn: info": (lambda h: h.learn(info={}), "the step's info: correct must be a tensor"),
    "learner: a part of an observation": (
        lambda h: h.learner.act({"inputs": h.obs["inputs"]}),
        "an observation has puzzle_identifiers, segment too; got inputs",
    ),
    "learner: rows": (lambda h: Learner(h.model, 2.5), "num_envs must be an integer >= 1, got 2.5"),
    "agent: state": (lambda h: h.agent.act(h.obs, 3), "AgentState of the last act, or None; got int"),
    "agent: key": (
        lambda h: h.agent.act(h.obs, puzzle_key=torch.zeros(3)),
        r"puzzle_key must have the shape \(4,\), got \(3,\)",
    ),
    "model: config": (lambda h: HRM({"vocab_size": 6}), "config must be an HRMConfig .*, got dict"),
    "model: rows": (lambda h: h.model.initial_carry(-1), "0 rows or more, got -1"),
    "model: where": (
        lambda h: h.model.reset(h.carry, torch.zeros(3).bool()),
        r"where must be bool of shape \(4,\)",
    ),
    "model: where, integers": (lambda h: h.model.reset(h.carry, h.ids), "got torch.int64"),
    "model: carry of another": (
        lambda h: h.model(type(h.carry)(*(z[:, 1:] for z in h.carry)), h.obs["inputs"], h.ids),
        "carry is of another model",
    ),
    "puzzles: 64 bits": (
        lambda h: PuzzleArrays(TOKENS, TOKENS * 2**40),
        "labels holds 1099511627776, which does not fit 32 bits",
    ),
    "rule: threshold": (lambda h: Confidence("0.9"), "Confidence takes a number as threshold, got '0.9'"),
    "rule: NaN": (lambda h: Confidence(float("nan")), "takes a number as threshold, got nan"),
    "rule: half a segment": (lambda h: Stable(2.5), "Stable takes a whole number as threshold, got 2.5"),
    "toy bank": (lambda h: toy_bank(2.5), "num_puzzles must be an integer, got 2.5"),
    "thinking: reasoner": (
        lambda h: ThinkingWrapper(gym.make("CartPole-v1"), 3, max_segments=2, segment_cost=0),
        "reasoner must be a Reasoner .* got 3",
    ),
    "family: count": (lambda h: Sudoku(4).generate("3"), "count must be an integer, got '3'"),
    "family: seed": (lambda h: Sudoku(4).generate(3, seed=0.5), "seed must be an integer, got 0.5"),
    "rule": (lambda h: parse_rule(3), "a rule's spec is a string"),
    "compare: folder": (lambda h: compare(h.bank, ["q"], folder=3), "folder must be a path, got 3"),
    "train: folder": (lambda h: hrm_rl.train("sudoku-4x4", 3), "folder must be a path, got 3"),
    "train: settings": (lambda h: hrm_rl.train("sudoku-4x4", settings=3), "settings must be a mapping"),
    "halting: split of a source": (
        lambda h: gym.make_vec(
            "HRM/Halting-v0", num_envs=2, agent=h.agent, source=h.envs.source, split="test"
        ),
        "split 'test' is of a bank; an agent plays the puzzles of its source",
    ),
    "halting: bank": (lambda h: gym.make("HRM/Halting-v0", bank=3), "bank must be a path, got 3"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_argument_is_refused_by_name(here, name) -> None:
    call, words = CASES[name]
    with pytest.raises(ValueError, match=words):
        call(here)


def test_what_is_dropped_is_named(here, caplog, tmp_path) -> None:
    """Identifiers that a model or a file does not keep."""
    puzzles = Sudoku(4).generate(3)
    numbered = dataclasses.replace(puzzles, puzzle_identifiers=np.arange(3))
    arrays = {"puzzle_identifiers": np.arange(3), "vocab_size": 6}
    envs = PuzzleVectorEnv.from_arrays(2, puzzles.inputs, puzzles.labels, **arrays)
    blind = HRM(dataclasses.replace(CONFIG, puzzle_emb_ndim=0))
    Learner.for_envs(blind, envs)
    assert "have 3 puzzle identifiers, which the model does not see" in caplog.text
    Sudoku(4).write_csv(tmp_path / "a.csv", numbered)
    assert "a.csv: a CSV keeps no puzzle identifiers" in caplog.text
    caplog.clear()
    Learner.for_envs(blind, here.envs)
    Sudoku(4).write_csv(tmp_path / "b.csv", puzzles)
    assert not caplog.text
