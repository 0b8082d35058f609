"""The cases of benchmarks/kernels.py: each kernel, and the same work in PyTorch operations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.fused import linear as fused_linear
from hrm_rl.kernels.fused.block import fused_blocks
from hrm_rl.kernels.rms_norm import add_rms_norm, rms_norm
from hrm_rl.kernels.rope import rope, rotate
from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.kernels.swiglu import swiglu
from hrm_rl.model.layers import rotary_tables
from hrm_rl.model.recurrence import BlockWeights, Positions

EPS = 1e-5
LAYERS = 4
VOCABULARY = 11

Work = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A module's sizes and its weights."""

    batch: int
    tokens: int
    heads: int
    weights: BlockWeights
    rotary: Tensor

    @property
    def width(self) -> int:
        return self.weights.o.shape[0]

    @property
    def inner(self) -> int:
        return self.weights.down.shape[1]

    @property
    def name(self) -> str:
        return f"h{self.width}.s{self.tokens}.b{self.batch}"

    def random(self, *width: int) -> Tensor:
        """[batch * tokens, *width] in the compute dtype."""
        shape = (self.batch * self.tokens, *width)
        return torch.randn(shape, device=self.rotary.device).to(self.weights.o.dtype)


def make_case(batch: int, tokens: int, width: int, device: str, dtype: torch.dtype) -> Case:
    def matrix(outputs: int, inputs: int) -> Tensor:
        return (torch.randn(outputs, inputs, device=device) * inputs**-0.5).to(dtype)

    inner = -(-round(width * 8 / 3) // 256) * 256
    shapes = ((3 * width, width), (width, width), (2 * inner, width), (width, inner))
    weights = BlockWeights(*(matrix(*shape) for shape in shapes))
    rotary = rotary_tables(tokens, 64, 10000.0).to(device)
    return Case(batch, tokens, width // 64, weights, rotary)


@dataclass(frozen=True)
class Pair:
    """One kernel and the same work without it."""

    name: str
    ours: Callable[..., Any]
    """Takes `tile` if there is a `matmul`."""
    other: Work
    matmul: Work | None = None
    """The bare product."""


def products(case: Case) -> Iterator[Pair]:
    """The three kernels fused with a product, one of them at two shapes. Forward only."""
    kernel = partial(launch_of, device=case.rotary.device)
    w, tokens, heads = case.weights, case.tokens, case.heads
    h = case.random(case.width)
    squares = h.float().square().sum(-1)[None]
    normed = (h.float() * (h.float().square().mean(-1, keepdim=True) + EPS).rsqrt()).to(h.dtype)

    def qkv() -> tuple[Tensor, ...]:
        together = F.linear(normed, w.qkv).view(case.batch, tokens, 3 * heads, -1)
        q, k, v = together.split(heads, dim=2)
        return rotate(q, case.rotary), rotate(k, case.rotary), v

    def gated() -> Tensor:
        gate, up = F.linear(normed, w.gate_up).chunk(2, dim=-1)
        return F.silu(gate) * up

    def added(a: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(normed + F.linear(a, weight), EPS)

    yield Pair(
        "qkv_rope",
        partial(kernel("qkv_rope"), h, squares, w.qkv, case.rotary, tokens, heads, EPS),
        qkv,
        partial(F.linear, normed, w.qkv),
    )
    yield Pair(
        "gate_up_swiglu",
        partial(kernel("gate_up_swiglu"), h, squares, w.gate_up, EPS),
        gated,
        partial(F.linear, normed, w.gate_up),
    )
    for name, weight in (("o_residual", w.o), ("down_residual", w.down)):
        a = case.random(weight.shape[1])
        yield Pair(
            name,
            partial(kernel("linear_residual"), a, weight, h, squares, EPS),
            partial(added, a, weight),
            partial(F.linear, a, weight),
        )


def row_kernels(case: Case) -> Iterator[Pair]:
    """The row kernels, forward and backward. HRM_KERNELS chooses the implementation, so both sides are the
    same function."""
    rows = case.batch * case.tokens
    labels = torch.randint(VOCABULARY, (rows,), device=case.rotary.device)
    q, k = (case.random(case.width).view(case.batch, case.tokens, case.heads, -1) for _ in range(2))
    for name, run, inputs in (
        ("add_rms_norm", partial(add_rms_norm, eps=EPS), [case.random(case.width) for _ in "ab"]),
        ("swiglu", swiglu, [case.random(2 * case.inner)]),
        ("rope", partial(rope, tables=case.rotary), [q, k]),
        ("stablemax", partial(stablemax_cross_entropy, labels=labels), [case.random(VOCABULARY)]),
    ):
        both = _forward_and_backward(run, [x.requires_grad_() for x in inputs])
        yield Pair(name, both, both)


def _forward_and_backward(run: Callable[..., Any], leaves: list[Tensor]) -> Work:
    grads: list[Tensor] = []

    def both() -> Any:
        outputs = _tuple(run(*leaves))
        if not grads:  # at the first call, so that a failing kernel fails in its own row
            grads.extend(torch.ones_like(y) for y in outputs)
        return torch.autograd.grad(outputs, leaves, grads)

    return both


def module_call(case: Case, one: Callable[..., Tensor]) -> tuple[Work, Work]:
    """A whole gradient-free call of `LAYERS` blocks: fused, and with the block function `one`."""
    x = case.random(case.width).view(case.batch, case.tokens, case.width)
    blocks = [case.weights] * LAYERS

    def stacked() -> Tensor:
        y = x
        for weights in blocks:
            y = one(y, weights, Positions(case.rotary), case.heads, EPS)
        return y

    return partial(fused_blocks, x, blocks, case.rotary, case.heads, EPS), stacked


def _tuple(y: Any) -> tuple[Tensor, ...]:
    return y if isinstance(y, tuple) else (y,)


def launch_of(name: str, device: torch.device) -> Callable[..., Any]:
    """A fused kernel; on a device without Triton its eager twin, which ignores `tile`."""
    if dispatch.backend(device) == "triton":
        return getattr(dispatch.triton_form("fused.launch"), name)
    eager = getattr(fused_linear, f"{name}_eager")
    return lambda *arguments, tile=None: eager(*arguments)
