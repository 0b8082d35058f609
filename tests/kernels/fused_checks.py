"""Checks of the epilogue-fused kernels on any device: errors against float64.

Run as a script under TRITON_INTERPRET=1 and HRM_KERNELS=triton it prints one JSON line a check; the tests
marked gpu call the same functions with a CUDA device. Inputs lie in front of NaN, so a row or column read
beyond the edge shows, and so does an unwritten element (`poisoned`).
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from check_tools import Check, poisoned, relative
from torch import Tensor

from hrm_rl.kernels.dispatch import forced, triton_form
from hrm_rl.kernels.fused.block import fused_blocks
from hrm_rl.kernels.fused.linear import Deferred
from hrm_rl.kernels.fused.tiles import Tile
from hrm_rl.kernels.precision import wide as wide_dtype
from hrm_rl.model.layers import CastModule, board_rotary_tables, rotary_tables
from hrm_rl.model.recurrence import BlockFunction, BlockWeights, Carry, Modules, Positions, block, run_segment

EPS = 1e-5
# Largest relative root mean square error of one kernel.
ONE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}

# rows, hidden size, inner width, heads, rotated; sums of squares in three parts if heads is odd.
# Every width of tile, and in each dimension some that do not fill their last tile.
SHAPES = [(37, 96, 176, 3, True), (5, 64, 16, 1, True), (3, 128, 256, 1, True), (1, 32, 112, 4, False)]
WIDE = [
    (rows, width, inner, width // head_dim, head_dim != 16)
    for rows, (width, inner), head_dim in itertools.product(
        (1, 130), ((64, 256), (96, 256), (288, 400), (512, 688)), (16, 32, 64)
    )
    if width % head_dim == 0
] + [(70, 1024, 2816, 8, True), (70, 640, 1792, 5, True), (9, 992, 2736, 31, True)]


def make(*shape: int, seed: int, dtype: torch.dtype, device: str, scale: float = 1.0) -> Tensor:
    """Random numbers at the front of a buffer of NaN."""
    numbers = scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    room = torch.full((shape[0] + 3, *shape[1:]), math.nan, dtype=dtype, device=device)
    room[: shape[0]] = numbers.to(device, dtype)
    return room[: shape[0]]


def matrix(outputs: int, inputs: int, seed: int, dtype: torch.dtype, device: str) -> Tensor:
    return make(outputs, inputs, seed=seed, dtype=dtype, device=device, scale=inputs**-0.5)


def weights(width: int, inner: int, seed: int, dtype: torch.dtype, device: str) -> BlockWeights:
    shapes = ((3 * width, width), (width, width), (2 * inner, width), (width, inner))
    return BlockWeights(*(matrix(*shape, seed + i, dtype, device) for i, shape in enumerate(shapes)))


@dataclass(frozen=True)
class Sample:
    """The kernels' arguments at one shape, and exact results."""

    state: Deferred
    a: Tensor
    weights: BlockWeights
    rotary: Tensor | None
    tokens: int
    heads: int

    def exact(self) -> dict[str, Tensor]:
        normed = self.state.h.double()
        if self.state.squares is not None:
            normed = normed / (normed.square().mean(-1, keepdim=True) + EPS).sqrt()
        qkv, _, gate_up, down = (w.double() for w in self.weights)
        gate, up = (normed @ gate_up.t()).chunk(2, dim=-1)
        added = normed + self.a.double() @ down.t()
        return {
            "qkv_rope": self._turned(normed @ qkv.t()),
            "gate_up_swiglu": gate / (1 + (-gate).exp()) * up,
            "linear_residual": added,
            "squares": added.square().sum(-1),
            "normalise": normed,
        }

    def _turned(self, qkv: Tensor) -> Tensor:
        """RoPE as a product of complex numbers."""
        if self.rotary is None:
            return qkv
        rows, heads, half = qkv.shape[0], self.heads, self.rotary.shape[-1] // 2
        turn = torch.complex(*self.rotary.double()[..., :half])
        turn = turn[torch.arange(rows, device=turn.device) % self.tokens][:, None]
        split = qkv.view(rows, 3 * heads, 2, half)
        turned = torch.complex(split[:, : 2 * heads, 0], split[:, : 2 * heads, 1]) * turn
        both = torch.stack((turned.real, turned.imag), dim=2)
        return torch.cat((both, split[:, 2 * heads :]), dim=1).view(rows, -1)

    def found(self, module: Any, tile: Tile | None = None) -> dict[str, Tensor]:
        """The results of the functions of `module`; `tile` instead of the usual ones."""
        h, squares = self.state
        more = {} if tile is None else {"tile": tile}
        added, sums = module.linear_residual(self.a, self.weights.down, h, squares, EPS, **more)
        found = {
            "qkv_rope": module.qkv_rope(
                h, squares, self.weights.qkv, self.rotary, self.tokens, self.heads, EPS, **more
            ),
            "gate_up_swiglu": module.gate_up_swiglu(h, squares, self.weights.gate_up, EPS, **more),
            "linear_residual": added,
            "squares": sums.sum(0),
        }
        if squares is not None:
            found["normalise"] = module.normalise(h, squares, EPS)
        return found


