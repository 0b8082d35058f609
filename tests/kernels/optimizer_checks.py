"""Checks of the AdamATan2 kernel on any device; `row_checks.py` runs them with the others."""

import math
from collections.abc import Iterator

import torch
from check_tools import BARS, Check, random, relative
from torch import Tensor

from hrm_rl.kernels.adam_atan2 import adam_atan2_


def textbook_step(p: Tensor, g: Tensor, m: Tensor, v: Tensor, t: int, lr: float) -> None:
    """AdamATan2 in float64 with betas (0.9, 0.95) and decay 0.1, in place."""
    m.mul_(0.9).add_(0.1 * g)
    v.mul_(0.95).add_(0.05 * g * g)
    p.mul_(1 - 0.1 * lr)
    p.sub_(lr / (1 - 0.9**t) * torch.atan2(m, v.sqrt() / math.sqrt(1 - 0.95**t)))


def adam_atan2(dtype: torch.dtype, device: str = "cpu") -> Iterator[Check]:
    """Several steps of parameters of odd sizes, with the learning rate as a number and as a tensor."""
    shapes: list[tuple[int, ...]] = [(1,), (), (3, 5), (2049,)]
    wanted = [[random(*s, seed=3), *(torch.zeros(s).double() for _ in "mv")] for s in shapes]
    found = [[x.to(device, dtype).clone() for x in triple] for triple in wanted]
    steps = [torch.zeros((), device=device) for _ in shapes]
    for t in range(1, 5):
        grads = [10.0 ** (t - 3) * random(*s, seed=t) for s in shapes]
        lr = 0.1 / t
        for triple, grad in zip(wanted, grads, strict=True):
            textbook_step(triple[0], grad, triple[1], triple[2], t, lr)
        adam_atan2_(
            [triple[0] for triple in found],
            [g.to(device, dtype) for g in grads],
            [triple[1] for triple in found],
            [triple[2] for triple in found],
            steps,
            lr=lr if t % 2 else torch.tensor(lr, dtype=torch.float64, device=device),
            betas=(0.9, 0.95),
            weight_decay=0.1,
        )
    for shape, got, want in zip(shapes, found, wanted, strict=True):
        for part, a, b in zip("pmv", got, want, strict=True):
            yield Check(f"adam_atan2.{dtype}.{shape}.{part}", relative(a, b), BARS[dtype])


def angles(device: str = "cpu") -> Iterator[Check]:
    """The arctangent alone, element by element: all directions, both signs, zeros and extremes."""
    ratio = torch.logspace(-18, 18, 4001, dtype=torch.float64)
    fine = torch.linspace(0.05, 3, 4001, dtype=torch.float64)
    y = torch.cat((ratio, -ratio, fine, -fine, torch.tensor([0.0, 1.0, -1.0, 0.0])))
    x = torch.cat((torch.ones(len(y) - 4), torch.tensor([0.0, 0.0, 0.0, 1.0]))).double()
    # With no gradient and t = 1: m halves and v halves, and p goes down by 2 lr atan2(m / 2, sqrt(v)).
    for dtype, bar in ((torch.float32, 1e-6), (torch.float64, 1e-14)):
        p, m = torch.zeros(len(y), dtype=dtype), (2 * y).to(dtype)
        v = x.square().to(dtype)
        p, m, v = p.to(device), m.to(device), v.to(device)
        wanted = torch.atan2(m.double().cpu() / 2, v.double().cpu().sqrt())
        step = torch.zeros((), device=device)
        adam_atan2_(
            [p], [torch.zeros_like(p)], [m], [v], [step],
            lr=0.5, betas=(0.5, 0.5), weight_decay=0.0,
        )  # fmt: skip
        error = (-p.double().cpu() - wanted).abs() / wanted.abs().clamp_min(1e-300)
        error = torch.where(wanted == 0, p.double().cpu().abs(), error)
        yield Check(f"adam_atan2.angles.{dtype}", error.max().item(), bar)
