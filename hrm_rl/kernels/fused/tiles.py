"""Tiles of the epilogue-fused products, chosen by shape and GPU without timing.

The sizes compile without register spills for sm_80 and sm_90 at every width
(tests/kernels/fused/test_fused_aot.py); `benchmarks/kernels.py --sweep` times others.
"""

from dataclasses import dataclass

WIDTHS = range(32, 1025, 32)
"""Hidden sizes that the kernels support."""

# Kilobytes of shared memory that a block may use, by compute capability times ten; 99 elsewhere.
# Source: CUDA C++ Programming Guide, technical specifications per compute capability.
_SHARED_KB = {80: 163, 87: 163, 90: 227, 100: 227, 103: 227, 110: 227}


@dataclass(frozen=True)
class Tile:
    """One program's part of a product, and its warps and pipeline."""

    rows: int
    columns: int
    inner: int
    """Step along the summed dimension."""
    warps: int
    stages: int
    """Steps loaded at the same time."""


def gate_up_tile(rows: int, inner: int, columns: int, arch: int) -> Tile:
    """For `columns` of gate and of up; widest where wgmma keeps operands out of registers."""
    widest = 128 if arch >= 90 and _many(rows, columns, 128) else 64
    return _tile(rows, inner, columns, _column_tile(columns, widest), sums=2, stages=4, arch=arch)


def qkv_tile(rows: int, inner: int, columns: int, arch: int) -> Tile:
    """For `columns` of q, k and v together, in pairs; small, as the angles need registers."""
    pairs = columns // 2
    return _tile(rows, inner, pairs, _column_tile(pairs, 64), sums=2, stages=4, arch=arch)


def residual_tile(rows: int, inner: int, columns: int, arch: int) -> Tile:
    """Three stages for many rows: two blocks share a multiprocessor; one computes while the other stores."""
    width = residual_columns(columns)
    stages = 3 if _many(rows, columns, width) else 4
    return _tile(rows, inner, columns, width, sums=1, stages=stages, arch=arch)


def residual_columns(columns: int) -> int:
    """Columns of a tile of linear + residual. Independent of the rows and the GPU, as they give the number of
    parts of the sums of squares."""
    return _column_tile(columns, 128)


def _column_tile(columns: int, widest: int) -> int:
    """The widest of 128, 64 and 32 that wastes at most a ninth of its work at the edge."""
    for size in (128, 64):
        if size <= widest and _ceil(columns, size) * size * 8 <= columns * 9:
            return size
    return 32


def _tile(rows: int, inner: int, columns: int, width: int, *, sums: int, stages: int, arch: int) -> Tile:
    """A tile of `sums` accumulators, each `width` wide."""
    height = 128 if _many(rows, columns, width) else 64
    step = 32 if inner % 64 and inner < 256 else 64
    stage_bytes = 2 * step * (height + sums * width)
    fitting = _SHARED_KB.get(arch, 99) * 1024 // stage_bytes
    warps = 8 if height * width >= 128 * 64 else 4
    return Tile(height, width, step, warps, max(2, min(stages, fitting)))


def _many(rows: int, columns: int, width: int) -> bool:
    """Whether tiles of 128 rows fill a large GPU twice; otherwise they are halved, to spread the work."""
    return _ceil(rows, 128) * _ceil(columns, width) >= 264


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
