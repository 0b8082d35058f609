"""Launches of the row kernels: tiles, warps, the device. Importing this module needs triton.

The kernels are in the files beside this one, one for each eager twin. They read inputs in their own dtype and
compute in `ACC`: float32, or float64 for float64 inputs (for gradient checks). Functions that Triton lacks
are written out, not taken from CUDA's libdevice, so that the interpreter tests the code that a GPU runs.
Numbers that never change within a model are `tl.constexpr`: Inductor would pass a Python float as float64.
"""

import contextlib
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Elements of a program of four warps: 16 a thread.
TILE = 2048


def accumulator(dtype: torch.dtype) -> Any:
    """The Triton dtype to compute in."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def series_terms(dtype: torch.dtype) -> int:
    """Terms of the logarithm's and the arctangent's series for full precision in a dtype."""
    return 17 if dtype == torch.float64 else 8


def tile(width: int, elements: int = TILE) -> tuple[int, int]:
    """Rows and columns, powers of two, of the tile that holds whole rows of `width`."""
    columns = triton.next_power_of_2(width)
    return max(1, elements // columns), columns


def warps(columns: int) -> int:
    """Warps for a tile of whole rows: 16 elements a thread, 32 in the widest."""
    return min(16, max(4, columns // 512))


def parts(count: int, size: int) -> int:
    """Parts of `size` that cover `count`."""
    return -(-count // size)


def launch(
    kernel: Any, grid: tuple[int, ...], device: torch.device, *arguments: Any, **constants: Any
) -> None:
    """Run `kernel` on the tensors' device, which need not be the current one; do nothing for no rows."""
    if 0 in grid:
        return
    on_gpu = device.type == "cuda"
    with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
        kernel[grid](*arguments, **constants)


def launch_on_rows(kernel: Any, like: Tensor, *tensors: Tensor, **constants: Any) -> None:
    """Launch over tiles of whole rows; `like` [..., WIDTH] gives the rows, their width and the dtype."""
    width = like.shape[-1]
    n_rows = like[..., 0].numel()
    rows, columns = tile(width)
    launch(
        kernel,
        (parts(n_rows, rows),),
        like.device,
        *(*tensors, n_rows),
        WIDTH=width,
        ROWS=rows,
        COLUMNS=columns,
        num_warps=warps(columns),
        ACC=accumulator(like.dtype),
        **constants,
    )


@triton.jit
def row_tile(n_rows, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """This program's rows, which of them exist, its columns, the offsets of its elements, and which exist."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)[None, :]
    real = rows < n_rows
    offsets = rows.to(tl.int64)[:, None] * WIDTH + columns
    return rows, real, columns, offsets, real[:, None] & (columns < WIDTH)
