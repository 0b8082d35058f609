"""ToNumpy, and Gymnasium's vector wrappers: each works on tensors, or is refused and works on the view."""

import sys
import types
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers import vector as wrappers

from hrm_rl.envs import ToNumpy, ToTorch

KINDS: dict[str, dict[str, Any]] = {
    "dict": {"id": "HRM/Sudoku-v0", "size": 4, "pool_size": 20, "halt_max_steps": 3},
    "flat": {"id": "HRM/Sudoku-v0", "size": 4, "pool_size": 20, "flat_action": True},
    "halting": {"id": "HRM/Halting-v0"},
}


def make(kind: str, mode: str = "SAME_STEP", rows: int = 4, **options: Any) -> VectorEnv:
    return gym.make_vec(**KINDS[kind], num_envs=rows, autoreset_mode=mode, **options)


def play(envs: VectorEnv, steps: int = 8) -> list[Any]:
    envs.action_space.seed(0)
    return [envs.reset(seed=1), *(envs.step(envs.action_space.sample()) for _ in range(steps))]


# --- the view -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_view_equals_single_environments_in_gymnasiums_vector(kind: str) -> None:
    """In observations, rewards and ends, dtypes too, and in infos where Gymnasium has them."""
    same = {"autoreset_mode": AutoresetMode.SAME_STEP}
    singles = gym.make_vec(**KINDS[kind], num_envs=4, vectorization_mode="sync", vector_kwargs=same)
    ends = 0
    for ours, theirs in zip(play(ToNumpy(make(kind))), play(singles), strict=True):
        for one, two in zip(ours[:-1], theirs[:-1], strict=True):
            one, two = (value if isinstance(value, dict) else {"": value} for value in (one, two))
            assert {k: v.dtype for k, v in one.items()} == {k: v.dtype for k, v in two.items()}
            np.testing.assert_equal(one, dict(two))
        info, their_info = ours[-1], theirs[-1]
        for key in their_info.keys() - {"final_info", "is_success"}:
            if not key.startswith("_") and "is_success" not in key:
                for row in np.flatnonzero(their_info[f"_{key}"]):
                    np.testing.assert_equal(info[key][row], their_info[key][row], key)
                    ends += key == "final_obs"
        assert ("final_obs" in info) == ("final_obs" in their_info) == ("final_info" in info)
    assert ends >= 4


def test_arrays_are_the_callers_own_and_nested_tensors_are_converted() -> None:
    envs = ToNumpy(make("dict"))
    obs, info = envs.reset(seed=0)
    labels = info["labels"].copy()
    obs["inputs"][:], info["labels"][:] = 0, 0
    action = {"answer": labels, "halt": np.ones(4, int)}
    assert envs.step(action)[1].tolist() == [1.0] * 4
    cartpole = gym.make_vec(
        "CartPole-v1", 2, vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
    )  # fmt: skip
    for result in play(ToNumpy(ToTorch(cartpole)), 40):
        assert isinstance(result[0], np.ndarray)
    with pytest.raises(ValueError, match="returns tensors already: leave ToTorch out"):
        ToTorch(make("dict")).reset()


# --- Gymnasium's wrappers -------------------------------------------------------------------------

BUILD: dict[str, Callable[[Any], VectorEnv]] = {
    "VectorizeTransformAction": lambda e: wrappers.VectorizeTransformAction(
        e, gym.wrappers.TransformAction, func=lambda a: a, action_space=e.single_action_space
    ),
    "TransformAction": lambda e: wrappers.TransformAction(e, lambda a: a),
    "TransformObservation": lambda e: wrappers.TransformObservation(e, lambda o: o),
    "TransformReward": lambda e: wrappers.TransformReward(e, lambda r: 2 * r),
    "ClipReward": lambda e: wrappers.ClipReward(e, 0, 0.5),
    "VectorizeTransformObservation": lambda e: wrappers.VectorizeTransformObservation(
        e, gym.wrappers.TransformObservation, func=lambda o: o, observation_space=e.single_observation_space
    ),
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "NormalizeReward": wrappers.NormalizeReward,
    "DictInfoToList": wrappers.DictInfoToList,
    "FlattenObservation": wrappers.FlattenObservation,
    "FilterObservation": lambda e: wrappers.FilterObservation(e, ["inputs"]),
    "RescaleObservation": lambda e: wrappers.RescaleObservation(e, 0.0, 1.0),
    "ReshapeObservation": lambda e: wrappers.ReshapeObservation(e, (13, 1)),
    "DtypeObservation": lambda e: wrappers.DtypeObservation(e, np.float32),
    "NormalizeObservation": wrappers.NormalizeObservation,
}
ON_TENSORS = {
    *("VectorizeTransformAction", "TransformAction", "TransformObservation", "TransformReward"),
    "ClipReward",
}
ONE_ARRAY = {*("RescaleObservation", "ReshapeObservation", "DtypeObservation", "NormalizeObservation")}
CASES = [
    (name, kind, mode)
    for name in BUILD
    for kind in KINDS
    for mode in ("SAME_STEP", "NEXT_STEP")
    if (mode == "NEXT_STEP" or not name.endswith("Observation"))  # Gymnasium refuses those
    and (kind == "halting") >= (name in ONE_ARRAY)
    and (kind != "halting" or name != "FilterObservation")
]


@pytest.mark.parametrize(("name", "kind", "mode"), CASES)
def test_a_wrapper_works_or_names_the_view_on_which_it_works(name: str, kind: str, mode: str) -> None:
    if name in ON_TENSORS:
        play(BUILD[name](make(kind, mode)))
    else:
        with pytest.raises(ValueError, match=rf"{name} computes with NumPy arrays.*ToNumpy\(envs\)"):
            BUILD[name](make(kind, mode)).reset()
    play(BUILD[name](ToNumpy(make(kind, mode))))


