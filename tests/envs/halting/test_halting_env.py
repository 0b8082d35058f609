"""HRM/Halting-v0: rewards and returns by hand, seeds, autoreset, and that a live model plays alike."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from hrm_rl.agents import HRMAgent
from hrm_rl.envs import PoolSource, SequentialSource
from hrm_rl.envs.halting import HaltingVectorEnv, LiveHaltingVectorEnv, make_env, make_vector_env
from hrm_rl.evaluation.record import record
from hrm_rl.halting.bank import TraceBank
from hrm_rl.halting.bank.replay import bank_features, replay
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.halting.vector import feature_vector

ID = "HRM/Halting-v0"
MODES = ("SAME_STEP", "NEXT_STEP", "DISABLED")
ROWS = 6


@pytest.fixture(scope="module")
def bank() -> TraceBank:
    return toy_bank(20, seed=1, num_segments=5).in_split("validation")


def halts(seed: int, steps: int, rows: int = ROWS, often: float = 0.3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(steps, rows, generator=generator) < often


# --- what an episode pays -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("checker", ["exact", "valid"])
def test_episodes_against_the_bank(bank: TraceBank, mode: str, checker: Any) -> None:
    """Every value of a step, from the bank by hand, in each autoreset mode."""
    loose = dataclasses.replace(bank, valid=bank.correct | (np.arange(5) == 2))
    cost, limit = 0.125, 4
    settings: Any = {"segment_cost": cost, "halt_max_steps": limit, "checker": checker}
    envs = HaltingVectorEnv(ROWS, loose, autoreset_mode=mode, **settings)
    vectors = feature_vector(bank_features(loose)).view(20, 5, -1)
    obs, info = envs.reset(seed=4)
    segment, returned = torch.ones(ROWS, dtype=torch.int64), torch.zeros(ROWS)
    waiting = torch.zeros(ROWS, dtype=torch.bool)
    ended = 0
    for halt in halts(0, 40):
        row = info["bank_row"]
        assert torch.equal(obs, vectors[row, segment - 1])
        seen = obs
        obs, reward, terminated, truncated, info = envs.step(halt)
        over = ~waiting & (halt | (segment == limit))
        right = torch.from_numpy(loose.correct if checker == "exact" else loose.valid)[row, segment - 1]
        assert torch.equal(reward, torch.where(waiting, 0.0, (over & right).float() - cost))
        assert torch.equal(terminated, over | waiting if mode == "DISABLED" else over)
        assert not truncated.any()
        returned += reward
        for key in ("_episode", "_final_obs", "_final_info"):
            assert torch.equal(info[key], over)
        final = info["final_info"]
        assert torch.equal(info["final_obs"][over], seen[over])
        assert torch.equal(info["episode"]["l"][over], segment[over])
        assert torch.equal(info["episode"]["r"][over], returned[over])
        assert torch.allclose(returned[over], right[over].float() - cost * segment[over])
        first = torch.from_numpy(loose.first_correct)[row]
        judged = {
            "correct": torch.from_numpy(loose.correct)[row, segment - 1],
            "valid": torch.from_numpy(loose.valid)[row, segment - 1],
            "cell_accuracy": torch.from_numpy(loose.cell_accuracy)[row, segment - 1],
            "segments": segment,
            "first_correct_segment": torch.where(first <= segment, first, 0),
            "forced": over & ~halt,
        }
        for key, value in judged.items():
            assert torch.equal(info[key], value) and torch.equal(final[key][over], value[over])
        assert torch.equal(final["bank_row"][over], row[over])
        assert torch.equal(info["rating"], torch.from_numpy(loose.rating)[info["bank_row"]])
        stays = {"SAME_STEP": over & False, "NEXT_STEP": over, "DISABLED": over | waiting}[mode]
        fresh = {"SAME_STEP": over, "NEXT_STEP": waiting, "DISABLED": over & False}[mode]
        segment = torch.where(fresh, 1, segment + ~(over | waiting))
        returned = torch.where(fresh, 0.0, returned)
        waiting = stays
        ended += int(over.sum())
        if mode == "DISABLED" and waiting.all():
            obs, info = envs.reset()
            segment, returned, waiting = segment * 0 + 1, returned * 0, waiting & False
    assert ended > 20


def test_info_has_the_same_keys_and_shapes_every_step(bank: TraceBank) -> None:
    def shapes(info: dict[str, Any]) -> dict[str, Any]:
        return {k: shapes(v) if isinstance(v, dict) else tuple(v.shape) for k, v in info.items()}

    envs = HaltingVectorEnv(ROWS, bank)
    envs.reset(seed=0)
    infos = [envs.step(torch.full((ROWS,), halt))[-1] for halt in (0, 1, 0, 0, 0, 0, 0)]
    assert all(shapes(info) == shapes(infos[0]) for info in infos)
    for info in (infos[0], infos[0]["final_info"]):
        plain = {key for key in info if not key.startswith("_")}
        assert {f"_{key}" for key in plain} == info.keys() - plain


def test_either_action_submits_at_the_limit(bank: TraceBank) -> None:
    envs = HaltingVectorEnv(4, bank, halt_max_steps=1, segment_cost=0.5)
    envs.reset(seed=0)
    *_, terminated, _, info = envs.step(torch.tensor([0, 0, 1, 1]))
    assert terminated.all() and info["forced"].tolist() == [True, True, False, False]


def test_a_vector_equals_its_singles(bank: TraceBank, assert_singles: Any) -> None:
    """Row i seeded with seed + i: the same puzzles, observations, rewards and ends."""
    singles = [make_env(bank, segment_cost=0.125) for _ in range(3)]
    envs = HaltingVectorEnv(3, bank, segment_cost=0.125)
    actions = iter(halts(5, 30, 3, often=0.4).long().numpy())
    ends, _ = assert_singles(envs, singles, lambda *_: next(actions), seed=11, steps=30)
    assert ends > 20


@pytest.mark.parametrize("rows", [3, 7, 32])
def test_an_epoch_walks_every_puzzle_once(bank: TraceBank, rows: int) -> None:
    """The sum of its episodes is what the replay of the same rule says; past the end nothing is right."""
    correct = bank.correct.copy()
    correct[-1] = True  # the puzzle shown past the end would always pay
    bank = dataclasses.replace(bank, correct=correct)
    rule_stops = replay(bank, "q-halt:0.5")
    envs = HaltingVectorEnv(rows, bank, order="epoch", segment_cost=0.0)
    obs, info = envs.reset(seed=0)
    met: dict[int, bool] = {}
    for _ in range(60):
        stop = obs[:, 1] > 0.5 / 5  # q_halt in units of 5
        keys = info["puzzle_key"]
        obs, reward, terminated, _, info = envs.step(stop)
        for key, paid in zip(keys[terminated].tolist(), reward[terminated].tolist(), strict=True):
            if key < 20:
                assert key not in met
                met[key] = paid == 1
            else:
                assert paid == 0
    assert [met[key] for key in range(20)] == rule_stops.correct.tolist()


@pytest.mark.parametrize("order", ["hash", "epoch"])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_runs_where_no_value_can_be_read(bank: TraceBank, mode: str, order: Any) -> None:
    """On the meta device tensors have shapes and no values: reading or copying one raises."""
    envs = HaltingVectorEnv(8, bank, autoreset_mode=mode, order=order, device="meta")
    envs.reset(seed=0)
    for _ in range(3):
        obs, reward, *_, info = envs.step(torch.zeros(8, dtype=torch.int64, device="meta"))
        assert obs.is_meta and reward.is_meta and info["final_info"]["correct"].is_meta


# --- what Gymnasium and SB3 want --------------------------------------------------------------------


@pytest.mark.parametrize("name", [ID, f"hrm_rl:{ID}"])
def test_made_by_name(name: str) -> None:
    env = gym.make(name, segment_cost=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        sb3_check_env(env.unwrapped)
    assert env.action_space == gym.spaces.Discrete(2)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space and obs.dtype == np.float32
    envs = gym.make_vec(name, num_envs=5, segment_cost=0.1)
    assert isinstance(envs, HaltingVectorEnv) and envs.reset(seed=0)[0].shape == (5, *obs.shape)
    assert env.spec is not None and env.spec.max_episode_steps is None


def test_observations_stay_in_their_space_and_actions_may_be_numpy() -> None:
    envs, same = make_vector_env(64), make_vector_env(64)
    obs, _ = envs.reset(seed=0)
    same.reset(seed=0)
    for halt in halts(0, 20, 64):
        assert obs.numpy() in envs.observation_space
        (obs, reward, *_), other = envs.step(halt), same.step(halt.numpy().astype(int))
        assert torch.equal(obs, other[0]) and torch.equal(reward, other[1])


# --- banks ------------------------------------------------------------------------------------------


def test_a_bank_comes_from_its_file_and_by_split(tmp_path: Any) -> None:
    bank = toy_bank(10, num_segments=3)
    bank.save(tmp_path / "bank.safetensors")
    sizes = {"validation": 10, "test": 10, None: 20}
    for split, size in sizes.items():
        envs = make_vector_env(2, tmp_path / "bank.safetensors", split=split)
        assert isinstance(envs, HaltingVectorEnv) and envs.bank.num_puzzles == size
        assert envs.settings.halt_max_steps == 3
    with pytest.raises(ValueError, match="no puzzle of split 'train'; it has validation, test"):
        make_env(tmp_path / "bank.safetensors", split="train")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_env(tmp_path / "nowhere")


def test_pooled_states_are_appended(bank: TraceBank) -> None:
    states = np.random.default_rng(0).normal(size=(20, 5, 7)).astype(np.float16)
    envs = HaltingVectorEnv(3, dataclasses.replace(bank, pooled_z_H=states), pooled=True)
    plain = HaltingVectorEnv(3, dataclasses.replace(bank, rating=np.full(20, np.nan)))
    obs, info = envs.reset(seed=0)
    assert (plain.reset(seed=0)[1]["rating"] == -1).all()  # unrated
    assert torch.equal(obs[:, :-7], plain.reset(seed=0)[0])
    assert np.array_equal(obs[:, -7:].numpy(), states[info["bank_row"], 0].astype(np.float32))
    with pytest.raises(ValueError, match="pooled"):
        HaltingVectorEnv(3, bank, pooled=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
        ({"halt_max_steps": 6}, "halt_max_steps=6, but the bank has 5"),
        ({"halt_max_steps": 0}, "halt_max_steps must be an integer >= 1"),
        ({"segment_cost": -1.0}, "segment_cost must be >= 0"),
        ({"checker": "both"}, "checker must be one of"),
        ({"order": "random"}, "order must be"),
        ({"autoreset_mode": "never"}, "autoreset_mode must be one of"),
    ],
)
def test_bad_settings_are_refused(bank: TraceBank, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HaltingVectorEnv(**({"num_envs": 2, "bank": bank} | settings))


def test_bad_actions_and_orders_of_calls_are_refused(bank: TraceBank) -> None:
    envs = HaltingVectorEnv(2, bank)
    with pytest.raises(RuntimeError, match="reset"):
        envs.step([0, 0])
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(2, 1\); expected \(2,\)"):
        envs.step(torch.zeros(2, 1))


# --- a live model -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ["hash", "epoch"])
def test_a_live_model_and_its_recording_play_alike(
    pool: Any, restless_hrm: Callable[..., Any], mode: str, order: Any
) -> None:
    """Step for step, resets of single rows included: rewards, ends, judgements, observations."""
    model = restless_hrm()
    bank = record(model, pool, 4, split="validation")
    source = (PoolSource if order == "hash" else SequentialSource)(pool, 6)
    options: dict[str, Any] = {"order": order, "autoreset_mode": mode, "segment_cost": 0.1}
    live = make_vector_env(ROWS, agent=HRMAgent(model), source=source, halt_max_steps=4, **options)
    recorded = make_vector_env(ROWS, bank, **options)
    assert isinstance(live, LiveHaltingVectorEnv)
    assert live.observation_space == recorded.observation_space
    (one, live_info), (other, bank_info) = live.reset(seed=2), recorded.reset(seed=2)
    shared = ("correct", "cell_accuracy", "segments", "first_correct_segment", "forced")
    for halt in halts(3, 10, often=0.4):
        assert torch.equal(live_info["puzzle_key"], bank_info["puzzle_key"])
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-3)
        (one, paid, over, _, live_info), (other, earned, ended, _, bank_info) = (
            live.step(halt),
            recorded.step(halt),
        )
        assert torch.equal(over, ended) and torch.equal(live_info["_episode"], bank_info["_episode"])
        assert torch.equal(paid, earned)
        for key in shared:
            assert torch.equal(live_info[key], bank_info[key]), key
        torch.testing.assert_close(live_info["final_obs"], bank_info["final_obs"], atol=2e-3, rtol=1e-3)
        if mode == "DISABLED" and over.any():
            mask = over & (torch.arange(ROWS) < 4)
            (one, live_info), (other, bank_info) = (
                envs.reset(options={"reset_mask": mask}) for envs in (live, recorded)
            )


def test_a_live_single(pool: Any, restless_hrm: Callable[..., Any]) -> None:
    env = make_env(agent=HRMAgent(restless_hrm()), source=PoolSource(pool, 6), halt_max_steps=3)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    ends = [env.step(0)[2] for _ in range(3)]
    assert ends == [False, False, True]


@pytest.mark.parametrize(
    "settings",
    [{"source": object()}, {"agent": object()}, {"bank": "bank", "agent": object(), "source": object()}],
)
def test_a_bank_or_an_agent_not_both(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either a bank, or an agent and a source"):
        make_vector_env(2, **settings)
