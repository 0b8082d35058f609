"""A small Transformer block on a CPU in few calls of PyTorch, with its backward pass by hand.

A block of a few tokens computes for some microseconds, and each call of PyTorch takes one or two: the plain
formula takes 75 forward, and as many nodes of autograd. Here a block is about 40 calls and one node:

- tokens come first in memory, [T, B, D], so that queries, keys and values are views of a product by heads,
  the first positions are the first rows, and no head is copied;
- scores are [B * heads, keys, queries], since PyTorch's softmax of a short row takes up to four times as long
  along the last axis as along another;
- small heads are [heads, head_dim, T, B], and their attention is multiplications and sums along the batch:
  PyTorch's products of many small matrices take up to four times as long;
- residuals are added by the products, and SwiGLU is transposed, so that one product gives both its halves.

The digits are the formula's up to rounding; tests/kernels/test_small_block.py. `block` in model/recurrence.py
is the formula.
"""

import functools
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hrm_rl.kernels import dispatch


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether blocks of `weight` on x, [B, T, D], are to run in this form."""
    return (
        dispatch.runs_in_few_passes(x)  # first: a tracer would make a guard of a size
        and type(x) is Tensor  # no FakeTensor: `_constant` would keep one
        and x.numel() <= MOST_NUMBERS
        and x.dtype == weight.dtype
        and not torch.is_autocast_enabled("cpu")
    )


# Of a state. Above it the plain formula is as fast (measured with 5 to 81 tokens and widths of 32 to 128).
MOST_NUMBERS = 1 << 17
# Of a head: tokens times head_dim. Up to this attention is faster without products of matrices (measured with
# 3 to 10 tokens and head_dims of 8 and 16).
_SMALL_HEAD = 64


Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of queries, keys and values; of the output; of gate and up; and down: a `BlockWeights`."""


def small_block(x: Tensor, weights: Weights, heads: int, eps: float, read: int | None = None) -> Tensor:
    """`block` without positions: [B, T, D], or [B, read, D].

    Fastest if tokens come first in x's memory, as they do in the result.
    """
    if torch.is_grad_enabled():
        return _SmallBlock.apply(x, *weights, heads, eps, read)  # type: ignore[no-any-return]
    return _forward(x, weights, heads, eps, read, keep=False)[0]


class _Kept(NamedTuple):
    """What the backward pass reads; N = T * B rows, R = read * B, with the position in front of the batch."""

    x: Tensor  # [N, D]
    q: Tensor  # [B * heads, read, head_dim]; if small [heads, head_dim, read, B]
    k: Tensor  # [B * heads, T, head_dim]; [heads, head_dim, T, B]
    v: Tensor
    probabilities: Tensor  # [B * heads, T keys, read queries]; [heads, T keys, read queries, B]
    mixed: Tensor  # [R, D]
    middle: Tensor  # [R, D]: after the first norm
    middle_scale: Tensor  # [R, 1]: 1 / rms
    gate: Tensor  # [W, R]
    up: Tensor
    opened: Tensor  # silu(gate)
    gated: Tensor  # opened * up
    out: Tensor  # [R, D]
    out_scale: Tensor  # [R, 1]


def _forward(
    x: Tensor, weights: Weights, heads: int, eps: float, read: int | None, keep: bool
) -> tuple[Tensor, _Kept | None]:
    qkv, o, gate_up, down = weights
    batch, tokens, width = x.shape
    head_dim, rows = width // heads, batch * tokens
    read = tokens if read is None else read
    x = x.transpose(0, 1).reshape(rows, width)
    if tokens * head_dim <= _SMALL_HEAD:
        q, k, v = (qkv @ x.t()).view(3, heads, head_dim, tokens, batch).unbind(0)
        q = q[:, :, :read]
        scores = (k[:, :, :, None] * q[:, :, None]).sum(1).mul_(head_dim**-0.5)
        probabilities = scores.softmax(1)
        mixed = (probabilities[:, None] * v[:, :, :, None]).sum(2).view(width, -1).t()
    else:
        joint = torch.bmm(x.expand(3, rows, width), qkv.view(3, width, width).mT)
        q, k, v = joint.view(3, tokens, batch * heads, head_dim).transpose(1, 2).unbind(0)
        q = q[:, :read]
        scores = torch.baddbmm(_constant(0.0, x.dtype), k, q.mT, beta=0, alpha=head_dim**-0.5)
        probabilities = scores.softmax(1)
        mixed = torch.bmm(probabilities.mT, v).transpose(0, 1).reshape(-1, width)
    first = x[: read * batch]
    middle, middle_scale = _norm(torch.addmm(first, mixed, o.t()), eps, keep)
    gate, up = torch.mm(gate_up, middle.t()).chunk(2)
    opened = F.silu(gate, inplace=not keep)
    gated = opened * up if keep else opened.mul_(up)
    out, out_scale = _norm(torch.addmm(middle, gated.t(), down.t()), eps, keep)
    result = out.view(read, batch, width).transpose(0, 1)
    if not keep:
        return result, None
    parts = x, q, k, v, probabilities, mixed, middle, middle_scale, gate, up, opened, gated, out, out_scale
    return result, _Kept(*parts)


