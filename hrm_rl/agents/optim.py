"""Optimizers: AdamATan2 for the network, sign-SGD for puzzle embeddings; and the learning rate."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class AdamATan2(torch.optim.Optimizer):
    """Adam with atan2 in place of division: scale-free, no epsilon.

    `p *= 1 - lr wd`, then `p -= lr / (1 - b1^t) * atan2(m, sqrt(v) / sqrt(1 - b2^t))`: the first
    bias correction outside atan2, as in the published PyPI package `adam-atan2` that the reference
    trains with. Decay applies to every parameter. Source: arXiv 2407.05872, section 5.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.zeros(()),
                        "m": torch.zeros_like(p),
                        "v": torch.zeros_like(p),
                    }
            states = [self.state[p] for p in params]
            _adam_atan2(params, states, group)
        return loss


def _adam_atan2(
    params: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]
) -> None:
    lr, (beta1, beta2) = group["lr"], group["betas"]
    grads = [p.grad for p in params if p.grad is not None]
    moments, squares = [s["m"] for s in states], [s["v"] for s in states]
    for state in states:
        state["step"] += 1
    t = float(states[0]["step"])  # a host tensor: no synchronisation
    torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
    torch._foreach_lerp_(moments, grads, 1 - beta1)
    torch._foreach_mul_(squares, beta2)
    torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
    scales = torch._foreach_sqrt(squares)
    torch._foreach_div_(scales, math.sqrt(1 - beta2**t))
    updates = [torch.atan2(m, s) for m, s in zip(moments, scales, strict=True)]
    torch._foreach_add_(params, updates, alpha=-lr / (1 - beta1**t))


class SignSGD(torch.optim.Optimizer):
    """Sign-SGD on the rows of an embedding table that a batch touched.

    Takes sparse gradients with one row an example. Rows of the same id are summed first; then
    `p = p (1 - lr wd) - lr sign(g)` on those rows only. Source: reference `models/sparse_embedding.py`.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, weight_decay: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for table in group["params"]:
                if table.grad is None:
                    continue
                ids, rows = table.grad._indices()[0], table.grad._values()  # [B], [B, width]
                # Sums duplicates without a data-dependent shape; duplicates then write alike.
                same = (ids[:, None] == ids[None, :]).to(rows.dtype)
                table[ids] = table[ids] * decay - lr * (same @ rows).sign()
        return loss


def learning_rate_factor(
    step: int, warmup_steps: int, total_steps: int | None = None, min_ratio: float = 1.0
) -> float:
    """What to multiply the base learning rate by at `step` (0-based).

    Linear warm-up whose first step is 1 / warmup_steps, then a cosine from 1 to `min_ratio` at the
    last of `total_steps` (constant with min_ratio 1). Source: reference `pretrain.py`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if min_ratio == 1.0 or total_steps is None:
        return 1.0
    progress = min(1.0, (step + 1 - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
