"""The row kernels compiled for GPUs that are not there: no spills, little shared memory.

At the 27M model's shapes (hidden 512, SwiGLU width 1536, 8 heads of 64) in bfloat16.
"""

from typing import Any, NamedTuple

import pytest
from aot import SHARED_LIMIT, Compiled, compile_kernel

from hrm_rl.kernels import dispatch

pytest.importorskip("triton", reason="Triton is for Linux only")
if dispatch.interpreting():
    pytest.skip("the interpreter stands in for the compiler", allow_module_level=True)

import triton.language as tl

from hrm_rl.kernels.triton import adam_atan2 as adam_atan2_triton
from hrm_rl.kernels.triton import launching
from hrm_rl.kernels.triton import rms_norm as rms_norm_triton
from hrm_rl.kernels.triton import rope as rope_triton
from hrm_rl.kernels.triton import stablemax as stablemax_triton
from hrm_rl.kernels.triton import swiglu as swiglu_triton


class Launch(NamedTuple):
    kernel: Any
    types: str
    """Of the arguments that are no constants, in order: b bfloat16, f float32, d float64, l int64 (all
    of them pointers), i an int, n an int that is a multiple of 16."""
    constants: dict[str, Any]


WIDTH = 512
ROWS, COLUMNS = launching.tile(WIDTH)
NORM = {"WIDTH": WIDTH, "ROWS": ROWS, "COLUMNS": COLUMNS, "ACC": tl.float32}
GATE = {"WIDTH": 1536, "ROWS": 4, "COLUMNS": 512, "ACC": tl.float32}
LOSS = {"WIDTH": 11, "ROWS": 128, "COLUMNS": 16, "ACC": tl.float32}
LARGEST = LOSS | {"WIDTH": 16384, "ROWS": 1, "COLUMNS": 16384}
ADAM = {
    "BETA1": 0.9,
    "BETA2": 0.95,
    "LOG_BETA1": -0.1,
    "LOG_BETA2": -0.05,
    "WEIGHT_DECAY": 0.1,
    "BLOCK": launching.TILE // 2,
    "ACC": tl.float32,
    "TERMS": 8,
}


def turn(head_dim: int, inverse: bool) -> dict[str, Any]:
    rows, columns = launching.tile(head_dim // 2, launching.TILE // 2)
    constants = {"HEADS": 8, "HALF": head_dim // 2, "INVERSE": inverse, "ROWS": rows}
    return constants | {"COLUMNS": columns, "ACC": tl.float32}


LAUNCHES = {
    "rms_forward": Launch(rms_norm_triton.add_rms_norm_forward, "bbbfi", NORM | {"EPS": 1e-5}),
    "rms_backward": Launch(rms_norm_triton.rms_norm_backward, "bbfbi", NORM),
    "swiglu_forward": Launch(swiglu_triton.swiglu_forward, "bbi", GATE),
    "swiglu_backward": Launch(swiglu_triton.swiglu_backward, "bbbi", GATE),
    "rope": Launch(rope_triton.rope, "bbbbfiinnnnnn", turn(64, False)),
    "stablemax_forward": Launch(stablemax_triton.stablemax_forward, "blfffi", LOSS | {"TERMS": 8}),
    "stablemax_backward": Launch(stablemax_triton.stablemax_backward, "fblffbi", LOSS),
    "adam_atan2": Launch(adam_atan2_triton.adam_atan2, "ffffffn", ADAM),
}
WIDE = {
    **{
        f"rms_{kind}_{width}": Launch(
            kernel,
            types,
            {"WIDTH": width, "ROWS": launching.tile(width)[0], "COLUMNS": launching.tile(width)[1]}
            | ({"EPS": 1e-5} if kind == "forward" else {})
            | {"ACC": tl.float32},
        )
        for width in (64, 100, 1024, 8192)
        for kind, kernel, types in (
            ("forward", rms_norm_triton.add_rms_norm_forward, "bbbfi"),
            ("backward", rms_norm_triton.rms_norm_backward, "bbfbi"),
        )
    },
    **{
        f"rope_{d}": Launch(rope_triton.rope, "bbbbfiinnnnnn", turn(d, True)) for d in (32, 96, 128)
    },
    "stablemax_16384": Launch(stablemax_triton.stablemax_forward, "blfffi", LARGEST | {"TERMS": 8}),
    "stablemax_backward_16384": Launch(stablemax_triton.stablemax_backward, "fblffbi", LARGEST),
}


def compiled(launch: Launch, arch: int) -> Compiled:
    names = [name for name in launch.kernel.arg_names if name not in launch.constants]
    kinds = {"b": "*bf16", "f": "*fp32", "d": "*fp64", "l": "*i64", "i": "i32", "n": "i32:16"}
    types = {name: kinds[letter] for name, letter in zip(names, launch.types, strict=True)}
    warps = launching.warps(launch.constants.get("COLUMNS", 1))
    return compile_kernel(launch.kernel, types, launch.constants, arch=arch, num_warps=warps)


def assert_compiles_well(launch: Launch, arch: int) -> str:
    """Returns the PTX."""
    found = compiled(launch, arch)
    if (
        launch.kernel is not adam_atan2_triton.adam_atan2
    ):  # which has a few scalars of the step in float64
        assert ".f64" not in found.ptx
    assert found.spill_bytes == 0
    assert found.shared_bytes <= SHARED_LIMIT[arch]
    assert found.registers <= 128  # of 64 K: four blocks of four warps fit on a multiprocessor
    return found.ptx


@pytest.mark.parametrize("arch", [90, 80])
@pytest.mark.parametrize("name", list(LAUNCHES))
def test_compiles_without_spills_and_reads_in_full_width(name, arch) -> None:
    ptx = assert_compiles_well(LAUNCHES[name], arch)
    if not name.startswith("stablemax"):  # whose rows of 11 have no alignment
        assert "ld.global.v4.b32" in ptx  # 16 bytes a thread: these kernels are bound by memory
    if name == "adam_atan2":  # sqrt.approx.ftz would flush a gradient of 1e-20, squared, to 0
        assert "sqrt.rn.f32" in ptx and "sqrt.approx" not in ptx


@pytest.mark.slow
@pytest.mark.parametrize("arch", [90, 80])
@pytest.mark.parametrize("name", list(WIDE))
def test_other_shapes_compile_without_spills(name, arch) -> None:
    assert_compiles_well(WIDE[name], arch)
