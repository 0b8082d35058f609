"""PlainObservation: any observation as one array or one Dict of arrays, and MiniGrid's as ids."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.preprocessing import check_for_nested_spaces, is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv

from hrm_rl.envs.plain import PlainObservation, text_length, text_to_bytes


class Shows(gym.Env[Any, Any]):
    """Shows samples of a space, five a episode."""

    def __init__(self, space: spaces.Space) -> None:
        self.observation_space, self.action_space = space, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        return self.observation_space.sample(), 0.0, self.steps == 5, False, {}


def shapes(least: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, 4), min_size=least, max_size=most).map(tuple)


leaves: st.SearchStrategy[Any] = st.one_of(
    st.builds(spaces.Discrete, st.integers(1, 9), start=st.integers(-5, 5)),
    shapes(1, 2).map(lambda shape: spaces.MultiDiscrete(np.full(shape, 3), start=np.full(shape, 7))),
    shapes(1, 3).map(list).map(spaces.MultiBinary),
    shapes(0, 3).map(lambda shape: spaces.Box(-1, np.inf, shape)),
    shapes(3, 3).map(lambda shape: spaces.Box(0, 255, shape, np.uint8)),
    st.just(spaces.Text(5, charset="aé€")),
)
keys = st.sampled_from(["a", "image", "z"])
any_space = st.recursive(
    leaves,
    lambda inside: st.one_of(
        st.dictionaries(keys, inside, min_size=1, max_size=3).map(spaces.Dict),
        st.lists(inside, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=4,
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(any_space)
def test_whatever_it_shows_sb3_can_store(space: spaces.Space) -> None:
    """One level, arrays only, nothing that SB3 takes for a picture, and the space is kept to."""
    env = PlainObservation(Shows(space))
    shown = env.observation_space
    check_for_nested_spaces(shown)
    parts = list(shown.spaces.values()) if isinstance(shown, spaces.Dict) else [shown]
    for part in parts:
        assert not is_image_space(part)
        assert isinstance(part, spaces.Discrete) or (part.shape and math.prod(part.shape))
    obs, _ = env.reset(seed=0)
    assert obs in shown
    vec = DummyVecEnv([lambda: env, lambda: PlainObservation(Shows(space))])
    vec.reset()
    for _ in range(6):  # past an episode's end
        stored = vec.step(np.zeros(2, np.int64))[0]
    assert isinstance(stored, dict) == isinstance(shown, spaces.Dict)


def test_nothing_is_lost_on_the_way() -> None:
    """Every part under its path, with the values that the environment gave."""
    grid = spaces.Box(0, 255, (7, 7, 3), np.uint8)
    picture = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    space = spaces.Dict(
        a=spaces.Tuple([spaces.Discrete(3, start=5), spaces.MultiDiscrete([[3, 4]], start=[[1, 2]])]),
        b=spaces.Dict(grid=grid, picture=picture, number=spaces.Box(0, 1, ())),
        words=spaces.Text(9),
    )
    env = PlainObservation(Shows(space))
    shown = env.observation_space
    assert isinstance(shown, spaces.Dict)
    assert {*shown} == {"a/0", "a/1", "b/grid", "b/picture", "b/number", "words"}
    assert shown["a/0"] == spaces.Discrete(3) and shown["a/1"] == spaces.MultiDiscrete([3, 4])
    assert shown["b/grid"] == spaces.Box(0, 255, (7, 7, 3), np.int16)
    assert shown["b/picture"] == picture
    space.seed(1)
    raw = space.sample()
    obs = env.observation(raw)
    assert obs in shown
    assert obs["a/0"] == raw["a"][0] - 5
    assert obs["a/1"].tolist() == (raw["a"][1] - [[1, 2]]).ravel().tolist()
    assert np.array_equal(obs["b/grid"], raw["b"]["grid"]) and obs["b/grid"].dtype == np.int16
    assert obs["b/picture"] is raw["b"]["picture"]
    assert obs["b/number"].tolist() == [raw["b"]["number"]]
    assert bytes(obs["words"][obs["words"] > 0] - 1).decode() == raw["words"]


def test_a_space_without_parts_stays_one() -> None:
    env = PlainObservation(Shows(spaces.Box(0, 255, (5, 5, 3), np.uint8)))
    assert env.observation_space == spaces.Box(0, 255, (5, 5, 3), np.int16)
    assert env.reset(seed=0)[0] in env.observation_space
    plain = spaces.Box(-1, 1, (3,))
    assert PlainObservation(Shows(plain)).observation_space == plain


def test_parts_are_dropped_by_name_or_whole() -> None:
    inner = spaces.Dict(x=spaces.Discrete(2), y=spaces.Sequence(spaces.Discrete(2)))
    space = spaces.Dict(a=inner, b=spaces.Tuple([spaces.Text(3), spaces.Discrete(4)]))
    assert {*PlainObservation(Shows(space), ("a", "b/0")).observation_space} == {"b/1"}
    assert {*PlainObservation(Shows(space), ("a/y", "b")).observation_space} == {"a/x"}
    only = PlainObservation(Shows(spaces.Dict(words=spaces.Text(3), x=spaces.Discrete(2))), "words")
    assert {*only.observation_space} == {"x"}
    for drop, message in (
        (("c",), r"'c'; the parts are \['a', 'a/x', 'a/y', 'b', 'b/0', 'b/1'\]"),
        (("a", "b"), "nothing is left"),
        ((), r"part 'a/y', Sequence.*no fixed shape.*drop=\('a/y',\)"),
    ):
        with pytest.raises(ValueError, match=message):
            PlainObservation(Shows(space), drop)
    with pytest.raises(ValueError, match=r"the observation, Graph.*pad it to a Box in a wrapper$"):
        PlainObservation(Shows(spaces.Graph(spaces.Discrete(3), None)))
    with pytest.raises(ValueError, match=r"two parts are named 'a/x'"):
        clash = spaces.Dict({"a/x": spaces.Discrete(2), "a": spaces.Dict(x=spaces.Discrete(2))})
        PlainObservation(Shows(clash))


@settings(max_examples=50)
@given(st.text(max_size=12), st.integers(1, 40))
def test_bytes_tell_strings_apart(text: str, length: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    array = text_to_bytes(text, length)
    encoded = text.encode()[:length]
    assert array.dtype == np.uint8 and array.shape == (length,)
    assert bytes(array[: len(encoded)] - 1) == encoded
    assert (array[: len(encoded)] > 0).all() and not array[len(encoded) :].any()


# --- MiniGrid -----------------------------------------------------------------------------------


def minigrid(name: str = "MiniGrid-MemoryS7-v0", **options: Any) -> gym.Env:
    pytest.importorskip("minigrid")
    return gym.make(name, **options)


def image_of(space: spaces.Space) -> Any:
    return space["image"] if isinstance(space, spaces.Dict) else space


@pytest.mark.parametrize("name", ["MiniGrid-MemoryS7-v0", "MiniGrid-DoorKey-5x5-v0", "MiniGrid-LavaGapS5-v0"])
@pytest.mark.parametrize("layer", ["", "FullyObsWrapper", "ImgObsWrapper"])
def test_minigrids_image_is_of_the_ids_that_there_are(name: str, layer: str) -> None:
    env = minigrid(name)
    if layer:
        env = getattr(pytest.importorskip("minigrid.wrappers"), layer)(env)
    env = PlainObservation(env)
    image = image_of(env.observation_space)
    assert image.high.max((0, 1)).tolist() == [10, 5, 3] and image.low.max() == 0
    assert not is_image_space(image)
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(60):
        assert obs in env.observation_space
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            obs, _ = env.reset()


def test_minigrids_pictures_and_other_codes_are_left_alone() -> None:
    wrappers = pytest.importorskip("minigrid.wrappers")
    picture = PlainObservation(wrappers.RGBImgPartialObsWrapper(minigrid()))
    assert image_of(picture.observation_space) == spaces.Box(0, 255, (56, 56, 3), np.uint8)
    small = PlainObservation(wrappers.RGBImgPartialObsWrapper(minigrid(), tile_size=4))
    assert image_of(small.observation_space).high.max() == 255, "colours are no ids"
    hot = PlainObservation(wrappers.OneHotPartialObsWrapper(minigrid()))
    assert image_of(hot.observation_space).shape == (7, 7, 20)


@pytest.mark.filterwarnings("ignore")
def test_checkers_find_nothing_wrong() -> None:
    for env in (
        PlainObservation(minigrid()),
        PlainObservation(minigrid(), drop=("mission",)),
        PlainObservation(gym.make("Blackjack-v1")),
    ):
        check_env(env, skip_render_check=True)
        sb3_check_env(env)
    assert set(PlainObservation(gym.make("Blackjack-v1")).observation_space) == {"0", "1", "2"}


def test_a_mission_is_as_long_as_its_longest_words() -> None:
    env = minigrid("MiniGrid-Fetch-8x8-N3-v0")
    mission = env.observation_space["mission"]
    lengths = [len(mission.sample()) for _ in range(500)]
    assert text_length(mission) == max(lengths)
    unsaid = minigrid("BabyAI-GoToObj-v0").observation_space["mission"]
    assert text_length(unsaid) == 128


def test_the_spec_makes_it_again() -> None:
    env = PlainObservation(gym.make("Blackjack-v1"), drop=["2"])
    again = gym.make(env.spec)
    assert again.observation_space == env.observation_space