class Bare(VectorWrapper):
    """A user's wrapper, which may convert."""


class MyStatistics(wrappers.RecordEpisodeStatistics):
    """A user's subclass."""


def test_wrappers_of_wrappers_are_found_and_foreign_ones_trusted() -> None:
    doubled = wrappers.TransformReward(make("flat"), lambda r: 2 * r)
    with pytest.raises(ValueError, match="RecordEpisodeStatistics computes"):
        wrappers.RecordEpisodeStatistics(doubled).reset()
    with pytest.raises(ValueError, match="MyStatistics computes"):
        MyStatistics(make("halting")).reset()
    play(wrappers.TransformReward(wrappers.RecordEpisodeStatistics(ToNumpy(doubled)), abs))
    wrappers.RecordEpisodeStatistics(Bare(make("flat"))).reset()
    with pytest.raises(ValueError, match="takes one array: FlattenObservation"):
        wrappers.NormalizeObservation(ToNumpy(make("dict", "NEXT_STEP"))).reset()


def test_statistics_are_those_of_the_environment() -> None:
    envs = wrappers.RecordEpisodeStatistics(ToNumpy(make("halting", rows=16)))
    envs.action_space.seed(0)
    envs.reset(seed=0)
    plain = make("halting", rows=16)
    plain.reset(seed=0)
    ends = 0
    for _ in range(10):
        actions = envs.action_space.sample()
        *_, info = envs.step(actions)
        *_, theirs = plain.step(actions)
        for row in np.flatnonzero(info.get("_episode", [])):
            assert info["episode"]["r"][row] == pytest.approx(float(theirs["episode"]["r"][row]))
            assert info["episode"]["l"][row] == int(theirs["episode"]["l"][row])
            ends += 1
    assert ends == len(envs.return_queue) >= 16


def test_the_opening_lines_of_cleanrl_run_unchanged() -> None:
    """Rollout and buffers of its `ppo.py`, as written there for Gymnasium's own vectors."""
    num_steps, num_envs, device = 16, 4, torch.device("cpu")
    envs = wrappers.RecordEpisodeStatistics(ToNumpy(make("halting")))
    assert isinstance(envs.single_action_space, gym.spaces.Discrete)
    agent = torch.nn.Linear(
        int(np.array(envs.single_observation_space.shape).prod()), envs.single_action_space.n
    )
    obs = torch.zeros((num_steps, num_envs) + envs.single_observation_space.shape).to(device)
    rewards = torch.zeros((num_steps, num_envs)).to(device)
    next_obs, _ = envs.reset(seed=1)
    next_obs = torch.Tensor(next_obs).to(device)
    next_done = torch.zeros(num_envs).to(device)
    episodes = 0
    for step in range(num_steps):
        obs[step] = next_obs
        action = torch.distributions.Categorical(logits=agent(next_obs)).sample()
        next_obs, reward, terminations, truncations, infos = envs.step(action.cpu().numpy())
        next_done = np.logical_or(terminations, truncations)
        rewards[step] = torch.tensor(reward).to(device).view(-1)
        next_obs, next_done = torch.Tensor(next_obs).to(device), torch.Tensor(next_done).to(device)
        episodes += int(infos.get("_episode", np.zeros(num_envs)).sum())
    assert episodes and rewards.abs().sum() > 0 and next_done.dtype == torch.float32


# --- videos ---------------------------------------------------------------------------------------


@pytest.fixture
def videos(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...]]]:
    """Stands in for MoviePy, of the extra `video`: number and shape of each video's frames."""
    written: list[tuple[int, tuple[int, ...]]] = []

    class ImageSequenceClip:
        def __init__(self, frames: list[np.ndarray], fps: int) -> None:
            assert fps == 4 and len({frame.shape for frame in frames}) == 1
            written.append((len(frames), frames[0].shape))

        def write_videofile(self, path: str, **options: Any) -> None: ...

    for name in ("moviepy", "moviepy.video", "moviepy.video.io"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    clip = types.ModuleType("moviepy.video.io.ImageSequenceClip")
    clip.ImageSequenceClip = ImageSequenceClip  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, clip.__name__, clip)
    return written


def test_recorders_film_vectors_the_view_and_single_environments(videos: list, tmp_path) -> None:
    def always(number: int) -> bool:
        return True

    for view in (lambda envs: envs, ToNumpy):
        envs = view(make("flat", rows=4, render_mode="rgb_array", halt_max_steps=3))
        play(wrapped := wrappers.RecordVideo(envs, str(tmp_path / "vec"), episode_trigger=always))
        wrapped.close()
    vectors = len(videos)
    env = gym.make(**KINDS["flat"], render_mode="rgb_array", max_episode_steps=2)
    env = gym.wrappers.RecordVideo(env, str(tmp_path / "one"), episode_trigger=always)
    env.reset(seed=0)
    env.step(np.zeros(17, int))
    env.step(np.zeros(17, int))
    env.close()
    (count, (height, width, _)), films = videos[-1], videos[:vectors]
    assert count == 3 and vectors >= 4 and {shape for _, shape in films} == {(2 * height, 2 * width, 3)}


def test_sb3_films_its_vector(videos: list, tmp_path) -> None:
    from stable_baselines3.common.vec_env import VecVideoRecorder

    from hrm_rl.agents.sb3 import TorchVecEnv

    envs = TorchVecEnv(make("flat", rows=4, render_mode="rgb_array"))
    film = VecVideoRecorder(envs, str(tmp_path), lambda step: step == 0, video_length=5)
    film.reset()
    for _ in range(7):
        film.step(np.array([film.action_space.sample() for _ in range(4)]))
    film.close()
    assert [count for count, _ in videos] == [6]
