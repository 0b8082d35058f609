"""How the row kernels are launched: tiles, warps, the device. Importing this module needs triton.

The kernels themselves are in `..._triton.py`, one file beside each eager twin. They read inputs in
their own dtype and compute in `ACC`: float32, or float64 for float64 inputs (for gradient checks).
Functions beyond what Triton itself has are written out, not taken from CUDA's libdevice, so that what
the interpreter tests is what a GPU runs. Numbers that never change within a model are `tl.constexpr`:
Inductor would pass a Python float as float64.
"""

import contextlib
from typing import Any

import torch
import triton
import triton.language as tl

# Elements that one program of four warps holds: 16 a thread.
TILE = 2048


def accumulator(dtype: torch.dtype) -> Any:
    """The Triton dtype to compute in."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def series_terms(dtype: torch.dtype) -> int:
    """Terms of the logarithm's and the arctangent's series that give a dtype's last digit."""
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
    """Runs `kernel` on the tensors' own device, whichever is the current one; nothing for no rows."""
    if 0 in grid:
        return
    on_gpu = device.type == "cuda"
    with torch.cuda.device(device) if on_gpu else contextlib.nullcontext():
        kernel[grid](*arguments, **constants)
