"""The Triton form of residual + RMSNorm: whole rows in registers, one pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrm_rl.kernels.precision import wide
from hrm_rl.kernels.triton.launching import accumulator, launch, parts, tile, warps


def forward(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """y = rms_norm(x + residual) and, for the backward, each row's 1 / rms."""
    x, residual = x.contiguous(), residual.contiguous()
    y, rstd = torch.empty_like(x), x.new_empty(x.shape[:-1], dtype=wide(x.dtype))
    rows, columns = tile(x.shape[-1])
    launch(
        add_rms_norm_forward,
        (parts(rstd.numel(), rows),),
        x.device,
        *(x, residual, y, rstd, rstd.numel()),
        WIDTH=x.shape[-1],
        EPS=eps,
        ROWS=rows,
        COLUMNS=columns,
        num_warps=warps(columns),
        ACC=accumulator(x.dtype),
    )
    return y, rstd


def backward(grad: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    """The gradient of the sum, from that of y."""
    out = torch.empty_like(y)
    rows, columns = tile(y.shape[-1])
    launch(
        rms_norm_backward,
        (parts(rstd.numel(), rows),),
        y.device,
        *(grad.contiguous(), y, rstd, out, rstd.numel()),
        WIDTH=y.shape[-1],
        ROWS=rows,
        COLUMNS=columns,
        num_warps=warps(columns),
        ACC=accumulator(y.dtype),
    )
    return out


@triton.jit
def add_rms_norm_forward(
    x_ptr,
    residual_ptr,
    y_ptr,
    rstd_ptr,
    n_rows,
    WIDTH: tl.constexpr,
    EPS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """y = h / rms(h), h = x + residual; all [n_rows, WIDTH]; 1 / rms(h) too, [n_rows]."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    kept = (rows < n_rows)[:, None] & (columns < WIDTH)[None, :]
    offsets = rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    x = tl.load(x_ptr + offsets, mask=kept, other=0.0).to(ACC)
    h = x + tl.load(residual_ptr + offsets, mask=kept, other=0.0).to(ACC)
    rstd = 1.0 / tl.sqrt(tl.sum(h * h, 1) / WIDTH + EPS)
    tl.store(y_ptr + offsets, (h * rstd[:, None]).to(y_ptr.dtype.element_ty), mask=kept)
    tl.store(rstd_ptr + rows, rstd, mask=rows < n_rows)


@triton.jit
def rms_norm_backward(
    grad_ptr,
    y_ptr,
    rstd_ptr,
    out_ptr,
    n_rows,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """The gradient of h: rstd (g - y mean(g y))."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    kept = (rows < n_rows)[:, None] & (columns < WIDTH)[None, :]
    offsets = rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    grad = tl.load(grad_ptr + offsets, mask=kept, other=0.0).to(ACC)
    y = tl.load(y_ptr + offsets, mask=kept, other=0.0).to(ACC)
    rstd = tl.load(rstd_ptr + rows, mask=rows < n_rows, other=0.0)
    along = tl.sum(grad * y, 1) / WIDTH
    out = (grad - y * along[:, None]) * rstd[:, None]
    tl.store(out_ptr + offsets, out.to(out_ptr.dtype.element_ty), mask=kept)
