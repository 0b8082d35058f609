"""What Gymnasium and Stable-Baselines3 expect, for every puzzle environment in the registry."""

import copy
import json
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from family_cases import ALL, SMALL
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import hrm_rl  # noqa: F401 (registers)
from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv
from hrm_rl.envs.families.make import family_source
from hrm_rl.envs.families.validators import validator_of
from hrm_rl.envs.to_numpy import to_numpy
from hrm_rl.puzzles import IGNORE_LABEL, CustomPuzzles, find_family
from hrm_rl.puzzles.family import Family
from hrm_rl.puzzles.prefix_parity import PrefixParity

# As JSON has them, for specs that survive it.
DIALS: dict[str, dict[str, Any]] = {
    f"HRM/{find_family(name).__name__}-v0": json.loads(json.dumps(dials)) for name, dials in SMALL.items()
}
DIALS["HRM/Arc-v0"] = {"folder": str(Path(__file__).parents[2] / "puzzles" / "arc_tasks")}

# Not puzzles: each has tests of its own.
ORDINARY = {"HRM/Halting-v0", "HRM/CueRecall-v0", "HRM/OneWayMaze-v0"}
IDS = sorted(i for i in gym.registry if i.startswith("HRM/") and i not in ORDINARY)
every_id = pytest.mark.parametrize("env_id", IDS)


def options(env_id: str, **more: Any) -> dict[str, Any]:
    return DIALS[env_id] | {"pool_size": 20, "halt_max_steps": 3} | more


def make(env_id: str, **more: Any) -> PuzzleEnv:
    env = gym.make(env_id, **options(env_id, **more)).unwrapped
    assert isinstance(env, PuzzleEnv)
    return env


def make_vec(env_id: str, num_envs: int, **more: Any) -> PuzzleVectorEnv:
    envs = gym.make_vec(env_id, num_envs=num_envs, **options(env_id, **more))
    assert isinstance(envs, PuzzleVectorEnv)
    return envs


def test_all_families_are_registered() -> None:
    assert set(IDS) == set(DIALS)


@every_id
@pytest.mark.parametrize(
    ("render_mode", "flat_action"), [(None, True), (None, False), ("ansi", False), ("rgb_array", True)]
)
def test_checkers_have_no_complaint(env_id: str, render_mode: str | None, flat_action: bool) -> None:
    env = make(env_id, render_mode=render_mode, flat_action=flat_action)
    assert env.metadata["render_modes"] == ["ansi", "rgb_array"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=False)
        if flat_action and render_mode is None:
            sb3_check_env(env, warn=True)


@every_id
def test_a_pickled_environment_goes_on_alike(env_id: str) -> None:
    env = make(env_id, render_mode="ansi")
    env.reset(seed=3)
    env.action_space.seed(0)
    env.step(env.action_space.sample() | {"halt": 0})
    twin = pickle.loads(pickle.dumps(env))
    action = env.action_space.sample() | {"halt": 1}
    np.testing.assert_equal(twin.step(action), env.step(action))
    np.testing.assert_equal(twin.reset(), env.reset())
    assert twin.render() == env.render()


@every_id
def test_specs_copy_and_survive_json(env_id: str) -> None:
    env = gym.make(env_id, **options(env_id))
    assert env.spec is not None
    specs = (copy.deepcopy(env.spec), EnvSpec.from_json(env.spec.to_json()))
    for spec in (*specs, pickle.loads(pickle.dumps(env.spec))):
        assert spec == env.spec
        np.testing.assert_equal(gym.make(spec).reset(seed=4), env.reset(seed=4))


@every_id
@pytest.mark.parametrize(
    "mode", ["vector_entry_point", "sync", pytest.param("async", marks=pytest.mark.slow)]
)
def test_every_way_to_vectorise(env_id: str, mode: str) -> None:
    native = make_vec(env_id, 3)
    envs = gym.make_vec(env_id, num_envs=3, vectorization_mode=mode, **options(env_id))
    assert envs.observation_space == native.observation_space
    assert envs.single_action_space == native.single_action_space
    obs, info = envs.reset(seed=5)
    want, want_info = native.reset(seed=5)
    for key in want:
        np.testing.assert_array_equal(to_numpy(obs)[key], want[key].numpy())
    np.testing.assert_array_equal(to_numpy(info)["labels"], want_info["labels"].numpy())
    envs.action_space.seed(0)
    obs, reward, *_ = envs.step(envs.action_space.sample())
    assert to_numpy(obs) in envs.observation_space and len(reward) == 3
    envs.close()


