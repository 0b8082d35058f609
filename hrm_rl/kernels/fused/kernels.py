"""Triton kernels that fuse a block's matrix products with what follows them. Forward only.

All share one layout: activations are [T, K] row by row, weights [N, K] as nn.Linear keeps them, sums and
products are float32. A row's pending norm is one factor, so it is applied to the finished sums:
linear(rms(h)) = rstd * linear(h). `squares` [PARTS, T] holds every row's sum of squares over each tile of
columns; a consumer adds the parts in order, so results do not depend on which program finished first.

Importing this module needs triton.
"""

import triton
import triton.language as tl


@triton.jit
def _tile(T, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr):
    """This program's row numbers (int64: T * N may exceed 2**31), which of them exist, and its column tile.
    Columns vary fastest: all tiles of the same rows run together and find them in the L2 cache."""
    across: tl.constexpr = (N + BN - 1) // BN
    pid = tl.program_id(0)
    rows = (pid // across).to(tl.int64) * BM + tl.arange(0, BM)
    return rows, rows < T, pid % across


@triton.jit
def _rstd(squares_ptr, rows, kept, T, PARTS: tl.constexpr, WIDTH: tl.constexpr, EPS: tl.constexpr):
    """1 / rms of each row, [BM, 1]."""
    total = tl.zeros(rows.shape, tl.float32)
    for part in tl.static_range(PARTS):
        total += tl.load(squares_ptr + part * T + rows, mask=kept, other=0.0)
    return tl.rsqrt(total / WIDTH + EPS)[:, None]


@triton.jit
def _activations(
    a_ptr, rows, kept, first, K: tl.constexpr, BK: tl.constexpr
):  # [BM, BK] of columns `first` on
    inner = first + tl.arange(0, BK)
    mask = kept[:, None]
    if K % BK:
        mask = mask & (inner[None, :] < K)
    return tl.load(a_ptr + rows[:, None] * K + inner[None, :], mask=mask, other=0.0)


@triton.jit
def _weights(
    w_ptr, columns, valid, first, K: tl.constexpr, BK: tl.constexpr, WHOLE: tl.constexpr
):  # [BK, BN], the rows `columns` of the weight; WHOLE: all of them are valid
    inner = first + tl.arange(0, BK)
    pointers = w_ptr + columns[None, :] * K + inner[:, None]
    if WHOLE and K % BK == 0:
        return tl.load(pointers)
    mask = valid[None, :]
    if K % BK:
        mask = mask & (inner[:, None] < K)
    return tl.load(pointers, mask=mask, other=0.0)


@triton.jit
def _two_products(
    a_ptr, w_ptr, apart: tl.constexpr, rows, kept, columns, valid, K: tl.constexpr, BM: tl.constexpr,
    BN: tl.constexpr, BK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """The rows times two sets of weights: the rows `columns` of w, and those `apart` rows further."""
    one = tl.zeros((BM, BN), tl.float32)
    two = tl.zeros((BM, BN), tl.float32)
    for first in range(0, K, BK):
        a = _activations(a_ptr, rows, kept, first, K, BK)
        w = _weights(w_ptr, columns, valid, first, K, BK, WHOLE)
        one = tl.dot(a, w, one, input_precision="ieee")
        w = _weights(w_ptr + apart * K, columns, valid, first, K, BK, WHOLE)
        two = tl.dot(a, w, two, input_precision="ieee")
    return one, two


# T is not specialised: a new number of rows must not compile again, least of all under a CUDA graph.
@triton.jit(do_not_specialize=["T"])
def gate_up_swiglu_kernel(
    h_ptr,
    squares_ptr,
    w_ptr,
    out_ptr,
    T,
    K: tl.constexpr,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
    EPS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """silu(gate) * up of h [T, K] with one weight [2 WIDTH, K], gate first; out [T, WIDTH].

    A program computes the same columns of gate and of up. PARTS = 0: h has no pending norm.
    """
    rows, kept, tile = _tile(T, WIDTH, BM, BN)
    columns = tile * BN + tl.arange(0, BN)
    valid = columns < WIDTH
    whole: tl.constexpr = WIDTH % BN == 0
    gate, up = _two_products(h_ptr, w_ptr, WIDTH, rows, kept, columns, valid, K, BM, BN, BK, whole)
    if PARTS:
        rstd = _rstd(squares_ptr, rows, kept, T, PARTS, K, EPS)
        gate *= rstd
        up *= rstd
    out = gate * tl.sigmoid(gate) * up
    pointers = out_ptr + rows[:, None] * WIDTH + columns[None, :]
    tl.store(pointers, out.to(out_ptr.dtype.element_ty), mask=kept[:, None] & valid[None, :])


@triton.jit(do_not_specialize=["T"])
def linear_residual_kernel(
    a_ptr,
    w_ptr,
    h_ptr,
    squares_ptr,
    out_ptr,
    out_squares_ptr,
    T,
    K: tl.constexpr,
    N: tl.constexpr,
    PARTS: tl.constexpr,
    EPS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """rms(h) + a @ w.T and its rows' sums of squares, tile by tile.

    a [T, K], w [N, K], h and out [T, N], out_squares [tiles, T]. PARTS = 0: h has no pending norm.
    """
    rows, kept, tile = _tile(T, N, BM, BN)
    columns = tile * BN + tl.arange(0, BN)
    valid = columns < N
    total = tl.zeros((BM, BN), tl.float32)
    for first in range(0, K, BK):
        a = _activations(a_ptr, rows, kept, first, K, BK)
        w = _weights(w_ptr, columns, valid, first, K, BK, N % BN == 0)
        total = tl.dot(a, w, total, input_precision="ieee")
    offsets = rows[:, None] * N + columns[None, :]
    mask = kept[:, None] & valid[None, :]
    residual = tl.load(h_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    if PARTS:
        residual *= _rstd(squares_ptr, rows, kept, T, PARTS, N, EPS)
    out = (total + residual).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + offsets, out, mask=mask)
    # Of the rounded values, so that the norm is that of the stored ones.
    wide = out.to(tl.float32)
    tl.store(out_squares_ptr + tile * T.to(tl.int64) + rows, tl.sum(wide * wide, 1), mask=kept)


@triton.jit(do_not_specialize=["T", "tokens"])
def qkv_rope_kernel(
    h_ptr,
    squares_ptr,
    w_ptr,
    rotary_ptr,
    out_ptr,
    T,
    tokens,
    K: tl.constexpr,
    N: tl.constexpr,
    ROTATED: tl.constexpr,
    HEAD: tl.constexpr,
    PARTS: tl.constexpr,
    EPS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """rms(h) @ w.T, [T, N], with heads of HEAD columns; the first ROTATED columns turned by position.

    RoPE pairs column j of a head with column j + HEAD / 2, so a program computes 2 BN columns: BN of first
    halves and their BN partners. rotary is [2, tokens, HEAD], float32, cosines first, both halves of HEAD
    equal; row r has position r % tokens. ROTATED = 0: a plain linear layer. PARTS = 0: h has no pending norm.
    """
    rows, kept, tile = _tile(T, N // 2, BM, BN)
    half: tl.constexpr = HEAD // 2
    pair = tile * BN + tl.arange(0, BN)
    one = pair // half * HEAD + pair % half
    valid = one < N
    whole: tl.constexpr = (N // 2) % BN == 0
    first_half, second_half = _two_products(h_ptr, w_ptr, half, rows, kept, one, valid, K, BM, BN, BK, whole)
    if PARTS:
        rstd = _rstd(squares_ptr, rows, kept, T, PARTS, K, EPS)
        first_half *= rstd
        second_half *= rstd
    mask = kept[:, None] & valid[None, :]
    if ROTATED:
        # If heads do not fill tiles, a tile may hold columns of k and of v: v has the angle 0.
        turned = kept[:, None] & (one < ROTATED)[None, :]
        angle = rotary_ptr + (rows % tokens)[:, None] * HEAD + (pair % half)[None, :]
        cos = tl.load(angle, mask=turned, other=1.0)
        sin = tl.load(angle + tokens * HEAD, mask=turned, other=0.0)
        turned_first = first_half * cos - second_half * sin
        second_half = second_half * cos + first_half * sin
        first_half = turned_first
    pointers = out_ptr + rows[:, None] * N + one[None, :]
    tl.store(pointers, first_half.to(out_ptr.dtype.element_ty), mask=mask)
    tl.store(pointers + half, second_half.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["T"])
def normalise_kernel(
    h_ptr,
    squares_ptr,
    out_ptr,
    T,
    N: tl.constexpr,
    PARTS: tl.constexpr,
    EPS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """rms(h), [T, N], from the sums of squares, at the end of a chain of deferred norms. BN >= N."""
    rows = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    kept = rows < T
    columns = tl.arange(0, BN)
    offsets = rows[:, None] * N + columns[None, :]
    mask = kept[:, None] & (columns < N)[None, :]
    h = tl.load(h_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    out = h * _rstd(squares_ptr, rows, kept, T, PARTS, N, EPS)
    tl.store(out_ptr + offsets, out.to(out_ptr.dtype.element_ty), mask=mask)
