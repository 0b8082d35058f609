"""ObsTokenizer: what becomes of each kind of space, in closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces

from hrm_rl.agents.tokenizer import to_tensors

ROWS = 4
INFINITE = float("inf")


def box(low: float, high: float, shape: tuple[int, ...], dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(low, high, shape, dtype)


@pytest.mark.parametrize(
    ("space", "kind", "tokens"),
    [
        (spaces.Discrete(500), "categorical", 1),
        (spaces.MultiDiscrete([3, 4, 5]), "categorical", 3),
        (spaces.MultiBinary((2, 3)), "categorical", 6),
        (box(-1, 1, ()), "features", 1),
        (box(-1, 1, (32,)), "features", 32),
        (box(-1, 1, (33,)), "features", 17),
        (box(-1, 1, (376,)), "features", 32),
        (box(-1, 1, (100_000,)), "features", 32),
        (box(0, 9, (9, 9), np.int64), "categorical", 81),
        (box(0, 300, (9,), np.int64), "features", 9),
        (box(0, 255, (128,), np.uint8), "categorical", 128),
        (box(0, 1, (10, 10, 4), np.bool_), "categorical", 100),
        (box(0, 255, (7, 7, 3), np.uint8), "categorical", 49),
        (box(0, 255, (7, 7, 12), np.uint8), "categorical", 49),
        (box(0, 255, (12, 7, 7), np.uint8), "categorical", 49),
        (box(0, 9, (4, 7, 7, 3), np.uint8), "categorical", 49),
        (box(0, 1, (7, 7, 3)), "features", 30),
        (box(0, 255, (84, 84), np.uint8), "patches", 49),
        (box(0, 255, (84, 84, 4), np.uint8), "patches", 49),
        (box(0, 255, (4, 84, 84), np.uint8), "patches", 49),
        (box(0, 255, (4, 84, 84, 3), np.uint8), "patches", 49),
        (box(0, 255, (210, 160, 3), np.uint8), "patches", 63),
        (box(0, 255, (96, 96, 3), np.uint8), "patches", 64),
        (box(0, 1, (64, 64, 3)), "patches", 64),
        (box(0, 60_000, (64, 64, 1), np.uint16), "patches", 64),
        (box(0, 1, (64, 64)), "features", 32),
        (spaces.Text(12), "text", 12),
        (spaces.Text(3, charset="aé€"), "text", 9),
    ],
    ids=lambda value: " ".join(str(value).split())[:40],
)
def test_the_kind_is_chosen_by_the_space(tokenizer, observed, space, kind, tokens) -> None:
    made = tokenizer(space, 8)
    assert [(part["kind"], part["tokens"]) for part in made.spec["parts"]] == [(kind, tokens)]
    assert made.num_tokens == 1 + tokens
    assert made(to_tensors(space, observed(space, 0, 2))).shape == (2, 1 + tokens, 8)


def test_a_kind_asked_for_is_taken(tokenizer: Any, observed: Any) -> None:
    grid, planes = box(0, 255, (8, 8, 3), np.uint8), box(0, 1, (7, 7, 20))
    others = {"n": spaces.Discrete(10**6), "words": spaces.Text(500)}
    space = spaces.Dict(grid=grid, planes=planes, **others)
    kinds = {"grid": "patches", "n": "features", "words": "text:16", "planes": "patches"}
    made = tokenizer(space, kinds=kinds, patch_size={"grid": 4, "planes": 1})
    found = {part["name"]: (part["kind"], part["tokens"]) for part in made.spec["parts"]}
    assert found.pop("n") == ("features", 1) and found.pop("words") == ("text", 16)
    assert found == {"grid": ("patches", 4), "planes": ("patches", 49)}
    obs = to_tensors(space, observed(space, 1))
    long = {**obs, "words": F.pad(obs["words"][:, :16], (0, 9), value=7)}
    assert torch.equal(made(obs), made(long)), "only the beginning is read"
    whole_floats = tokenizer(box(0, 4, (3,)), kinds="categorical")
    assert whole_floats.spec["parts"][0]["high"] == [4]


def test_a_value_out_of_range_counts_as_the_nearest_inside(tokenizer: Any) -> None:
    for space, values in (
        (spaces.Discrete(4, start=-2), [-9, -3, -2, 1, 2, 2**40]),
        (box(3, 8, (), np.int64), [-(2**60), 2, 3, 8, 9, 2**60]),
    ):
        x = tokenizer(space)(torch.tensor(values))
        assert torch.equal(x[0], x[2]) and torch.equal(x[1], x[2])
        assert torch.equal(x[4], x[3]) and torch.equal(x[5], x[3])
    wild = torch.tensor([float("nan"), INFINITE, -INFINITE, 1e30])
    assert tokenizer(spaces.Discrete(4))(wild).isfinite().all()
    whole = tokenizer(box(0, 9, (2,)), kinds="categorical")  # floats are rounded
    assert torch.equal(whole(torch.tensor([[2.9999, 4.0001]])), whole(torch.tensor([[3, 4]])))


def test_pictures_share_what_the_others_leave(tokenizer: Any) -> None:
    cameras = {f"c{i}": box(0, 255, (64, 64, 3), np.uint8) for i in range(5)}
    space = spaces.Dict({**cameras, "bits": spaces.MultiBinary(50)})
    found = {part["name"]: part["tokens"] for part in tokenizer(space, 8).spec["parts"]}
    assert found == {"bits": 50, **dict.fromkeys(cameras, 36)}  # (256 - 51) / 5 = 41: 11x11 pixels
    fixed = tokenizer(space, 8, patch_size={"c0": 8}).spec["parts"]
    assert [part["tokens"] for part in fixed if part["name"] in ("c0", "c1")] == [64, 16]


def test_each_component_has_a_table_and_cells_share_one(tokenizer: Any) -> None:
    apart = tokenizer(spaces.MultiDiscrete([3, 5, 2], start=[1, -1, 0]))
    assert apart.parts[0].table.shape == (10, 16)
    shared = tokenizer(box(1, 6, (2, 2), np.int32))
    assert shared.parts[0].table.shape == (6, 16)
    x = shared(torch.full((1, 2, 2), 4))[0, 1:] - shared(torch.full((1, 2, 2), 2))[0, 1:]
    assert torch.allclose(x, x[:1].expand_as(x), atol=1e-5), "the same change at every place"


def test_the_channels_of_a_cell_are_summed(tokenizer: Any) -> None:
    """Channel c of value v adds row offset_c + v - low_c; the scale keeps the sum's variance."""
    low, high = np.zeros((2, 3, 2), np.int16), np.ones((2, 3, 2), np.int16)
    low[..., 1], high[..., 0], high[..., 1] = 5, 3, 6
    space = spaces.Box(low, high, dtype=np.int16)
    made = tokenizer(space, kinds="categorical")
    assert made.parts[0].part.channels == 2 and made.parts[0].table.shape == (4 + 2, 16)
    cells = torch.tensor([[[2, 6], [0, 5], [3, 5]], [[1, 6], [1, 6], [0, 6]]])
    table, said = made.parts[0].table, made.parts[0](cells[None])
    for place, (first, second) in enumerate(cells.reshape(-1, 2).tolist()):
        assert torch.allclose(said[0, place], table[first] + table[4 + second - 5])


