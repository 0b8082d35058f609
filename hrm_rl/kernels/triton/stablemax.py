"""The Triton form of stablemax cross-entropy: a row's logits in registers, read once in each direction."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from hrm_rl.kernels.precision import wide
from hrm_rl.kernels.triton.launching import launch_on_rows, row_tile, series_terms


def forward(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss and, for the backward pass, s summed over the other classes and s of the label; all [...]."""
    logits, labels = logits.contiguous(), labels.contiguous()
    loss = logits.new_empty(logits.shape[:-1], dtype=wide(logits.dtype))
    others, own = torch.empty_like(loss), torch.empty_like(loss)
    outputs = (loss, others, own)
    terms = series_terms(loss.dtype)
    launch_on_rows(stablemax_forward, logits, logits, labels, *outputs, TERMS=terms)
    return outputs


def backward(grad: Tensor, logits: Tensor, labels: Tensor, others: Tensor, own: Tensor) -> Tensor:
    """The gradient of the logits, from that of the loss."""
    logits = logits.contiguous()
    out = torch.empty_like(logits)
    sums = (others, own)
    launch_on_rows(stablemax_backward, logits, grad.contiguous(), logits, labels.contiguous(), *sums, out)
    return out


@triton.jit
def _log1p(r, TERMS: tl.constexpr):
    """log(1 + r) for r >= 0 to the last digits, which a GPU's fast logarithm loses near 1.

    Below 1, the series 2 atanh(z) = 2 (z + z^3 / 3 + ...), z = r / (2 + r) <= 1/3.
    """
    z = r / (2.0 + r)
    square = z * z
    total = square * 0.0
    for i in tl.static_range(TERMS):
        total = total * square + 1.0 / (2 * (TERMS - 1 - i) + 1)
    return tl.where(r < 1.0, 2.0 * z * total, tl.log(1.0 + r))


@triton.jit
def stablemax_forward(
    logits_ptr,
    labels_ptr,
    loss_ptr,
    others_ptr,
    own_ptr,
    n_rows,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
    TERMS: tl.constexpr,
):
    """log1p(others / own) of each row of logits [n_rows, WIDTH], and its two sums."""
    rows, real, columns, offsets, kept = row_tile(n_rows, WIDTH, ROWS, COLUMNS)
    x = tl.load(logits_ptr + offsets, mask=kept, other=0.0).to(ACC)
    label = tl.load(labels_ptr + rows, mask=real, other=0)[:, None]
    grown = 1.0 + tl.abs(x)
    s = tl.where(x < 0.0, 1.0 / grown, grown)
    chosen = columns == label
    others = tl.sum(tl.where(kept & (columns != label), s, 0.0), 1)
    own = tl.sum(tl.where(chosen, s, 0.0), 1)
    tl.store(loss_ptr + rows, _log1p(others / own, TERMS), mask=real)
    tl.store(others_ptr + rows, others, mask=real)
    tl.store(own_ptr + rows, own, mask=real)


@triton.jit
def stablemax_backward(
    grad_ptr,
    logits_ptr,
    labels_ptr,
    others_ptr,
    own_ptr,
    out_ptr,
    n_rows,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """The gradient of the logits: g s'(x) (1 / total), or -others / (own total) at the label."""
    rows, real, columns, offsets, kept = row_tile(n_rows, WIDTH, ROWS, COLUMNS)
    x = tl.load(logits_ptr + offsets, mask=kept, other=0.0).to(ACC)
    label = tl.load(labels_ptr + rows, mask=real, other=0)[:, None]
    grad = tl.load(grad_ptr + rows, mask=real, other=0.0).to(ACC)[:, None]
    others = tl.load(others_ptr + rows, mask=real, other=1.0)[:, None]
    own = tl.load(own_ptr + rows, mask=real, other=1.0)[:, None]
    s = 1.0 / (1.0 + tl.abs(x))
    slope = tl.where(x < 0.0, s * s, 1.0)
    total = others + own
    factor = tl.where(columns == label, -others / own / total, 1.0 / total)
    out = grad * slope * factor
    tl.store(out_ptr + offsets, out.to(out_ptr.dtype.element_ty), mask=kept)
