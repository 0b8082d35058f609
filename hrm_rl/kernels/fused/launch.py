"""Launches of the epilogue-fused kernels; arguments as in `fused.linear`.

`tile` is for timing other choices than those of `fused.tiles`. Nothing waits for the GPU, so all of it can be
captured in a CUDA graph once every shape has run.
"""

from typing import Any

import torch
from torch import Tensor

from hrm_rl.kernels.fused import kernels as fused_kernels
from hrm_rl.kernels.fused import tiles as fused_tiles
from hrm_rl.kernels.fused.tiles import Tile
from hrm_rl.kernels.triton.launching import launch, parts


def gate_up_swiglu(
    h: Tensor, squares: Tensor | None, weight: Tensor, eps: float, tile: Tile | None = None
) -> Tensor:
    (rows, inner), columns = h.shape, weight.shape[0] // 2
    tile = tile or fused_tiles.gate_up_tile(rows, inner, columns, _arch(h.device))
    h, out = h.contiguous(), h.new_empty(rows, columns)
    launch(
        fused_kernels.gate_up_swiglu_kernel,
        (parts(rows, tile.rows) * parts(columns, tile.columns),),
        h.device,
        *(h, h if squares is None else squares, weight.contiguous(), out, rows),
        **_product(tile, inner, squares, eps),
        WIDTH=columns,
    )
    return out


def linear_residual(
    a: Tensor, weight: Tensor, h: Tensor, squares: Tensor | None, eps: float, tile: Tile | None = None
) -> tuple[Tensor, Tensor]:
    (rows, inner), columns = a.shape, weight.shape[0]
    tile = tile or fused_tiles.residual_tile(rows, inner, columns, _arch(a.device))
    across = parts(columns, tile.columns)
    h, out = h.contiguous(), h.new_empty(rows, columns)
    out_squares = h.new_empty(across, rows, dtype=torch.float32)
    before = h if squares is None else squares
    launch(
        fused_kernels.linear_residual_kernel,
        (parts(rows, tile.rows) * across,),
        h.device,
        *(a.contiguous(), weight.contiguous(), h, before, out, out_squares, rows),
        **_product(tile, inner, squares, eps),
        N=columns,
    )
    return out, out_squares


def qkv_rope(
    h: Tensor,
    squares: Tensor | None,
    weight: Tensor,
    rotary: Tensor | None,
    tokens: int,
    heads: int,
    eps: float,
    tile: Tile | None = None,
) -> Tensor:
    (rows, inner), columns = h.shape, weight.shape[0]
    tile = tile or fused_tiles.qkv_tile(rows, inner, columns, _arch(h.device))
    h, out = h.contiguous(), h.new_empty(rows, columns)
    before = h if squares is None else squares
    angles = h if rotary is None else rotary.contiguous()
    launch(
        fused_kernels.qkv_rope_kernel,
        (parts(rows, tile.rows) * parts(columns // 2, tile.columns),),
        h.device,
        *(h, before, weight.contiguous(), angles, out, rows, tokens),
        **_product(tile, inner, squares, eps),
        N=columns,
        ROTATED=0 if rotary is None else 2 * inner,
        HEAD=32 if rotary is None else inner // heads,  # without angles any order of columns
    )
    return out


def normalise(h: Tensor, squares: Tensor, eps: float) -> Tensor:
    rows, width = h.shape
    columns = 1 << (width - 1).bit_length()
    height = max(1, 4096 // columns)
    h, out = h.contiguous(), h.new_empty(rows, width)
    launch(
        fused_kernels.normalise_kernel,
        (parts(rows, height),),
        h.device,
        *(h, squares, out, rows),
        N=width,
        PARTS=squares.shape[0],
        EPS=eps,
        BM=height,
        BN=columns,
    )
    return out


def _product(tile: Tile, inner: int, squares: Tensor | None, eps: float) -> dict[str, Any]:
    """The constants that all products share."""
    return {
        "K": inner,
        "PARTS": 0 if squares is None else squares.shape[0],
        "EPS": eps,
        "BM": tile.rows,
        "BN": tile.columns,
        "BK": tile.inner,
        "num_warps": tile.warps,
        "num_stages": tile.stages,
    }


def _arch(device: torch.device) -> int:
    """Compute capability times ten."""
    if device.type != "cuda":
        return 90  # the interpreter runs with any tiles
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor
