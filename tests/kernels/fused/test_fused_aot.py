"""The epilogue-fused kernels compiled for GPUs that are not present: tensor cores, no spills, shared memory
under the limit."""

from functools import partial
from typing import Any

import pytest
import torch
from aot import SHARED_LIMIT, compile_launch, launches

from hrm_rl.kernels import dispatch
from hrm_rl.kernels.fused import tiles as fused_tiles

needs_compiler = pytest.mark.skipif(
    dispatch._triton_version() is None or dispatch.interpreting(),
    reason="Triton is for Linux only, or its interpreter replaces the compiler",
)


def assert_well_compiled(
    monkeypatch: Any, arch: int, rows: int, width: int, inner: int, head_dim: int | None
) -> None:
    """Compile the launches of a block at these sizes."""
    from hrm_rl.kernels.fused import launch as fused_launch

    empty = partial(torch.empty, device="meta", dtype=torch.bfloat16)
    h, a, qkv = empty(rows, width), empty(rows, inner), empty(3 * width, width)
    rotary = None if head_dim is None else torch.empty(2, 82, head_dim, device="meta")
    heads = width // (head_dim or 32)
    gate_up, o, down = empty(2 * inner, width), empty(width, width), empty(width, inner)

    def block() -> None:
        _, squares = fused_launch.linear_residual(h, o, h, None, 1e-5)
        fused_launch.linear_residual(a, down, h, squares, 1e-5)
        fused_launch.qkv_rope(h, None, qkv, rotary, 82, heads, 1e-5)
        fused_launch.qkv_rope(h, squares, qkv, rotary, 82, heads, 1e-5)
        fused_launch.gate_up_swiglu(h, squares, gate_up, 1e-5)
        fused_launch.normalise(h, squares, 1e-5)

    monkeypatch.setattr(fused_launch, "_arch", lambda device: arch)
    caught = launches(monkeypatch, [fused_launch], block)
    assert len(caught) == 6
    for launch in caught:
        compiled = compile_launch(launch, arch)
        what = f"{launch.kernel.__name__} {launch.constants}: {compiled.registers} registers"
        assert compiled.spill_bytes == 0, what
        assert compiled.shared_bytes <= SHARED_LIMIT[arch], what
        if "BK" in launch.constants:
            instruction = {90: "wgmma.mma_async", 80: "mma.sync"}[arch]
            assert instruction in compiled.ptx, what


@needs_compiler
@pytest.mark.parametrize("arch", [90, pytest.param(80, marks=pytest.mark.slow)])
def test_the_27m_model_compiles_onto_tensor_cores_without_spills(monkeypatch, arch) -> None:
    assert_well_compiled(monkeypatch, arch, 768 * 82, 512, 1536, 64)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("rows", [200, 10**6])
@pytest.mark.parametrize("arch", [90, 80])
@pytest.mark.parametrize(
    ("width", "inner", "head_dim"),
    [
        (32, 256, None),
        (64, 256, 32),
        (96, 176, 32),
        (128, 256, 128),
        (128, 176, 32),
        (224, 768, None),
        (256, 768, 64),
        (320, 1024, 32),
        (512, 1536, 128),
        (512, 688, 32),
        (768, 2048, 64),
        (992, 2816, 32),
        (1024, 2816, 128),
    ],
)
def test_every_size_compiles_onto_tensor_cores_without_spills(
    monkeypatch, width, inner, head_dim, arch, rows
) -> None:
    assert_well_compiled(monkeypatch, arch, rows, width, inner, head_dim)


@pytest.mark.parametrize("arch", [80, 86, 89, 90, 120])
@pytest.mark.parametrize("width", list(fused_tiles.WIDTHS))
def test_tiles_fit_into_shared_memory_and_waste_little(width, arch) -> None:
    limit = {80: 163, 90: 227}.get(arch, 99) * 1024
    for rows in (1, 656, 62976):
        for tile, columns, sums in (
            (fused_tiles.gate_up_tile(rows, width, 4 * width, arch), 4 * width, 2),
            (fused_tiles.qkv_tile(rows, width, 3 * width, arch), 3 * width // 2, 2),
            (fused_tiles.residual_tile(rows, 4 * width, width, arch), width, 1),
        ):
            assert tile.stages * tile.inner * (tile.rows + sums * tile.columns) * 2 <= limit
            padded = -(-columns // tile.columns) * tile.columns
            assert padded <= columns * 9 / 8 or tile.columns == 32
