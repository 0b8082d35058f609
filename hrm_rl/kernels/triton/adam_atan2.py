"""The Triton form of AdamATan2: a parameter's step in one launch; reads four arrays and writes three."""

import math

import triton
import triton.language as tl
from torch import Tensor

from hrm_rl.kernels.triton.launching import TILE, accumulator, launch, parts, series_terms


def step_(
    p: Tensor,
    grad: Tensor,
    moment: Tensor,
    square: Tensor,
    step: Tensor,
    lr: Tensor,
    beta1: float,
    beta2: float,
    weight_decay: float,
) -> None:
    """One parameter's step, in place; `step` is already incremented."""
    block = TILE // 2  # four arrays and the angle need twice as many registers an element
    launch(
        adam_atan2,
        (parts(p.numel(), block),),
        p.device,
        *(p, grad.contiguous(), moment, square, step, lr, p.numel()),
        BETA1=beta1,
        BETA2=beta2,
        LOG_BETA1=_log(beta1),
        LOG_BETA2=_log(beta2),
        WEIGHT_DECAY=weight_decay,
        BLOCK=block,
        ACC=accumulator(p.dtype),
        TERMS=series_terms(p.dtype),
    )


def _log(beta: float) -> float:
    return math.log(beta) if beta > 0 else -1e300  # its exp is 0, like a power of 0


@triton.jit
def _angle(y, x, TERMS: tl.constexpr):
    """atan2(y, x) for x >= 0; 0 where both are 0.

    |y| and x are swapped if needed, so that the angle is at most pi/4; it is turned back by 0, pi/8 or pi/4,
    and the rest, at most pi/16, is the arctangent's series.
    """
    up = tl.abs(y)
    steep = up > x
    low, high = tl.where(steep, x, up), tl.where(steep, up, x)
    # tan of pi/16, 3 pi/16 and pi/8
    flat, middle = low <= 0.198912367379658 * high, low < 0.668178637919299 * high
    # A bare number in tl.where would be float32.
    zero, one = tl.full([], 0.0, low.dtype), tl.full([], 1.0, low.dtype)
    eighth = tl.full([], 0.39269908169872414, low.dtype)
    tangent = tl.where(flat, zero, tl.where(middle, one * 0.41421356237309503, one))
    turned = tl.where(flat, zero, tl.where(middle, eighth, 2.0 * eighth))
    base = high + tangent * low
    t = (low - tangent * high) / tl.where(base == 0.0, 1.0, base)
    square = t * t
    total = square * 0.0
    for i in tl.static_range(TERMS):
        total = 1.0 / (2 * (TERMS - 1 - i) + 1) - total * square
    angle = turned + t * total
    angle = tl.where(steep, 1.5707963267948966 - angle, angle)
    return tl.where(y < 0.0, -angle, angle)


@triton.jit
def adam_atan2(
    p_ptr,
    grad_ptr,
    moment_ptr,
    square_ptr,
    step_ptr,
    lr_ptr,
    count,
    BETA1: tl.constexpr,
    BETA2: tl.constexpr,
    LOG_BETA1: tl.constexpr,
    LOG_BETA2: tl.constexpr,
    WEIGHT_DECAY: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
    TERMS: tl.constexpr,
):
    """One step of one parameter, in place. `step` (already incremented) and `lr` are read on the device, so a
    CUDA graph can replay it."""
    t = tl.load(step_ptr).to(tl.float64)
    lr = tl.load(lr_ptr).to(tl.float64)
    size = (lr / (1.0 - tl.exp(t * LOG_BETA1))).to(ACC)
    scale = (1.0 / tl.sqrt(1.0 - tl.exp(t * LOG_BETA2))).to(ACC)
    decay = (1.0 - lr * WEIGHT_DECAY).to(ACC)
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    kept = offsets < count
    p = tl.load(p_ptr + offsets, mask=kept, other=0.0).to(ACC)
    grad = tl.load(grad_ptr + offsets, mask=kept, other=0.0).to(ACC)
    moment = tl.load(moment_ptr + offsets, mask=kept, other=0.0).to(ACC)
    square = tl.load(square_ptr + offsets, mask=kept, other=0.0).to(ACC)
    moment += (grad - moment) * (1.0 - BETA1)
    square = square * BETA2 + grad * grad * (1.0 - BETA2)
    # The fast root of float32 would flush a tiny square to 0, and the angle to a right one.
    root = tl.sqrt(square) if tl.float64 == ACC else tl.sqrt_rn(square)
    p = p * decay - size * _angle(moment, root * scale, TERMS)
    tl.store(p_ptr + offsets, p.to(p_ptr.dtype.element_ty), mask=kept)
    tl.store(moment_ptr + offsets, moment.to(moment_ptr.dtype.element_ty), mask=kept)
    tl.store(square_ptr + offsets, square.to(square_ptr.dtype.element_ty), mask=kept)
