"""The Triton form of residual + RMSNorm: whole rows in registers, one pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrm_rl.kernels.precision import wide
from hrm_rl.kernels.triton.launching import launch_on_rows, row_tile


def forward(x: Tensor, residual: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """y = rms_norm(x + residual) and, for the backward pass, 1 / rms of each row."""
    x, residual = x.contiguous(), residual.contiguous()
    y, rstd = torch.empty_like(x), x.new_empty(x.shape[:-1], dtype=wide(x.dtype))
    launch_on_rows(add_rms_norm_forward, x, x, residual, y, rstd, EPS=eps)
    return y, rstd


def backward(grad: Tensor, y: Tensor, rstd: Tensor) -> Tensor:
    """The gradient of the sum, from that of y."""
    out = torch.empty_like(y)
    launch_on_rows(rms_norm_backward, y, grad.contiguous(), y, rstd, out)
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
    rows, real, _, offsets, kept = row_tile(n_rows, WIDTH, ROWS, COLUMNS)
    x = tl.load(x_ptr + offsets, mask=kept, other=0.0).to(ACC)
    h = x + tl.load(residual_ptr + offsets, mask=kept, other=0.0).to(ACC)
    rstd = 1.0 / tl.sqrt(tl.sum(h * h, 1) / WIDTH + EPS)
    tl.store(y_ptr + offsets, (h * rstd[:, None]).to(y_ptr.dtype.element_ty), mask=kept)
    tl.store(rstd_ptr + rows, rstd, mask=real)


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
    rows, real, _, offsets, kept = row_tile(n_rows, WIDTH, ROWS, COLUMNS)
    grad = tl.load(grad_ptr + offsets, mask=kept, other=0.0).to(ACC)
    y = tl.load(y_ptr + offsets, mask=kept, other=0.0).to(ACC)
    rstd = tl.load(rstd_ptr + rows, mask=real, other=0.0)
    along = tl.sum(grad * y, 1) / WIDTH
    out = (grad - y * along[:, None]) * rstd[:, None]
    tl.store(out_ptr + offsets, out.to(out_ptr.dtype.element_ty), mask=kept)