@pytest.mark.parametrize("space", [box(-2, 6, (4, 2)), box(-2, 6, (4, 2), np.float64)], ids=str)
def test_bounded_numbers_are_scaled_to_one(tokenizer: Any, space: spaces.Box) -> None:
    made = tokenizer(space)
    values = torch.tensor([-2.0, 2.0, 6.0, 0.0])
    scaled = made.parts[0].scale(values[:, None].expand(4, 8))
    assert torch.equal(scaled[:, 0], torch.tensor([-1.0, 0.0, 1.0, -0.5]))


def test_unbounded_numbers_keep_their_sign_and_stay_small(tokenizer: Any) -> None:
    """symlog, per feature; huge bounds count as none, a constant gives 0."""
    low = np.array([-INFINITE, -3.4e38, -1.0, 2.0, 0.0], np.float32)
    high = np.array([INFINITE, 3.4e38, 1.0, 2.0, INFINITE], np.float32)
    made = tokenizer(spaces.Box(low, high))
    scaled = made.parts[0].scale(torch.tensor([[-3.0, 1e30, 0.5, 2.0, 0.0]]))[0]
    expected = [-math.log(4), math.log1p(1e30), 0.5, 0.0, 0.0]
    assert scaled.tolist() == pytest.approx(expected, rel=1e-5)
    assert made.spec["parts"][0]["low"] == [None, None, -1.0, 2.0, None]
    doubles = tokenizer(spaces.Box(-INFINITE, INFINITE, (2,), np.float64))
    scaled = doubles.parts[0].scale(torch.tensor([[-1e300, 3.0]], dtype=torch.float64))
    assert scaled.dtype == torch.float32  # beyond its range, and yet finite
    assert scaled[0].tolist() == pytest.approx([-300 * math.log(10), math.log(4)], rel=1e-5)


