"""ObsTokenizer: of any space, random or real, tokens that say what was observed, row by row."""

import itertools
import json
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor

import hrm_rl  # noqa: F401  its environments
from hrm_rl.agents.tokenizer import ObsTokenizer, to_tensors

ROWS = 4
INFINITE = float("inf")


# --- spaces and observations at random ----------------------------------------------------------


def shapes(least: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.integers(1, 4), min_size=least, max_size=most).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int8", "int16", "int64", "bool"]))
    shape = draw(shapes(0, 4))
    if dtype == "bool":
        return spaces.Box(0, 1, shape, np.bool_)
    if dtype.startswith("float"):
        bounds = [(-INFINITE, INFINITE), (0.0, INFINITE), (-2.0, 3.0), (-3e38, 3e38)]
    else:
        bounds = [(0, 1), (2, 9), (0, 127)]
    low, high = draw(st.sampled_from(bounds))
    return spaces.Box(low, high, shape, np.dtype(dtype).type)


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    shape = draw(shapes(1, 2))
    sizes, start = (
        np.reshape([draw(st.integers(*bounds)) for _ in range(math.prod(shape))], shape)
        for bounds in ((2, 6), (-3, 3))
    )
    # Gymnasium takes the starts of more than one axis but cannot batch them.
    return spaces.MultiDiscrete(sizes, start=start if len(shape) == 1 else None)


discretes = st.builds(spaces.Discrete, st.integers(2, 30), start=st.integers(-9, 9))
multi_binaries = shapes(1, 3).map(list).map(spaces.MultiBinary)
letters = st.sampled_from(["ab", "é€𝄞", "x\0"])
texts = st.builds(spaces.Text, st.integers(1, 6), charset=letters)
leaves = st.one_of(discretes, multi_discretes(), multi_binaries, boxes(), texts)


def nested(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["a", "b.c", "image", "0"])
    dicts = st.dictionaries(keys, inside, min_size=1, max_size=3).map(spaces.Dict)
    return st.one_of(dicts, st.lists(inside, min_size=1, max_size=3).map(spaces.Tuple))


any_space = st.recursive(leaves, nested, max_leaves=5)
seeds = st.integers(0, 2**16)


def rows_of(obs: Any, index: Any) -> Any:
    if isinstance(obs, dict):
        return {key: rows_of(value, index) for key, value in obs.items()}
    return tuple(rows_of(o, index) for o in obs) if isinstance(obs, tuple) else obs[index]


def tokens_by_part(made: ObsTokenizer) -> dict[str, slice]:
    ends = itertools.accumulate((part.tokens for part in made.plan), initial=1)
    places = itertools.pairwise(ends)
    return {part.name: slice(a, b) for part, (a, b) in zip(made.plan, places, strict=True)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(any_space, seeds)
def test_any_space_becomes_tokens_row_by_row(tokenizer, observed, space, seed) -> None:
    made = tokenizer(space, max_tokens=2000)
    obs = to_tensors(space, observed(space, seed))
    x = made(obs)
    assert x.shape == (ROWS, made.num_tokens, 16) and x.dtype == torch.float32
    assert x.isfinite().all()
    assert sum(part["tokens"] for part in made.spec["parts"]) + 1 == made.num_tokens
    assert json.loads(json.dumps(made.spec)) == made.spec
    order = [2, 0, 3, 1]
    assert torch.allclose(made(rows_of(obs, torch.tensor(order))), x[order], atol=1e-6)
    assert torch.allclose(made(rows_of(obs, slice(1, 2))), x[1:2], atol=1e-6)
    assert made(rows_of(obs, slice(0))).shape == (0, made.num_tokens, 16)
    assert torch.equal(x[:, 0], x[:1, 0].expand(ROWS, -1)), "the summary is of no observation"


def changed(space: Any, value: Tensor) -> Tensor:
    """Another observation of the space, with every number in it different."""
    if isinstance(space, spaces.Text):
        return (value + 1) % 200
    if isinstance(space, spaces.Box) and space.dtype.kind == "f":
        return value.double() / 2 + torch.where(value > 0.5, -1, 1)
    if isinstance(space, spaces.Box):
        low, size = int(space.low.min()), int(space.high.max()) - int(space.low.min()) + 1
    elif isinstance(space, spaces.MultiBinary):
        low, size = 0, 2
    else:
        discrete = isinstance(space, spaces.Discrete)
        low = torch.as_tensor(space.start)
        size = torch.as_tensor(space.n if discrete else space.nvec)
    return (value.long() - low + 1) % size + low


def replaced(obs: Any, path: tuple[Any, ...], change: Any) -> Any:
    """obs with the part at `path` changed."""
    if not path:
        return change(obs)
    inner = replaced(obs[path[0]], path[1:], change)
    if isinstance(obs, dict):
        return {**obs, path[0]: inner}
    return (*obs[: path[0]], inner, *obs[path[0] + 1 :])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(any_space, seeds)
def test_every_token_is_of_its_part_and_of_no_other(tokenizer, observed, space, seed) -> None:
    made = tokenizer(space, max_tokens=2000)
    obs = to_tensors(space, observed(space, seed))
    x, places = made(obs), tokens_by_part(made)
    for part in made.plan:
        inner: Any = space
        for key in part.path:
            inner = inner[key]
        other = made(replaced(obs, part.path, lambda value, of=inner: changed(of, value)))
        moved = (other - x).abs().amax(-1) > 0  # [B, T]
        expected = torch.zeros(made.num_tokens, dtype=torch.bool)
        expected[places[part.name]] = True
        assert torch.equal(moved, expected.expand_as(moved)), part.name


def sb3_spaces() -> st.SearchStrategy[spaces.Space]:
    """What SB3's preprocess_obs takes: no Tuple, no Text, nothing that starts elsewhere than at 0."""
    sizes = st.lists(st.integers(2, 6), min_size=1, max_size=5)
    numbers = st.integers(2, 30).map(spaces.Discrete), sizes.map(spaces.MultiDiscrete)
    plain = st.one_of(*numbers, multi_binaries, boxes())
    keys = st.sampled_from(["a", "image", "z"])
    return st.one_of(plain, st.dictionaries(keys, plain, min_size=1).map(spaces.Dict))


@settings(max_examples=50)
@given(sb3_spaces(), seeds)
def test_from_sb3_undoes_what_sb3_does(tokenizer, observed, space, seed) -> None:
    made = tokenizer(space, max_tokens=2000)
    obs = to_tensors(space, observed(space, seed))
    back = made.from_sb3(preprocess_obs(obs, space, normalize_images=False))
    pairs = [(obs[key], back[key]) for key in obs] if isinstance(obs, dict) else [(obs, back)]
    for raw, given_back in pairs:
        assert raw.shape == given_back.shape
        assert torch.equal(raw.float(), given_back.float())
    # SB3 gives float32; numbers that were float64 are scaled in float64, and may differ in the last digit.
    torch.testing.assert_close(made(back), made(obs))


def test_a_discrete_out_of_an_sb3_buffer_has_an_axis_more(tokenizer: Any) -> None:
    space = spaces.Dict({"n": spaces.Discrete(5), "x": spaces.Box(0, 1, (2,))})
    made, n = tokenizer(space), torch.tensor([3, 0, 4])
    obs = {"n": n[:, None], "x": torch.zeros(3, 2)}
    back = made.from_sb3(preprocess_obs(obs, space, normalize_images=False))
    assert torch.equal(back["n"], n)
    assert torch.equal(made(obs), made(back))


every_kind = pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(7),
        spaces.MultiDiscrete([5] * 9),
        spaces.MultiBinary(30),
        spaces.Box(0, 9, (5, 5), np.int64),
        spaces.Box(0, 255, (7, 7, 3), np.uint8),
        spaces.Box(-1, 1, (20,)),
        spaces.Box(-1, 1, (100,)),
        spaces.Box(-INFINITE, INFINITE, (12,)),
        spaces.Box(-3e38, 3e38, (12,)),
        spaces.Box(0, 255, (64, 64, 3), np.uint8),
        spaces.Text(20),
        spaces.Tuple([spaces.Discrete(7), spaces.Text(20), spaces.MultiBinary(9)]),
    ],
    ids=lambda space: " ".join(str(space).split())[:30],
)


