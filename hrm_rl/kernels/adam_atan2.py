"""One step of AdamATan2 on a list of parameters, in place.

`p *= 1 - lr wd`, then `p -= lr / (1 - b1^t) * atan2(m, sqrt(v) / sqrt(1 - b2^t))`. The first bias correction
is outside atan2, as in the published PyPI package `adam-atan2`. Source: arXiv 2407.05872, section 5.
"""

import math
from typing import TypeGuard

import torch
from torch import Tensor

from hrm_rl.kernels import dispatch

Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
"""Parameters, gradients, moments and squares."""


def step_device(params: list[Tensor], lr: float | Tensor) -> torch.device:
    """The device of the step counters: the parameters' in Triton and where the learning rate is a tensor
    there, so that a CUDA graph may hold a step; otherwise the CPU, since eager needs the number."""
    on_device = _lies_beside(lr, params) or _runs_triton(params)
    return params[0].device if on_device else torch.device("cpu")


def adam_atan2_(
    params: list[Tensor],
    grads: list[Tensor],
    moments: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    *,
    lr: float | Tensor,
    betas: tuple[float, float],
    weight_decay: float,
) -> None:
    """Increment the counters, then step every parameter and its moments in place.

    Args:
        params: all on one device; call under `torch.no_grad`.
        grads: of the parameters' shapes.
        moments: running means of the gradients.
        squares: running means of their squares.
        steps: scalar tensors on `step_device(params, lr)`, all of one value.
        lr: learning rate. A tensor on the parameters' device is read there without synchronising; in eager
            the step's numbers are then tensors too and round in another order.
        betas: decay of the two running means.
        weight_decay: in units of the learning rate.
    """
    torch._foreach_add_(steps, 1)
    if not _runs_triton(params):
        lists = (params, grads, moments, squares)
        if _lies_beside(lr, params):
            _eager_on_device(lists, steps[0], lr, betas, weight_decay)
        else:
            _eager(lists, float(steps[0]), float(lr), betas, weight_decay)
        return
    device = params[0].device
    if isinstance(lr, Tensor):
        rate = lr.to(device, non_blocking=True)
    else:
        rate = torch.full((), lr, dtype=torch.float64, device=device)
    compiling = torch.compiler.is_compiling()
    step = step_op if compiling else dispatch.triton_form("triton.adam_atan2").step_
    for p, grad, m, v, t in zip(params, grads, moments, squares, steps, strict=True):
        step(p, grad, m, v, t, rate, *betas, weight_decay)


def _runs_triton(params: list[Tensor]) -> bool:
    return dispatch.uses_triton(params[0].device) and all(p.is_contiguous() for p in params)


def _lies_beside(lr: float | Tensor, params: list[Tensor]) -> TypeGuard[Tensor]:
    # MPS has no float64, in which the step's numbers are computed.
    return isinstance(lr, Tensor) and lr.device == params[0].device and lr.device.type != "mps"


def _eager(lists: Lists, t: float, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
    params, _, moments, _ = lists
    torch._foreach_mul_(params, 1 - lr * weight_decay)
    scales = _update_moments(lists, betas)
    torch._foreach_div_(scales, math.sqrt(1 - betas[1] ** t))
    updates = [torch.atan2(m, s) for m, s in zip(moments, scales, strict=True)]
    torch._foreach_add_(params, updates, alpha=-lr / (1 - betas[0] ** t))


def _eager_on_device(
    lists: Lists, step: Tensor, lr: Tensor, betas: tuple[float, float], weight_decay: float
) -> None:
    """`_eager` with no number read on the host: step and lr are scalar tensors on the parameters' device."""
    params, _, moments, _ = lists
    beta1, beta2 = betas
    t, rate = step.double(), lr.to(step.device, torch.float64, non_blocking=True)
    decay, size, correction = 1 - rate * weight_decay, rate / (1 - beta1**t), (1 - beta2**t).sqrt()
    scales = _update_moments(lists, betas)
    # One by one: the grouped operations need a tensor of the parameters' dtype.
    for p, moment, scale in zip(params, moments, scales, strict=True):
        p.mul_(decay).sub_(torch.atan2(moment, scale.div_(correction)).mul_(size))


def _update_moments(lists: Lists, betas: tuple[float, float]) -> list[Tensor]:
    """Update both running means in place; returns the roots of the squares."""
    _, grads, moments, squares = lists
    torch._foreach_lerp_(moments, grads, 1 - betas[0])
    torch._foreach_mul_(squares, betas[1])
    torch._foreach_addcmul_(squares, grads, grads, 1 - betas[1])
    return list(torch._foreach_sqrt(squares))


def _fake(*_: object) -> None:
    pass


@dispatch.operator("adam_atan2", "triton.adam_atan2.step_", _fake, mutates=("p", "moment", "square"))
def step_op(
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
    """One parameter's step as torch.compile sees it; `step` is already incremented."""
    lists = ([p], [grad], [moment], [square])
    _eager(lists, float(step), float(lr), (beta1, beta2), weight_decay)
