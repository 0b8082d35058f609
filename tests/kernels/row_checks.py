"""Checks of the row kernels on any device: errors against float64, and memory they must not touch.

Run as a script under TRITON_INTERPRET=1 and HRM_KERNELS=triton it prints one JSON line a check; the tests
marked gpu call the same functions with a CUDA device.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from check_tools import BARS, EPS, Check, poisoned, random, relative
from optimizer_checks import adam_atan2, angles
from torch import Tensor

from hrm_rl.kernels.dispatch import forced
from hrm_rl.kernels.rms_norm import add_rms_norm
from hrm_rl.kernels.rope import rope
from hrm_rl.kernels.stablemax import stablemax_cross_entropy
from hrm_rl.kernels.swiglu import swiglu


class Case(NamedTuple):
    """A kernel, the same in plain arithmetic, and the inputs that get a gradient."""

    run: Callable[..., Any]
    exact: Callable[..., Any]
    inputs: list[Tensor]


# --- the cases ------------------------------------------------------------------------------------


def add_rms_norm_case(rows: int, width: int) -> Case:
    def exact(x: Tensor, residual: Tensor) -> Tensor:
        h = x + residual
        return h / (h.square().mean(-1, keepdim=True) + EPS).sqrt()

    inputs = [random(rows, width), 3 * random(rows, width, seed=1)]
    return Case(lambda x, residual: add_rms_norm(x, residual, EPS), exact, inputs)


def swiglu_case(rows: int, width: int) -> Case:
    def exact(gate_up: Tensor) -> Tensor:
        gate, up = gate_up[..., :width], gate_up[..., width:]
        return gate * up / (1 + (-gate).exp())

    return Case(swiglu, exact, [3 * random(rows, 2 * width)])


def rope_case(batch: int, tokens: int, heads: int, head_dim: int) -> Case:
    """q and k as slices of the joint projection: strided views."""
    half = head_dim // 2
    angles = torch.outer(torch.arange(tokens).double(), 10000 ** -(torch.arange(half) / half))
    tables = torch.stack((angles.cos(), angles.sin())).float().repeat(1, 1, 2)

    def run(qkv: Tensor) -> tuple[Tensor, Tensor]:
        q, k, _ = qkv.split(heads, dim=2)
        dtype = torch.float64 if qkv.dtype == torch.float64 else torch.float32
        return rope(q, k, tables.to(qkv.device, dtype))

    def exact(qkv: Tensor) -> tuple[Tensor, ...]:
        turn = torch.complex(*tables[..., :half].double().to(qkv.device))[:, None]
        turned = torch.complex(qkv[..., :half], qkv[..., half:]) * turn
        both = torch.cat((turned.real, turned.imag), dim=-1)
        return both[:, :, :heads], both[:, :, heads : 2 * heads]

    return Case(run, exact, [random(batch, tokens, 3 * heads, head_dim)])


def stablemax_case(rows: int, width: int, scale: float = 10.0) -> Case:
    labels = torch.randint(width, (rows,), generator=torch.Generator().manual_seed(2))

    def exact(logits: Tensor) -> Tensor:
        s = torch.where(logits < 0, 1 / (1 - logits.clamp_max(0)), logits.clamp_min(0) + 1)
        chosen = s.gather(-1, labels.to(s.device)[:, None]).squeeze(-1)
        return (s.sum(-1) / chosen).log()

    def run(logits: Tensor) -> Tensor:
        return stablemax_cross_entropy(logits, labels.to(logits.device))

    return Case(run, exact, [scale * random(rows, width)])


CASES: dict[str, tuple[Callable[..., Case], list[tuple[int, ...]], list[tuple[int, ...]]]] = {
    # name: (maker, shapes of every run, shapes of the wide sweep)
    "add_rms_norm": (
        add_rms_norm_case,
        [(37, 96), (1, 1), (5, 512)],
        [(r, w) for r in (1, 7, 130) for w in (64, 65, 100, 128, 384, 640, 1000, 1024, 8192)],
    ),
    "swiglu": (
        swiglu_case,
        [(37, 96), (1, 1), (5, 768)],
        [(r, w) for r in (1, 7, 130) for w in (64, 65, 256, 512, 1000, 1536, 2816)],
    ),
    "rope": (
        rope_case,
        [(2, 7, 3, 32), (1, 5, 2, 64), (1, 3, 1, 128), (2, 3, 2, 6)],
        [(b, t, h, d) for b in (1, 3) for t in (1, 82) for h in (1, 8) for d in (2, 32, 64, 96, 128)],
    ),
    "stablemax": (
        stablemax_case,
        [(61, 11), (1, 2), (5, 300)],
        [(r, v) for r in (1, 7, 1000) for v in (2, 6, 11, 12, 16, 1000, 16384) if r * v < 2**21],
    ),
}


# --- checks ---------------------------------------------------------------------------------------


def errors(case: Case, dtype: torch.dtype, device: str) -> dict[str, float]:
    """Relative errors of the outputs and of the inputs' gradients, all inputs rounded to `dtype`."""
    leaves = [x.to(device, dtype).requires_grad_() for x in case.inputs]
    doubles = [x.detach().double().requires_grad_() for x in leaves]
    outputs, grads = _outputs_and_gradients(case.run, leaves)
    wanted, wanted_grads = _outputs_and_gradients(case.exact, doubles)
    found = {f"out{i}": relative(a, b) for i, (a, b) in enumerate(zip(outputs, wanted, strict=True))}
    for i, (a, b) in enumerate(zip(grads, wanted_grads, strict=True)):
        assert a.dtype == dtype
        found[f"grad{i}"] = relative(a, b)
    return found


