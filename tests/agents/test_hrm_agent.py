"""HRMAgent: `act` on tensors, `predict` as Stable-Baselines3 has it, and rules deciding."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy

from hrm_rl.agents import HRMAgent
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.envs.to_numpy import to_numpy
from hrm_rl.halting import SegmentFeatures
from hrm_rl.halting.rules.combine import Recall
from hrm_rl.model import HRM

ROWS, LIMIT = 6, 4
DTYPES = ["float32", "bfloat16", "float16", "float64"]


@pytest.fixture(scope="module")
def build(restless_hrm: Any) -> Callable[..., HRM]:
    """A tiny model whose rows halt at different segments."""
    return lambda forward_dtype="float32": restless_hrm(forward_dtype=forward_dtype)


def vector(**options: Any) -> PuzzleVectorEnv:
    options = {"size": 4, "pool_size": 40, "halt_max_steps": LIMIT} | options
    return gym.make_vec("HRM/Sudoku-v0", num_envs=ROWS, **options)


def segment_two(features: SegmentFeatures) -> torch.Tensor:
    return features.segment >= 2


@pytest.mark.parametrize(("dtype", "rule"), [*((dtype, "q") for dtype in DTYPES), ("bfloat16", "recall(q)")])
def test_predict_equals_act(build: Any, dtype: str, rule: str) -> None:
    """The state's way through NumPy loses nothing, in any dtype of the carry."""
    agent, envs = HRMAgent(build(dtype), rule), vector()
    obs, _ = envs.reset(seed=0)
    state, arrays, episodes = None, None, 0
    for _ in range(12):
        decision = agent.act(obs, state)
        action, arrays = agent.predict(to_numpy(obs), arrays)
        for key, value in decision.action.items():
            np.testing.assert_array_equal(action[key], value.numpy())
        state = decision.state
        tensors = (*state.carry, *state.memory, *(state.best or ()))
        for one, two in zip(tensors, arrays, strict=True):
            np.testing.assert_array_equal(one.double().numpy(), two.astype(np.float64))
        obs, _, terminated, _, _ = envs.step(action)
        episodes += int(terminated.sum())
    assert episodes >= 2 * ROWS


def test_a_single_observation_is_a_batch_of_one(build: Any) -> None:
    """Spaces and shapes of a PuzzleEnv in, a PuzzleEnv's action out."""
    agent = HRMAgent(build())
    env = gym.make("HRM/Sudoku-v0", size=4, pool_size=40, halt_max_steps=LIMIT)
    obs, _ = env.reset(seed=1)
    state = batched_state = None
    for _ in range(3):
        action, state = agent.predict(obs, state)
        assert action in env.action_space
        stacked = {key: np.asarray(value)[None] for key, value in obs.items()}
        batched, batched_state = agent.predict(stacked, batched_state)
        assert batched["answer"].shape == (1, 16) and batched["halt"].shape == (1,)
        np.testing.assert_array_equal(batched["answer"][0], action["answer"])
        assert batched["halt"][0] == action["halt"]
        obs, *_ = env.step(action)


def test_episode_start_begins_afresh(build: Any) -> None:
    """Also where the observation does not say so: those rows think as at first."""
    agent, envs = HRMAgent(build(), "stable:1"), vector(autoreset_mode="Disabled")
    obs = to_numpy(envs.reset(seed=0)[0])
    first, state = agent.predict(obs)
    second, after = agent.predict(obs | {"segment": np.ones(ROWS, int)}, state)
    assert (second["answer"] != first["answer"]).any(axis=1).all()
    starts = np.array([True, False, True, False, False, True])
    mixed, arrays = agent.predict(obs | {"segment": np.ones(ROWS, int)}, state, starts)
    wanted = np.where(starts[:, None], first["answer"], second["answer"])
    np.testing.assert_array_equal(mixed["answer"], wanted)
    for one, fresh, went_on in zip(arrays, state, after, strict=True):
        where = starts.reshape(-1, *(1,) * (one.ndim - 1))
        np.testing.assert_allclose(one, np.where(where, fresh, went_on), rtol=1e-5, atol=1e-5)


def test_rows_at_segment_zero_begin_afresh(build: Any) -> None:
    """The vector environment's autoreset needs no more than the observation."""
    agent, envs = HRMAgent(build(), "fixed:2"), vector()
    obs, _ = envs.reset(seed=0)
    state = None
    for _ in range(4):
        step = agent.act(obs, state)
        obs, *_ = envs.step(step.action)
        state = step.state
    assert (obs["segment"] == 0).all() and (state.memory.segment == 2).all()
    used, fresh = agent.act(obs, state), agent.act(obs)
    assert torch.equal(used.out.logits, fresh.out.logits)
    assert (used.features.segment == 1).all()
    for name, value in used.features._asdict().items():
        assert value is None or torch.equal(value, getattr(fresh.features, name)), name