@every_id
@pytest.mark.parametrize("augment", [False, True])
def test_a_vector_is_its_singles(env_id: str, augment: bool, assert_singles: Any) -> None:
    more = {"augment": augment, "segment_cost": 0.125, "checker": "valid"}
    singles = [make(env_id, **more) for _ in range(3)]
    rng = np.random.default_rng(0)

    def act(obs: Any, info: Any) -> dict[str, np.ndarray]:
        labels = info["labels"].numpy()
        right = np.where(labels == IGNORE_LABEL, obs["inputs"].numpy(), labels)
        answer = np.where(rng.random((3, 1)) < 0.5, right, obs["draft"].numpy())
        return {"answer": answer, "halt": rng.integers(0, 2, 3)}

    ends, seen = assert_singles(make_vec(env_id, 3, **more), singles, act, seed=1 << 40, steps=8)
    assert ends > 5 and len(seen) == 2


@every_id
@pytest.mark.parametrize("steps", [4_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_steps_stay_in_the_spaces(env_id: str, steps: int) -> None:
    rows = 100
    envs = make_vec(env_id, rows, flat_action=steps > 10_000)
    envs.action_space.seed(0)
    obs, _ = envs.reset(seed=0)
    for _ in range(steps // rows):
        obs, reward, _, truncated, info = envs.step(envs.action_space.sample())
        assert to_numpy(obs) in envs.observation_space
        assert to_numpy(info["final_obs"]) in envs.observation_space
        assert ((reward == 0) | (reward == 1)).all() and not truncated.any()
        assert (info["valid"] | ~info["correct"]).all()  # whatever is exact is valid too


@every_id
def test_a_step_reads_no_value(env_id: str) -> None:
    """On the meta device tensors have shapes and no values: waiting for one raises."""
    envs = make_vec(env_id, 4, device="meta", checker="valid")
    if getattr(envs.source.validator, "on_host", False):
        pytest.skip("answers are checked on the host")
    obs, _ = envs.reset(seed=0)
    halt = torch.zeros(4, dtype=torch.bool, device="meta")
    for _ in range(3):
        obs, reward, *_, info = envs.step({"answer": obs["draft"], "halt": halt})
    assert reward.is_meta and info["valid"].is_meta


def near_answers(puzzles: Any, tokens: int) -> np.ndarray:
    """Answers of which some are right and some have a few random tokens."""
    rng = np.random.default_rng(0)
    answers = np.where(puzzles.labels == IGNORE_LABEL, puzzles.inputs, puzzles.labels)
    share = rng.choice([0.0, 0.02, 0.5], (len(puzzles), 1))
    noise = rng.integers(0, tokens, answers.shape)
    return np.where(rng.random(answers.shape) < share, noise, answers)


@pytest.mark.parametrize("family", ALL, ids=lambda family: family.words)
def test_the_validator_agrees_with_the_family(family: Family) -> None:
    puzzles = family.generate(300, seed=1)
    answers = near_answers(puzzles, family.vocab_size)
    want = family.is_valid(puzzles.inputs, answers)
    validator: Any = validator_of(family)
    arrays = [torch.from_numpy(array) for array in (puzzles.inputs, answers, puzzles.labels)]
    labels = any(getattr(validator, name, False) for name in ("needs_labels", "on_host"))
    found = validator(*arrays[: 3 if labels else 2])
    np.testing.assert_array_equal(found.numpy(), want)
    assert 0.2 < want.mean() < 0.9
    exact = family.is_exact(puzzles.labels, answers)
    assert (want == exact).all() if family.one_answer else (want | ~exact).all()


@dataclass(frozen=True)
class NewParity(PrefixParity):
    """A family without a validator in torch."""

    name: ClassVar = "new-parity"
    one_answer: ClassVar = False


def test_a_family_without_a_validator_in_torch_is_checked_on_the_host() -> None:
    family = NewParity(length=8, min_length=4)
    envs = PuzzleVectorEnv(8, family_source(family, pool_size=20), checker="valid")
    _, info = envs.reset(seed=0)
    answer = torch.where(info["labels"] == IGNORE_LABEL, 2, info["labels"])
    answer[::2, 0] = 3 - answer[::2, 0]
    _, reward, *_ = envs.step({"answer": answer, "halt": torch.ones(8)})
    assert reward.tolist() == [0.0, 1.0] * 4
    assert validator_of(CustomPuzzles(5, 7)) is None