def _outputs_and_gradients(
    run: Callable[..., Any], leaves: list[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    out = run(*leaves)
    outputs = out if isinstance(out, tuple) else (out,)
    # Probes of few digits are the same numbers in every dtype.
    probes = [(random(*y.shape, seed=9) * 8).round().div(8).to(y.device, y.dtype) for y in outputs]
    return outputs, torch.autograd.grad(outputs, leaves, probes)


def accuracy(name: str, dtype: torch.dtype, device: str = "cpu", wide: bool = False) -> Iterator[Check]:
    """One kernel against float64 at its shapes."""
    maker, usual, sweep = CASES[name]
    for shape in sweep if wide else usual:
        for what, error in errors(maker(*shape), dtype, device).items():
            label = f"{name}.{dtype}.{'x'.join(map(str, shape))}.{what}"
            yield Check(label, error, BARS[dtype])


def against_eager(device: str) -> Iterator[Check]:
    """In bfloat16, the error of each kernel in units of its eager twin's error."""
    for name, (maker, usual, _) in CASES.items():
        case = maker(*usual[0])
        found = errors(case, torch.bfloat16, device)
        with forced("eager"):
            eager = errors(case, torch.bfloat16, device)
        for what, error in found.items():
            yield Check(f"{name}.bfloat16.{what}", error / max(eager[what], 1e-7), 1.3)


def gradients() -> Iterator[Check]:
    """Each kernel's backward against finite differences of its forward, in float64."""
    for name, shape in (
        ("add_rms_norm", (3, 10)),
        ("swiglu", (3, 5)),
        ("rope", (1, 3, 1, 4)),
        ("stablemax", (4, 5, 2.0)),
    ):
        case = CASES[name][0](*shape)
        leaves = [x.requires_grad_() for x in case.inputs]
        agrees = torch.autograd.gradcheck(case.run, leaves, raise_exception=False)
        yield Check(f"{name}.gradcheck", 0.0 if agrees else math.nan, 0.0)


def layouts(device: str = "cpu") -> Iterator[Check]:
    """Inputs and incoming gradients of any strides, and none at all."""
    x = random(6, 5).float().to(device)
    for name, run in (("add_rms_norm", lambda a: add_rms_norm(a, a, EPS)), ("swiglu", _doubled)):
        plain, turned = x.clone().requires_grad_(), x.t().contiguous().requires_grad_()
        run(plain).sum().backward()  # the gradient of a sum is one number with strides of 0
        run(turned.t()).sum().backward()
        assert plain.grad is not None and turned.grad is not None
        yield Check(f"{name}.strides", relative(turned.grad.t(), plain.grad), 0.0)
        empty = run(x[:0].requires_grad_())
        empty.sum().backward()
        yield Check(f"{name}.empty", float(empty.numel()), 0.0)


def _doubled(x: Tensor) -> Tensor:
    return swiglu(torch.cat((x, x), dim=-1))


def small_losses(device: str = "cpu") -> Iterator[Check]:
    """Stablemax where the label dominates: each loss keeps its digits."""
    dominance = torch.logspace(0, 7, 200)
    logits = torch.stack((dominance, -dominance, -2 * dominance), dim=-1).to(device)
    labels = torch.zeros(200, dtype=torch.int64, device=device)
    with forced("eager"):  # HRM_KERNELS=triton is refused on a CPU
        wanted = stablemax_cross_entropy(logits.double().cpu(), labels.cpu())
    found = stablemax_cross_entropy(logits, labels).double().cpu()
    yield Check("stablemax.small_losses", ((found - wanted) / wanted).abs().max().item(), 1e-6)


# --- under torch.compile --------------------------------------------------------------------------


def compiled(device: str = "cpu", backend: str = "aot_eager") -> Iterator[Check]:
    """The operators that torch.compile sees return the same as the direct calls, in one graph."""
    for name, shape in (
        ("add_rms_norm", (5, 24)),
        ("swiglu", (5, 24)),
        ("rope", (2, 3, 2, 8)),
        ("stablemax", (7, 11)),
    ):
        case = CASES[name][0](*shape)
        leaves = [x.to(device, torch.float32).requires_grad_() for x in case.inputs]
        direct = _outputs_and_gradients(case.run, leaves)
        torch._dynamo.reset()
        in_graph = torch.compile(case.run, fullgraph=True, backend=backend)
        for part, a, b in zip(("out", "grad"), _outputs_and_gradients(in_graph, leaves), direct, strict=True):
            worst = max(relative(x, y) for x, y in zip(a, b, strict=True))
            yield Check(f"{name}.compiled.{part}", worst, 1e-6)


def every(device: str, wide: bool) -> Iterator[Check]:
    """All checks; the wide sweep alone if `wide`."""
    with poisoned():
        if wide:
            for name in CASES:
                for dtype in (torch.float32, torch.float16):
                    yield from accuracy(name, dtype, device, wide=True)
            return
        for dtype in (torch.float64, torch.float32, torch.float16):
            for name in CASES:
                yield from accuracy(name, dtype, device)
        for dtype in (torch.float64, torch.float32):
            yield from adam_atan2(dtype, device)
        from boundary_checks import untouched  # names kernels, so it needs triton

        for check in (layouts, untouched, small_losses, angles, compiled):
            yield from check(device)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for found in every("cpu", wide="--wide" in sys.argv):
        print(json.dumps(found._asdict()), flush=True)
    if "--wide" not in sys.argv:
        from step_checks import training

        for found in (*gradients(), *training()):
            print(json.dumps(found._asdict()), flush=True)