def test_act_answers_with_the_models_draft_and_the_rules_decision(build: Any) -> None:
    model, envs = build(), vector()
    obs, _ = envs.reset(seed=0)
    agent = HRMAgent(model, "q")
    carry = model.initial_carry(ROWS)
    state, halts = None, []
    for _ in range(LIMIT):
        decision = agent.act(obs, state)
        with torch.no_grad():
            out = model(carry, obs["inputs"], obs["puzzle_identifiers"])
        assert torch.equal(decision.action["answer"], out.logits.argmax(-1))
        assert torch.equal(decision.action["halt"], out.q_halt > out.q_continue)
        halts.append(decision.action["halt"])
        carry, state = out.carry, decision.state
        obs = obs | {"segment": obs["segment"] + 1}
    assert torch.stack(halts).any() and not torch.stack(halts).all()
    tensors = (*decision.out[1:], *decision.out.carry, *decision.action.values())
    assert not any(tensor.requires_grad for tensor in tensors)


def test_a_custom_rule_sees_the_puzzle_key(build: Any) -> None:
    obs, info = vector().reset(seed=0)
    agent = HRMAgent(build(), segment_two)
    one = agent.act(obs, puzzle_key=info["puzzle_key"])
    assert torch.equal(one.features.puzzle_key, info["puzzle_key"])
    assert not one.action["halt"].any()
    two = agent.act(obs | {"segment": obs["segment"] + 1}, one.state)
    assert two.action["halt"].all()


@pytest.mark.parametrize("equal", [False, True])
def test_a_rule_that_recalls_answers_with_the_best_scored_draft(build: Any, equal: bool) -> None:
    """Against the record of all drafts and scores, over resets; of equal scores the earlier stays."""
    model = build()
    if equal:
        torch.nn.init.zeros_(model.q_head.weight)  # every draft gets the score of the bias
    agent, envs = HRMAgent(model, "recall(fixed:9)"), vector()
    obs, _ = envs.reset(seed=0)
    state, drafts, scores, later = None, [], [], 0
    for step in range(2 * LIMIT):
        decision = agent.act(obs, state)
        if step % LIMIT == 0:  # the limit has ended every row
            drafts, scores = [], []
        drafts.append(decision.out.logits.argmax(-1))
        scores.append(decision.out.q_halt)
        best = torch.stack(scores).argmax(0)
        rows = torch.arange(ROWS)
        assert torch.equal(decision.action["answer"], torch.stack(drafts)[best, rows])
        later += int((decision.action["answer"] != drafts[-1]).any(-1).sum())
        obs, *_ = envs.step(decision.action)
        state = decision.state
    assert later > 0


def test_the_state_of_some_rows_goes_on_alike(build: Any) -> None:
    agent, envs = HRMAgent(build(), "recall(q)"), vector(autoreset_mode="Disabled")
    obs, _ = envs.reset(seed=0)
    state = agent.act(obs).state
    rows, obs = torch.tensor([4, 1]), obs | {"segment": obs["segment"] + 1}
    some = agent.act({key: value[rows] for key, value in obs.items()}, state.take_rows(rows))
    together = agent.act(obs, state)
    assert torch.equal(some.action["answer"], together.action["answer"][rows])
    torch.testing.assert_close(some.state.best.score, together.state.best.score[rows])


def by_state(features: SegmentFeatures) -> torch.Tensor:
    assert features.pooled_z_H is not None
    return features.pooled_z_H[:, 0] > 0


by_state.needs = frozenset({"pooled_z_H"})  # type: ignore[attr-defined]


def test_a_rule_gets_the_pooled_states_it_needs(build: Any) -> None:
    obs, _ = vector().reset(seed=0)
    model = build()
    decision = HRMAgent(model, by_state).act(obs)
    pooled = decision.out.carry.z_H.mean(1)
    torch.testing.assert_close(decision.features.pooled_z_H, pooled)
    assert HRMAgent(model, "q").act(obs).features.pooled_z_H is None
    wrapped = HRMAgent(model, Recall(by_state)).act(obs)
    assert torch.equal(wrapped.action["halt"], pooled[:, 0] > 0)


@pytest.mark.parametrize("spec", ["oracle", "oracle:0.01", "first-correct"])
def test_a_rule_of_hindsight_is_refused(build: Any, spec: str) -> None:
    with pytest.raises(ValueError, match=f"'{spec}' decides in hindsight: it runs on a trace bank"):
        HRMAgent(build(), spec)