def sample(
    rows: int, width: int, inner: int, heads: int, rotated: bool, dtype: torch.dtype, device: str
) -> Sample:
    h = make(rows, width, seed=1, dtype=dtype, device=device, scale=3.0)
    squares = None
    if heads % 2:
        # Uneven parts: a consumer may only use their sum.
        total = h.to(wide_dtype(dtype)).square().sum(-1)
        squares = torch.stack((0.5 * total, 0.375 * total, 0.125 * total))
    tokens = 7
    tables = rotary_tables(tokens, width // heads, 10000.0).to(device, wide_dtype(dtype))
    rotary = tables if rotated else None
    a = make(rows, inner, seed=2, dtype=dtype, device=device)
    return Sample(Deferred(h, squares), a, weights(width, inner, 3, dtype, device), rotary, tokens, heads)


def accuracy(dtype: torch.dtype, device: str = "cpu", wide: bool = False) -> Iterator[Check]:
    """Every kernel at every shape."""
    for shape in WIDE if wide else SHAPES:
        case = sample(*shape, dtype, device)
        exact = case.exact()
        for name, out in case.found(triton_form("fused.launch")).items():
            label = f"{name}.{dtype}.{'x'.join(map(str, shape))}"
            yield Check(label, relative(out, exact[name]), ONE[dtype])


def tiles(device: str = "cpu") -> Iterator[Check]:
    """Any tile computes the same, with heads across tiles and steps beyond the summed dimension."""
    case = sample(19, 96, 80, 3, True, torch.float16, device)
    exact = case.exact()
    for tile in (Tile(16, 16, 64, 4, 2), Tile(64, 128, 32, 4, 2), Tile(32, 64, 128, 4, 2)):
        for name, out in case.found(triton_form("fused.launch"), tile).items():
            yield Check(f"{name}.{tile}", relative(out, exact[name]), ONE[torch.float16])


def chain(dtype: torch.dtype, device: str = "cpu", wide: bool = False) -> Iterator[Check]:
    """A whole module call against `recurrence.block` in float64."""
    narrow = [(2, 5, 96, 176, 3, True), (2, 3, 64, 112, 4, False)]
    broad = [(2, 19, 128, 256, 2, True), (1, 82, 256, 768, 2, True), (3, 11, 512, 1536, 8, True)]
    for batch, tokens, width, inner, heads, rotated in broad if wide else narrow:
        x = make(batch, tokens, width, seed=5, dtype=dtype, device=device, scale=1.7)
        blocks = [weights(width, inner, 10 * i, dtype, device) for i in range(2)]
        rotary = rotary_tables(tokens, width // heads, 10000.0).to(device) if rotated else None
        found = fused_blocks(x, blocks, rotary, heads, EPS)
        exact, usual = x.double(), x
        with forced("eager"):
            for one in blocks:
                exact = _block_in_float64(exact, one, rotary, heads)
                usual = block(usual, one, Positions(rotary), heads, EPS)
        name = f"chain.{dtype}.{batch}x{tokens}x{width}x{inner}.heads{heads}"
        yield Check(name, relative(found, exact), _bar(dtype, relative(usual, exact)))


def _bar(dtype: torch.dtype, eager: float) -> float:
    """1.3 times the eager error; in float32, where that depends on the machine's matrix products, the bar of
    every kernel."""
    return ONE[dtype] if dtype == torch.float32 else 1.3 * eager


def _block_in_float64(x: Tensor, one: BlockWeights, rotary: Tensor | None, heads: int) -> Tensor:
    wide = BlockWeights(*(w.double() for w in one))
    return block(x, wide, Positions(None if rotary is None else rotary.double()), heads, EPS)


@dataclass(frozen=True)
class _Config:
    H_cycles: int = 2
    L_cycles: int = 1
    hidden_size: int = 64
    swiglu_width: int = 112
    num_heads: int = 2
    rms_norm_eps: float = EPS
    norm_gated: bool = False


def segment(dtype: torch.dtype, device: str = "cpu") -> Iterator[Check]:
    """A segment through the model's recurrence, which takes the fused path."""
    config, batch, tokens = _Config(), 2, 4
    width, inner = config.hidden_size, config.swiglu_width
    z_H, z_L, x = (make(batch, tokens, width, seed=i, dtype=dtype, device=device) for i in (1, 2, 3))
    both = [weights(width, inner, seed, dtype, device) for seed in (20, 30)]
    rotary = board_rotary_tables(2, 0, 32, 10000.0).to(device)
    doubles = [BlockWeights(*(w.double() for w in one)) for one in both]

    def run(function: BlockFunction, two: list[BlockWeights], *tensors: Tensor) -> Carry:
        z_H, z_L, x, turned = tensors
        modules = Modules(*(CastModule(config, [one], Positions(turned), function) for one in two))
        with torch.no_grad():
            return run_segment(config, modules, Carry(z_H, z_L), x, "one-step")

    found = run(_never, both, z_H, z_L, x, rotary)
    with forced("eager"):
        exact = run(block, doubles, *(t.double() for t in (z_H, z_L, x, rotary)))
        usual = run(block, both, z_H, z_L, x, rotary)
    for name, a, b, c in zip(Carry._fields, found, usual, exact, strict=True):
        bar = _bar(dtype, relative(b, c))
        yield Check(f"segment.{dtype}.{name}", relative(a, c), bar)


def in_one_graph(device: str = "cpu", backend: str = "aot_eager") -> Iterator[Check]:
    """torch.compile(fullgraph=True) returns the same as the direct call, for a module call and for a segment,
    whose choice of the fused path is traced too. Bit for bit, except sums that Inductor fuses."""
    bar = 2e-3 if backend == "inductor" else 0.0
    x = make(2, 3, 64, seed=5, dtype=torch.float16, device=device)
    blocks = [weights(64, 112, 0, torch.float16, device)]
    rotary = rotary_tables(3, 32, 10000.0).to(device)
    one, state = CastModule(_Config(), blocks, Positions(rotary), _never), Carry(x, x)
    for name, run, arguments in (
        ("module", fused_blocks, (x, blocks, rotary, 2, EPS)),
        ("segment", run_segment, (_Config(), Modules(one, one), state, x, "one-step")),
    ):
        with torch.no_grad():
            compiled = torch.compile(run, fullgraph=True, backend=backend)(*arguments)
            direct = run(*arguments)
        pairs = [(compiled, direct)] if name == "module" else zip(compiled, direct, strict=True)
        worst = max(relative(a, b) for a, b in pairs)
        yield Check(f"compiled.{name}", worst, bar)


def _never(*_: Any) -> Tensor:
    raise AssertionError("a gradient-free call went block by block")


def operators(device: str = "cpu") -> Iterator[Check]:
    """Each operator has the shapes and the aliasing that it declares."""
    case = sample(5, 96, 80, 3, True, torch.float16, device)
    (h, squares), w = case.state, case.weights
    for operator, arguments in (
        (torch.ops.hrm_rl.gate_up_swiglu.default, (h, squares, w.gate_up, EPS)),
        (torch.ops.hrm_rl.linear_residual.default, (case.a, w.down, h, None, EPS)),
        (torch.ops.hrm_rl.qkv_rope.default, (h, squares, w.qkv, case.rotary, 7, 3, EPS)),
        (torch.ops.hrm_rl.normalise.default, (h, squares, EPS)),
    ):
        result = torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
        failed = sum(outcome != "SUCCESS" for outcome in result.values())
        yield Check(f"opcheck.{operator}", float(failed), 0.0)


def none_and_again(device: str = "cpu") -> Iterator[Check]:
    """Empty inputs are accepted, and the same rows give the same bits."""
    case = sample(70, 96, 80, 3, True, torch.float16, device)
    first, second = (case.found(triton_form("fused.launch")) for _ in range(2))
    for name in first:
        yield Check(f"{name}.again", float(not torch.equal(first[name], second[name])), 0.0)
    empty = sample(0, 96, 80, 2, False, torch.float16, device)
    for name, out in empty.found(triton_form("fused.launch")).items():
        yield Check(f"{name}.empty", float(out.numel()), 0.0)


def every(device: str, dtypes: tuple[torch.dtype, ...], wide: bool) -> Iterator[Check]:
    """All checks; the wide sweep alone if `wide`."""
    with poisoned(), torch.no_grad():
        for dtype in dtypes:
            yield from accuracy(dtype, device, wide)
            yield from chain(dtype, device, wide)
        if wide:
            return
        for dtype in dtypes:
            yield from segment(dtype, device)
        for check in (tiles, none_and_again, operators):
            yield from check(device)
    yield from in_one_graph(device)


if __name__ == "__main__":
    torch.set_num_threads(1)
    # The interpreter's bfloat16 arithmetic is wrong, so only a GPU checks that dtype.
    for found in every("cpu", (torch.float32, torch.float16), wide="--wide" in sys.argv):
        print(json.dumps(found._asdict()), flush=True)