def _norm(x: Tensor, eps: float, keep: bool) -> tuple[Tensor, Tensor]:
    """RMSNorm of rows [R, D] and 1 / rms of each, [R, 1]."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scale = torch.addcmul(_constant(eps, x.dtype), length, length, value=1 / x.shape[-1]).rsqrt_()
    return x * scale if keep else x.mul_(scale), scale


@functools.cache
def _constant(value: float, dtype: torch.dtype) -> Tensor:
    """A number as a tensor: PyTorch makes one of a number at each call, which takes longer than the sum."""
    return torch.tensor(value, dtype=dtype, device="cpu")


class _SmallBlock(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> Tensor:
        qkv, o, gate_up, down, heads, eps, read = rest
        result, kept = _forward(x, (qkv, o, gate_up, down), heads, eps, read, keep=True)
        assert kept is not None
        ctx.save_for_backward(x, qkv, o, gate_up, down, *kept)
        ctx.rest = heads, eps, read
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, qkv, o, gate_up, down, *kept = ctx.saved_tensors
        weights = qkv, o, gate_up, down
        # If a second derivative follows, or gradients come in a batch (is_grads_batched of autograd.grad).
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grads[0]):
            return *_by_autograd(x, weights, ctx.rest, grads[0]), None, None, None
        return *_backward(grads[0], weights, _Kept(*kept), ctx.rest[0], x.shape), None, None, None


def _backward(
    grad: Tensor, weights: Weights, kept: _Kept, heads: int, shape: torch.Size
) -> tuple[Tensor, ...]:
    """The gradients of x, [B, T, D], and of the weights."""
    (qkv, o, gate_up, down), (batch, tokens, width) = weights, shape
    read, head_dim, rows = grad.shape[1], width // heads, batch * tokens

    grad = _norm_backward(grad.transpose(0, 1).reshape(-1, width), kept.out, kept.out_scale)
    of_down = grad.t() @ kept.gated.t()
    of_gated = down.t() @ grad.t()
    of_both = torch.empty_like(of_gated.expand(2, *of_gated.shape), memory_format=torch.contiguous_format)
    of_gate, of_up = of_both.unbind(0)
    torch.mul(of_gated, kept.opened, out=of_up)
    torch.ops.aten.silu_backward.grad_input(of_gated.mul_(kept.up), kept.gate, grad_input=of_gate)
    of_both = of_both.view(len(gate_up), -1)
    of_gate_up = of_both @ kept.middle

    grad = torch.addmm(grad, of_both.t(), gate_up)
    grad = _norm_backward(grad, kept.middle, kept.middle_scale)
    of_o = grad.t() @ kept.mixed
    probabilities = kept.probabilities
    if tokens * head_dim <= _SMALL_HEAD:
        of_mixed = (o.t() @ grad.t()).view(heads, head_dim, 1, read, batch)
        of_v = (probabilities[:, None] * of_mixed).sum(3)
        of_scores = (kept.v[:, :, :, None] * of_mixed).sum(1)
        of_scores = torch._softmax_backward_data(of_scores, probabilities, 1, grad.dtype)
        of_scores = of_scores.mul_(head_dim**-0.5)[:, None]
        of_q, of_k = (of_scores * kept.k[:, :, :, None]).sum(2), (of_scores * kept.q[:, :, None]).sum(3)
        of_q = F.pad(of_q, (0, 0, 0, tokens - read)) if read != tokens else of_q
        of_joint = torch.stack((of_q, of_k, of_v)).view(3 * width, rows).t()
    else:
        of_mixed = (grad @ o).view(read, batch * heads, head_dim).transpose(0, 1)
        of_v = torch.bmm(probabilities, of_mixed)
        of_scores = torch.bmm(kept.v, of_mixed.mT)
        of_scores = torch._softmax_backward_data(of_scores, probabilities, 1, grad.dtype)
        of_scores.mul_(head_dim**-0.5)
        of_q, of_k = torch.bmm(of_scores.mT, kept.k), torch.bmm(of_scores, kept.q)
        of_q = F.pad(of_q, (0, 0, 0, tokens - read)) if read != tokens else of_q
        heads_last = [t.view(batch, heads, tokens, head_dim).permute(2, 0, 1, 3) for t in (of_q, of_k, of_v)]
        of_joint = torch.stack(heads_last, 2).view(rows, 3 * width)
    if read != tokens:
        grad = F.pad(grad, (0, 0, 0, rows - len(grad)))
    of_x = torch.addmm(grad, of_joint, qkv).view(tokens, batch, width).transpose(0, 1)
    return of_x, of_joint.t() @ kept.x, of_o, of_gate_up, of_down


def _norm_backward(grad: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """The gradient of the normed rows' input, [R, D]."""
    along = torch.linalg.vecdot(grad, y)[:, None]
    return torch.addcmul(grad, y, along, value=-1 / y.shape[-1]).mul_(scale)


def _by_autograd(
    x: Tensor, weights: Weights, rest: tuple[int, float, int | None], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients of x and the weights, with a graph in grad mode: the forward pass again, by autograd."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views: x may come from a block of the same weights, whose own backward pass gives its share.
        x, qkv, o, gate_up, down = own = [t.view_as(t) for t in (x, *weights)]
        out, _ = _forward(x, (qkv, o, gate_up, down), *rest, keep=True)
    inputs = [t for t in own if t.requires_grad]
    found = iter(torch.autograd.grad(out, inputs, grad, create_graph=again))
    return tuple(next(found) if t.requires_grad else None for t in own)