def test_stable_baselines_evaluates_the_agent(build: Any) -> None:
    """SB3's own loop: batched observations, states and episode starts, flat actions."""
    agent = HRMAgent(build(), "fixed:3", flat_action=True)
    env = gym.make("HRM/Sudoku-v0", size=4, pool_size=50, flat_action=True, segment_cost=0.125)
    returns, lengths = evaluate_policy(agent, env, 3, warn=False, return_episode_rewards=True)
    assert lengths == [3, 3, 3]
    assert all(value in (-0.375, 0.625) for value in returns)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda f: f.confidence, r"a bool tensor \[6\], got float32 \[6\]; compare it with"),
        (lambda f: True, r"a bool tensor \[6\], got bool$"),
        (lambda f: (f.segment > 1)[None], r"a bool tensor \[6\], got bool \[1, 6\]"),
        (lambda f: f.segment > 1 and f.changed > 0, "cannot use `if`, `and`"),
    ],
)
def test_a_rule_that_gives_no_decisions_is_refused(build: Any, rule: Any, message: str) -> None:
    """A score would stop wherever it is not zero; on a trace bank somewhere else again."""
    obs = vector().reset(seed=0)[0]
    for given in (rule, Recall(rule)):
        with pytest.raises(ValueError, match=message):
            HRMAgent(build(), given).act(obs)


def board(**changed: Any) -> dict[str, Any]:
    whole = {"inputs": np.ones((2, 16), int), "puzzle_identifiers": np.zeros(2, int)}
    return whole | {"segment": np.zeros(2, int), "draft": np.ones((2, 16), int)} | changed


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (board(puzzle_identifiers=np.array([0, 12])), "puzzle_identifiers: row 1 holds 12; .* 0 to 9"),
        (board(puzzle_identifiers=np.array([-1, 0])), "puzzle_identifiers: row 0 holds -1"),
        (board(puzzle_identifiers=np.zeros(3, int)), r"puzzle_identifiers must have the shape \(2,\)"),
        (board(puzzle_identifiers=0), r"puzzle_identifiers must have the shape \(2,\), got \(\)"),
        (board(inputs=np.full((2, 16), 6)), "inputs: row 0, cell 0 holds 6; they are 0 to 5"),
        (board(inputs=np.ones((2, 9), int)), r"inputs must have the shape \(2, 16\), got \(2, 9\)"),
        (board(inputs=np.ones((2, 4, 4), int)), r"must have the shape \(2, 16\), got \(2, 4, 4\)"),
        (board(inputs=np.ones((2, 16))), "inputs must be integers, got torch.float64"),
        (board(inputs="1234"), "inputs must be an array of numbers"),
        (board(inputs=np.full((2, 16), "a")), "inputs must be an array of numbers"),
        (board(segment=np.array([0.0, 1.0])), "segment must be integers, got torch.float64"),
        (board(segment=np.array([-1, 0])), "segment: row 0 holds -1; they are 0 or more"),
        ({"inputs": np.ones((2, 16), int)}, "a dict of inputs, puzzle_identifiers, segment; got"),
        (np.ones((2, 16), int), "a dict of inputs, puzzle_identifiers, segment; got ndarray"),
        (None, "a dict of inputs, .*got NoneType"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(
    restless_hrm: Any, observation: Any, message: str
) -> None:
    agent = HRMAgent(restless_hrm(puzzle_emb_ndim=32, num_puzzle_identifiers=10))
    with pytest.raises(ValueError, match=message):
        agent.predict(observation)
    with pytest.raises(ValueError, match=message):
        agent.act(observation)


def test_a_state_or_start_that_does_not_fit_is_refused(build: Any) -> None:
    agent = HRMAgent(build())
    _, state = agent.predict(board())
    three = {key: np.concatenate([value, value[:1]]) for key, value in board().items()}
    for observation, given, message in (
        (three, state, "the state is of 2 rows, the observation of 3"),
        (board(), state[:-1], r"must be the \d+ arrays that predict returned, got \d+ arrays"),
        (board(), 7, "that predict returned, got int"),
    ):
        with pytest.raises(ValueError, match=message):
            agent.predict(observation, given)
    for starts, message in (
        (np.ones(3, bool), r"episode_start must have the shape \(2,\), got \(3,\)"),
        (np.array([0, 2]), "episode_start: row 1 holds 2"),
    ):
        with pytest.raises(ValueError, match=message):
            agent.predict(board(), None, starts)
    with pytest.raises(ValueError, match="model must be a ReasoningModel, got str; hrm_rl"):
        HRMAgent("runs/quickstart")  # type: ignore[arg-type]
    ignored = board(puzzle_identifiers=np.array([0, 12]))  # this model has no puzzle embedding
    agent.predict(ignored)
