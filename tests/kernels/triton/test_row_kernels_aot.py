"""The row kernels compiled for GPUs that are not present: no spills, little shared memory.

By default at the 27M model's shapes (hidden 512, SwiGLU width 1536, 8 heads of 64) in bfloat16.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from aot import SHARED_LIMIT, compile_launch, launches

from hrm_rl.kernels import dispatch

pytest.importorskip("triton", reason="Triton is for Linux only")
if dispatch.interpreting():
    pytest.skip("the interpreter replaces the compiler", allow_module_level=True)

from hrm_rl.kernels.triton import adam_atan2, launching, rms_norm, rope, stablemax, swiglu

ROWS = 656
empty = partial(torch.empty, device="meta", dtype=torch.bfloat16)


def floats(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


def norm(width: int, backward: bool = False) -> Any:
    x = empty(ROWS, width)
    return rms_norm.backward(x, x, floats(ROWS)) if backward else rms_norm.forward(x, x, 1e-5)


def turn(head_dim: int, inverse: bool = False) -> Any:
    q, k, _ = empty(8, 82, 24, head_dim).split(8, dim=2)
    return rope.turn(q, k, floats(2, 82, head_dim), inverse)


def loss(width: int, backward: bool = False) -> Any:
    x, labels, row = empty(ROWS, width), floats(ROWS).long(), floats(ROWS)
    if backward:
        return stablemax.backward(row, x, labels, row, row)
    return stablemax.forward(x, labels)


def step() -> None:
    p, one = floats(1536, 512), floats(())
    adam_atan2.step_(p, p, p, p, one, one, 0.9, 0.95, 0.1)


RUNS: dict[str, Callable[[], Any]] = {
    "rms_forward": partial(norm, 512),
    "rms_backward": partial(norm, 512, True),
    "swiglu_forward": lambda: swiglu.forward(empty(ROWS, 3072)),
    "swiglu_backward": lambda: swiglu.backward(empty(ROWS, 1536), empty(ROWS, 3072)),
    "rope": partial(turn, 64),
    "stablemax_forward": partial(loss, 11),
    "stablemax_backward": partial(loss, 11, True),
    "adam_atan2": step,
}
WIDE: dict[str, Callable[[], Any]] = {
    **{f"rms_{w}_{b}": partial(norm, w, b) for w in (64, 100, 1024, 8192) for b in (False, True)},
    **{f"rope_{d}": partial(turn, d, True) for d in (32, 96, 128)},
    **{f"stablemax_16384_{b}": partial(loss, 16384, b) for b in (False, True)},
}


def well_compiled(monkeypatch: Any, run: Callable[[], Any], arch: int) -> str:
    """The PTX of the one launch of `run`."""
    modules = [launching, rope, swiglu, adam_atan2]
    (launch,) = launches(monkeypatch, modules, run)
    found = compile_launch(launch, arch)
    if run is not step:  # which computes a few scalars in float64
        assert ".f64" not in found.ptx
    assert found.spill_bytes == 0
    assert found.shared_bytes <= SHARED_LIMIT[arch]
    assert found.registers <= 128  # of 64 K: four blocks of four warps fit on a multiprocessor
    return found.ptx


@pytest.mark.parametrize("arch", [90, pytest.param(80, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(RUNS))
def test_compiles_without_spills_and_reads_in_full_width(monkeypatch, name, arch) -> None:
    ptx = well_compiled(monkeypatch, RUNS[name], arch)
    if not name.startswith("stablemax"):  # whose rows of 11 have no alignment
        assert "ld.global.v4.b32" in ptx  # 16 bytes a thread: these kernels are bound by memory
    if name == "adam_atan2":  # sqrt.approx.ftz would flush a gradient of 1e-20, squared, to 0
        assert "sqrt.rn.f32" in ptx and "sqrt.approx" not in ptx


@pytest.mark.slow
@pytest.mark.parametrize("arch", [90, 80])
@pytest.mark.parametrize("name", list(WIDE))
def test_other_shapes_compile_without_spills(monkeypatch, name, arch) -> None:
    well_compiled(monkeypatch, WIDE[name], arch)