def test_grouped_features_are_projected_together(tokenizer: Any) -> None:
    made = tokenizer(box(-1, 1, (70,)))
    group, values = made.parts[0].group, torch.rand(2, 70) * 2 - 1
    assert group == 3 and made.num_tokens == 1 + 24
    weight = made.parts[0].weight
    said = made.parts[0](values)
    assert torch.allclose(said[:, 4], values[:, 12:15] @ weight[4], atol=1e-6)
    assert torch.allclose(said[:, 23], values[:, 69:70] @ weight[23, :1], atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 40, 60), (3, 37, 50)])
def test_patches_are_a_convolution_whose_stride_is_its_size(tokenizer, observed, shape) -> None:
    space = box(0, 255, shape, np.uint8)
    made = tokenizer(space, patch_size=8)
    obs = torch.from_numpy(observed(space, 2))
    kernel = made.parts[0].weight.T.reshape(16, 3, 8, 8)
    picture = F.pad(obs.float(), (0, -shape[2] % 8, 0, -shape[1] % 8)) / 127.5 - 1
    expected = F.conv2d(picture, kernel, stride=8).flatten(2).transpose(1, 2)
    assert torch.allclose(made.parts[0](obs), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 5, 3), (8, 4, 1), (6, 9), (2, 7, 7, 3)])
def test_patches_of_a_grid_are_a_convolution_of_its_cells_one_hot(
    tokenizer: Any, observed: Any, shape: tuple[int, ...]
) -> None:
    """Beyond the edges there is no value, so nothing is added and nothing is learned."""
    space = box(2, 5, shape, np.int64)
    made = tokenizer(space, patch_size={"": 4})
    grid = shape if len(shape) == 3 else (*shape, 1) if len(shape) == 2 else (7, 7, 6)
    assert made.plan[0].kind == "categorical"
    assert made.num_tokens == 1 + -(-grid[0] // 4) * -(-grid[1] // 4)
    obs = torch.from_numpy(observed(space, 2))
    cells = (obs.movedim(1, 3) if len(shape) == 4 else obs).reshape(ROWS, *grid)
    one_hot = F.one_hot(cells - 2, 4).flatten(3).movedim(3, 1).float()  # [B, channels * 4, h, w]
    one_hot = F.pad(one_hot, (0, -grid[1] % 4, 0, -grid[0] % 4))
    table = made.parts[0].table
    kernel = table[:-1].T.reshape(16, 4, 4, one_hot.shape[1]).movedim(3, 1)
    expected = F.conv2d(one_hot, kernel, stride=4).flatten(2).transpose(1, 2)
    said = made.parts[0](obs)
    assert torch.allclose(said, expected, atol=1e-5)
    assert torch.equal(made.parts[0](obs + 100), made.parts[0](torch.full_like(obs, 5)))
    said.sum().backward()
    assert not table[-1].any() and not table.grad[-1].any()


def test_a_grid_is_cut_into_patches_only_where_it_is_named(tokenizer: Any) -> None:
    """A bare size is for pictures."""
    space = spaces.Dict(grid=box(0, 5, (7, 7, 3), np.int64), camera=box(0, 255, (32, 32), np.uint8))
    by_name, bare = tokenizer(space, patch_size={"grid": 4}), tokenizer(space, patch_size=8)
    tokens = [{part.name: part.tokens for part in made.plan} for made in (by_name, bare)]
    assert tokens == [{"camera": 64, "grid": 4}, {"camera": 16, "grid": 49}]
    grids = [next(p for p in m.spec["parts"] if p["name"] == "grid") for m in (by_name, bare)]
    assert grids[0]["patch_size"] == 4 and "patch_size" not in grids[1]


@pytest.mark.parametrize("shape", [(7, 5, 3), (40, 64, 3), (2, 7, 7, 3), (4, 40, 64, 3)])
def test_where_the_channels_are_makes_no_difference(tokenizer, observed, shape) -> None:
    """SB3's VecTransposeImage moves them; the weights are of use either way."""
    moved = (*shape[:-3], shape[-1], *shape[-3:-1])
    last = tokenizer(box(0, 255, shape, np.uint8), seed=1)
    first = tokenizer(box(0, 255, moved, np.uint8), seed=2)
    assert last.spec == first.spec
    first.load_state_dict(last.state_dict())
    obs = torch.from_numpy(observed(last.space, 3))
    assert torch.allclose(last(obs), first(obs.movedim(-1, -3)), atol=1e-5)


def test_strings_are_read_byte_by_byte(tokenizer: Any) -> None:
    space = spaces.Text(4, charset="aé€")
    tensor = to_tensors(space, ["a€", "", "é"])
    assert tensor.tolist()[0] == [1 + byte for byte in "a€".encode()] + [0] * 8
    assert tensor.shape == (3, 12) and not tensor[1].any()
    x = tokenizer(space)(tensor)
    assert torch.equal(x[0, 5:], x[1, 5:]) and not torch.equal(x[0, 4], x[1, 4])
