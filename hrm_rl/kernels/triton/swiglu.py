"""The Triton form of SwiGLU: tiles of rows and columns, each read once."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrm_rl.kernels.triton.launching import TILE, accumulator, launch, parts, tile


def forward(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, [..., W], of gate_up [..., 2 W]."""
    gate_up = gate_up.contiguous()
    out = gate_up.new_empty(*gate_up.shape[:-1], gate_up.shape[-1] // 2)
    _launch(swiglu_forward, out, gate_up, out)
    return out


def backward(grad: Tensor, gate_up: Tensor) -> Tensor:
    """The gradient of gate_up, from that of the output."""
    grad, gate_up = grad.contiguous(), gate_up.contiguous()
    out = torch.empty_like(gate_up)
    _launch(swiglu_backward, grad, grad, gate_up, out)
    return out


def _launch(kernel: Any, half: Tensor, *tensors: Tensor) -> None:
    """Launch over tiles of `half` [..., W]."""
    width = half.shape[-1]
    n_rows = half.numel() // max(1, width)
    rows, columns = tile(min(width, TILE // 4))
    launch(
        kernel,
        (parts(n_rows, rows), parts(width, columns)),
        half.device,
        *(*tensors, n_rows),
        WIDTH=width,
        ROWS=rows,
        COLUMNS=columns,
        ACC=accumulator(half.dtype),
    )


@triton.jit
def swiglu_forward(
    gate_up_ptr,
    out_ptr,
    n_rows,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """silu(gate) * up; gate_up [n_rows, 2 WIDTH], gate first, out [n_rows, WIDTH]."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    columns = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    kept = (rows < n_rows) & (columns < WIDTH)
    gates = gate_up_ptr + rows * (2 * WIDTH) + columns
    gate = tl.load(gates, mask=kept, other=0.0).to(ACC)
    up = tl.load(gates + WIDTH, mask=kept, other=0.0).to(ACC)
    out = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out_ptr + rows * WIDTH + columns, out.to(out_ptr.dtype.element_ty), mask=kept)


@triton.jit
def swiglu_backward(
    grad_ptr,
    gate_up_ptr,
    out_ptr,
    n_rows,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """The gradient of gate_up; the sigmoid is recomputed."""
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    columns = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    kept = (rows < n_rows) & (columns < WIDTH)
    grad = tl.load(grad_ptr + rows * WIDTH + columns, mask=kept, other=0.0).to(ACC)
    halves = rows * (2 * WIDTH) + columns
    gate = tl.load(gate_up_ptr + halves, mask=kept, other=0.0).to(ACC)
    up = tl.load(gate_up_ptr + halves + WIDTH, mask=kept, other=0.0).to(ACC)
    opened = 1.0 / (1.0 + tl.exp(-gate))
    gate_grad = grad * up * opened * (1.0 + gate * (1.0 - opened))
    up_grad = grad * gate * opened
    tl.store(out_ptr + halves, gate_grad.to(out_ptr.dtype.element_ty), mask=kept)
    tl.store(out_ptr + halves + WIDTH, up_grad.to(out_ptr.dtype.element_ty), mask=kept)
