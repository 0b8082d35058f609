"""ObsTokenizer: what it refuses, with which remedy, and whose checkpoints it takes."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from hrm_rl.agents.tokenizer import to_tensors

ROWS = 4
INFINITE = float("inf")


def box(low: float, high: float, shape: tuple[int, ...], dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(low, high, shape, dtype)


# --- refusals -----------------------------------------------------------------------------------

REFUSED: list[tuple[spaces.Space, dict[str, Any], str]] = [
    (
        spaces.Dict(n=spaces.MultiDiscrete([2**40, 3])),
        {},
        r"part 'n', MultiDiscrete\(.*1,099,511,627,779 values.*kinds=\{'n': 'features'\}",
    ),
    (spaces.Discrete(65_537), {}, r"the observation, Discrete\(65537\).*kinds='features'"),
    (
        spaces.Dict(units=spaces.Tuple([spaces.Discrete(2), spaces.Sequence(spaces.Discrete(3))])),
        {},
        r"part 'units/1', Sequence.*ragged.*pad it to a Box",
    ),
    (spaces.Graph(spaces.Discrete(3), None), {}, r"the observation, Graph.*ragged.*pad it"),
    (spaces.OneOf([spaces.Discrete(3)]), {}, r"OneOf.*ragged"),
    (
        spaces.Dict(camera=box(0, 255, (96, 128, 3), np.uint8), n=spaces.Discrete(2)),
        {"patch_size": 4},
        r"part 'camera', Box.*takes 768 tokens as 'patches'.*770 in all, over max_tokens=256; "
        r"set patch_size=\{'camera': 8\}, or max_tokens=770",
    ),
    (box(0, 255, (96, 128, 3), np.uint8), {"patch_size": 2, "max_tokens": 100}, r"set patch_size=12,"),
    (
        box(0, 255, (19, 19, 3), np.uint8),
        {},
        r"361 tokens as 'categorical'.*kinds='patches' if it is a picture, or kinds='features'.*"
        r"max_tokens=362",
    ),
    (spaces.Text(1000), {}, r"kinds='text:255' to read its beginning, or max_tokens=1001"),
    (spaces.MultiBinary(300), {}, r"kinds='features' to read it as numbers, in groups"),
    (spaces.Dict({}), {}, r"no parts"),
    (spaces.Dict(x=box(0, 1, (0, 3))), {}, r"part 'x'.*is empty; drop it"),
    (box(0, 0.5, (3,)), {"kinds": "categorical"}, r"no whole bounds.*'features'"),
    (box(-INFINITE, 1, (3,)), {"kinds": "categorical"}, r"no whole bounds"),
    (box(0, 2**20, (3,), np.int64), {"kinds": "categorical"}, r"1,048,577 values.*'features'"),
    (box(0, 1, (3,)), {"kinds": "words"}, r"a Box cannot be read as 'words'.*'categorical' or"),
    (spaces.Discrete(3), {"kinds": "patches"}, r"a Discrete cannot be read as 'patches'"),
    (spaces.Discrete(3), {"kinds": 3}, "a Discrete cannot be read as 3"),
    (spaces.Text(3), {"kinds": "features"}, r"can be 'text' or 'text:64'"),
    (spaces.Text(3), {"kinds": "text:0"}, r"no bytes to read"),
    (box(0, 1, (3,)), {"kinds": "patches"}, r"has 1 axes.*kinds='features'"),
    (spaces.Dict(a=box(0, 1, (3,))), {"kinds": {"b": "features"}}, r"'b'; the parts are \['a'\]"),
    (spaces.Dict(a=box(0, 1, (3,))), {"patch_size": {"a": 2}}, r"read as 'features'.*'patches'"),
    (box(0, 255, (64, 64), np.uint8), {"patch_size": 0}, r"integer >= 1, got 0"),
    (spaces.Dict(a=box(0, 9, (9, 9), int)), {"patch_size": {"a": 0.5}}, r"got 0.5 for part 'a'"),
    (
        spaces.Dict(a=box(0, 9, (40, 40), int)),
        {"patch_size": {"a": 2}},
        r"400 tokens as 'categorical'.*set patch_size=\{'a': 3\}",
    ),
    (spaces.Discrete(3), {"max_tokens": 0}, r"max_tokens must be an integer >= 1"),
    (
        spaces.Dict({"a/b": spaces.Discrete(2), "a": spaces.Dict(b=spaces.Discrete(2))}),
        {},
        r"two parts.*rename",
    ),
]


@pytest.mark.parametrize(("space", "options", "message"), REFUSED, ids=lambda v: str(v)[:30])
def test_what_cannot_be_taken_is_refused_with_a_remedy(tokenizer, space, options, message) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        tokenizer(space, **options)
    assert "\n" not in str(refusal.value)


@settings(max_examples=25)
@given(st.integers(32, 300), st.integers(32, 300), st.integers(1, 9), st.integers(2, 300))
def test_the_patch_size_named_would_fit(tokenizer, rows, columns, size, limit) -> None:
    space = box(0, 255, (rows, columns, 3), np.uint8)
    try:
        made = tokenizer(space, 8, patch_size=size, max_tokens=limit)
    except ValueError as refusal:
        named = re.search(r"set patch_size=(\d+)", str(refusal))
        assert named, str(refusal)
        made = tokenizer(space, 8, patch_size=int(named[1]), max_tokens=limit)
    assert made.num_tokens <= limit
    assert tokenizer(space, 8, max_tokens=limit).num_tokens <= min(limit, 65)


def test_the_limit_itself_is_allowed(tokenizer: Any) -> None:
    assert tokenizer(spaces.MultiBinary(9), max_tokens=10).num_tokens == 10
    with pytest.raises(ValueError, match="max_tokens=9; set max_tokens=10"):
        tokenizer(spaces.MultiBinary(9), max_tokens=9)


def test_an_observation_built_otherwise_is_refused(tokenizer: Any, observed: Any) -> None:
    space = spaces.Dict(a=spaces.Tuple([spaces.Discrete(2), box(0, 1, (3,))]), b=spaces.Discrete(2))
    made, obs = tokenizer(space), to_tensors(space, observed(space, 0))
    for wrong, message in (
        ({"a": obs["a"]}, r"must be a dict of \[\'a\', \'b\'\], got a dict of \[\'a\'\]"),
        ({**obs, "a": obs["a"][:1]}, "tuple of 2 parts, got 1 parts"),
        ({**obs, "a": obs["b"]}, "tuple of 2 parts, got Tensor"),
        (obs["b"], "must be a dict of .*, got Tensor"),
        ({**obs, "a": (obs["b"], obs["b"])}, r"part 'a/1' must have shape \[batch, 3\], got \[4\]"),
        ({**obs, "b": torch.tensor(1)}, r"part 'b' must have shape \[batch\], got \[\]"),
        ({**obs, "b": np.zeros(4)}, "part 'b' is a ndarray.*call to_tensors"),
    ):
        with pytest.raises(ValueError, match=message):
            made(wrong)
    with pytest.raises(ValueError, match="batch of strings"):
        to_tensors(spaces.Text(3), "one")


# --- checkpoints --------------------------------------------------------------------------------


def test_checkpoints_carry_the_spec(tokenizer, observed, tmp_path) -> None:
    space = spaces.Dict(a=spaces.Discrete(3), b=box(-1, INFINITE, (3,)))
    one, obs = tokenizer(space, seed=1), to_tensors(space, observed(space, 0))
    torch.save(one.state_dict(), tmp_path / "weights")
    by_torch = torch.load(tmp_path / "weights", weights_only=True)
    for state in (by_torch, load(save(one.state_dict()))):
        same = tokenizer(space, seed=2)
        same.load_state_dict(state)
        assert torch.equal(one(obs), same(obs))
    target = torch.nn.Sequential(tokenizer(space, seed=3))  # as SB3 copies its target networks
    target.load_state_dict(torch.nn.Sequential(one).state_dict())
    assert torch.equal(target[0](obs), one(obs))


GRID = box(0, 9, (6, 6), np.int64)
FOUR, FIVE = spaces.Discrete(4), spaces.Discrete(5)
SAME = spaces.Dict(grid=GRID, n=FOUR)
DIFFERENT: list[tuple[spaces.Space, dict[str, Any], str]] = [
    (spaces.Dict(grid=GRID, n=FIVE), {}, r"in part 'n': high \[3\] \(here \[4\]\)"),
    (
        SAME,
        {"kinds": {"grid": "features"}},
        r"in part 'grid': kind categorical \(here features\), tokens 36 \(here 18\)",
    ),
    (spaces.Dict(grid=GRID), {}, "in part 'n': present in the checkpoint, missing here"),
    (spaces.Dict(grid=GRID, n=FOUR, z=FIVE), {}, "in part 'z': missing in the checkpoint, present"),
    (spaces.Dict([("n", FOUR), ("grid", GRID)]), {}, "in the order of its parts"),
    (SAME, {"width": 32}, "in hidden_size: 16, here 32"),
    (GRID, {}, "in part 'grid': present in the checkpoint, missing here"),
]


@pytest.mark.parametrize(("space", "options", "message"), DIFFERENT, ids=lambda v: str(v)[:30])
def test_another_tokenizers_checkpoint_is_refused_by_part(
    tokenizer: Any, space: spaces.Space, options: dict[str, Any], message: str
) -> None:
    state = tokenizer(SAME).state_dict()
    made = tokenizer(space, seed=5, **options)
    before = {name: parameter.clone() for name, parameter in made.named_parameters()}
    with pytest.raises(ValueError, match=f"the checkpoint's tokenizer differs {message}"):
        made.load_state_dict(state)
    assert all(torch.equal(before[name], p) for name, p in made.named_parameters())


@pytest.mark.parametrize("spec", [b"{}", b"[]", b"1", b'{"parts": 3}', b"\x01\x02"])
def test_a_damaged_spec_is_refused(tokenizer: Any, spec: bytes) -> None:
    made = tokenizer(GRID)
    state = made.state_dict() | {"_extra_state": torch.tensor(list(spec), dtype=torch.uint8)}
    with pytest.raises(ValueError, match="tokenizer has a damaged spec"):
        made.load_state_dict(state)
