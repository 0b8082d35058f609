"""Fused attention on a GPU by the fastest of PyTorch's kernels, timed once a shape.

`scaled_dot_product_attention` has several kernels (cuDNN's, flash, memory-efficient, plain products)
and picks one by rules that do not measure the machine. Here each is timed on the first tensors of a shape,
and the fastest is pinned for that shape if it beats PyTorch's own pick by a clear margin. On other devices,
and with HRM_ATTENTION=torch, PyTorch picks.
"""

import logging
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from hrm_rl.kernels import dispatch

log = logging.getLogger(__name__)

VARIABLE = "HRM_ATTENTION"
MODES = ("auto", "torch")
# A pinned kernel is at least this many times faster than PyTorch's own pick.
WORTH_PINNING = 1.05
# Without plain products, which PyTorch takes by itself where no other kernel applies.
CANDIDATES = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
_REPEATS, _ROUNDS = 10, 3
# The oldest PyTorch tested whose torch.compile traces a pinned kernel.
_TRACES_PINNED = (2, 13)


class Shape(NamedTuple):
    """Everything that a choice depends on."""

    device: torch.device
    dtype: torch.dtype
    rows: int
    heads: int
    tokens: int
    head_dim: int
    gradient: bool
    """Whether a backward pass follows and is timed too."""


def fused_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Full, non-causal attention by one of PyTorch's kernels; all [B, heads, T, head_dim]. With a `bias` on
    the scores, [heads, T, T], PyTorch picks."""
    if bias is not None:
        return F.scaled_dot_product_attention(q, k, v, bias.expand(q.shape[0], *bias.shape))
    if q.device.type != "cuda":
        return F.scaled_dot_product_attention(q, k, v)
    return _attention_on_gpu(q, k, v)


def _attention_on_gpu(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    gradient = torch.is_grad_enabled() and q.requires_grad
    pinned = None
    if not _all_kernels_allowed():
        return F.scaled_dot_product_attention(q, k, v)  # the caller has chosen
    if not torch.compiler.is_compiling() or _has_static_shape(q):
        rows, heads, tokens, head_dim = q.shape
        pinned = _pinned(q.device, q.dtype, rows, heads, tokens, head_dim, gradient)
    if pinned is None:
        return F.scaled_dot_product_attention(q, k, v)
    with sdpa_kernel(pinned):
        return F.scaled_dot_product_attention(q, k, v)


@dispatch.constant_when_traced
def _all_kernels_allowed() -> bool:
    """False if the caller has disabled some, by `sdpa_kernel` or PyTorch's switches."""
    backends = torch.backends.cuda
    return (
        backends.flash_sdp_enabled()
        and backends.mem_efficient_sdp_enabled()
        and backends.math_sdp_enabled()
        and backends.cudnn_sdp_enabled()
    )


def _has_static_shape(q: Tensor) -> bool:
    """Whether torch.compile traces for fixed sizes; for dynamic sizes PyTorch picks."""
    if torch_version() < _TRACES_PINNED:
        return False
    from torch.fx.experimental.symbolic_shapes import has_static_value

    rows, heads, tokens, head_dim = (has_static_value(n) for n in q.shape)
    return rows and heads and tokens and head_dim


@dispatch.constant_when_traced
def _pinned(
    device: torch.device,
    dtype: torch.dtype,
    rows: int,
    heads: int,
    tokens: int,
    head_dim: int,
    gradient: bool,
) -> SDPBackend | None:
    """The kernel for a shape, timed at its first use; None is PyTorch's pick.

    Nothing can be timed while a CUDA graph is recorded: there PyTorch picks for a new shape, which is
    timed at its next use outside.
    """
    if dispatch.mode(VARIABLE, MODES) == "torch" or torch.are_deterministic_algorithms_enabled():
        return None
    shape = Shape(device, dtype, rows, heads, tokens, head_dim, gradient)
    if shape not in _choices:
        if torch.cuda.is_current_stream_capturing():
            return None
        _choices[shape] = choose(shape, seconds)
    return _choices[shape]


@dispatch.constant_when_traced
def torch_version() -> tuple[int, ...]:
    return tuple(int(part) for part in torch.__version__.split(".")[:2])


_choices: dict[Shape, SDPBackend | None] = {}


def choose(shape: Shape, timer: Callable[[Shape, SDPBackend | None], float | None]) -> SDPBackend | None:
    """The fastest kernel for a shape, or None where PyTorch's pick is as good.

    `timer(shape, backend)` returns seconds, or None if the kernel does not support the shape; backend None is
    PyTorch's pick. If that cannot be timed, nothing is pinned.
    """
    own = timer(shape, None)
    if own is None:
        dispatch.warn_once(f"attention kernels cannot be timed on {shape.device}: PyTorch picks them")
        return None
    times = {backend: timer(shape, backend) for backend in CANDIDATES}
    known = {backend: t for backend, t in times.items() if t is not None}
    best = min(known, key=lambda backend: known[backend], default=None)
    if best is None or known[best] * WORTH_PINNING > own:
        best = None
    timed = ", ".join(f"{backend.name} {1e6 * t:.0f}" for backend, t in known.items())
    log.info(
        "attention of %s: %s (microseconds: PyTorch's pick %.0f, %s)",
        "x".join(map(str, shape[2:6])) + (" with gradient" if shape.gradient else ""),
        best.name if best else "PyTorch's pick",
        1e6 * own,
        timed,
    )
    return best


def seconds(shape: Shape, backend: SDPBackend | None) -> float | None:
    """Seconds of one attention on a GPU, with its backward pass if the shape has one: the best of a few
    rounds between CUDA events. None if the kernel refuses or memory runs out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns about every reason to refuse
            work = attention_work(shape, backend)
            for _ in range(3):
                work()
            return min(_round(work) for _ in range(_ROUNDS))
    except RuntimeError as error:
        log.debug("attention by %s: %s", backend, error)
        return None


def attention_work(shape: Shape, backend: SDPBackend | None) -> Callable[[], None]:
    """One attention to time, on tensors laid out as in a block: views of one projection."""
    generator = torch.Generator(shape.device).manual_seed(0)  # not the program's global one
    joint = torch.randn(
        (shape.rows, shape.tokens, 3 * shape.heads, shape.head_dim),
        generator=generator,
        dtype=shape.dtype,
        device=shape.device,
    )
    q, k, v = (
        part.transpose(1, 2).detach().requires_grad_(shape.gradient)
        for part in joint.split(shape.heads, dim=2)
    )

    def attend() -> Tensor:
        if backend is None:
            return F.scaled_dot_product_attention(q, k, v)
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v)

    def work() -> None:
        with torch.set_grad_enabled(shape.gradient):
            out = attend()
            if shape.gradient:
                torch.autograd.grad(out, (q, k, v), out.detach())

    return work


def _round(work: Callable[[], None]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_REPEATS):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000 / _REPEATS
