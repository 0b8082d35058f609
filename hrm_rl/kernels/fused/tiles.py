"""How the epilogue-fused products are cut into tiles: by shape and GPU, never by timing at start.

The sizes are those that compile without register spills for sm_80 and sm_90 at every width
(tests/kernels/test_fused_aot.py); `benchmarks/kernels.py --sweep` times the alternatives.
"""

from dataclasses import dataclass

WIDTHS = range(32, 1025, 32)
"""Hidden sizes the kernels take."""

# Kilobytes of shared memory a block may ask for, by compute capability times ten; 99 elsewhere.
# Source: CUDA C++ Programming Guide, technical specifications per compute capability.
_SHARED_KB = {80: 163, 87: 163, 90: 227, 100: 227, 103: 227, 110: 227}


@dataclass(frozen=True)
class Tile:
    """One program's share of a product, and how it is worked."""

    rows: int
    columns: int
    inner: int
    """Step along the summed dimension."""
    warps: int
    stages: int
    """Steps whose loads are under way at once."""


def gate_up_tile(rows: int, inner: int, columns: int, arch: int) -> Tile:
    """For `columns` of gate and as many of up; the widest where wgmma keeps operands out of registers."""
    widest = 128 if arch >= 90 and _many(rows, columns, 128) else 64
    return _tile(rows, inner, columns, _column_tile(columns, widest), sums=2, stages=4, arch=arch)


def qkv_tile(rows: int, inner: int, columns: int, arch: int) -> Tile:
    """For `columns` of q, k and v together, in pairs; the angles take registers, so tiles are small."""
    pairs = columns // 2
    return _tile(rows, inner, pairs, _column_tile(pairs, 64), sums=2, stages=4, arch=arch)


def residual_tile(rows: int, inner: int, columns: int, arch: int) -> Tile:
    """Of many rows, three stages: two blocks share a multiprocessor, and one computes while the other
    stores."""
    width = residual_columns(columns)
    stages = 3 if _many(rows, columns, width) else 4
    return _tile(rows, inner, columns, width, sums=1, stages=stages, arch=arch)


def residual_columns(columns: int) -> int:
    """Columns of a tile of linear + residual: independent of the rows and the GPU, as it decides how
    many parts the sums of squares have."""
    return _column_tile(columns, 128)


def _column_tile(columns: int, widest: int) -> int:
    """The widest of 128, 64 and 32 of whose work at most a ninth falls off the edge."""
    for size in (128, 64):
        if size <= widest and _ceil(columns, size) * size * 8 <= columns * 9:
            return size
    return 32


def _tile(
    rows: int, inner: int, columns: int, width: int, *, sums: int, stages: int, arch: int
) -> Tile:
    """A tile of `sums` accumulators, each `width` wide."""
    height = 128 if _many(rows, columns, width) else 64
    step = 32 if inner % 64 and inner < 256 else 64
    stage_bytes = 2 * step * (height + sums * width)
    fitting = _SHARED_KB.get(arch, 99) * 1024 // stage_bytes
    warps = 8 if height * width >= 128 * 64 else 4
    return Tile(height, width, step, warps, max(2, min(stages, fitting)))


def _many(rows: int, columns: int, width: int) -> bool:
    """Whether tiles of 128 rows fill a large GPU twice; fewer are halved, to spread the work."""
    return _ceil(rows, 128) * _ceil(columns, width) >= 264


def _ceil(a: int, b: int) -> int:
    return -(-a // b)
