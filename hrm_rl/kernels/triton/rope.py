"""The Triton form of rotary positions: queries and keys in one launch, read in place."""

import triton
import triton.language as tl
from torch import Tensor

from hrm_rl.kernels.triton.launching import TILE, accumulator, launch, parts, tile


def turn(q: Tensor, k: Tensor, tables: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """q and k turned by their positions' angles, or back; new and contiguous."""
    q, k = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k))
    q_out, k_out = q.new_empty(q.shape), k.new_empty(k.shape)
    heads, half = q.shape[2], q.shape[3] // 2
    rows, columns = tile(half, TILE // 2)
    n_rows = q_out.numel() // max(1, 2 * half)
    launch(
        rope,
        (parts(n_rows, rows), 2),
        q.device,
        *(q, k, q_out, k_out, tables.contiguous(), n_rows, q.shape[1]),
        *(*q.stride()[:3], *k.stride()[:3]),
        HEADS=heads,
        HALF=half,
        INVERSE=inverse,
        ROWS=rows,
        COLUMNS=columns,
        ACC=accumulator(tables.dtype),
    )
    return q_out, k_out


@triton.jit
def _turn(
    x_ptr,
    out_ptr,
    tables_ptr,
    n_rows,
    tokens,
    batch_stride,
    token_stride,
    head_stride,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    INVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)[None, :]
    kept = (rows < n_rows)[:, None] & (columns < HALF)
    head = (rows % HEADS).to(tl.int64)
    token = (rows // HEADS % tokens).to(tl.int64)
    batch = (rows // HEADS // tokens).to(tl.int64)
    angle = tables_ptr + token[:, None] * (2 * HALF) + columns
    cos = tl.load(angle, mask=kept, other=0.0).to(ACC)
    sin = tl.load(angle + tokens * (2 * HALF), mask=kept, other=0.0).to(ACC)
    if INVERSE:
        sin = -sin
    x = x_ptr + (batch * batch_stride + token * token_stride + head * head_stride)[:, None]
    a = tl.load(x + columns, mask=kept, other=0.0).to(ACC)
    b = tl.load(x + columns + HALF, mask=kept, other=0.0).to(ACC)
    out = out_ptr + rows.to(tl.int64)[:, None] * (2 * HALF) + columns
    tl.store(out, (a * cos - b * sin).to(out_ptr.dtype.element_ty), mask=kept)
    tl.store(out + HALF, (b * cos + a * sin).to(out_ptr.dtype.element_ty), mask=kept)


@triton.jit
def rope(
    q_ptr,
    k_ptr,
    q_out_ptr,
    k_out_ptr,
    tables_ptr,
    n_rows,
    tokens,
    q_batch,
    q_token,
    q_head,
    k_batch,
    k_token,
    k_head,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    INVERSE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ACC: tl.constexpr,
):
    """Turn q (programs 0 of axis 1) and k (programs 1) by their positions' angles, or back.

    A row is one head of one token, of n_rows = batch * tokens * HEADS. q and k may have any strides, in
    elements; the outputs are contiguous. tables is [2, tokens, 2 HALF], both halves of a row equal.
    """
    if tl.program_id(1) == 0:
        _turn(
            q_ptr, q_out_ptr, tables_ptr, n_rows, tokens, q_batch, q_token, q_head,
            HEADS, HALF, INVERSE, ROWS, COLUMNS, ACC,
        )  # fmt: skip
    else:
        _turn(
            k_ptr, k_out_ptr, tables_ptr, n_rows, tokens, k_batch, k_token, k_head,
            HEADS, HALF, INVERSE, ROWS, COLUMNS, ACC,
        )  # fmt: skip