@every_kind
def test_entries_have_about_unit_variance_and_every_parameter_learns(tokenizer, observed, space) -> None:
    """Bounded numbers may have less; bounds of 1e38 count as none, and symlog of such numbers is about 88."""
    made = tokenizer(space, 128)
    x = made(to_tensors(space, observed(space, 0, 64)))
    assert float(x[0, 0].detach().var()) == pytest.approx(1, abs=0.4)
    tokens = float(x[:, 1:].detach().var())
    huge = isinstance(space, spaces.Box) and 1e9 < space.high.max() < INFINITE
    assert 0.5 < tokens < (88**2 if huge else 1.5)
    x.square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every_kind
def test_nothing_waits_for_the_device(tokenizer: Any, observed: Any, space: spaces.Space) -> None:
    """On the meta device there are no values, so an `.item()` or a data-dependent shape raises."""
    made = tokenizer(space).to("meta")
    x = made(to_tensors(space, to_tensors(space, observed(space, 0)), "meta"))
    assert x.shape == (ROWS, made.num_tokens, 16)


# --- environments -------------------------------------------------------------------------------

ENVIRONMENTS = [
    ("gymnasium", "CartPole-v1", 1 + 4),
    ("gymnasium", "Taxi-v4", 1 + 1),
    ("gymnasium", "Blackjack-v1", 1 + 3),
    ("gymnasium", "FrozenLake-v1", 1 + 1),
    ("hrm_rl", "HRM/Sudoku-v0", 1 + 16 + 16 + 1 + 1),
    ("hrm_rl", "HRM/Halting-v0", 1 + 13),
    ("minigrid", "MiniGrid-Empty-8x8-v0", 1 + 1 + 49 + len("get to the green goal square")),
    ("minigrid", "MiniGrid-MemoryS7-v0", 1 + 1 + 49 + 51),
    ("minigrid", "BabyAI-GoToObj-v0", 1 + 1 + 49 + 128),
    ("popgym", "popgym-AutoencodeEasy-v0", 1 + 2),
    ("popgym", "popgym-CountRecallHard-v0", 1 + 2),
    ("popgym", "popgym-PositionOnlyCartPoleEasy-v0", 1 + 2),
    ("popgym", "popgym-ConcentrationHard-v0", 1 + 52),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("package", "name", "tokens"), ENVIRONMENTS, ids=lambda v: str(v))
def test_environments_as_they_come(tokenizer: Any, package: str, name: str, tokens: int) -> None:
    pytest.importorskip(package)
    options = {"size": 4} if name == "HRM/Sudoku-v0" else {}
    envs = gym.make_vec(name, 3, vectorization_mode="sync", **options)
    space = envs.single_observation_space
    made = tokenizer(space)
    assert made.num_tokens == tokens
    obs, _ = envs.reset(seed=0)
    envs.action_space.seed(0)
    seen = []
    for _ in range(3):
        seen.append(made(to_tensors(space, obs)))
        obs = envs.step(envs.action_space.sample())[0]
    x = torch.stack(seen)
    assert x.shape == (3, 3, tokens, 16) and x.isfinite().all()
    assert x.unique(dim=0).shape[0] > 1 or x.unique(dim=1).shape[1] > 1, "they all look alike"
    envs.close()
